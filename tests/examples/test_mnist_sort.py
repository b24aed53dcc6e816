import itertools
import json
import os
import signal
import struct
import subprocess
import sys
import time

import mnist_sort
import numpy as np
import pytest
import torch
from common import checkpoint
from common.errors import INTERRUPTED, USER_ERROR, run_program
from common.permutation_loss import permutation_loss
from matplotlib import image
from rivals import RIVALS

import torchsmooth as ts


TINY = ["--no-progress", "--threads", "1", "--batch-size", "3", "--num-images", "3"]
TINY += ["--eval-every", "2", "--checkpoint-every", "1"]
FEW_SAMPLES = ["--num-samples", "16"]


FEW = {"VALIDATION_SETS": 20, "TEST_SETS": 20, "SETS_PER_CHUNK": 10}


@pytest.fixture(autouse=True)
def few_sets(monkeypatch):
    for name, value in FEW.items():
        monkeypatch.setattr(mnist_sort, name, value)


@pytest.fixture(autouse=True)
def same_threads_as_before():
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def splits():
    return mnist_sort.load_digits()


def arguments(*more):
    return mnist_sort.build_parser().parse_args([*TINY, *FEW_SAMPLES, *more])


def start(program, *options):
    """A process of its own, to be killed."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, *program, *TINY, *FEW_SAMPLES, *map(str, options)]
    return subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True)


def wait_for(path, process):
    deadline = time.monotonic() + 60
    while not path.exists():
        assert process.poll() is None, process.stderr.read()
        assert time.monotonic() < deadline
        time.sleep(0.01)


def assert_same(a, b, where="state"):
    """Equal to the bit, except for the seconds that it took."""
    assert type(a) is type(b), where
    if isinstance(a, dict):
        assert a.keys() == b.keys(), where
        for key in a.keys() - {"seconds", "settings"}:
            assert_same(a[key], b[key], f"{where}[{key!r}]")
    elif isinstance(a, list):
        assert len(a) == len(b), where
        for i, (x, y) in enumerate(zip(a, b, strict=True)):
            assert_same(x, y, f"{where}[{i}]")
    elif isinstance(a, torch.Tensor):
        assert torch.equal(a, b), where
    else:
        assert a == b, where


# --- Data ---------------------------------------------------------------------------------------


def test_no_digit_of_one_split_is_in_another(splits):
    sizes = {name: len(split.labels) for name, split in splits.items()}
    assert sizes == {"train": 5 * 1197, "validation": 300, "test": 300}
    unshifted = {name: splits[name].images[: {"train": 1197}.get(name, 300)] for name in splits}
    for one, other in itertools.combinations(unshifted.values(), 2):
        assert torch.cdist(one.flatten(1), other.flatten(1)).min() > 0


def test_shifts_move_every_digit_by_one_pixel_and_keep_its_label():
    images, labels = torch.zeros(2, 8, 8), torch.tensor([4, 7])
    images[:, 3, 5] = torch.tensor([1.0, 2.0])
    shifted = mnist_sort.Digits(images, labels).with_shifts()
    for digit, value in enumerate((1.0, 2.0)):
        places = {tuple(place[1:].tolist()) for place in (shifted.images == value).nonzero()}
        assert places == {(3, 5), (2, 5), (4, 5), (3, 4), (3, 6)}
        assert (shifted.labels[(shifted.images == value).flatten(1).any(1)] == labels[digit]).all()


def test_numbers_are_what_their_digits_say(splits):
    digits = splits["test"]
    images, numbers = mnist_sort.compose(digits, torch.tensor(5), 4, 3)
    assert images.shape == (4, 3, 8, 32)
    for image_of_number, number in zip(images.flatten(0, 1), numbers.flatten(), strict=True):
        read = ""
        for part in image_of_number.split(8, dim=1):
            (source,) = (digits.images == part).flatten(1).all(1).nonzero()[:, 0].unique().tolist()
            read += str(digits.labels[source].item())
        assert int(read) == number


def test_a_batch_is_a_function_of_the_seed(splits):
    one, same, other = (
        mnist_sort.compose(splits["train"], torch.tensor(seed), 4, 3) for seed in (1, 1, 2)
    )
    assert one[0].equal(same[0]) and one[1].equal(same[1])
    assert not one[1].equal(other[1])


def write_mnist(root):
    """Files of MNIST's layout: a header of big-endian integers, then bytes."""
    raw = root / "MNIST" / "raw"
    raw.mkdir(parents=True)
    for name, count in (("train", 12), ("t10k", 6)):
        images = np.random.default_rng(count).integers(0, 256, (count, 28, 28), dtype=np.uint8)
        labels = (np.arange(count) % 10).astype(np.uint8)
        header = struct.pack(">IIII", 2051, count, 28, 28)
        (raw / f"{name}-images-idx3-ubyte").write_bytes(header + images.tobytes())
        header = struct.pack(">II", 2049, count)
        (raw / f"{name}-labels-idx1-ubyte").write_bytes(header + labels.tobytes())


