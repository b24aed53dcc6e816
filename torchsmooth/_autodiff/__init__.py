"""Autograd functions, torch.vmap, and the derivatives of means over samples.

function.py     what all autograd functions share
vmap.py         the mapped dimension becomes part of the batch
derivatives.py  reverse and forward mode, and second derivatives, of a rule for the first ones
fused.py        the rule of the fused ops
"""
