"""``filterwise sweep``: a grid of networks from the command line, each of its settings said once."""

from __future__ import annotations

import ast
import contextlib
import itertools
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from filterwise.cli.strictness import Strict, name_and_value, work
from filterwise.errors import ParameterError, RunError, check_choice
from filterwise.parameters import check_meaning

if TYPE_CHECKING:
    from filterwise.runs.specification import Run

_MOST_RUNS = 10_000
_SCHEDULER_SECONDS = 4
_NOT_SHOWN = ("key", "spec_key", "error", "torch")


@click.command(cls=Strict)
@click.option("--model", required=True, help="Such as lenet5, vgg8.")
@click.option("--data", required=True, help="Such as parts, cifar10.")
@click.option("--recipe", default="group", show_default=True, help="A name of filterwise.training.RECIPES.")
@click.option("--epochs", type=int, help="Instead of the recipe's.")
@click.option("--seeds", metavar="0-2|0,5", help="Seeds (default: 0).")
@click.option("--widths", metavar="W,W", help="Factors on all layers' numbers of filters.")
@click.option("--plans", metavar="P,P", help="Pool plans, such as V,L2.")
@click.option(
    "-s", "--set", "settings", multiple=True, metavar="NAME=V,V",
    help="Any other values: labels=10,20 recipe.lr=0.01,0.1 model_options.d1=6 data_options.n=2000.",
)  # fmt: skip
@click.option("--checkpoint-every", type=int, default=5, show_default=True, metavar="EPOCHS")
@click.option("--dask", metavar="ADDRESS", help="Run on the Dask cluster of this scheduler.")
@click.option("--table", metavar="FILE", help="Write the table as CSV.")
@work(jobs=None)
def sweep(
    model: str, data: str, recipe: str, epochs: int | None, seeds: str | None, widths: str | None,
    plans: str | None, settings: tuple[str, ...], checkpoint_every: int, dask: str | None, table: str | None,
    jobs: int | None, per_device: int, together: int, dry_run: bool, **common: Any,
) -> int:  # fmt: skip
    """Train many networks: every combination of the values given."""
    options = {
        "--seeds": ("seed", seeds),
        "--widths": ("model_options.width", widths),
        "--plans": ("model_options.plan", plans),
        "--epochs": ("recipe.epochs", None if epochs is None else str(epochs)),
        "--model": ("model", model),
        "--data": ("data", data),
    }
    given = {option: (name, text) for option, (name, text) in options.items() if text is not None}
    axes = axes_of(given, settings)
    if table:
        _check_writable(Path(table))
    _check_early(data, recipe, axes)
    if dask is not None and not dry_run:
        _check_listens(dask)
    runs = _grid(model, data, recipe, axes)
    from filterwise.runs import cost
    from filterwise.runs.finding import device_type
    from filterwise.runs.sweeping import describe, queue, sweep

    if dry_run:
        listed = queue(runs, **common)
        unsaid = ["key", *(["error"] if not listed["error"].any() else [])]
        click.echo(listed.drop(columns=unsaid).to_string(index=False, float_format="{:.3g}".format))
        waits = ~listed["status"].isin(["stored", "failed"])
        left, kind = float(listed["estimated_seconds"].sum()) / (jobs or 1), device_type(common["device"])
        timed = all(cost.measured(run.model, kind) for run, each in zip(runs, waits, strict=True) if each)
        said = f", {cost.hope(left, timed)}, with {jobs or 1} at a time" if waits.any() else ""
        click.echo(f"{int(waits.sum())} of {len(listed)} runs to do{said}")
        return int((listed["status"] == "failed").any())
    with _engine(dask):
        answer = sweep(
            runs, jobs, per_device=per_device, together=together, checkpoint_every=checkpoint_every, **common
        )
    shown = [column for column in answer.table.columns if column not in _NOT_SHOWN]
    click.echo(answer.table[shown].to_string(index=False, float_format="{:.4g}".format))
    if table:
        from filterwise.disk import naming
        from filterwise.files import atomic

        with naming(Path(table).parent, "--table"), atomic(table) as unfinished:
            answer.table.to_csv(unfinished, index=False)
    for failure in answer.failures:
        click.echo(f"filterwise: failed: {describe(failure.run)}: {failure.error}", err=True)
    return 1 if answer.failures else 0


