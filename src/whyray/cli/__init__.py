"""The command line: parse, call ``api``, print. ``main`` maps every outcome to the documented exit codes."""

from __future__ import annotations

import signal
import sys
from collections.abc import Sequence
from types import FrameType

from ..errors import WhyrayError


def main(argv: Sequence[str] | None = None) -> None:
    """Run one command and exit: 0 done, 1 some inputs failed, 2 usage or refused, 3 locked, 5 disk full, 130 / 143."""
    import click

    from .app import app

    signal.signal(signal.SIGTERM, _terminated)
    try:
        code = app(args=list(sys.argv[1:] if argv is None else argv), standalone_mode=False, prog_name="whyray")
    except WhyrayError as error:
        print(f"error: {error}", file=sys.stderr)
        code = error.exit_code
    except click.ClickException as error:
        error.show()
        code = error.exit_code
    except (KeyboardInterrupt, click.Abort):
        print("stopped; what was finished is kept", file=sys.stderr)
        code = 130
    except BrokenPipeError:  # `whyray ... | head`: nobody reads on
        sys.stderr.close()
        code = 0
    sys.exit(int(code or 0))


def _terminated(number: int, _frame: FrameType | None) -> None:
    sys.exit(128 + number)
