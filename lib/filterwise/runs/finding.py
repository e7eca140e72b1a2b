"""One run, found or made: trained under its lock, with checkpoints, and stored when it is complete."""

from __future__ import annotations

import datetime
import json
import platform
import shutil
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import nn

from filterwise.data.imageset import ImageSet
from filterwise.errors import RunError, check_at_least
from filterwise.models.counting import macs, parameter_count
from filterwise.runs import cost, store
from filterwise.runs.networks import beginning
from filterwise.runs.plain_values import named
from filterwise.runs.specification import Keys, Run
from filterwise.training import loop
from filterwise.training.device import pick_device
from filterwise.training.evaluation import evaluate
from filterwise.training.history import History

_clock = time.time


class Paused(RunError):
    """The deadline came before the last epoch; the next call goes on from the checkpoint.

    >>> import tempfile
    >>> from filterwise.training.recipe import Recipe
    >>> run = Run("lenet5", "parts", Recipe(epochs=1), data_options={"n": 100, "n_test": 50})
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     result(run, folder, device="cpu", deadline=0)
    Traceback (most recent call last):
    filterwise.runs.finding.Paused: no time left to begin
    """


def device_type(device: str) -> str:
    """``"cpu"``, ``"cuda"`` or ``"mps"``: what a device is, or what ``"auto"`` would choose."""
    return pick_device(device).type


def partial_folder(root: Path, keys: Keys) -> Path:
    """Where the checkpoints of an unfinished run are."""
    return root / f"{keys.key}.partial"


def done_epochs(root: Path, keys: Keys) -> int:
    """Epochs that a run's checkpoint has; 0 without one."""
    path = partial_folder(root, keys) / "checkpoint.safetensors"
    try:
        with safe_open(path, framework="pt") as file:
            return int(json.loads(file.metadata()["filterwise"])["epoch"])
    except (OSError, SafetensorError, ValueError, KeyError, TypeError):
        return 0  # only an estimate; training itself looks at the file with care


def stored(
    run: Run, root: Path, data_root: str | Path | None = None, device: str = "auto"
) -> tuple[store.Result | None, Keys]:
    """The finished result of a run if there is one, and its keys; nothing is trained."""
    keys = run.keys(data_root, device)
    where = str(data_root) if data_root else None
    return store.read(root / keys.key, run, device, where), keys


def result(
    run: Run,
    root: str | Path | None = None,
    *,
    data_root: str | Path | None = None,
    device: str = "auto",
    checkpoint_every: int = 5,
    deadline: float | None = None,
    progress: bool | None = False,
) -> store.Result:
    """The result of a run: read if it is stored, else trained and stored, its start first.

    Parameters
    ----------
    run
        What to train.
    root
        Where runs are stored; default see :func:`filterwise.runs.store.runs_root`.
    data_root
        Where the images are; default see ``filterwise.data.load``.
    device
        ``auto``, ``cpu``, ``cuda``, ``cuda:1``, ``mps``.
    checkpoint_every
        Epochs between checkpoints. A killed run goes on from the last one, and ends with the same numbers on
        the same device.
    deadline
        Seconds since 1970. An epoch that would end later, going by the last one, is not begun.
    progress
        As for ``filterwise.training.fit``.

    Raises Paused if the deadline came first; TrainingDiverged if the loss stops being a finite number;
    ParameterError, DataError if the network or the data cannot be had.

    >>> import tempfile
    >>> from filterwise.training import Recipe
    >>> run = Run("lenet5", "parts", Recipe(epochs=1), data_options={"n": 100, "n_test": 50})
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     first = result(run, folder, device="cpu")
    ...     again = result(run, folder, device="cpu")
    >>> first.metrics == again.metrics
    True
    """
    check_at_least("checkpoint_every", checkpoint_every, 1)
    folder, where = store.runs_root(root), str(data_root) if data_root else None
    keys = run.keys(where, device)
    with store.lock(folder, keys.key):
        found = store.read(folder / keys.key, run, device, where)
        if found is not None:
            return found
        same: dict[str, Any] = {
            "data_root": where,
            "device": device,
            "checkpoint_every": checkpoint_every,
            "deadline": deadline,
            "progress": progress,
        }
        start = result(run.start, folder, **same) if run.start is not None else None
        check_time(deadline)
        train, test = run.sets(where)
        net, step = beginning(run, train, start, device), named("step", run.step)
        history = loop.fit(
            net,
            train,
            test,
            run.recipe,
            seed=run.seed,
            device=device,
            learn=run.train,
            step=(step[0], dict(step[1])) if step else None,
            checkpoint=partial_folder(folder, keys),
            checkpoint_every=checkpoint_every,
            progress=progress,
            after_epoch=stop_in_time(run.recipe.epochs, deadline) if deadline is not None else None,
        )
        cost.learn(run, history.numerics.device.type, _seconds_alone(history), where)
        keep(folder, run, keys, net, history, where, **({"start": start.keys.key} if start else {}))
        found = store.read(folder / keys.key, run, device, where)
    if found is None:
        raise RunError(f"{folder / keys.key} was written and cannot be read")
    return found


