"""How far is the estimated gradient of smoothed sorting from the true one?

For every sampler, covariate and law: the error of the Jacobian of `functional.argsort` in x against
the number of samples s, for n = 3 and 5.

The measure is that of arXiv 2410.08125, section 4.1 and figure 3: the average L2 norm of the
difference between the estimated and the true Jacobian (n^3 numbers), over points x and over seeds.
The paper does not say where its x come from; here they are standard normal, and the scale is 1.

The true Jacobian has nothing to do with samples. The element that is k-th smallest has the law of a
sum of independent comparisons, so that each entry is an integral in one dimension over products of
densities and distribution functions (those of scipy). Under Gumbel noise it is the Jacobian of the
Plackett-Luce law, enumerated, and the integral is compared with it.

    python gradient_error.py     # writes results/gradient_error.json and .md, and a figure per n
"""

import argparse
import itertools
import math
import sys
from pathlib import Path
from typing import NamedTuple

import numpy as np
import scipy.stats
import torch
from matplotlib.figure import Figure
from timing import RESULTS, table, write

import torchsmooth as ts


ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT / "examples"), str(ROOT / "tests")]

from common.plotting import BLUE, GREEN, ORANGE, RED, save, style  # noqa: E402
from laws import FACTS  # noqa: E402


SIZES = (3, 5)
COVARIATES = ("none", "fx", "loo")
LADDER = tuple(2**m for m in range(3, 14))
FAR = 2**15  # with leave-one-out only
SIDES = {3: (2, 3, 4, 6, 8, 10, 16, 32), 5: (2, 3, 4, 5, 6, 8)}  # cartesian: s = side^n
POINTS = 64
REPLICAS = 1024  # of all points together, at most
SAMPLES = {"none": 2**20, "fx": 2**20, "loo": 2**22}  # of all replicas together, at most
GOALS = {3: 0.70, 5: 0.77}


class Law(NamedTuple):
    noise: ts.AbstractDistribution
    exact: scipy.stats.rv_continuous  # its density and distribution function
    ends: tuple[float, ...]  # of the support, where it has any


LAWS = {
    name: Law(law(), FACTS[name].scipy, tuple(filter(math.isfinite, FACTS[name].support)))
    for name, law in ts.LAWS.items()
}
INFINITE = tuple(  # variance of the score
    name for name, law in LAWS.items() if not law.noise.traits.finite_score_variance
)
FINITE = tuple(name for name in LAWS if name not in INFINITE)


class Strategy(NamedTuple):
    sampler: str
    antithetic: bool
    covariate: str

    @property
    def points(self) -> str:
        return self.sampler + (" antithetic" if self.antithetic else "")

    def __str__(self) -> str:
        return f"{self.points} + {self.covariate}"

    def ladder(self, n: int) -> list[int]:
        if self.sampler.endswith("cartesian"):
            sizes = [side**n for side in SIDES[n]]
        else:
            sizes = [*LADDER, FAR]
        return [s for s in sizes if s <= LADDER[-1] or self.covariate == "loo"]


STRATEGIES = [
    Strategy(sampler, antithetic, covariate)
    for sampler in ("mc", "qmc_latin", "rqmc_latin", "qmc_cartesian", "rqmc_cartesian", "sobol")
    for antithetic in (False, True)
    for covariate in COVARIATES
    # Mirror images of centred points are such points again; of a grid, s would be 2 k^n.
    if not antithetic or sampler in ("mc", "rqmc_latin", "sobol")
]
OURS = Strategy("sobol", False, "loo")
LATIN = Strategy("rqmc_latin", False, "loo")
CARTESIAN = Strategy("rqmc_cartesian", False, "loo")
PLAIN = Strategy("mc", False, "loo")


# The truth