def test_mnist_is_read_and_split(tmp_path, monkeypatch):
    pytest.importorskip("torchvision")
    monkeypatch.setattr(mnist_sort, "MNIST_VALIDATION", 4)
    write_mnist(tmp_path)
    splits = mnist_sort.load_data(arguments("--data", "mnist", "--data-root", str(tmp_path)))
    assert {name: split.labels.tolist() for name, split in splits.items()} == {
        "train": [0, 1, 2, 3, 4, 5, 6, 7],
        "validation": [8, 9, 0, 1],
        "test": [0, 1, 2, 3, 4, 5],
    }
    std, mean = torch.std_mean(splits["train"].images)
    assert abs(mean) < 1e-5 and abs(std - 1) < 1e-5
    images, _ = mnist_sort.compose(splits["train"], torch.tensor(0), 2, 3)
    assert images.shape == (2, 3, 28, 112)
    assert mnist_sort.Scorer(28, 112, amp=False)(images).shape == (2, 3)


# --- Losses and metrics ---------------------------------------------------------------------------


def test_of_equal_numbers_the_first_comes_first():
    numbers = torch.tensor([[7, 3, 7, 3]])
    assert mnist_sort.order(numbers).tolist() == [[1, 3, 0, 2]]
    truth = ts.hard.argsort(numbers.float())  # what the network is trained towards
    assert truth.argmax(-1).equal(mnist_sort.order(numbers))


def test_the_loss_of_a_perfect_matrix_is_next_to_nothing():
    truth = ts.hard.argsort(torch.tensor([[2.0, 0.0, 1.0]]))
    assert 0 < permutation_loss(truth, truth, 1024) < 1e-3


def test_the_loss_has_a_finite_gradient_where_no_sample_or_every_sample_hit():
    truth = torch.eye(2)
    wrong = (1 - truth).requires_grad_()
    permutation_loss(wrong, truth, 64).backward()
    assert wrong.grad.isfinite().all()
    assert (wrong.grad.sign() == 1 - 2 * truth).all()  # less of what is wrong, more of what is not


@pytest.mark.parametrize("covariate", ["none", "fx", "loo"])
@pytest.mark.parametrize("smooth", ["algorithm", "objective"])
def test_the_gradient_moves_misordered_scores_towards_their_places(smooth, covariate):
    args = arguments("--smooth", smooth, "--covariate", covariate, "--scale", "1")
    args.num_samples = 1024
    scores = torch.tensor([[0.0, 0.5, 1.0]], requires_grad=True)
    truth = ts.hard.argsort(torch.tensor([[3.0, 2.0, 1.0]]))
    mnist_sort.smoothed_loss(args)(scores, truth, torch.tensor(0)).backward()
    assert scores.grad[0, 0] < 0 < scores.grad[0, 2]