def keep(
    folder: Path,
    run: Run,
    keys: Keys,
    net: nn.Module,
    history: History,
    data_root: str | None,
    **provenance: object,
) -> None:
    """Store what a training left behind, and remove its checkpoint; the run's lock must be held."""
    train, test = run.sets(data_root)
    answers = evaluate(net, test, device=history.numerics.device)
    body = {
        "metrics": _metrics(net, history, train, test),
        "provenance": {**_provenance(history, keys, train), **provenance},
        "right": answers.right.numpy(),
    }
    store.write(folder, keys, run, history.table, net.state_dict(), body)
    shutil.rmtree(partial_folder(folder, keys), ignore_errors=True)


def _seconds_alone(history: History) -> float:
    """Seconds of training as they would be without other programs beside it."""
    if history.numerics.device.type != "cpu":
        return history.seconds
    return min(history.seconds, history.cpu_seconds)


def check_time(deadline: float | None) -> None:
    """Raise :class:`Paused` if the deadline has come."""
    if deadline is not None and _clock() >= deadline:
        raise Paused("no time left to begin")


def stop_in_time(epochs: int, deadline: float) -> Callable[[Mapping[str, Any]], object]:
    """To be called after each epoch; raises if the next one would end too late. ``fit`` keeps a
    checkpoint."""
    before = _clock()

    def after_epoch(row: Mapping[str, Any]) -> None:
        nonlocal before
        now = _clock()
        took, before = now - before, now
        if row["epoch"] < epochs and now + took > deadline:
            raise Paused(f"paused after epoch {row['epoch']} of {epochs}")

    return after_epoch


def _metrics(net: nn.Module, history: History, train: ImageSet, test: ImageSet) -> dict[str, float]:
    final, best = history.final, history.best
    return {
        "accuracy": final["test_accuracy"],
        "loss": final["test_loss"],
        "train_accuracy": final["train_accuracy"],
        "train_loss": final["train_loss"],
        "best_accuracy": best["test_accuracy"],
        "best_epoch": best["epoch"],
        "epochs": final["epoch"],
        "parameters": parameter_count(net),
        "macs": macs(net, train.shape),
        "train_images": len(train),
        "test_images": len(test),
    }


def _provenance(history: History, keys: Keys, train: ImageSet) -> dict[str, Any]:
    device = history.numerics.device
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else str(device)
    return {
        **history.numerics.to_dict(),
        "device": str(device),
        "device_name": name,
        "torch": torch.__version__,
        "python": platform.python_version(),
        "seconds": history.seconds,
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "data": train.title,
        "data_digest": keys.data,
        "source": train.source,
        "labels": train.labels_count,
    }
