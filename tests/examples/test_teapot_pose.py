import json
import math

import numpy as np
import pytest
import teapot_pose
import torch
from common import checkpoint
from common.errors import USER_ERROR, run_program
from matplotlib import image
from PIL import Image
from scipy import stats

import torchsmooth as ts


TINY = ["--no-progress", "--threads", "1", "--seeds", "2", "--schedule", "3", "--level", "1"]
TINY += ["--image-size", "16", "--num-samples", "8"]
FIGURES = ("optimization.png", "poses.png", "optimization.gif")


@pytest.fixture(autouse=True)
def same_threads_as_before():
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)


def arguments(*more):
    return teapot_pose.build_parser().parse_args([*TINY, *map(str, more)])


def pose(distance=3.0, elevation=0.0, azimuth=0.0, view=20.0):
    return torch.tensor([distance, elevation, azimuth, view], dtype=torch.float64)


# --- Poses ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("one", "other", "angle"),
    [
        (pose(), pose(), 0),
        (pose(), pose(azimuth=180), 180),
        (pose(azimuth=10), pose(azimuth=370), 0),
        (pose(azimuth=-170), pose(azimuth=175), 15),
        (pose(elevation=20), pose(elevation=-15), 35),
        (pose(elevation=90, azimuth=12), pose(elevation=90, azimuth=77), 0),
        (pose(elevation=90), pose(azimuth=55), 90),
        (pose(elevation=100), pose(elevation=80, azimuth=180), 0),  # over the pole
        (pose(elevation=60), pose(elevation=60, azimuth=90), math.degrees(math.acos(0.75))),
        (pose(distance=2.5, view=10), pose(distance=9, view=30), 0),
        (pose(), pose(azimuth=1e-6), 1e-6),
    ],
)
def test_the_angle_between_two_cameras(one, other, angle):
    """With cosines of the sides, cos 60 cos 60 cos 90 + sin 60 sin 60 = 3/4."""
    assert teapot_pose.angle_between(one, other).item() == pytest.approx(angle, abs=1e-12)
    assert teapot_pose.angle_between(other, one).item() == pytest.approx(angle, abs=1e-12)


def test_where_a_camera_stands():
    """At d (cos e sin a, sin e, -cos e cos a), as the renderer has it."""
    root = math.sqrt(0.5)
    poses = torch.stack((pose(), pose(azimuth=90), pose(elevation=90), pose(3, 45, 180)))
    expected = [[0, 0, -1], [1, 0, 0], [0, 1, 0], [0, root, root]]
    where = teapot_pose.direction(poses)
    torch.testing.assert_close(where, torch.tensor(expected, dtype=torch.float64))
    again = teapot_pose.pose_at(where, poses[:, 0], poses[:, 3])
    torch.testing.assert_close(teapot_pose.direction(again), where)


def test_poses_lie_in_the_published_ranges():
    truth, start = teapot_pose.draw_poses(0, 10_000)
    assert (truth[:, 3] == 20).all()
    offset = start[:, 0] - truth[:, 0]
    for values, low, high in (
        (truth[:, 0], 2.5, 4),
        (offset, -0.5, 6),
        (start[:, 3], 10, 30),
        (teapot_pose.angle_between(truth, start), 15, 75),
        # Uniform on the sphere: so are its coordinates (Archimedes).
        *((coordinate, -1, 1) for coordinate in teapot_pose.direction(truth).T),
    ):
        assert low <= values.min() + 1e-9 and values.max() <= high + 1e-9
        # Of a fixed seed; false alarms of all seven together: 7e-6, 4.5 sigma.
        law = stats.uniform(low, high - low)
        assert stats.kstest(values.numpy(), law.cdf).pvalue > 1e-6
    assert start[:, 0].min() >= 2 and start[:, 0].max() <= 10


def test_starts_lie_on_all_sides_of_the_truth():
    """What of the way to the start leads east and north of the truth has a uniform direction."""
    truth, start = teapot_pose.draw_poses(1, 10_000)
    here, there = teapot_pose.direction(truth), teapot_pose.direction(start)
    east = teapot_pose.direction(
        truth * torch.tensor([1, 0, 1, 1]) + torch.tensor([0, 0, 90, 0])
    )  # on the equator, a quarter turn on
    north = torch.linalg.cross(here, east)
    side = torch.atan2((there * north).sum(-1), (there * east).sum(-1))
    law = stats.uniform(-math.pi, 2 * math.pi)
    assert stats.kstest(side.numpy(), law.cdf).pvalue > 1e-6