def test_misplaced_is_one_minus_element_wise_accuracy():
    scores = torch.tensor([[1.0, 2.0, 3.0, 4.0], [2.0, 1.0, 3.0, 4.0]])
    truth = torch.eye(4).expand(2, 4, 4)
    assert mnist_sort.misplaced(scores, truth).tolist() == [0, 0.5]


def test_accuracies_of_a_network_that_reads(splits):
    """The label of a digit is painted over its pixels, and read from there."""
    digits = splits["test"]
    painted = digits.labels.float()[:, None, None].expand(-1, 8, 8)

    def read(images):
        return images[:, :, 0, ::8] @ torch.tensor([1000.0, 100.0, 10.0, 1.0])

    def mirrored(images):
        return -read(images)

    legible = mnist_sort.Digits(painted, digits.labels)
    perfect = mnist_sort.evaluate(read, legible, "test", sets=20, n=3)
    assert perfect == {"exact_match": 1, "element_wise": 1}
    # Backwards, only the middle of three is in its place.
    wrong = mnist_sort.evaluate(mirrored, legible, "test", sets=20, n=3)
    assert wrong == {"exact_match": 0, "element_wise": 1 / 3}


# --- The program ----------------------------------------------------------------------------------


def run(*options, sampling=FEW_SAMPLES):
    mnist_sort.main([*TINY, *sampling, *map(str, options)])


def test_a_run_leaves_its_results(tmp_path, capsys):
    run("--output", tmp_path, "--steps", 3, "--smooth", "objective", "--scale", "1/3")
    summary = capsys.readouterr().out
    assert summary.count("\n") == 1
    assert "exact match" in summary and str(tmp_path / "sorted.png") in summary

    result = json.loads((tmp_path / "result.json").read_text())
    assert [row["step"] for row in result["history"]] == [2, 3]
    assert result["settings"]["scale"] == pytest.approx(1 / 3)
    assert result["versions"]["torch"] == torch.__version__
    assert result["timings"]["steps_per_second"] > 0
    assert 0 <= result["results"]["test"]["exact_match"] <= 1
    for name in ("learning_curve.png", "sorted.png"):
        height, width, _ = image.imread(tmp_path / name).shape
        assert height > 200 and width > 400
    best = torch.load(tmp_path / "best.pt", weights_only=True)
    mnist_sort.Scorer(8, 32, amp=False).load_state_dict(best["model"])


@pytest.mark.slow
@pytest.mark.parametrize("first", [3, 4])  # between two looks at the validation sets, and at one
def test_a_continued_run_is_the_straight_run(tmp_path, first):
    straight, parts = tmp_path / "straight", tmp_path / "parts"
    run("--output", straight, "--steps", 6)
    run("--output", parts, "--steps", first)
    run("--resume", parts, "--steps", 6)
    states = [checkpoint.load(directory / "checkpoint.pt") for directory in (straight, parts)]
    assert states[0]["step"] == 6
    assert_same(*states)
    histories = [
        json.loads((directory / "result.json").read_text())["history"]
        for directory in (straight, parts)
    ]
    assert histories[0] == histories[1]


@pytest.mark.parametrize("method", RIVALS)
def test_a_rival_trains_in_the_same_loop(tmp_path, monkeypatch, method):
    package = {"diffsort": "diffsort", "softrank": "torchsort"}.get(method.split("-")[0])
    if package:
        pytest.importorskip(package)
    for drawing in ("draw_learning_curve", "draw_sorted"):
        monkeypatch.setattr(mnist_sort, drawing, lambda *args, **options: None)
    run("--output", tmp_path, "--method", method, "--steps", 2, sampling=())
    result = json.loads((tmp_path / "result.json").read_text())
    assert result["settings"]["temperature"] == RIVALS[method]().temperature
    assert result["history"][0]["loss"] > 0