def axes_of(options: dict[str, tuple[str, str]], settings: tuple[str, ...]) -> dict[str, list[Any]]:
    """Values by name.

    Parameters
    ----------
    options : an option that was given -> the setting that it stands for, and its text.
    settings : the texts of ``-s``.

    Raises ParameterError if a setting is said twice, which names both, has no value or one of them twice, or
    there are too many combinations.

    >>> axes_of({"--seeds": ("seed", "0-1")}, ("recipe.lr=0.1,0.2",))
    {'recipe.lr': [0.1, 0.2], 'seed': [0, 1]}
    >>> axes_of({"--seeds": ("seed", "0")}, ("seed=7",))
    Traceback (most recent call last):
    filterwise.errors.ParameterError: seed is set by both '-s seed=7' and '--seeds 0'; give one of them
    """
    said: list[tuple[str, str, str]] = []  # name, text of its values, how it was said
    for text in settings:
        name, value = name_and_value("-s", text)
        said.append((name.strip(), value, f"-s {text}"))
    said += [(name, value, f"{option} {value}") for option, (name, value) in options.items()]
    axes: dict[str, list[Any]] = {}
    how: dict[str, str] = {}
    runs = 1
    for name, value, words in said:
        if name in how:
            raise ParameterError(f"{name} is set by both {how[name]!r} and {words!r}; give one of them")
        how[name] = words
        if name == "recipe":
            raise ParameterError(f"{words!r}: give --recipe {value}, and -s recipe.NAME=VALUE for its parts")
        if name in [name for name, _ in options.values()] and not value.strip():
            raise ParameterError(f"{words.strip()} has no value")
        axes[name] = _seeds(value, words) if name == "seed" else values_of(value)
        if any(one in axes[name][:place] for place, one in enumerate(axes[name])):
            raise ParameterError(f"{words!r} has a value twice")
        runs *= len(axes[name])
        if runs > _MOST_RUNS:
            raise ParameterError(f"{words!r} makes {runs:,} runs; at most {_MOST_RUNS:,} are allowed")
    return axes


def _check_early(data: str, recipe: str, axes: dict[str, list[Any]]) -> None:
    """What can be refused without importing torch, which takes longer than all else."""
    from filterwise.training.recipe import RECIPES

    check_meaning("data", data)
    check_choice("recipe", recipe, RECIPES)
    parts = {name.removeprefix("recipe."): axes[name] for name in axes if name.startswith("recipe.")}
    for values in itertools.product(*parts.values()):
        RECIPES[recipe].replace(**dict(zip(parts, values, strict=True)))


def _grid(model: str, data: str, recipe: str, axes: dict[str, list[Any]]) -> list[Run]:
    from filterwise.runs.combinations import grid
    from filterwise.runs.specification import Run
    from filterwise.training.recipe import RECIPES

    varied = {name: values for name, values in axes.items() if name not in ("model", "data")}
    return grid(Run(model, data, RECIPES[recipe]), **varied)


def _seeds(text: str, words: str) -> list[int]:
    seeds: list[int] = []
    for part in text.split(","):
        first, dash, last = part.strip().partition("-")
        if not first.isdecimal() or (dash and not last.isdecimal()):
            raise ParameterError(f"{words!r} is not a list of seeds; write 0-2 or 0,5")
        new = range(int(first), int(last or first) + 1)
        if len(new) > _MOST_RUNS:
            raise ParameterError(f"{words!r} has {len(new):,} seeds; at most {_MOST_RUNS:,} runs are allowed")
        seeds += new
    if not seeds or len(set(seeds)) < len(seeds):
        raise ParameterError(f"{words!r} has no seed, or one of them twice")
    return seeds


def values_of(text: str) -> list[Any]:
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


def _check_writable(file: Path) -> None:
    """Before the work: the folder of a table is there, or can be made, and takes a table."""
    from filterwise.disk import check_writable

    if file.is_dir():
        raise ParameterError(f"--table {file} is a folder; the name of a file is expected")
    check_writable(file.parent, "--table")


def _check_listens(address: str) -> None:
    """A scheduler is at the address; Dask itself takes long to give up, and never does where nobody speaks.

    Raises ParameterError: it is no address; RunError: nothing listens there, or does not speak first, as a
    scheduler does.
    """
    kind, _, place = address.rpartition("://")
    host, _, port = place.rpartition(":")
    if not host or not port.isdecimal():
        raise ParameterError(f"--dask {address} is not an address; write tcp://HOST:PORT")
    if kind not in ("", "tcp", "tls", "ws", "wss"):
        return
    try:
        with socket.create_connection((host.strip("[]"), int(port)), _SCHEDULER_SECONDS) as connection:
            if kind in ("", "tcp") and not connection.recv(1):
                raise OSError("it closes the connection")
    except (OSError, OverflowError) as error:
        why = getattr(error, "strerror", None) or error
        raise RunError(f"no Dask scheduler at {address}: {why}") from None


@contextlib.contextmanager
def _engine(address: str | None) -> Iterator[None]:
    if address is None:
        yield
        return
    try:
        import dask.config
        from distributed import Client
    except ImportError:
        raise RunError("--dask needs dask; pip install 'filterwise[cluster]'") from None
    from joblib import parallel_config

    click.echo(f"filterwise: asking for a Dask scheduler at {address}", err=True)
    try:
        with dask.config.set({"distributed.comm.timeouts.connect": _SCHEDULER_SECONDS}):
            client = Client(address, timeout=_SCHEDULER_SECONDS)
    except Exception as error:  # of whatever a program that is no scheduler answers
        raise RunError(f"no Dask scheduler at {address}: {type(error).__name__}: {error}") from None
    with client, parallel_config(backend="dask", client=client, wait_for_workers_timeout=3600):
        yield
