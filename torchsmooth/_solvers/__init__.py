"""Losses and gradients for solvers of linear objectives."""
