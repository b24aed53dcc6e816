"""Code that the examples share: one noun per file, nothing about any single task."""
