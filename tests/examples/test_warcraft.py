import json
import sys

import numpy as np
import pytest
import torch
import warcraft
from common import checkpoint
from common.errors import USER_ERROR, UserError, run_program
from maps import Maps, layout
from matplotlib import image
from torch import nn

import torchsmooth as ts


TINY = ["--no-progress", "--threads", "1", "--grid", "4", "--epochs", "2", "--batch-size", "2"]
TINY += ["--train-maps", "5", "--val-maps", "3", "--test-maps", "3", "--lr-drops", "1"]
FEW_SAMPLES = ["--num-samples", "16"]
# The true path goes through the middle; that of the costs below goes along the upper right.
TRUTH = torch.tensor([[[1.0, 0, 0], [0, 1, 0], [0, 0, 1]]])
COSTS = torch.tensor([[[2.0, 1.5, 3], [3, 4, 1.5], [3, 3, 2]]])
OTHER = torch.tensor([[[1.0, 1, 0], [0, 0, 1], [0, 0, 1]]])


@pytest.fixture(autouse=True)
def same_threads_as_before():
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)


def arguments(*more):
    return warcraft.build_parser().parse_args([*TINY, *map(str, more)])


def some_maps(weights, paths=None):
    """Maps whose pictures show ten times the weight of each cell."""
    weights = np.asarray(weights, dtype=np.float16)
    images = np.rint(10 * weights.astype(float)).astype(np.uint8)
    images = images.repeat(8, 1).repeat(8, 2)[..., None].repeat(3, 3)
    if paths is None:
        paths = ts.hard.shortest_path(torch.from_numpy(weights).float())
    return Maps(images, weights, np.asarray(paths).astype(np.uint8))


class Reader(nn.Module):
    """Reads such pictures."""

    def forward(self, images):
        return images[:, ::8, ::8, 0] / 10


# --- Data -----------------------------------------------------------------------------------------


def write_published(directory, maps, splits=layout.SPLITS):
    directory.mkdir(parents=True, exist_ok=True)
    for split in splits:
        for file, array in zip(
            layout.files(directory, split), (maps.images, maps.weights, maps.paths), strict=True
        ):
            np.save(file, array)


def test_published_maps_are_read_as_many_as_asked_for(tmp_path):
    weights = np.random.default_rng(0).choice([0.8, 1.2, 5.3, 7.7, 9.2], (9, 4, 4))
    maps = some_maps(weights)
    write_published(tmp_path / "4x4", maps)
    splits = warcraft.load_data(arguments("--data", "warcraft", "--data-root", tmp_path))
    assert {name: len(split) for name, split in splits.items()} == {"train": 5, "val": 3, "test": 3}
    np.testing.assert_array_equal(splits["train"].images, maps.images[:5])
    assert isinstance(splits["train"].images, np.memmap)


@pytest.mark.parametrize(
    ("shape", "options", "message"),
    [
        ((9, 5, 5), (), r"--data-root.*4 x 4 cells.*9|5 x 5"),
        ((0, 4, 4), (), r"--data-root.*got 0 of 4 x 4"),
        ((1, 4, 4), (), r"--batch-size.*at most 1"),
    ],
)
def test_published_maps_that_do_not_fit(tmp_path, shape, options, message):
    maps = Maps(
        np.zeros((shape[0], 8 * shape[1], 8 * shape[2], 3), np.uint8),
        np.ones(shape, np.float16),
        np.ones(shape, np.uint8),
    )
    write_published(tmp_path / "4x4", maps)
    with pytest.raises(UserError, match=message):
        warcraft.load_data(arguments("--data", "warcraft", "--data-root", tmp_path, *options))


def test_an_epoch_trains_on_every_map_at_most_once():
    batches = [warcraft.batch_of_step(0, step, 17, 5) for step in range(9)]
    for epoch in range(3):
        seen = np.concatenate(batches[3 * epoch : 3 * epoch + 3])
        assert len(set(seen)) == 15 and set(seen) <= set(range(17))
    assert not np.array_equal(batches[0], batches[3])
    assert not np.array_equal(batches[0], warcraft.batch_of_step(1, 0, 17, 5))
    warcraft.order_of_epoch.cache_clear()
    np.testing.assert_array_equal(warcraft.batch_of_step(0, 7, 17, 5), batches[7])


