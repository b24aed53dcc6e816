"""Errors for names that do not exist: they tell which of ours does the same."""

import difflib
import sys


# What people look for under other names, and what to use here. Of PyTorch, of torch.distributions,
# and of other packages.
_OURS = {
    "torchsmooth": {
        "Normal": "torchsmooth.Gaussian",
        "Wigner": "torchsmooth.WignerSemicircle",
        "Semicircle": "torchsmooth.WignerSemicircle",
        "Uniform": "torchsmooth.Triangular: the density of a uniform law has jumps, and no "
        "gradient",
        "Exponential": "torchsmooth.Gumbel or torchsmooth.Laplace: the density of an exponential "
        "law has a jump, and no gradient",
        "StudentT": "torchsmooth.FromTorch(torch.distributions.StudentT(...)) where it has icdf, "
        "or torchsmooth.Cauchy",
        "perturbed": "torchsmooth.smooth",
        "perturbations": "torchsmooth.smooth",
        "PerturbedFunc": "torchsmooth.smooth",
        "smoothed": "torchsmooth.smooth",
        "softsort": "torchsmooth.soft.argsort for a matrix, or torchsmooth.soft.sort for values",
        "soft_sort": "torchsmooth.soft.sort",
        "soft_rank": "torchsmooth.soft.rank",
        "SoftSort": "torchsmooth.nn.SoftArgSort for a matrix, torchsmooth.nn.SoftSort for values",
        "NeuralSort": "torchsmooth.nn.SoftArgSort",
        "DiffSortNet": "torchsmooth.nn.SoftArgSort",
        "gumbel_softmax": "torchsmooth.soft.gumbel_softmax",
        "FenchelYoung": "torchsmooth.fenchel_young_loss",
        "Latin": "torchsmooth.LatinHypercube",
        "QMC": "torchsmooth.Sobol",
        "ste": "torchsmooth.straight_through",
    },
    "torchsmooth.soft": {
        "eq": "torchsmooth.soft.equal",
        "ne": "1 - torchsmooth.soft.equal(...)",
        "gt": "torchsmooth.soft.greater",
        "ge": "torchsmooth.soft.greater: under continuous noise ties have probability 0",
        "greater_equal": "torchsmooth.soft.greater: under continuous noise ties have probability 0",
        "lt": "torchsmooth.soft.less",
        "le": "torchsmooth.soft.less: under continuous noise ties have probability 0",
        "less_equal": "torchsmooth.soft.less: under continuous noise ties have probability 0",
        "max": "torchsmooth.soft.amax, or torchsmooth.soft.maximum of two tensors",
        "min": "torchsmooth.soft.amin, or torchsmooth.soft.minimum of two tensors",
        "step": "torchsmooth.soft.heaviside",
        "sigmoid": "torchsmooth.soft.heaviside under torchsmooth.Logistic noise",
        "softmax": "torchsmooth.soft.argmax under torchsmooth.Gumbel noise",
        "logsumexp": "torchsmooth.soft.amax under torchsmooth.Gumbel noise",
        "softsort": "torchsmooth.soft.argsort for a matrix, or torchsmooth.soft.sort for values",
        "argmax_quadrature": "torchsmooth.soft.argmax, under any law",
        "argmin_quadrature": "torchsmooth.soft.argmin, under any law",
        "amax_quadrature": "torchsmooth.soft.amax, under any law",
        "amin_quadrature": "torchsmooth.soft.amin, under any law",
        "topk_mask_quadrature": "torchsmooth.soft.topk_mask",
        "if_": "torchsmooth.soft.cond",
        "if_else": "torchsmooth.soft.cond",
        "while_": "torchsmooth.soft.while_loop",
        "fix": "torchsmooth.soft.trunc",
        "clip": "torchsmooth.soft.clamp",
        "gather": "torchsmooth.soft.take_along_dim",
        "index_select": "torchsmooth.soft.take",
        "softshrink": "torch.nn.functional.softshrink: it has a gradient already",
    },
    "torchsmooth.functional": {
        "argmin": "torchsmooth.functional.argmax of -x",
        "max": "torchsmooth.functional.sort(..., descending=True)[..., 0]",
        "min": "torchsmooth.functional.sort(...)[..., 0]",
        "dijkstra": "torchsmooth.functional.shortest_path, or shortest_path_graph",
        "ranks": "torchsmooth.functional.rank",
        "softsort": "torchsmooth.functional.argsort",
        "rasterize": "torchsmooth.functional.render",
    },
    "torchsmooth.hard": {
        "argmin": "torchsmooth.hard.argmax of -x",
        "max": "torch.amax",
        "min": "torch.amin",
        "round": "torch.round",
        "sign": "torch.sign",
        "heaviside": "torch.heaviside",
        "dijkstra": "torchsmooth.hard.shortest_path, or shortest_path_graph",
        "rasterize": "torchsmooth.hard.render",
    },
    "torchsmooth.nn": {
        "ReLU": "torchsmooth.nn.SoftReLU",
        "Renderer": "torchsmooth.nn.Render",
        "SoftBranch": "torchsmooth.nn.SoftCond",
        "SoftWhileLoop": "torchsmooth.nn.SoftWhile",
        "SoftGumbelSoftmax": "torchsmooth.nn.GumbelSoftmax",
        "Dijkstra": "torchsmooth.nn.ShortestPath",
        "ArgMin": "torchsmooth.nn.ArgMax of -x",
        "NeuralSort": "torchsmooth.nn.SoftArgSort",
        "SoftArgMaxQuadrature": "torchsmooth.nn.SoftArgMax, under any law",
        "SoftArgMinQuadrature": "torchsmooth.nn.SoftArgMin, under any law",
        "SoftAMaxQuadrature": "torchsmooth.nn.SoftAMax, under any law",
        "SoftAMinQuadrature": "torchsmooth.nn.SoftAMin, under any law",
        "SoftTopKMaskQuadrature": "torchsmooth.nn.SoftTopKMask",
    },
}
_NAMESPACES = ("torchsmooth", *(f"torchsmooth.{n}" for n in ("soft", "functional", "hard", "nn")))


def unknown_name(namespace: str, name: str) -> AttributeError:
    """The error for a name that `namespace` does not have."""
    message = f"module {namespace!r} has no attribute {name!r}"
    ours = None if name.startswith("__") else _find(namespace, name)
    error = AttributeError(message if ours is None else f"{message}; use {ours}")
    error.name, error.obj = name, sys.modules.get(namespace)
    return error


def _find(namespace: str, name: str) -> str | None:
    ours = _OURS.get(namespace, {}).get(name)
    if ours is not None:
        return ours
    names = {n: getattr(sys.modules.get(n), "__all__", ()) for n in (namespace, *_NAMESPACES)}
    by_lower_case = {own.lower(): own for own in names[namespace]}
    squeezed = name.replace("_", "").lower()
    if squeezed in by_lower_case:
        return f"{namespace}.{by_lower_case[squeezed]}"
    for other, own_names in names.items():
        if name in own_names:
            return f"{other}.{name}"
    close = difflib.get_close_matches(name, names[namespace], 1, 0.8)
    return f"{namespace}.{close[0]}" if close else None
