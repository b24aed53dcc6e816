"""Errors of estimates, errors of autograd, and the choice of an estimator."""
