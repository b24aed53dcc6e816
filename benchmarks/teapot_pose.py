"""How often does smoothing find the pose of a camera, by law, strategy, samples and smoothing?

Runs examples/teapot_pose.py with the same true poses and starts under all settings: every law with
Sobol points and leave-one-out; the laws that succeed most often, with every sampler and covariate
at the fewest samples; and those laws with the loss smoothed in the place of the renderer. Runs are
kept: what is finished is not run again, what was interrupted is continued.

Needs torchsmooth[benchmarks,examples].

    python teapot_pose.py                   # writes results/teapot_pose.json, .md and .png
    python teapot_pose.py --seeds 768 --samples 16 64 256 --best 6 --device cuda --workers 1
"""

import argparse
import statistics
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from scipy import stats
from timing import RESULTS, write
from training_runs import Run, example, train_all


LAWS = ("gaussian", "logistic", "gumbel", "cauchy", "laplace", "triangular")
# The options of each sampler.
SAMPLERS = {
    "mc": ("--sampler", "mc"),
    "antithetic": ("--sampler", "mc", "--antithetic"),
    "qmc_latin": ("--sampler", "qmc_latin"),
    "rqmc_latin": ("--sampler", "rqmc_latin"),
    "sobol": ("--sampler", "sobol"),
}
COVARIATES = ("none", "fx", "loo")


@dataclass(frozen=True)
class Setting:
    law: str
    num_samples: int
    sampler: str = "sobol"
    covariate: str = "loo"
    smooth: str = "algorithm"

    @property
    def name(self) -> str:
        return f"{self.smooth}-{self.law}-{self.num_samples}-{self.sampler}-{self.covariate}"

    @property
    def options(self) -> tuple[str, ...]:
        return (
            *("--distribution", self.law, "--num-samples", str(self.num_samples)),
            *SAMPLERS[self.sampler],
            *("--covariate", self.covariate, "--smooth", self.smooth),
        )


class Runs:
    def __init__(self, args: argparse.Namespace) -> None:
        self.root: Path = args.runs
        self.steps: int = args.steps
        self.length = f"{args.seeds}x{args.steps}"
        self.common = (
            *("--seeds", str(args.seeds), "--schedule", str(args.steps), "--seed", "0"),
            *("--device", args.device, "--threads", "1", "--no-progress"),
        )

    def run(self, setting: Setting) -> Run:
        return Run(self.root / f"{setting.name}-{self.length}", (*setting.options, *self.common))

    def result(self, setting: Setting) -> dict[str, Any]:
        """Of a setting that was run."""
        result = self.run(setting).result(self.steps)
        assert result is not None
        return result

    def successes(self, setting: Setting) -> list[bool]:
        """Of each seed."""
        limit = example("teapot_pose").SUCCESS
        return [angle < limit for angle in self.result(setting)["results"]["angles"]]


def of_laws(samples: list[int]) -> list[Setting]:
    return [Setting(law, s) for law in LAWS for s in samples]


def of_strategies(laws: list[str], num_samples: int) -> list[Setting]:
    return [
        Setting(law, num_samples, sampler, covariate)
        for law in laws
        for sampler in SAMPLERS
        for covariate in COVARIATES
    ]


def of_objective(laws: list[str], samples: list[int]) -> list[Setting]:
    return [Setting(law, s, smooth="objective") for law in laws for s in samples]


def best_laws(runs: Runs, samples: list[int], count: int) -> list[str]:
    """By their mean success over the numbers of samples."""

    def mean(law: str) -> float:
        return statistics.mean(statistics.mean(runs.successes(Setting(law, s))) for s in samples)

    return sorted(LAWS, key=mean, reverse=True)[:count]


def against(one: list[bool], other: list[bool]) -> float:
    """McNemar's exact test: how surprising are the seeds on which only one of two succeeds?"""
    only_one = sum(a and not b for a, b in zip(one, other, strict=True))
    only_other = sum(b and not a for a, b in zip(one, other, strict=True))
    return float(stats.binomtest(only_one, only_one + only_other).pvalue) if one != other else 1.0


