"""The program: its commands, and what a mistake or an interruption of any of them looks like."""

from __future__ import annotations

import signal
import sys
from collections.abc import Sequence
from types import FrameType
from typing import NoReturn

import click

import filterwise
from filterwise.cli.budgets import record
from filterwise.cli.facts import claims, data
from filterwise.cli.grids import sweep
from filterwise.cli.machine import doctor
from filterwise.cli.notebooks import book, release, run
from filterwise.errors import FilterwiseError

USAGE_ERROR = 2
INTERRUPTED = 130

program = click.Group(
    "filterwise",
    commands={
        each.name: each for each in (run, sweep, record, data, claims, book, release, doctor) if each.name
    },
    help="Seven papers on how deep networks learn, re-run.",
    no_args_is_help=False,
)
click.version_option(filterwise.__version__, message="filterwise %(version)s")(program)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; its exit status: 0, 1 if something failed, 2 for a mistake in what was asked."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    before = signal.signal(signal.SIGTERM, _interrupt)
    try:
        with program.make_context("filterwise", given) as context:
            return int(program.invoke(context) or 0)
    except click.exceptions.Exit as answered:  # --help, --version
        return answered.exit_code
    except click.ClickException as error:
        where = getattr(error, "ctx", None)
        see = where.command_path if where else "filterwise"
        return _refused(f"{error.format_message().rstrip('.')} (see {see} --help)")
    except FilterwiseError as error:
        return _refused(str(error))
    except (KeyboardInterrupt, click.Abort):
        said = "filterwise: stopped; what is finished is kept, the same command goes on from there"
        print(said, file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:  # `filterwise claims | head`
        sys.stderr.close()
        return 0
    except OSError as error:  # a full disk, a folder that may not be written
        return _refused(f"{error.strerror or error}: {error.filename}" if error.filename else str(error))
    finally:
        signal.signal(signal.SIGTERM, before)


def _refused(message: str) -> int:
    print(f"filterwise: error: {' '.join(message.split())}", file=sys.stderr)
    return USAGE_ERROR


def _interrupt(_signal: int, _frame: FrameType | None) -> NoReturn:
    raise KeyboardInterrupt