def quadrature(breaks: np.ndarray, step: float) -> tuple[np.ndarray, np.ndarray]:
    """Nodes and weights [points, nodes] for the real line, cut at `breaks` [points, cuts].

    Double exponential rules: tanh-sinh between the cuts and exp-sinh beyond, which converge
    exponentially also where the integrand has a singularity at a cut.
    """
    v = np.arange(-4, 4 + step / 2, step)
    inner, slope = math.pi / 2 * np.sinh(v), math.pi / 2 * np.cosh(v) * step
    cuts = np.sort(breaks, axis=1)[..., None]
    middle, half = (cuts[:, 1:] + cuts[:, :-1]) / 2, (cuts[:, 1:] - cuts[:, :-1]) / 2
    far = np.exp(inner)
    nodes = [middle + half * np.tanh(inner), cuts[:, :1] - far, cuts[:, -1:] + far]
    beyond = np.broadcast_to(far * slope, (len(cuts), 1, len(v)))
    weights = [half * slope / np.cosh(inner) ** 2, beyond, beyond]
    flat = [np.concatenate(parts, axis=1).reshape(len(cuts), -1) for parts in (nodes, weights)]
    return flat[0], flat[1]


def jacobians_by_quadrature(law: Law, x: np.ndarray, step: float = 1 / 32) -> np.ndarray:
    """d P(element i is the k-th smallest) / d x_j at [point, k, i, j], for x of [points, n].

    Given that element i is at t, how many others lie below is a sum of independent comparisons with
    probabilities F(t - x_l). Its derivative in x_j is -f(t - x_j) times the difference of the laws
    of the sum without j; the derivative in x_i follows, because a shift of all x changes nothing.
    """
    n = x.shape[1]
    cuts = np.concatenate([x + end for end in (0.0, *law.ends)], axis=1)
    t, weight = quadrature(cuts, step)
    z = t[..., None] - x[:, None, :]
    with np.errstate(over="ignore"):  # of Gumbel's density, far out, which is 0 there
        density, below = law.exact.pdf(z), law.exact.cdf(z)  # [points, nodes, n]
    jacobian = np.zeros((len(x), n, n, n))
    for i, j in itertools.combinations(range(n), 2):
        law_of_sum = np.zeros((*t.shape, n))
        law_of_sum[..., 0] = 1
        for other in set(range(n)) - {i, j}:
            p = below[..., other, None]
            law_of_sum = (1 - p) * law_of_sum + p * np.roll(law_of_sum, 1, axis=-1)
        change = law_of_sum - np.roll(law_of_sum, 1, axis=-1)  # the last of n entries is always 0
        both = weight * density[..., i] * density[..., j]
        jacobian[:, :, i, j] = jacobian[:, :, j, i] = np.einsum("pt,ptk->pk", both, change)
    index = np.arange(n)
    jacobian[:, :, index, index] = -jacobian.sum(-1)
    return jacobian


def plackett_luce_jacobians(x: np.ndarray) -> np.ndarray:  # [points, n] -> [points, n, n, n]
    """The same under Gumbel noise: the order from the largest down has the Plackett-Luce law."""

    def matrix(scores: torch.Tensor) -> torch.Tensor:
        n = len(scores)
        rows = [[scores.new_zeros(()) for _ in range(n)] for _ in range(n)]
        for order in itertools.permutations(range(n)):
            chosen = scores[list(order)]
            tails = chosen.flip(0).logcumsumexp(0).flip(0)
            probability = (chosen - tails).sum().exp()
            for place, element in enumerate(order):
                rows[n - 1 - place][element] = rows[n - 1 - place][element] + probability
        return torch.stack([torch.stack(row) for row in rows])

    function = torch.func.vmap(torch.func.jacrev(matrix))
    return function(torch.from_numpy(x)).numpy()


def true_jacobians(name: str, x: np.ndarray) -> np.ndarray:
    return (
        plackett_luce_jacobians(x) if name == "gumbel" else jacobians_by_quadrature(LAWS[name], x)
    )


# The estimates


def estimated_jacobians(law: Law, x: torch.Tensor, strategy: Strategy, s: int) -> torch.Tensor:
    """[replicas, n] -> [replicas, n, n, n]: every replica has points of its own."""
    x = x.clone().requires_grad_()
    matrix = ts.functional.argsort(
        x,
        law.noise,
        num_samples=s,
        sampler=strategy.sampler,
        antithetic=strategy.antithetic,
        covariate=strategy.covariate,
        seed=s,
    )
    columns = []
    for entry in range(matrix[0].numel()):
        upstream = torch.zeros_like(matrix)
        upstream.flatten(1)[:, entry] = 1
        columns.append(torch.autograd.grad(matrix, x, upstream, retain_graph=True)[0])
    return torch.stack(columns, 1).reshape(*matrix.shape, -1)