# --- Network --------------------------------------------------------------------------------------


def test_the_network_is_the_first_block_of_resnet18():
    models = pytest.importorskip("torchvision.models")
    images = torch.randint(256, (2, 96, 96, 3), dtype=torch.uint8)
    mean, std = torch.tensor([100.0, 110.0, 120.0]), torch.tensor([50.0, 60.0, 70.0])
    network = warcraft.CostReader(mean, std, amp=False)
    names = ("conv1", "bn1", "relu", "maxpool", "layer1")
    resnet = models.resnet18(weights=None)
    for name, own in zip(names, network.body, strict=False):
        getattr(resnet, name).load_state_dict(own.state_dict())
    x = ((images - mean) / std).permute(0, 3, 1, 2)
    for name in names:
        x = getattr(resnet, name)(x)
    expected = nn.AdaptiveMaxPool2d(12)(x).mean(1)
    torch.testing.assert_close(network(images), expected)
    assert expected.shape == (2, 12, 12) and (expected >= 0).all()


def test_the_network_takes_larger_maps():
    pytest.importorskip("torchvision")
    network = warcraft.CostReader(torch.zeros(3), torch.ones(3), amp=False)
    assert network(torch.zeros(1, 144, 240, 3, dtype=torch.uint8)).shape == (1, 18, 30)


# --- Losses and metrics ---------------------------------------------------------------------------

METHODS = [
    ("--method", "gss", "--num-samples", 1024, "--scale", 1),
    ("--method", "gss", "--smooth", "objective", "--num-samples", 1024, "--scale", 1),
    ("--method", "gss", "--covariate", "none", "--num-samples", 4096, "--scale", 1),
    ("--method", "gss", "--covariate", "fx", "--num-samples", 4096, "--scale", 1),
    ("--method", "fenchel-young", "--num-samples", 256),
    ("--method", "blackbox", "--interpolation", 4),
    ("--method", "perceptron"),
]


def loss_of(*options):
    args = arguments(*options)
    return warcraft.METHODS[args.method](args)


@pytest.mark.parametrize("options", METHODS, ids=lambda options: "-".join(map(str, options[1::2])))
def test_the_gradient_leads_from_the_other_path_to_the_true_one(options):
    assert ts.hard.shortest_path(COSTS).equal(OTHER)
    costs = COSTS.clone().requires_grad_()
    loss = loss_of(*options)(costs, TRUTH, torch.tensor(0))
    loss.backward()
    assert loss > 0
    assert costs.grad[0, 1, 1] > 0  # descent makes the middle cheaper
    assert costs.grad[0, 0, 1] < 0 and costs.grad[0, 1, 2] < 0


def test_the_smoothed_hamming_distance_is_that_of_the_smoothed_path():
    """It is linear in the path, so that both roads give the same value and gradient."""
    options = ("--smooth", "objective", "--num-samples", 64, "--scale", 0.7)
    args, seed = arguments(*options), torch.tensor(3)
    costs = COSTS.clone().requires_grad_()
    value = loss_of(*options)(costs, TRUTH, seed)
    (gradient,) = torch.autograd.grad(value, costs)
    distribution, sampling = warcraft.cli.smoothing(args)
    path = ts.functional.shortest_path(costs, distribution, seed=seed, **sampling)
    expected = warcraft.hamming_distance(path, TRUTH).mean()
    torch.testing.assert_close(value, expected)
    torch.testing.assert_close(gradient, torch.autograd.grad(expected, costs)[0])


def test_the_loss_of_the_algorithm_is_the_squared_distance_of_the_expected_path():
    options = ("--num-samples", 64, "--scale", 0.7)
    distribution, sampling = warcraft.cli.smoothing(arguments(*options))
    seed = torch.tensor(3)
    path = ts.functional.shortest_path(COSTS, distribution, seed=seed, **sampling)
    expected = ((path - TRUTH) ** 2).sum()
    assert loss_of(*options)(COSTS, TRUTH, seed) == pytest.approx(expected.item())


