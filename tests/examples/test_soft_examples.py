"""The examples of soft branches: what they compute is known in closed form."""

import json
import math
import subprocess
import sys

import bisection
import bouncing_ball
import pytest
import soft_heaviside
import torch
from common.errors import USER_ERROR, run_program
from matplotlib import image

import torchsmooth as ts


def results(directory):
    return json.loads((directory / "result.json").read_text())["results"]


def is_picture(path):
    pixels = image.imread(path)
    return pixels.shape[0] > 500 and pixels[..., :3].std() > 0.05


def fails(capsys, program, *options):
    """The message of a run that must end with exit code 2 and one line."""
    with pytest.raises(SystemExit) as exit:
        run_program(program.PROGRAM, lambda: program.main(options))
    assert exit.value.code == USER_ERROR
    message = capsys.readouterr().err
    assert message.startswith(f"{program.PROGRAM}: error: ") and message.count("\n") == 1
    return message


@pytest.mark.processes
@pytest.mark.parametrize("program", [soft_heaviside, bisection, bouncing_ball])
def test_a_program_runs_as_a_script(program):
    command = [sys.executable, program.__file__, "--unknown"]
    run = subprocess.run(command, capture_output=True, text=True)
    assert run.returncode == USER_ERROR and "--unknown" in run.stderr


# --- soft_heaviside -------------------------------------------------------------------------------


def test_the_integral_is_that_of_the_sign():
    theta = torch.tensor([0.3, 1.0, 1.7, 2.5], dtype=torch.float64)
    expected = torch.where(theta < 2, 4 - 4 * theta, -4)
    torch.testing.assert_close(
        soft_heaviside.integral(theta, 2.0, None), expected, rtol=0, atol=2e-3
    )
    # At k = 10^4 only the curvature of the jumps is left, of order 1 / (k theta^2)^2.
    torch.testing.assert_close(
        soft_heaviside.integral(theta, 2.0, 1e4), expected, rtol=0, atol=1e-5
    )


def test_the_slope_of_the_integral_tends_to_minus_four(capsys, tmp_path):
    soft_heaviside.main(["--output", str(tmp_path)])
    found = results(tmp_path)
    assert found["hard"] == [0, 0, 0]  # automatic differentiation of the hard program
    assert [row["theta"] for row in found["slopes"]] == [0.5, 1, 1.5]
    for row in found["slopes"]:
        errors = [abs(slope + 4) for slope in row["slopes"]]
        assert errors == sorted(errors, reverse=True)
        for k, error in list(zip(found["steepness"], errors, strict=True))[1:]:
            # Next comes a term of order 1 / (k theta^2)^4.
            predicted = math.pi**2 / (2 * k**2 * row["theta"] ** 4)
            assert error == pytest.approx(predicted, rel=100 / (k * row["theta"] ** 2) ** 2 + 1e-3)
    for name, path in found["descent"].items():
        if name == "hard":
            assert set(path) == {0.5}
        else:  # beyond L = 2 the minimum is reached
            assert 2 <= path[-1] < 2.2
    assert is_picture(tmp_path / "soft_heaviside.png")
    assert "-4.00000079" in capsys.readouterr().out


def test_integrals_that_are_not_computed(capsys, tmp_path):
    for options, expected in (
        (["--theta", "3"], "--theta"),
        (["--theta", "-1"], "--theta"),
        (["--steepness", "1e9"], "--steepness"),
        (["--output", __file__], "--output"),
    ):
        assert expected in fails(capsys, soft_heaviside, "--output", str(tmp_path), *options)


# --- bisection ------------------------------------------------------------------------------------


@pytest.fixture
def few_points(monkeypatch):
    monkeypatch.setattr(bisection, "THETAS", 100)  # none of them is a midpoint


def test_the_tangents_of_bisection(capsys, tmp_path, few_points):
    options = ["--output", str(tmp_path), "--num-samples", "4096"]
    bisection.main([*options, "--steepness", "100", "1e8"])
    found = results(tmp_path)
    assert len(found) == 2
    for rows in found.values():
        implicit = rows["implicit"]
        assert implicit["tenth_percentile"] == pytest.approx(1, abs=1e-9)
        assert implicit["ninetieth_percentile"] == pytest.approx(1, abs=1e-9)
        # More than 3 scales away from a jump the noise sees a straight line of slope 1.
        assert rows["ts.smooth"]["median_tangent"] == pytest.approx(1, abs=0.02)
        # Sharp decisions make a staircase: its value is right, and most of its tangents are 0.
        sharp = rows["soft, k = 1e+08"]
        assert sharp["error_of_the_value"] < 2.0**-8
        assert abs(sharp["median_tangent"]) < 1e-2
    assert is_picture(tmp_path / "bisection.png")
    assert "case 2" in capsys.readouterr().out


