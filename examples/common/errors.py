"""Errors that the user can correct, and the exit codes of programs."""

import contextlib
import sys
from collections.abc import Callable, Iterator
from typing import NoReturn


USER_ERROR = 2
INTERRUPTED = 130  # 128 + SIGINT, as shells count


class UserError(Exception):
    """Shown as one line on stderr, without a traceback; the program exits with code 2."""


class Interrupted(Exception):
    """The program was asked to stop, and did; the message tells how to continue."""


@contextlib.contextmanager
def user_errors(*kinds: type[Exception]) -> Iterator[None]:
    """Turn exceptions of these kinds, raised by a library about its arguments, into a UserError."""
    try:
        yield
    except kinds as error:
        raise UserError(" ".join(str(error).split())) from error


def run_program(program: str, main: Callable[[], None]) -> NoReturn:
    """Exit with the code of `main`'s end: 0, or the code of an error, with one line on stderr."""
    try:
        main()
    except UserError as error:
        print(f"{program}: error: {error}", file=sys.stderr)
        sys.exit(USER_ERROR)
    except Interrupted as interrupted:
        print(f"{program}: {interrupted}", file=sys.stderr)
        sys.exit(INTERRUPTED)
    except KeyboardInterrupt:
        print(f"{program}: interrupted outside of training; what was saved stays", file=sys.stderr)
        sys.exit(INTERRUPTED)
    sys.exit(0)