def test_the_hamming_distance_counts_the_cells_of_one_path_only():
    assert warcraft.hamming_distance(OTHER, TRUTH).item() == 3
    assert warcraft.hamming_distance(TRUTH, TRUTH).item() == 0


def test_the_perceptron_is_the_fenchel_young_loss_without_noise():
    costs = COSTS.clone().requires_grad_()
    gradients = []
    for options in (
        ("--method", "perceptron"),
        ("--method", "fenchel-young", "--scale", 1e-4, "--num-samples", 16),
    ):
        loss = loss_of(*options)(costs, TRUTH, torch.tensor(0))
        # 2 + 4 + 2 against 2 + 1.5 + 1.5 + 2
        assert loss.item() == pytest.approx(1, abs=1e-2)
        gradients.append(torch.autograd.grad(loss, costs)[0])
    torch.testing.assert_close(*gradients)
    torch.testing.assert_close(gradients[0], TRUTH - OTHER)


def test_interpolation_moves_a_map_by_the_same_in_any_batch():
    """The true path costs 8 - 3 lambda then, the other one 7: from 1/3 on the true one is found."""
    loss = loss_of("--method", "blackbox", "--interpolation", 0.4)
    for count in (1, 5):
        costs = COSTS.repeat(count, 1, 1).requires_grad_()
        loss(costs, TRUTH.expand_as(costs), torch.tensor(0)).backward()
        expected = ((TRUTH - OTHER) / 0.4 / count).expand_as(costs)
        torch.testing.assert_close(costs.grad, expected)
    costs = COSTS.clone().requires_grad_()
    loss_of("--method", "blackbox", "--interpolation", 0.2)(
        costs, TRUTH, torch.tensor(0)
    ).backward()
    assert not costs.grad.any()


def test_which_paths_match():
    weights = [[1.2, 0.8, 0.8, 9.2], [9.2, 1.2, 9.2, 0.8], [9.2, 9.2, 1.2, 1.2]]
    label = [[1, 1, 1, 0], [0, 0, 0, 1], [0, 0, 0, 1]]
    # Two cells of 1.2 cost as much as three of 0.8, but for the resolution of float16.
    equal = [[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 1]]
    through_rock = [[1, 0, 0, 0], [0, 1, 1, 0], [0, 0, 0, 1]]
    shorter = [[1, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]]
    maps = some_maps([weights] * 4, [label] * 4)
    paths = torch.tensor([label, equal, through_rock, shorter])
    ratio, cheap, exact = warcraft.compare(maps, paths)
    # 4.8 is the least; 1.2 + 1.2 + 9.2 + 1.2 and 1.2 + 0.8 + 9.2 + 1.2.
    expected = torch.tensor([1, 1, 12.8 / 4.8, 12.4 / 4.8], dtype=torch.float64)
    torch.testing.assert_close(ratio, expected, rtol=1e-3, atol=0)
    assert cheap.tolist() == [True, True, False, False]
    assert exact.tolist() == [True, False, False, False]


def test_accuracies_of_a_network_that_reads():
    weights = np.random.default_rng(0).choice([0.8, 1.2, 5.3, 7.7, 9.2], (250, 5, 5))
    maps = some_maps(weights)  # more than a chunk
    perfect = warcraft.evaluate(Reader(), maps, "cpu")
    # Where costs are equal but for the resolution of float16, the label knows better.
    assert perfect["cost_match"] == 1 and perfect["cost_ratio"] == pytest.approx(1, abs=1e-3)
    assert 0.97 < perfect["exact_match"] <= 1
    # A network that sees no difference goes straight through the middle.
    blank = Maps(np.full_like(maps.images, 10), maps.weights, maps.paths)
    straight = (maps.paths == np.eye(5)).all((1, 2)).mean()
    assert warcraft.evaluate(Reader(), blank, "cpu")["exact_match"] == straight < 0.5


def test_an_evaluation_leaves_the_statistics_of_training(monkeypatch):
    pytest.importorskip("torchvision")
    network = warcraft.CostReader(torch.zeros(3), torch.ones(3), amp=False)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    warcraft.evaluate(network, some_maps(np.ones((2, 4, 4))), "cpu")
    assert network.training
    assert all(value.equal(before[name]) for name, value in network.state_dict().items())


