"""The command ``filterwise``: run, sweep, record, data, claims, book.

Nothing heavy is imported before a command needs it, so that a mistyped name is refused at once.
"""

from __future__ import annotations

import argparse
import signal
import sys
from collections.abc import Sequence
from types import FrameType
from typing import NoReturn

import filterwise
from filterwise.errors import FilterwiseError, near_miss
from filterwise.parameters import PROFILES, TOGETHER

USAGE_ERROR = 2
INTERRUPTED = 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; its exit status: 0, 1 if something failed, 2 for a mistake in what was asked."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    try:
        options = _parse(given)
        from filterwise import cli_commands

        before = signal.signal(signal.SIGTERM, _interrupt)
        try:
            return int(getattr(cli_commands, f"do_{options.command}")(options))
        finally:
            signal.signal(signal.SIGTERM, before)
    except FilterwiseError as error:
        print(f"filterwise: error: {' '.join(str(error).split())}", file=sys.stderr)
        return USAGE_ERROR
    except KeyboardInterrupt:
        print(
            "filterwise: stopped; what is finished is kept, the same command goes on from there",
            file=sys.stderr,
        )
        return INTERRUPTED
    except BrokenPipeError:  # `filterwise claims | head`
        sys.stderr.close()
        return 0


def _interrupt(_signal: int, _frame: FrameType | None) -> NoReturn:
    raise KeyboardInterrupt


def _parse(given: list[str]) -> argparse.Namespace:
    parser = _parser()
    options, unknown = parser.parse_known_args(_joined(given))
    if unknown:
        (commands,) = (action for action in parser._actions if action.dest == "command")
        known = commands.choices[options.command]._option_string_actions  # type: ignore[index]
        parser.error(f"{options.command} does not know {unknown[0]!r}{near_miss(unknown[0], known)}")
    return options


def _joined(given: list[str]) -> list[str]:
    """``-p name value`` as ``-p name=value``, so that both of papermill's and our way of writing are read."""
    joined: list[str] = []
    rest = iter(given)
    for word in rest:
        joined.append(word)
        if word in ("-p", "--parameter"):
            name = next(rest, None)
            if name is not None:
                value = None if "=" in name else next(rest, None)
                joined.append(name if value is None else f"{name}={value}")
    return joined


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        print(f"filterwise: error: {message} (see {self.prog} --help)", file=sys.stderr)
        raise SystemExit(USAGE_ERROR)

    def _check_value(self, action: argparse.Action, value: object) -> None:
        if action.choices is not None and value not in action.choices:
            name = action.option_strings[-1] if action.option_strings else action.dest
            listed = ", ".join(map(repr, action.choices))
            message = f"{value!r} is not known; choose from {listed}{near_miss(value, action.choices)}"
            raise argparse.ArgumentError(None, f"{name} {message}")


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="filterwise", description="Seven papers on how deep networks learn, re-run.", allow_abbrev=False
    )
    parser.add_argument("--version", action="version", version=f"filterwise {filterwise.__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    def command(name: str, text: str) -> argparse.ArgumentParser:
        return commands.add_parser(name, help=text, description=text, allow_abbrev=False)

    run = command("run", "run a chapter with parameters that are checked before a kernel starts")
    run.add_argument("chapter", help="such as 4-sfp, or the path of a notebook")
    run.add_argument(
        "-p",
        "--parameter",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="any number of times; also: -p NAME VALUE",
    )
    run.add_argument("-o", "--output", metavar="OUT", help="notebook to write (default: below _build/runs)")
    run.add_argument("--list", action="store_true", help="print the chapter's parameters and stop")
    run.add_argument("--log", action="store_true", help="print what the cells print")
    run.add_argument("--quiet", action="store_true", help="no progress bar")

    sweep = command("sweep", "train many networks: every combination of the values given")
    sweep.add_argument("--model", required=True, help="such as lenet5, vgg8")
    sweep.add_argument("--data", required=True, help="such as parts, cifar10")
    sweep.add_argument(
        "--recipe", default="group", help="a name of filterwise.training.RECIPES (default: group)"
    )
    sweep.add_argument("--epochs", type=int, help="instead of the recipe's")
    sweep.add_argument("--seeds", default="0", metavar="0-2|0,5", help="seeds (default: 0)")
    sweep.add_argument("--widths", metavar="W,W", help="factors on all layers' numbers of filters")
    sweep.add_argument("--plans", metavar="P,P", help="pool plans, such as V,L2")
    sweep.add_argument(
        "-s", "--set", action="append", default=[], metavar="NAME=V,V", dest="axes",
        help="any other value: labels=10,20 recipe.lr=0.01,0.1 model_options.d1=6 data_options.n=2000",
    )  # fmt: skip
    sweep.add_argument("--checkpoint-every", type=int, default=5, metavar="EPOCHS", help="(default: 5)")
    sweep.add_argument("--dask", metavar="ADDRESS", help="run on the Dask cluster of this scheduler")
    sweep.add_argument("--table", metavar="FILE", help="write the table as CSV")

    record = command("record", "run and measure what a chapter's claims still miss, inside a budget of time")
    record.add_argument("chapter", help="such as 4-sfp")
    record.add_argument("--profile", required=True, choices=PROFILES)
    record.add_argument("--budget", default="8m", help="such as 90s, 8m, 1h30m (default: 8m)")
    record.add_argument(
        "--stale", action="store_true", help="also redo what was made by code that has changed since"
    )
    record.add_argument("--out", metavar="DIR", help="folder of records (default: data/records)")

    for each, workers in ((sweep, None), (record, 1)):
        each.add_argument("--jobs", type=int, default=workers, metavar="N", help="how many at a time")
        each.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:1, mps (default: auto)")
        each.add_argument(
            "--per-device", type=int, default=1, metavar="N", help="runs at a time on one GPU (default: 1)"
        )
        each.add_argument(
            "--threads", type=int, metavar="N", help="CPU threads of each (default: divided among them)"
        )
        each.add_argument(
            "--together", default="auto", choices=TOGETHER,
            help="train runs that differ in seed or rate as one stack: auto (where it was timed to be "
            "faster), never, always",
        )  # fmt: skip
        each.add_argument("--data-root", metavar="DIR", help="where the image sets are")
        each.add_argument("--runs", metavar="DIR", help="where runs are stored (default: data/runs)")
        each.add_argument(
            "--dry-run", action="store_true", help="print what would run and how long it would take"
        )

    data = command("data", "image sets: list them, look at one, fetch one")
    actions = data.add_subparsers(dest="action", required=True, metavar="ACTION")
    actions.add_parser("list", help="all sets")
    for name, text in (("info", "one set: its source, size and digest"), ("fetch", "download a set")):
        action = actions.add_parser(name, help=text)
        action.add_argument("name")
        action.add_argument("--root", metavar="DIR", help="where the image sets are")

    claims = command("claims", "what the papers claim and what was measured here")
    claims.add_argument("chapter", nargs="?", help="such as 4-sfp (default: all)")
    claims.add_argument("--profile", choices=PROFILES, help="(default: all)")
    claims.add_argument("--csv", action="store_true", help="the whole table as CSV")

    book = command("book", "execute the chapters that changed and build the book")
    book.add_argument("action", nargs="?", default="build", choices=["build"])
    book.add_argument("--out", metavar="DIR", help="folder for the pages (default: _build/html)")
    book.add_argument("--force", action="store_true", help="execute and render everything again")
    return parser


if __name__ == "__main__":
    sys.exit(main())
