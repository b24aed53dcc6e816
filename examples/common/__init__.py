"""What the training loops of the examples share: one noun per file, nothing about any one task."""
