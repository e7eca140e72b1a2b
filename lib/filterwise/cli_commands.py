"""What each command of ``filterwise`` does; imported by it after the command line has been read."""

from __future__ import annotations

import argparse
import ast
import contextlib
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from filterwise.errors import FilterwiseError, ParameterError, RunError, check_choice

if TYPE_CHECKING:
    from filterwise.runs import Run


def do_run(options: argparse.Namespace) -> int:
    """``filterwise run``: check, then papermill."""
    from filterwise import chapters, parameters

    notebook = chapters.chapter_path(options.chapter)
    schema = parameters.read(notebook)
    if options.list:
        for each in schema.values():
            print(
                f"{each.name}: {each.type} = {each.default!r}"
                + (f"  # {each.comment}" if each.comment else "")
            )
        return 0
    pairs = []
    for text in options.parameter:
        name, equals, value = text.partition("=")
        if not equals:
            raise ParameterError(f"-p {text} has no value; write -p {text}=VALUE")
        pairs.append((name, value))
    values = chapters.from_texts(schema, pairs)
    output = Path(options.output) if options.output else chapters.default_output(notebook, values)

    def say(line: str) -> None:
        print(f"filterwise: error: {notebook.stem}: {line}", file=sys.stderr)

    status = chapters.run(notebook, values, output, log=options.log, progress=not options.quiet, say=say)
    if status == 0:
        print(output)
    return status


def do_sweep(options: argparse.Namespace) -> int:
    """``filterwise sweep``: the grid, then its table."""
    from filterwise import runs
    from filterwise.runs.tables import write_csv

    listed = _grid(options)
    common = {
        "root": options.runs,
        "data_root": options.data_root,
        "device": options.device,
        "threads": options.threads,
    }
    if options.dry_run:
        queue = runs.queue(listed, **common)
        print(queue.drop(columns="key").to_string(index=False, float_format="{:.3g}".format))
        print(_total(queue["estimated_seconds"], queue["status"] != "stored", options.jobs or 1))
        return 0
    with _engine(options.dask):
        answer = runs.sweep(
            listed,
            options.jobs,
            per_device=options.per_device,
            together=options.together,
            checkpoint_every=options.checkpoint_every,
            **common,
        )
    columns = [
        column for column in answer.table.columns if column not in ("key", "spec_key", "error", "torch")
    ]
    print(answer.table[columns].to_string(index=False, float_format="{:.4g}".format))
    if options.table:
        write_csv(answer.table, Path(options.table))
    for failure in answer.failures:
        print(f"filterwise: failed: {runs.describe(failure.run)}: {failure.error}", file=sys.stderr)
    return 1 if answer.failures else 0


def _grid(options: argparse.Namespace) -> list[Run]:
    from filterwise import runs
    from filterwise.training import RECIPES

    check_choice("recipe", options.recipe, RECIPES)
    recipe = RECIPES[options.recipe]
    if options.epochs is not None:
        recipe = recipe.replace(epochs=options.epochs)
    axes: dict[str, list[Any]] = {}
    for text in options.axes:
        name, equals, values = text.partition("=")
        if not equals or not values:
            raise ParameterError(f"-s {text} has no value; write -s {name}=VALUE,VALUE")
        axes[name] = _values(values)
    for name, given in (("model_options.width", options.widths), ("model_options.plan", options.plans)):
        if given:
            axes[name] = _values(given)
    axes["seed"] = _seeds(options.seeds)
    return runs.grid(runs.Run(options.model, options.data, recipe), **axes)


def _seeds(text: str) -> list[int]:
    seeds: list[int] = []
    for part in text.split(","):
        first, dash, last = part.strip().partition("-")
        if not first.isdecimal() or (dash and not last.isdecimal()):
            raise ParameterError(f"seeds={text!r} is not a list of seeds; write 0-2 or 0,5")
        seeds += range(int(first), int(last or first) + 1)
    if not seeds or len(set(seeds)) < len(seeds):
        raise ParameterError(f"seeds={text!r} has no seed, or one of them twice")
    return seeds


def _values(text: str) -> list[Any]:
    """Values between commas, brackets kept together: ``V,L2`` is two texts, ``(1,2),(3,4)`` two tuples."""
    parts, depth = [""], 0
    for character in text:
        depth += (character in "([") - (character in ")]")
        if character == "," and depth == 0:
            parts.append("")
        else:
            parts[-1] += character
    return [_value(part.strip()) for part in parts]