def test_the_exact_loss_is_the_limit_of_the_sampled_one():
    """Value and gradient, for scores between which no probability is small."""
    scores = torch.tensor([[0.2, 0.0, 0.1], [0.05, -0.1, 0.0]], requires_grad=True)
    truth = ts.hard.argsort(torch.tensor([[0.0, 1.0, 2.0], [2.0, 0.0, 1.0]]))
    seed = torch.tensor(0)
    results = []
    for options in (["--method", "exact"], ["--num-samples", str(2**17)]):
        loss = mnist_sort.METHODS[options[1] if "exact" in options else "gss"](arguments(*options))
        value = loss(scores, truth, seed)
        results.append((value.detach(), *torch.autograd.grad(value, scores)))
    for exact, sampled in zip(*results, strict=True):
        torch.testing.assert_close(sampled, exact, rtol=0, atol=3e-3)


def test_training_with_exact_probabilities(tmp_path):
    options = ["--method", "exact", "--distribution", "cauchy", "--scale", "1/3", "--steps", 3]
    run("--output", tmp_path, *options, sampling=())
    result = json.loads((tmp_path / "result.json").read_text())
    assert result["settings"]["method"] == "exact"
    assert all(row["loss"] > 0 for row in result["history"])


@pytest.mark.slow
def test_a_continued_run_draws_the_noise_of_the_straight_run(tmp_path):
    """The one method that draws from torch's generator, whose state the checkpoint keeps."""
    straight, parts = tmp_path / "straight", tmp_path / "parts"
    run("--output", straight, "--method", "perturbed", "--steps", 3)
    run("--output", parts, "--method", "perturbed", "--steps", 2)
    run("--resume", parts, "--steps", 3, sampling=())
    states = [checkpoint.load(directory / "checkpoint.pt") for directory in (straight, parts)]
    assert states[0]["step"] == 3
    assert_same(*states)


@pytest.mark.parametrize("amp", ["--amp", "--no-amp"])
def test_a_replayed_step_is_the_step(tmp_path, device, amp):
    if device.type != "cuda":
        pytest.skip("CUDA graphs need a CUDA device")
    options = ["--steps", 8, "--device", device, amp]
    run("--output", tmp_path / "graph", *options, "--cuda-graphs")
    run("--output", tmp_path / "eager", *options)
    graph, eager = (
        checkpoint.load(tmp_path / name / "checkpoint.pt")["model"] for name in ("graph", "eager")
    )
    # Five of the steps are replayed. Adam's are 0.002 long in each weight, whatever the gradient.
    for name, weights in graph.items():
        torch.testing.assert_close(weights, eager[name], rtol=0, atol=2e-4)


@pytest.mark.processes
def test_a_killed_run_is_continued_to_the_bit(tmp_path):
    killed, straight = tmp_path / "killed", tmp_path / "straight"
    program = f"import sys, mnist_sort as m; vars(m).update({FEW}); m.main(sys.argv[1:])"
    process = start(["-c", program], "--output", killed, "--steps", 100_000)
    wait_for(killed / "checkpoint.pt", process)
    process.send_signal(signal.SIGKILL)
    process.communicate()

    steps = checkpoint.load(killed / "checkpoint.pt")["step"] + 3
    run("--resume", killed, "--steps", steps)
    run("--output", straight, "--steps", steps)
    states = [checkpoint.load(directory / "checkpoint.pt") for directory in (killed, straight)]
    assert states[0]["step"] == steps
    assert_same(*states)


@pytest.mark.processes
def test_an_interrupted_run_says_how_to_go_on(tmp_path):
    process = start([mnist_sort.__file__], "--output", tmp_path, "--steps", 100_000)
    wait_for(tmp_path / "checkpoint.pt", process)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate()
    assert process.returncode == INTERRUPTED
    assert errors.count("\n") == 1
    assert f"--resume {tmp_path}" in errors
    assert checkpoint.load(tmp_path / "checkpoint.pt")["step"] < 100_000