def test_seeds_have_other_poses():
    truth, start = teapot_pose.draw_poses(0, 4)
    again, _ = teapot_pose.draw_poses(0, 4)
    other, _ = teapot_pose.draw_poses(1, 4)
    assert truth.equal(again) and not truth.isclose(other)[:, :3].any()


def test_the_mesh_has_the_size_that_is_asked_for(tmp_path):
    file = tmp_path / "mesh.obj"
    file.write_text("v 1 1 1\nv 5 1 1\nv 1 3 1\nf 1 2 3\n")
    pytest.importorskip("trimesh")
    mesh = teapot_pose.load_mesh(arguments("--mesh", file, "--size", "1/2"))
    expected = [[-0.25, -0.125, 0], [0.25, -0.125, 0], [-0.25, 0.125, 0]]
    torch.testing.assert_close(mesh.vertices, torch.tensor(expected))
    box = teapot_pose.load_mesh(arguments()).vertices
    sides = box.amax(0) - box.amin(0)
    assert sides.max().item() == pytest.approx(2.05)


def test_a_smaller_teapot_is_seen_whole_from_every_true_pose():
    """The pyramid of view holds a cone, and that at 2.5 a ball of 2.5 sin 20 degrees."""
    mesh = teapot_pose.load_mesh(arguments("--size", "1.6", "--level", 8))
    assert torch.linalg.vector_norm(mesh.vertices, dim=1).max() < 2.5 * math.sin(math.radians(20))


# --- Losses, schedules, metrics -------------------------------------------------------------------


def test_the_ends_of_the_schedules():
    base = torch.tensor([0.1, 5, 5, 0.25])
    for step, exponent in ((0, 0.75), (500, -0.5), (1000, -1.75)):
        scale = teapot_pose.noise_scale(step, 1001, 1.0)
        torch.testing.assert_close(scale, base * 10**exponent)
    torch.testing.assert_close(teapot_pose.noise_scale(0, 1, 2.0), 2 * base * 10**0.75)
    factors = [
        (teapot_pose.noise_scale(t + 1, 9, 1.0) / teapot_pose.noise_scale(t, 9, 1.0))
        for t in range(8)
    ]
    torch.testing.assert_close(torch.stack(factors), torch.full((8, 4), 10 ** (-2.5 / 8)))


def test_the_learning_rate_is_that_of_cosine_annealing():
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.3)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 20)
    for step in range(20):
        expected = optimizer.param_groups[0]["lr"]
        assert teapot_pose.learning_rate(step, 20, 0.3) == pytest.approx(expected)
        optimizer.step()
        schedule.step()


@pytest.mark.parametrize("angles", [[0.0, 4.99, 5.0, 80.0, 6.0], [9.0] * 4, [1.0] * 7])
def test_the_success_rate_and_its_interval(angles):
    """Wilson's interval has the rates from which the one seen is 1.96 standard errors away."""
    rate, interval = teapot_pose.success_rate(torch.tensor(angles))
    n, seen = len(angles), sum(angle < 5 for angle in angles) / len(angles)
    assert rate == seen
    z = stats.norm.ppf(0.975)
    roots = np.sort(np.roots([1 + z**2 / n, -2 * seen - z**2 / n, seen**2]))
    assert interval == pytest.approx(roots, abs=1e-12)


def losses(*options, poses, targets, seed=3):
    args = arguments(*options)
    mesh = teapot_pose.load_mesh(args)
    loss_of = teapot_pose.smoothed_loss(args, mesh)
    return loss_of(poses, targets, torch.tensor([0.1, 5, 5, 0.25]), torch.tensor(seed)), mesh