def test_smoothing_sees_the_jump_between_the_roots():
    # At theta = 1 the program's root falls from 1 to 0: the slope is 1 - density(0).
    parsed = bisection.build_parser().parse_args(["--num-samples", "4096", "--num-steps", "20"])
    theta = torch.tensor([1.0], dtype=torch.float64)
    smoothed = ts.smooth(
        lambda t: bisection.hard_bisection(bisection.two_roots, t, 20).squeeze(-1),
        ts.Gaussian(parsed.scale),
        num_samples=parsed.num_samples,
        seed=0,
    )
    _, slope = bisection.tangents(lambda t: smoothed(t.unsqueeze(-1)), theta)
    density = 1 / (0.05 * math.sqrt(2 * math.pi))
    assert slope.item() == pytest.approx(1 - density, rel=0.02)


def test_bisections_that_are_not_made(capsys, tmp_path):
    for options, expected in (
        (["--steepness", "0"], "--steepness"),
        (["--num-steps", "0"], "--num-steps"),
        (["--output", __file__], "--output"),
    ):
        assert expected in fails(capsys, bisection, "--output", str(tmp_path), *options)


# --- bouncing_ball --------------------------------------------------------------------------------


def landings(velocity):
    """Where the ball lands: after a fall of 1 m, and after flights that shorten by 0.8."""
    first = math.sqrt(2 / 9.81)
    times = [first + 2 * first * sum(0.8**j for j in range(1, k + 1)) for k in range(4)]
    free = [velocity * t for t in times]
    return [x if x <= 2.6 else 2.6 - 0.7 * (x - 2.6) for x in free]


VELOCITIES = [0.3, 0.9, 1.15, 1.7, 2.2, 3.0, 4.45]


@pytest.mark.parametrize("velocity", VELOCITIES)
def test_the_ball_lands_where_mechanics_says(velocity):
    misses = [abs(x - 2) - 0.08 for x in landings(velocity)]
    caught = [k for k, m in enumerate(misses, 1) if m <= 0]
    v = torch.tensor([velocity], dtype=torch.float64)
    assert bouncing_ball.landing_in_hole(velocity) == (caught[0] if caught else None)
    expected = 0.02 * velocity**2 + (not caught)
    assert bouncing_ball.hard_cost(v).item() == pytest.approx(expected)
    # With noise of its own at every landing, the probabilities of missing them all multiply.
    lost = math.prod(1 / (1 + math.exp(-m / 0.1)) for m in misses)
    soft = bouncing_ball.soft_cost(v, ts.Logistic(0.1))
    assert soft.item() == pytest.approx(0.02 * velocity**2 + lost, rel=1e-12)
    xs, ys = bouncing_ball.trajectory(velocity)
    assert xs[40] == pytest.approx(landings(velocity)[0]) and ys[40] == pytest.approx(0, abs=1e-12)
    assert ys[0] == pytest.approx(1) and xs[0] == pytest.approx(0)


@pytest.mark.slow
def test_automatic_differentiation_misses_the_hole_and_the_others_do_not(capsys, tmp_path):
    bouncing_ball.main(["--output", str(tmp_path)])
    found = results(tmp_path)
    assert len(found) == 12
    for row in found:
        misses = [abs(x - 2) - 0.08 for x in landings(row["velocity"])]
        caught = any(m <= 0 for m in misses)
        assert caught == (row["landing"] is not None) == (row["method"] != "AD")
        assert row["cost"] == pytest.approx(0.02 * row["velocity"] ** 2 + (not caught))
    assert is_picture(tmp_path / "bouncing_ball.png")
    assert "never" in capsys.readouterr().out


def test_balls_that_are_not_thrown(capsys, tmp_path):
    for options, expected in (
        (["--starts", "fast"], "--starts"),
        (["--steps", "0"], "--steps"),
        (["--output", __file__], "--output"),
    ):
        assert expected in fails(capsys, bouncing_ball, "--output", str(tmp_path), *options)
