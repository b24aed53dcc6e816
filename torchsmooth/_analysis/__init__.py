"""What is known about an estimate, where autograd is wrong, and which estimator is the best."""