def report(runs: Runs, settings: list[Setting], laws: list[str], args: argparse.Namespace) -> None:
    share = example("teapot_pose").share
    done = {setting: runs.successes(setting) for setting in settings}
    ranking = sorted(done, key=lambda setting: -sum(done[setting]))
    rows = []
    for setting in ranking:
        # With as many samples, or the comparison would be one of cost.
        first = next(other for other in ranking if other.num_samples == setting.num_samples)
        rate, (low, high) = share(sum(done[setting]), args.seeds)
        result = runs.result(setting)
        rows.append(
            {
                "law": setting.law,
                "sampler": setting.sampler,
                "covariate": setting.covariate,
                "smoothed": setting.smooth,
                "samples": setting.num_samples,
                "success [%]": round(100 * rate, 1),
                "95 % interval": f"{100 * low:.1f} to {100 * high:.1f}",
                "p against the best": None
                if setting == first
                else float(f"{against(done[first], done[setting]):.2g}"),
                "median angle [degrees]": result["results"]["median_angle"],
                "time [s]": result["timings"]["training_seconds"],
            }
        )
    write(
        "teapot_pose",
        rows,
        [
            f"{args.seeds} seeds, the same true poses and starts in all rows; {args.steps} steps. "
            "success: within 5 degrees of the true direction after the last step; Wilson's "
            "interval.",
            "p against the best: McNemar's exact test, seed by seed, against the row with most "
            "successes among those with as many samples; not corrected for the number of rows.",
            f"laws with most successes over all numbers of samples: {', '.join(laws)}. All "
            f"samplers and covariates are tried with these, at {min(args.samples)} samples.",
            f"time: of the whole optimization, on {args.device}; runs of one CPU thread each, "
            f"{args.workers} at once, on a machine that was also used otherwise.",
        ],
    )
    draw(done, laws, args, RESULTS / "teapot_pose.png")


def draw(
    done: dict[Setting, list[bool]], laws: list[str], args: argparse.Namespace, path: Path
) -> None:
    """Success by law and samples, then by strategy for each of the best laws."""
    from common import plotting
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    def table(axis: Axes, title: str, of: dict[str, dict[str, Setting]]) -> None:
        """Rows and columns of shares, with the shares written in them."""
        columns = list(next(iter(of.values())))
        rates = [
            [100 * statistics.mean(done[cell]) for cell in row.values()] for row in of.values()
        ]
        axis.imshow(rates, vmin=0, vmax=100, cmap="viridis", aspect="auto")
        for i, row in enumerate(rates):
            for j, rate in enumerate(row):
                colour = "white" if rate < 60 else "black"
                axis.text(j, i, f"{rate:.0f}", ha="center", va="center", color=colour)
        axis.set_xticks(range(len(columns)), columns)
        axis.set_yticks(range(len(of)), list(of))
        axis.set_title(title)
        axis.grid(False)

    with plotting.style():
        count = 1 + len(laws)
        figure = Figure(figsize=(3.8 * count, 3.4), layout="constrained")
        first, *others = figure.subplots(1, count, squeeze=False)[0]
        table(
            first,
            "sobol, loo: success [%]",
            {
                **{law: {f"s = {s}": Setting(law, s) for s in args.samples} for law in LAWS},
                **{
                    f"{law},\nobjective": {
                        f"s = {s}": Setting(law, s, smooth="objective") for s in args.samples
                    }
                    for law in laws
                },
            },
        )
        few = min(args.samples)
        for axis, law in zip(others, laws, strict=True):
            table(
                axis,
                f"{law}, s = {few}: success [%]",
                {
                    sampler: {
                        covariate: Setting(law, few, sampler, covariate) for covariate in COVARIATES
                    }
                    for sampler in SAMPLERS
                },
            )
        plotting.save(figure, path)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--runs", type=Path, default=Path("runs/teapot_pose"), help="kept runs")
    parser.add_argument("--seeds", type=int, default=64, help="poses to find in each run")
    parser.add_argument("--steps", type=int, default=1000)
    parser.add_argument("--samples", type=int, nargs="+", default=[16, 64])
    parser.add_argument("--best", type=int, default=2, help="laws that all strategies are tried on")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--workers", type=int, default=2, help="runs at once, of a thread each")
    args = parser.parse_args()
    if not 1 <= args.best <= len(LAWS):
        parser.error(f"--best: expected 1 to {len(LAWS)}, got {args.best}")

    runs = Runs(args)

    def optimize(settings: list[Setting]) -> list[Setting]:
        jobs = [runs.run(setting) for setting in settings]
        train_all("teapot_pose", jobs, args.steps, [], args.workers)
        return settings

    settings = optimize(of_laws(args.samples))
    laws = best_laws(runs, args.samples, args.best)
    settings += optimize(of_objective(laws, args.samples))
    settings += optimize(of_strategies(laws, min(args.samples)))
    report(runs, list(dict.fromkeys(settings)), laws, args)


if __name__ == "__main__":
    main()