class Constant(nn.Module):
    """Sees the same costs in all maps."""

    def __init__(self):
        super().__init__()
        self.costs = nn.Parameter(torch.ones(4, 4))

    def forward(self, images):
        return self.costs.expand(len(images), 4, 4)


def test_what_a_step_trains_on():
    """Its maps with their paths, a seed of its own, and the learning rate of its epoch."""
    maps = some_maps(np.random.default_rng(0).uniform(1, 9, (6, 4, 4)))
    network, seen = Constant(), []

    def loss_of(costs, truth, seed):
        seen.append((truth.clone(), seed.item()))
        return costs.sum()

    args = arguments("--lr", 0.1, "--lr-drops", 1, 2)
    optimizer = torch.optim.SGD(network.parameters(), lr=args.lr)
    step = warcraft.training_step(network, optimizer, loss_of, maps, args)
    rates = []
    for number in range(8):
        before = network.costs[0, 0].item()
        assert step(number) == pytest.approx(2 * 16 * before)
        rates.append((before - network.costs[0, 0].item()) / 2)  # the gradient is the batch size
    assert rates == pytest.approx(3 * [0.1] + 3 * [0.01] + 2 * [0.001], rel=1e-3)
    assert len({seed for _, seed in seen}) == 8
    for number, (truth, _) in enumerate(seen):
        chosen = warcraft.batch_of_step(args.seed, number, 6, 2)
        np.testing.assert_array_equal(truth, maps.paths[chosen])


# --- The program ----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def data_root(tmp_path_factory):
    """Where the first run leaves its maps for the others."""
    return tmp_path_factory.mktemp("maps")


@pytest.fixture
def run(data_root):
    pytest.importorskip("torchvision")

    def run(*options, sampling=FEW_SAMPLES):
        options = [*TINY, "--data-root", data_root, *sampling, *options]
        warcraft.main([str(option) for option in options])

    return run


def test_a_run_leaves_its_results(tmp_path, capsys, run):
    run("--output", tmp_path, "--beta", 3)
    summary = capsys.readouterr().out
    assert summary.count("\n") == 1
    assert "cost match" in summary and str(tmp_path / "paths.png") in summary

    result = json.loads((tmp_path / "result.json").read_text())
    assert [row["step"] for row in result["history"]] == [2, 4]  # the fifth map waits
    assert result["settings"]["scale"] == pytest.approx(1 / 3)
    assert result["settings"]["lr_drops"] == [1]
    assert result["versions"]["torch"] == torch.__version__
    assert 0 <= result["results"]["test"]["exact_match"] <= 1
    for name in ("learning_curve.png", "paths.png"):
        height, width, _ = image.imread(tmp_path / name).shape
        assert height > 200 and width > 400
    best = torch.load(tmp_path / "best.pt", weights_only=True)
    network = warcraft.CostReader(torch.zeros(3), torch.ones(3), amp=False)
    network.load_state_dict(best["model"])


def states(*directories):
    return [checkpoint.load(directory / "checkpoint.pt") for directory in directories]


@pytest.fixture
def undrawn(monkeypatch):
    for drawing in ("draw_learning_curve", "draw_paths"):
        monkeypatch.setattr(warcraft, drawing, lambda *args: None)


@pytest.mark.usefixtures("undrawn")
@pytest.mark.parametrize("options", [METHODS[0], METHODS[1], *METHODS[4:]], ids=lambda o: o[1])
def test_a_continued_run_is_the_straight_run(tmp_path, run, options):
    """Also where the learning rate falls in between."""
    method = [*options[: 4 if "--smooth" in options else 2], "--lr-drops", 1, 2]
    sampling = FEW_SAMPLES if options[1] in ("gss", "fenchel-young") else ()
    straight, parts = tmp_path / "straight", tmp_path / "parts"
    run("--output", straight, *method, "--epochs", 3, sampling=sampling)
    run("--output", parts, *method, "--epochs", 1, sampling=sampling)
    run("--resume", parts, *method, "--epochs", 3, sampling=sampling)
    one, other = states(straight, parts)
    assert one["step"] == other["step"] == 6
    assert one["history"] == other["history"]
    for name, weights in one["model"].items():
        assert weights.equal(other["model"][name]), name
    (group,), moments = one["optimizer"]["param_groups"], one["optimizer"]["state"]
    assert group["lr"] == pytest.approx(3e-5)
    for index, state in moments.items():
        for name, value in state.items():
            assert value.equal(other["optimizer"]["state"][index][name])