def test_the_two_ways_to_smooth():
    """The loss of the mean image, and the mean of the loss over the same images."""
    truth, start = (p.float() for p in teapot_pose.draw_poses(0, 3))
    options = ("--num-samples", 64)
    mesh = teapot_pose.load_mesh(arguments())
    targets = ts.hard.render(truth, *mesh, image_size=16)
    noise = ts.Logistic(scale=torch.tensor([0.1, 5, 5, 0.25]))
    sampling = dict(num_samples=64, seed=torch.tensor(3))

    expected = ts.functional.render(start, *mesh, noise, image_size=16, **sampling)
    of_algorithm, _ = losses(*options, poses=start, targets=targets)
    torch.testing.assert_close(of_algorithm, ((expected - targets) ** 2).sum((1, 2)))

    # Pixels are 0 or 1: their mean squared distance to the target is linear in the mean image.
    of_objective, _ = losses(*options, "--smooth", "objective", poses=start, targets=targets)
    linear = expected * (1 - targets) + (1 - expected) * targets
    torch.testing.assert_close(of_objective, linear.sum((1, 2)))


@pytest.mark.parametrize("smooth", ["algorithm", "objective"])
@pytest.mark.parametrize("covariate", ["loo", "fx"])
def test_the_gradient_leads_to_the_truth(smooth, covariate):
    """From a camera that is too far away, the distance is to shrink."""
    poses = pose(6.0, 20, 30).float().repeat(2, 1).requires_grad_()
    mesh = teapot_pose.load_mesh(arguments())
    targets = ts.hard.render(pose(3.0, 20, 30).float(), *mesh, image_size=16).repeat(2, 1, 1)
    options = ("--smooth", smooth, "--covariate", covariate, "--num-samples", 1024)
    loss, _ = losses(*options, poses=poses, targets=targets)
    loss.sum().backward()
    assert (poses.grad[:, 0] > 0).all()


def test_what_a_pose_does_is_its_own_affair():
    """A seed goes the same way in a larger batch."""
    args = arguments()
    mesh = teapot_pose.load_mesh(args)
    ways, moments = [], []
    for count in (1, 3):
        poses = teapot_pose.Poses(0, 3, 3)
        for name in ("truth", "start", "passed"):
            kept = getattr(poses, name)
            setattr(poses, name, kept[:, :count] if name == "passed" else kept[:count])
        poses.pose = torch.nn.Parameter(poses.pose.detach()[:count])
        targets = ts.hard.render(poses.truth, *mesh, image_size=16)
        optimizer = torch.optim.Adam(poses.parameters(), betas=teapot_pose.BETAS)
        loss_of = teapot_pose.smoothed_loss(args, mesh)
        step = teapot_pose.optimization_step(poses, optimizer, loss_of, targets, 1, args)
        for number in range(3):
            step(number)
        assert poses.passed[0].equal(poses.start)
        ways.append(torch.cat((poses.passed, poses.pose.detach()[None]))[:, 0])
        moments.append(optimizer.state[poses.pose]["exp_avg"][0])
    assert ways[0].equal(ways[1]) and moments[0].equal(moments[1])
    assert (ways[0][1:] != ways[0][:-1]).all()


# --- The program ----------------------------------------------------------------------------------


def run(*options):
    teapot_pose.main([str(option) for option in (*TINY, *options)])


def test_a_run_leaves_its_results(tmp_path, capsys):
    run("--output", tmp_path)
    summary = capsys.readouterr().out
    assert summary.count("\n") == 1
    assert "success" in summary and str(tmp_path / "optimization.gif") in summary

    result = json.loads((tmp_path / "result.json").read_text())
    assert result.keys() == {"settings", "versions", "machine", "timings", "history", "results"}
    assert [row["step"] for row in result["history"]] == [1, 2, 3]
    assert result["history"][0].keys() == {"step", "loss", "success", "median_angle"}
    assert result["settings"]["steps"] == 3 and result["settings"]["num_samples"] == 8
    assert result["versions"]["torch"] == torch.__version__
    results = result["results"]
    low, high = results["success_interval"]
    assert 0 <= low <= results["success"] <= high <= 1
    for truth, found, angle in zip(
        results["true_poses"], results["found_poses"], results["angles"], strict=True
    ):
        between = teapot_pose.angle_between(torch.tensor(truth), torch.tensor(found))
        assert between.item() == pytest.approx(angle)
    assert all(15 - 1e-3 < angle < 75 + 1e-3 for angle in results["start_angles"])
    for name in FIGURES[:2]:
        height, width, _ = image.imread(tmp_path / name).shape
        assert height > 200 and width > 400
    with Image.open(tmp_path / "optimization.gif") as animation:
        assert animation.n_frames == 4  # before each step, and after the last one
    best = torch.load(tmp_path / "best.pt", weights_only=True)
    assert best["model"]["pose"].shape == (2, 4)