def _value(text: str) -> Any:
    words = {"true": True, "false": False, "none": None}
    if text.lower() in words:
        return words[text.lower()]
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return text


@contextlib.contextmanager
def _engine(address: str | None) -> Iterator[None]:
    if address is None:
        yield
        return
    try:
        from distributed import Client
    except ImportError:
        raise RunError("--dask needs dask; pip install 'filterwise[cluster]'") from None
    from joblib import parallel_config

    try:
        client = Client(address, timeout="30s")
    except (OSError, TimeoutError, ValueError) as error:
        raise RunError(f"no Dask scheduler at {address}: {error}") from None
    with client, parallel_config(backend="dask", client=client, wait_for_workers_timeout=3600):
        yield


def do_record(options: argparse.Namespace) -> int:
    """``filterwise record``: what is missing, inside the budget."""
    from filterwise import runs
    from filterwise.runs import cost

    common = {
        "data_root": options.data_root,
        "root": options.runs,
        "out": options.out,
        "device": options.device,
        "stale": options.stale,
    }
    if options.dry_run:
        listed = runs.pending(options.chapter, options.profile, **common)
        for each in listed:
            took = cost.text(each.seconds) if each.status not in ("done", "blocked") else each.reason
            print(f"{each.status:8} {each.job.name:40} {took}".rstrip())
        open_ones = [each for each in listed if each.status not in ("done", "blocked")]
        total = cost.text(sum(each.seconds for each in open_ones) / max(options.jobs, 1))
        print(f"{len(open_ones)} of {len(listed)} jobs to do" + (f", about {total}" if open_ones else ""))
        return 0
    report = runs.record(
        options.chapter,
        options.profile,
        options.budget,
        jobs=options.jobs,
        per_device=options.per_device,
        together=options.together,
        threads=options.threads,
        say=lambda line: print(line, flush=True),
        **common,
    )
    for name, error in {**report.blocked, **report.failed}.items():
        print(
            f"filterwise: {'failed' if name in report.failed else 'blocked'}: {name}: {error}",
            file=sys.stderr,
        )
    still = len(report.paused) + len(report.left)
    written = f" in {report.path}" if report.done else ""
    print(
        f"{len(report.done)} recorded{written}, {still} to do, "
        f"{len(report.failed)} failed, {len(report.blocked)} blocked"
    )
    return 1 if report.failed or (report.blocked and not report.done) else 0


def do_data(options: argparse.Namespace) -> int:
    """``filterwise data list|info|fetch``."""
    from filterwise import data

    if options.action == "list":
        for name in data.names():
            print(data.describe(name))
        return 0
    info = data.describe(options.name)
    for split in info.splits:
        found = data.load(options.name, split=split, root=options.root, download=options.action == "fetch")
        print(f"{found.title}, {split}: {len(found):,} images, {len(found.label_names)} labels, "
              f"{found.source}, digest {found.digest[:16]}")  # fmt: skip
    return 0


def do_claims(options: argparse.Namespace) -> int:
    """``filterwise claims``: the ledger."""
    from filterwise import claims

    table = claims.ledger(options.chapter, options.profile)
    if options.csv:
        table.to_csv(sys.stdout, index=False)
        return 0
    shown = [
        column
        for column in ("chapter", "claim", "profile", "n", "verdict", "paper", "ours")
        if column in table
    ]
    print(table[shown].to_string(index=False, max_colwidth=60, na_rep=""))
    print(", ".join(f"{count} {verdict}" for verdict, count in table["verdict"].value_counts().items()))
    return 0


def do_book(options: argparse.Namespace) -> int:
    """``filterwise book``: see :mod:`filterwise.book`."""
    from filterwise import book

    try:
        book.build(out=options.out, force=options.force, say=print)
    except FilterwiseError as error:  # one of many lines: the cell, or every warning of Sphinx
        print(f"filterwise: error: the book was not built: {error}", file=sys.stderr)
        return 1
    return 0


def _total(seconds: Any, to_do: Any, workers: int) -> str:
    from filterwise.runs import cost

    left = cost.text(float(seconds.sum()) / workers)
    return f"{int(to_do.sum())} of {len(seconds)} runs to do, about {left} with {workers} at a time"