def fails(capsys, *options, sampling=FEW_SAMPLES):
    """The message of a run that must end with exit code 2 and one line."""
    with pytest.raises(SystemExit) as exit:
        run_program("mnist_sort.py", lambda: run(*options, sampling=sampling))
    assert exit.value.code == USER_ERROR
    message = capsys.readouterr().err
    assert message.startswith("mnist_sort.py: error: ") and message.count("\n") == 1
    return message


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ("--scale=-1/3", "--scale"),
        ("--num-images 1", "--num-images"),
        ("--lr zero", "--lr"),
        ("--steps 0", "--steps"),
        ("--distribution uniform", "--distribution"),
        ("--device nowhere", "--device"),
        ("--device cpu --amp", "--amp"),
        ("--device cpu --cuda-graphs", "--cuda-graphs"),
        ("--sampler qmc_cartesian --num-samples 10", "num_samples"),
        ("--num-samples 1", "num_samples"),
        ("--antithetic --num-samples 7", "num_samples"),
        ("--resume nowhere", "--resume"),
        ("--output pyproject.toml", "--output"),
        ("--nonsense", "--nonsense"),
        ("--temperature 0 --method neuralsort", "--temperature"),
        ("--temperature 1", "--temperature"),
        ("--method neuralsort", "--num-samples"),
        ("--method perturbed --scale 1/3 --covariate fx", "--scale, --covariate"),
        ("--method exact", "--num-samples"),
        ("--method exact --sampler mc --smooth objective", "--smooth, --sampler"),
        ("--method bogosort", "--method"),
    ],
)
def test_wrong_arguments(capsys, monkeypatch, pytestconfig, options, expected):
    monkeypatch.chdir(pytestconfig.rootpath)
    assert expected in fails(capsys, *options.split())


def test_mnist_that_is_not_there(capsys, tmp_path):
    options = ["--data", "mnist", "--data-root", tmp_path / "empty", "--output", tmp_path / "run"]
    message = fails(capsys, *options)
    # Without torchvision, that is what is missing first.
    assert "--data-root" in message or "pip install" in message


@pytest.mark.parametrize(
    ("options", "module", "package", "extra"),
    [
        ("--data digits", "sklearn.datasets", "scikit-learn", "examples"),
        ("--data mnist", "torchvision.datasets", "torchvision", "mnist"),
        ("--method diffsort-cauchy", "diffsort", "diffsort", "benchmarks"),
        ("--method softrank", "torchsort", "torchsort", "benchmarks"),
    ],
)
def test_a_missing_package(capsys, monkeypatch, tmp_path, options, module, package, extra):
    monkeypatch.setitem(sys.modules, module, None)
    message = fails(capsys, "--output", tmp_path, *options.split(), sampling=())
    assert f"{options} needs {package}" in message
    assert f"pip install torchsmooth[{extra}]" in message


@pytest.mark.parametrize(
    ("extra", "package"),
    [
        ("examples", "scikit-learn"),
        ("mnist", "torchvision"),
        ("benchmarks", "diffsort"),
        ("benchmarks", "torchsort"),
    ],
)
def test_the_extra_that_an_error_names_has_the_package(pytestconfig, extra, package):
    tomllib = pytest.importorskip("tomllib")  # Python 3.11
    project = tomllib.loads((pytestconfig.rootpath / "pyproject.toml").read_text())["project"]
    assert package in project["optional-dependencies"][extra]


def test_a_run_is_not_continued_with_other_settings(capsys, tmp_path):
    run("--output", tmp_path, "--steps", 1)
    message = fails(capsys, "--resume", tmp_path, "--scale", "1/4", "--covariate", "fx")
    assert "--scale was 0.1, is 0.25" in message
    assert "--covariate was loo, is fx" in message
    assert "--seed" not in message


def test_a_loss_that_is_not_finite_ends_the_run(capsys, tmp_path):
    assert "--lr" in fails(capsys, "--output", tmp_path, "--steps", 4, "--lr", "1e30")
