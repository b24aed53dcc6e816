import json
import os
import signal

import pytest
import torch
from common import checkpoint, cli
from common.errors import USER_ERROR, UserError, run_program, user_errors
from common.interrupt import Interrupt
from common.run_directory import RunDirectory
from common.seeding import random_integers, step_seed


def test_random_integers_are_those_of_splitmix64():
    # The first outputs of the published generator for the seed 1234567.
    expected = [6457827717110365317, 3203168211198807973, 9817491932198370423]
    low_63_bits = (1 << 63) - 1
    got = random_integers(torch.tensor(1234567), low_63_bits, (3,))
    assert got.tolist() == [value & low_63_bits for value in expected]


def test_random_integers_are_uniform():
    counts = random_integers(torch.tensor(3), 10, (100, 1000)).flatten().bincount(minlength=10)
    chi_squared = ((counts - 10_000) ** 2 / 10_000).sum().item()
    assert chi_squared < 9 + 5 * 18**0.5  # 9 degrees of freedom, five sigmas


def test_random_integers_of_a_larger_shape_begin_with_those_of_a_smaller():
    seed = torch.tensor(7)
    assert random_integers(seed, 100, (5, 4)).equal(random_integers(seed, 100, (9, 4))[:5])


def test_step_seeds_differ_by_seed_stream_and_step():
    seeds = {
        step_seed(seed, stream, step)
        for seed in (0, 1)
        for stream in ("train", "test")
        for step in range(100)
    }
    assert len(seeds) == 400
    assert all(0 <= seed < 2**63 for seed in seeds)


def test_a_failed_save_leaves_the_last_checkpoint(tmp_path):
    path = tmp_path / "checkpoint.pt"
    whole = {"settings": {}, "step": 1, "optimizer": {}}
    checkpoint.save(path, whole)
    with pytest.raises(Exception, match="pickle"):
        checkpoint.save(path, {"step": 2, "no pickle": lambda: None})
    assert checkpoint.load(path) == whole


@pytest.mark.parametrize("content", [b"", b"not a checkpoint", None])
def test_what_is_no_checkpoint_is_a_user_error(tmp_path, content):
    path = tmp_path / "checkpoint.pt"
    if content is None:
        checkpoint.save(path, {"weights": torch.zeros(2)})
    else:
        path.write_bytes(content)
    with pytest.raises(UserError, match="--resume"):
        checkpoint.load(checkpoint.find(tmp_path))


def test_a_result_is_written_whole(tmp_path):
    directory = RunDirectory(tmp_path / "new" / "run")
    directory.write_result({"accuracy": 0.5})
    assert json.loads(directory.result.read_text()) == {"accuracy": 0.5}
    assert os.listdir(directory.path) == ["result.json"]
    figure = directory.path / "figure.png"
    figure.touch()
    directory.clear(figure)
    assert os.listdir(directory.path) == []


@pytest.mark.parametrize(
    ("text", "value"), [("1", 1.0), ("1/3", 1 / 3), ("0.1", 0.1), ("1e-3", 1e-3)]
)
def test_fractions(text, value):
    assert cli.fraction(text) == value


@pytest.mark.parametrize("text", ["", "x", "0", "-1", "1/0", "1/-3", "nan", "inf", "1e999"])
def test_what_is_no_positive_fraction(text):
    with pytest.raises(Exception, match=r"expected a positive number or fraction"):
        cli.fraction(text)


def test_a_user_error_is_one_line_and_exit_code_2(capsys):
    def main():
        with user_errors(ValueError):
            raise ValueError("first line,\n  second line")

    with pytest.raises(SystemExit) as exit:
        run_program("program.py", main)
    assert exit.value.code == USER_ERROR
    assert capsys.readouterr().err == "program.py: error: first line, second line\n"


def test_other_errors_keep_their_traceback():
    with pytest.raises(ZeroDivisionError):
        run_program("program.py", lambda: 1 / 0)


@pytest.fixture
def interruptible():
    """SIGINT as in a terminal: what runs in the background may have been told to ignore it."""
    inherited = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, inherited)


@pytest.mark.usefixtures("interruptible")
def test_interrupt_asks_first_and_insists_the_second_time():
    before = signal.getsignal(signal.SIGINT)
    with Interrupt() as interrupt:
        assert not interrupt.requested
        os.kill(os.getpid(), signal.SIGINT)
        assert interrupt.requested
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) is before