class Sample(NamedTuple):
    """The errors of a law and strategy at s samples."""

    norms: np.ndarray  # [points, replicas of each]
    squared_bias: np.ndarray | None  # [points], of the L2 norm, unbiased: may be negative

    @property
    def per_point(self) -> np.ndarray:
        return self.norms.mean(1)

    @property
    def mean(self) -> float:
        return float(self.norms.mean())

    @property
    def error(self) -> float:
        """The standard error of the mean, from the scatter between points."""
        return float(self.per_point.std(ddof=1)) / len(self.norms) ** 0.5

    @property
    def median(self) -> float:
        return float(np.median(self.norms))


def measure(
    law: Law, x: torch.Tensor, truth: torch.Tensor, strategy: Strategy, s: int, quick: bool
) -> Sample:
    each = 1 if quick else min(REPLICAS, SAMPLES[strategy.covariate] // s) // len(x)
    repeated = x.repeat_interleave(each, 0)
    estimate = estimated_jacobians(law, repeated, strategy, s).unflatten(0, (len(x), each))
    difference = (estimate - truth.unsqueeze(1)).flatten(2).double()
    squared_bias = None
    if each > 1:
        # The mean of the replicas is off by their own scatter, too.
        scatter = difference.var(1).sum(1) / each
        squared_bias = (difference.mean(1).square().sum(1) - scatter).numpy()
    return Sample(difference.norm(dim=2).numpy(), squared_bias)


class Ratio(NamedTuple):
    value: float
    error: float  # standard error, from the scatter between points

    def __str__(self) -> str:
        return f"{self.value:.3f} ± {self.error:.3f}"


def ratio_of_means(ours: Sample, theirs: Sample) -> Ratio:
    """Over the same points, which makes most of the scatter between points cancel."""
    a, b = ours.per_point, theirs.per_point
    value = a.mean() / b.mean()
    scatter = (a - value * b).std(ddof=1) / b.mean()
    return Ratio(float(value), float(scatter) / len(a) ** 0.5)


def ratio_of_medians(ours: Sample, theirs: Sample) -> Ratio:
    generator = np.random.default_rng(0)
    drawn = generator.integers(len(ours.norms), size=(100, len(ours.norms)))
    resampled = [np.median(ours.norms[i]) / np.median(theirs.norms[i]) for i in drawn]
    return Ratio(ours.median / theirs.median, float(np.std(resampled)))


Study = dict[tuple[str, Strategy, int], Sample]


def study(n: int, spread: float, strategies: list[Strategy], quick: bool) -> Study:
    x = points(n, spread)
    found: Study = {}
    for name, law in LAWS.items():
        truth = torch.from_numpy(true_jacobians(name, x.double().numpy())).float()
        for strategy in strategies:
            for s in strategy.ladder(n):
                found[name, strategy, s] = measure(law, x, truth, strategy, s, quick)
    return found


def points(n: int, spread: float) -> torch.Tensor:
    return spread * torch.randn(POINTS, n, generator=torch.Generator().manual_seed(n))


def quality_of_truth(n: int) -> str:
    x = points(n, 1.0).double().numpy()
    enumerated = plackett_luce_jacobians(x)
    deviation = np.abs(jacobians_by_quadrature(LAWS["gumbel"], x) - enumerated).max()
    refined = max(
        np.abs(jacobians_by_quadrature(law, x, 1 / 64) - true_jacobians(name, x)).max()
        for name, law in LAWS.items()
    )
    return (
        f"n = {n}: an entry of the true Jacobian by quadrature differs from that by enumeration by "
        f"at most {deviation:.0e} (Gumbel), and from that with twice the nodes by at most "
        f"{refined:.0e} (all laws)."
    )


def json_rows(n: int, found: Study) -> list[dict]:
    """A row per law and strategy, with a list over s in each."""
    x = points(n, 1.0).double().numpy()
    rows = []
    for name in LAWS:
        size = float(np.linalg.norm(true_jacobians(name, x).reshape(len(x), -1), axis=1).mean())
        for strategy in STRATEGIES:
            sizes = strategy.ladder(n)
            samples = [found[name, strategy, s] for s in sizes]
            rows.append(
                {
                    "n": n,
                    "law": name,
                    **strategy._asdict(),
                    "norm of the truth": _rounded(size),
                    "s": sizes,
                    "replicas": [sample.norms.size for sample in samples],
                    "error": [_rounded(sample.mean) for sample in samples],
                    "standard error": [_rounded(sample.error) for sample in samples],
                    "median": [_rounded(sample.median) for sample in samples],
                }
            )
    return rows


def _rounded(value: float) -> float:
    return float(f"{value:.4g}")


# Tables


def rival(n: int, s: int) -> Strategy:
    """The best strategy of the paper at s samples, by its section 4.1."""
    return CARTESIAN if s in CARTESIAN.ladder(n) else LATIN


def goal_table(n: int, found: Study) -> str:
    rows = []
    for name, law in LAWS.items():
        measures = {name: ratio_of_means}
        if law.ends:
            measures[f"{name}, medians"] = ratio_of_medians
        for label, ratio in measures.items():
            row: dict = {"law": label}
            for s in OURS.ladder(n):
                mark = "c" if rival(n, s) is CARTESIAN else "l"
                row[f"s = {s} ({mark})"] = ratio(found[name, OURS, s], found[name, rival(n, s), s])
            rows.append(row)
    return table(rows)


def goal_summary(n: int, found: Study) -> str:
    """Where the goal is reached by all laws whose scores have a finite variance."""
    worst = {
        s: max(ratio_of_means(found[name, OURS, s], found[name, rival(n, s), s]) for name in FINITE)
        for s in OURS.ladder(n)
    }
    reached = [str(s) for s, ratio in worst.items() if ratio.value <= GOALS[n]]
    missed = [f"{s} ({ratio})" for s, ratio in worst.items() if ratio.value > GOALS[n]]
    return (
        f"sobol + loo against the paper's best, in all of {', '.join(FINITE)}: at most "
        f"{GOALS[n]:.2f} at s = {', '.join(reached)}; not at s = {', '.join(missed)}, with the "
        "largest ratio of them in brackets."
    )


def choice_summary(n: int, found: Study) -> str:
    """From which s on no other sampler has a lower error."""
    since: dict[str, list[str]] = {}
    for name in LAWS:
        sizes = OURS.ladder(n)
        others = [s for s in sizes if best_with_loo(n, found, name, s)[1] > 0.02]
        later = [s for s in sizes if s > max(others, default=0)]
        since.setdefault(f"from s = {later[0]} on" if later else "nowhere", []).append(name)
    places = "; ".join(f"{where} for {', '.join(names)}" for where, names in since.items())
    return f"With loo, sobol has the lowest error of all samplers, to within 2%: {places}."


def span(n: int, found: Study, a: Strategy, b: Strategy) -> str:
    """The lowest and the highest ratio of the errors of two strategies."""
    ratios = [
        found[name, a, s].mean / found[name, b, s].mean
        for name in FINITE
        for s in a.ladder(n)
        if s in b.ladder(n)
    ]
    return f"{min(ratios):.2f} to {max(ratios):.2f}"


def covariate_summary(n: int, found: Study) -> str:
    parts = []
    for loo in (OURS, LATIN, CARTESIAN, PLAIN):
        none, fx = (span(n, found, loo._replace(covariate=c), loo) for c in ("none", "fx"))
        parts.append(f"{loo.sampler} {none} (none), {fx} (fx)")
    return (
        f"Error without loo in parts of that with it, over s and {', '.join(FINITE)}: "
        f"{'; '.join(parts)}."
    )


def antithetic_summary(n: int, found: Study) -> str:
    parts = [
        f"{once.sampler} {span(n, found, once._replace(antithetic=True), once)}"
        for once in (OURS, LATIN, PLAIN)
    ]
    return f"Error with antithetic=True in parts of that without, with loo: {'; '.join(parts)}."


def paper_setting(found: Study) -> str:
    """The paper's own comparison for n = 3: 1000 grid cells, 1024 of everything else."""
    ratios = [
        f"{name} {ratio_of_means(found[name, OURS, 1024], found[name, CARTESIAN, 1000])}"
        for name in LAWS
    ]
    return f"sobol + loo at s = 1024 against rqmc_cartesian + loo at s = 1000: {', '.join(ratios)}."


def error_table(n: int, found: Study) -> str:
    """The errors at 1024 samples, or the grid nearest to it."""
    rows = []
    for strategy in STRATEGIES:
        s = min(strategy.ladder(n), key=lambda s: abs(s - 1024))
        row: dict = {"strategy": strategy, "s": s}
        for name in LAWS:
            sample = found[name, strategy, s]
            row[name] = f"{sample.mean:.3g} ± {sample.error:.1g}"
        rows.append(row)
    return table(rows)


def typical(name: str, sample: Sample) -> float:
    """The median where the mean is that of few outliers."""
    return sample.median if LAWS[name].ends else sample.mean


def relative_table(n: int, found: Study, names: tuple[str, ...]) -> str:
    """Errors relative to ours, as geometric means over some laws."""
    rows = []
    for strategy in STRATEGIES:
        row: dict = {"strategy": strategy}
        for s in OURS.ladder(n):
            logs = [
                math.log(typical(name, found[name, strategy, s]))
                - math.log(typical(name, found[name, OURS, s]))
                for name in names
                if (name, strategy, s) in found
            ]
            row[f"s = {s}"] = f"{math.exp(sum(logs) / len(logs)):.2f}" if logs else None
        rows.append(row)
    return table(rows)


def best_with_loo(n: int, found: Study, name: str, s: int) -> tuple[str, float]:
    """The sampler with the lowest error, and by which part that of sobol is larger."""
    errors = {
        strategy.points: typical(name, found[name, strategy, s])
        for strategy in STRATEGIES
        if strategy.covariate == "loo" and s in strategy.ladder(n)
    }
    best = min(errors, key=errors.__getitem__)
    return best, errors["sobol"] / errors[best] - 1


def best_table(n: int, found: Study) -> str:
    rows = []
    for name in LAWS:
        row: dict = {"law": name}
        for s in OURS.ladder(n):
            best, behind = best_with_loo(n, found, name, s)
            row[f"s = {s}"] = best + (f" (sobol +{behind:.0%})" if behind > 0 else "")
        rows.append(row)
    return table(rows)


def bias_table(n: int, found: Study) -> str:
    """The bias of the leave-one-out strategies in parts of the true Jacobian."""
    x = points(n, 1.0).double().numpy()
    size = {name: np.square(true_jacobians(name, x)).sum((1, 2, 3)).mean() for name in LAWS}
    rows = []
    for strategy in STRATEGIES:
        if strategy.covariate != "loo":
            continue
        ladder = strategy.ladder(n)
        for s in sorted({min(ladder, key=lambda s: abs(s - target)) for target in (8, 64, 1024)}):
            row: dict = {"strategy": strategy, "s": s}
            for name in LAWS:
                squares = found[name, strategy, s].squared_bias
                if squares is None:
                    continue
                part = squares.mean() / size[name]
                error = squares.std(ddof=1) / len(squares) ** 0.5 / size[name]
                seen = part > 3 * error
                bound = max(part, 0.0) + 3 * error
                row[name] = f"{part**0.5:.1%}" if seen else f"< {bound**0.5:.1%}"
            rows.append(row)
    return table(rows)


def rate_table(n: int, found: Study) -> str:
    """Slopes of log error over log s for leave-one-out, fitted from 64 samples on."""
    rows = []
    for strategy in STRATEGIES:
        if strategy.covariate != "loo":
            continue
        row: dict = {"strategy": strategy}
        for name in LAWS:
            sizes = [s for s in strategy.ladder(n) if s >= 64]
            values = [typical(name, found[name, strategy, s]) for s in sizes]
            row[name] = f"{np.polyfit(np.log(sizes), np.log(values), 1)[0]:.2f}"
        rows.append(row)
    return table(rows)


COLOURS = {
    "mc": "#777777",
    "qmc_latin": "#56B4E9",
    "rqmc_latin": BLUE,
    "qmc_cartesian": ORANGE,
    "rqmc_cartesian": RED,
    "sobol": GREEN,
}


def plot(n: int, found: Study) -> Figure:
    """A row of panels per covariate, a column per law."""
    figure = Figure(figsize=(2.6 * len(LAWS), 2.6 * len(COVARIATES) + 0.6), layout="constrained")
    axes = figure.subplots(len(COVARIATES), len(LAWS), sharex=True, sharey="col")
    for row, covariate in zip(axes, COVARIATES, strict=True):
        for panel, name in zip(row, LAWS, strict=True):
            for strategy in STRATEGIES:
                if strategy.covariate != covariate:
                    continue
                sizes = strategy.ladder(n)
                panel.loglog(
                    sizes,
                    [typical(name, found[name, strategy, s]) for s in sizes],
                    color=COLOURS[strategy.sampler],
                    linestyle="--" if strategy.antithetic else "-",
                    marker=".",
                    markersize=3,
                    linewidth=1.2,
                    label=strategy.points,
                )
            panel.set_title(name if covariate == COVARIATES[0] else "")
        row[0].set_ylabel(f"covariate {covariate}\nerror")
    for panel in axes[-1]:
        panel.set_xlabel("samples s")
    figure.suptitle(
        f"L2 error of the Jacobian of smoothed argsort, n = {n}: means, "
        f"or medians for {' and '.join(INFINITE)}"
    )
    handles, labels = axes[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=len(labels))
    return figure


SUMMARIES = (choice_summary, covariate_summary, antithetic_summary)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="one replica per point; keep nothing")
    quick = parser.parse_args().quick
    torch.set_num_threads(1)
    rows: list[dict] = []
    sections, notes = [], []
    for n in SIZES:
        found = study(n, 1.0, STRATEGIES, quick)
        small_scale = study(n, 3.0, [OURS, LATIN, CARTESIAN], quick)
        rows += json_rows(n, found)
        notes.append(quality_of_truth(n))
        goal = f"goal: at most {GOALS[n]:.2f}"
        short = [goal_summary(n, found)]
        if n == 3:
            short.append(paper_setting(found))
        short += [summary(n, found) for summary in SUMMARIES]
        sections += [
            f"## n = {n}",
            "\n".join(f"- {line}" for line in short),
            "### sobol + loo against the best strategy of the paper",
            "The error of sobol + loo divided by that of rqmc_cartesian + loo (c) or, where s has "
            f"no grid, rqmc_latin + loo (l), at the same s; {goal}.",
            goal_table(n, found),
            f"The same at scale 1/3; {goal}.",
            goal_table(n, small_scale),
            goal_summary(n, small_scale),
            "### Errors at 1024 samples, or at the nearest grid",
            error_table(n, found),
            "### Errors relative to sobol + loo",
            f"Geometric means over {', '.join(FINITE)}.",
            relative_table(n, found, FINITE),
            f"Geometric means over {', '.join(INFINITE)}, of medians.",
            relative_table(n, found, INFINITE),
            "### Which sampler has the lowest error with loo",
            "In brackets, how much larger the error of sobol is (of medians for "
            f"{', '.join(INFINITE)}).",
            best_table(n, found),
            "### Bias with loo",
            "L2 norm of the mean error in parts of that of the true Jacobian, root mean square "
            "over the points; <: not seen, with the bound that 3 standard errors give.",
            bias_table(n, found),
            "### Rates with loo",
            f"Slope of log error over log s from s = 64 on (of medians for {', '.join(INFINITE)}).",
            rate_table(n, found),
            f"![errors over samples, n = {n}](gradient_error_n{n}.png)",
        ]
        if not quick:
            with style():
                save(plot(n, found), RESULTS / f"gradient_error_n{n}.png")
    notes += [
        f"Error: the L2 norm of (estimated - true Jacobian), n^3 numbers, its mean over {POINTS} "
        f"standard normal points x and up to {REPLICAS // POINTS} seeds each, at scale 1; "
        "± 1 standard error, from the scatter between points. A scale of 1/3 is the same as points "
        "spread 3 times as far.",
        f"The scores of {' and '.join(INFINITE)} have infinite variance: few samples next to the "
        "edge of the support make most of the mean error, and its standard error bounds nothing. "
        "The medians say what to expect of one estimate.",
        "The centred samplers (qmc) leave the edges and tails out. That bounds the error at small "
        "s, and biases it: see the tables of bias.",
    ]
    write("gradient_error", rows, notes, "\n\n".join(sections), keep=not quick)


if __name__ == "__main__":
    main()
