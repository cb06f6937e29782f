"""The command line: parse, call ``api``, print. ``main`` maps every outcome to the documented exit codes."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Sequence
from types import FrameType

from ..errors import Stopped, WhyrayError
from ..io.whole import FULL


def main(argv: Sequence[str] | None = None) -> None:
    """Run one command and exit: 0 done, 1 some inputs failed, 2 usage or refused, 3 locked, 5 disk full, 130 / 143."""
    from .app import app

    signal.signal(signal.SIGINT, _interrupted)
    signal.signal(signal.SIGTERM, _terminated)
    try:
        app(args=list(sys.argv[1:] if argv is None else argv), prog_name="whyray")
        sys.stdout.flush()
    except (WhyrayError, Stopped) as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(error.exit_code)
    except BrokenPipeError:
        _nobody_reads_on()
    except SystemExit as stop:
        if isinstance(stop.__context__, BrokenPipeError):  # typer makes an exit with 1 of it before we see it
            _nobody_reads_on()
        raise
    except OSError as error:
        if error.errno not in FULL:
            raise
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        print("error: no room left to write; free some and run again", file=sys.stderr)
        sys.exit(5)


def _nobody_reads_on() -> None:
    """``whyray ... | head``: what is left to write goes nowhere, and that is no error."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    sys.exit(0)


def _interrupted(_number: int, _frame: FrameType | None) -> None:
    raise Stopped("stopped; what was finished is kept")


def _terminated(number: int, _frame: FrameType | None) -> None:
    sys.exit(128 + number)