def test_a_run_with_large_images_is_drawn(tmp_path):
    """Of more pixels than a quarter of what can be rendered."""
    few = ("--seeds", 1, "--schedule", 1, "--num-samples", 2)
    run("--output", tmp_path, "--image-size", 1100, *few)
    assert all((tmp_path / name).exists() for name in (*FIGURES, "result.json"))


@pytest.fixture
def undrawn(monkeypatch):
    for drawing in ("draw_optimization", "draw_poses_seen", "draw_animation"):
        monkeypatch.setattr(teapot_pose, drawing, lambda *args: None)


@pytest.mark.usefixtures("undrawn")
@pytest.mark.parametrize("smooth", ["algorithm", "objective"])
def test_a_continued_run_is_the_straight_run(tmp_path, smooth):
    straight, parts = tmp_path / "straight", tmp_path / "parts"
    run("--output", straight, "--smooth", smooth)
    run("--output", parts, "--smooth", smooth, "--steps", 1)
    run("--resume", parts, "--smooth", smooth, "--steps", 3)
    one, other = (checkpoint.load(path / "checkpoint.pt") for path in (straight, parts))
    assert one["step"] == other["step"] == 3
    assert one["history"] == other["history"]
    assert one["model"].keys() == {"pose", "start", "truth", "passed"}
    for name, values in one["model"].items():
        assert values.equal(other["model"][name]), name
    (state,), (again,) = (each["optimizer"]["state"].values() for each in (one, other))
    assert all(value.equal(again[name]) for name, value in state.items())


@pytest.mark.usefixtures("undrawn")
def test_a_run_cannot_be_continued_beyond_its_schedule(tmp_path, capsys):
    run("--output", tmp_path, "--steps", 1)
    assert "--schedule was 3, is 5" in fails(capsys, "--resume", tmp_path, "--schedule", 5)
    assert "--steps: expected at most 3" in fails(capsys, "--resume", tmp_path, "--steps", 4)


def fails(capsys, *options):
    """The message of a run that must end with exit code 2 and one line."""
    capsys.readouterr()
    with pytest.raises(SystemExit) as exit:
        run_program("teapot_pose.py", lambda: run(*options))
    assert exit.value.code == USER_ERROR
    message = capsys.readouterr().err
    assert message.startswith("teapot_pose.py: error: ") and message.count("\n") == 1
    return message


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ("--seeds 0", "--seeds"),
        ("--schedule 0", "--schedule"),
        ("--steps 4", "--steps: expected at most 3"),
        ("--size 0", "--size"),
        ("--scale=-1", "--scale"),
        ("--image-size 5000", "image_size"),
        ("--mesh nowhere.obj --level 6", "nowhere.obj"),
        ("--mesh some.obj --level 2", "--level"),
        ("--num-samples 1", "num_samples"),
        ("--sampler qmc_cartesian --num-samples 64", "num_samples"),
        ("--antithetic --num-samples 3", "num_samples"),
        ("--distribution uniform", "--distribution"),
        ("--amp", "--amp"),
        ("--resume nowhere", "--resume"),
        ("--output pyproject.toml", "--output"),
    ],
)
def test_wrong_arguments(capsys, monkeypatch, pytestconfig, options, expected):
    monkeypatch.chdir(pytestconfig.rootpath)
    assert expected in fails(capsys, *options.split())


def test_presets_are_complete():
    """Whatever has no default of its own has one in each."""
    args = teapot_pose.build_parser().parse_args([])
    open_to_presets = {name for name, value in vars(args).items() if value is None}
    for preset in teapot_pose.PRESETS.values():
        assert open_to_presets - {"threads", "resume", "mesh", "steps"} == preset.keys()


@pytest.mark.usefixtures("undrawn")
def test_a_replayed_step_is_the_step(tmp_path, device):
    if device.type != "cuda":
        pytest.skip("CUDA graphs need a CUDA device")
    options = ["--schedule", 8, "--device", device]
    run("--output", tmp_path / "graph", *options, "--cuda-graphs")
    run("--output", tmp_path / "eager", *options)
    graph, eager = (
        checkpoint.load(tmp_path / name / "checkpoint.pt")["model"]["pose"]
        for name in ("graph", "eager")
    )
    torch.testing.assert_close(graph, eager, rtol=1e-3, atol=1e-2)