@pytest.mark.usefixtures("undrawn")
def test_seeds_differ_in_weights_order_and_noise_but_not_in_maps(tmp_path, run, data_root):
    run("--output", tmp_path / "0")
    run("--output", tmp_path / "1", "--seed", 1)
    one, other = states(tmp_path / "0", tmp_path / "1")
    name = "body.0.weight"
    assert not torch.isclose(one["model"][name], other["model"][name]).all()
    assert len(list(data_root.iterdir())) == 1


def fails(capsys, *options, main=warcraft.main):
    """The message of a run that must end with exit code 2 and one line."""
    with pytest.raises(SystemExit) as exit:
        run_program("warcraft.py", lambda: main([*TINY, *map(str, options)]))
    assert exit.value.code == USER_ERROR
    message = capsys.readouterr().err
    assert message.startswith("warcraft.py: error: ") and message.count("\n") == 1
    return message


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ("--beta 0", "--beta"),
        ("--beta=-1", "--beta"),
        ("--grid 1", "--grid"),
        ("--epochs 0", "--epochs"),
        ("--lr-drops 0", "--lr-drops"),
        ("--data-root pyproject.toml", "--data-root"),
        ("--data warcraft --data-root nowhere", "nowhere/4x4/train_maps.npy is missing"),
        ("--num-samples 1", "num_samples"),
        ("--sampler qmc_cartesian --num-samples 10", "num_samples"),
        ("--sampler qmc_cartesian --num-samples 16", "n = 16 dimensions"),  # not the 4 of 2 x 2
        ("--method fenchel-young --distribution cauchy", "distribution must have a mean"),
        ("--method fenchel-young --smooth objective", "--smooth"),
        ("--method perceptron --beta 4", "--scale"),
        ("--method blackbox --num-samples 10", "--num-samples"),
        ("--interpolation 1", "--interpolation"),
        ("--method dijkstra", "--method"),
        ("--resume nowhere", "--resume"),
    ],
)
def test_wrong_arguments(capsys, monkeypatch, pytestconfig, options, expected):
    monkeypatch.chdir(pytestconfig.rootpath)
    assert expected in fails(capsys, *options.split())


def test_a_missing_package(capsys, monkeypatch, data_root, tmp_path):
    monkeypatch.setitem(sys.modules, "torchvision.models", None)
    message = fails(capsys, "--data-root", data_root, "--output", tmp_path)
    assert "warcraft.py needs torchvision" in message
    assert "pip install torchsmooth[warcraft]" in message


def test_the_extra_that_an_error_names_has_the_package(pytestconfig):
    tomllib = pytest.importorskip("tomllib")  # Python 3.11
    project = tomllib.loads((pytestconfig.rootpath / "pyproject.toml").read_text())["project"]
    assert "torchvision" in project["optional-dependencies"]["warcraft"]


def test_presets_are_complete():
    """Whatever has no default of its own has one in each."""
    args = warcraft.build_parser().parse_args([])
    open_to_presets = {name for name, value in vars(args).items() if value is None}
    for preset in warcraft.PRESETS.values():
        assert open_to_presets - {"threads", "resume"} == preset.keys()


@pytest.mark.parametrize("amp", ["--amp", "--no-amp"])
def test_a_replayed_step_is_the_step(tmp_path, run, device, amp):
    if device.type != "cuda":
        pytest.skip("CUDA graphs need a CUDA device")
    options = ["--epochs", 4, "--lr-drops", 3, "--device", device, amp]
    run("--output", tmp_path / "graph", *options, "--cuda-graphs")
    run("--output", tmp_path / "eager", *options)
    graph, eager = (state["model"] for state in states(tmp_path / "graph", tmp_path / "eager"))
    # Adam's steps are 0.003 long in each weight, whatever the gradient.
    for name, weights in graph.items():
        torch.testing.assert_close(weights, eager[name], rtol=0, atol=6e-4)
