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

from filterwise import models, training
from filterwise.errors import RunError, check_at_least
from filterwise.runs import cost, datasets, store
from filterwise.runs.spec import Keys, Run

_clock = time.time


class Paused(RunError):
    """The deadline came before the last epoch; the next call goes on from the checkpoint."""


def device_type(device: str) -> str:
    """``"cpu"``, ``"cuda"`` or ``"mps"``: what a device is, or what ``"auto"`` would choose."""
    return training.pick_device(device).type


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


def done_share(root: Path, keys: Keys, run: Run) -> float:
    """Share of a run's epochs that its checkpoint has; 0 without one."""
    return min(1.0, done_epochs(root, keys) / run.recipe.epochs)


def stored(run: Run, root: Path, data_root: str | Path | None = None) -> tuple[store.Result | None, Keys]:
    """The finished result of a run if there is one, and its keys; nothing is trained."""
    keys = run.keys(data_root)
    return store.read(root, keys, run, data_root=str(data_root) if data_root else None), keys


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
    """The result of a run: read if it is stored, else trained and stored.

    Parameters
    ----------
    run
        What to train.
    root
        Where runs are stored; default see :func:`filterwise.runs.store.runs_root`.
    data_root
        Where the images are; default see ``filterwise.data.load``.
    device
        ``auto``, ``cpu``, ``cuda``, ``cuda:1``, ``mps``. A stored result is taken wherever it was made.
    checkpoint_every
        Epochs between checkpoints. A killed run goes on from the last one, and ends with the same numbers on
        the same device.
    deadline
        Seconds since 1970. An epoch that would end later, going by the last one, is not begun.
    progress
        As for ``filterwise.training.fit``.

    Raises
    ------
    Paused
        If the deadline came first.
    TrainingDiverged
        If the loss stops being a finite number.
    ParameterError, DataError
        If the network or the data cannot be had.

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
    folder = store.runs_root(root)
    where = str(data_root) if data_root else None
    keys = run.keys(where)
    with store.lock(folder, keys.key):
        found = store.read(folder, keys, run, device, where)
        if found is None:
            partial = partial_folder(folder, keys)
            net = store.build_network(run, where)
            history = _fit(run, net, partial, where, device, checkpoint_every, deadline, progress)
            keep(folder, run, keys, net, history, where)
            found = store.read(folder, keys, run, device, where)
        if found is None:
            raise RunError(f"{folder / keys.key} was written and cannot be read")
    return found


def keep(
    folder: Path,
    run: Run,
    keys: Keys,
    net: nn.Module,
    history: training.History,
    data_root: str | None,
    **provenance: object,
) -> None:
    """Store what a training left behind, and remove its checkpoint; the run's lock must be held."""
    body = {
        "metrics": _metrics(net, history, run, data_root),
        "provenance": {**_provenance(history, run, keys, data_root), **provenance},
    }
    store.write(folder, keys, run, history.table, net.state_dict(), body)
    shutil.rmtree(partial_folder(folder, keys), ignore_errors=True)


def _fit(
    run: Run,
    net: nn.Module,
    partial: Path,
    data_root: str | None,
    device: str,
    checkpoint_every: int,
    deadline: float | None,
    progress: bool | None,
) -> training.History:
    train, test = datasets.train_and_test(run, data_root)
    check_time(deadline)
    history = training.fit(
        net,
        train,
        test,
        run.recipe,
        seed=run.seed,
        device=device,
        checkpoint=partial,
        checkpoint_every=checkpoint_every,
        progress=progress,
        after_epoch=stop_in_time(run.recipe.epochs, deadline) if deadline is not None else None,
    )
    kind, took = history.policy.device.type, history.seconds
    if kind == "cpu":
        took = min(took, history.cpu_seconds / torch.get_num_threads())  # beside other programs
    cost.learn(run, kind, took, data_root=data_root)
    return history


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


def _metrics(net: nn.Module, history: training.History, run: Run, data_root: str | None) -> dict[str, float]:
    final, best = history.final, history.best
    return {
        "accuracy": final["test_accuracy"],
        "loss": final["test_loss"],
        "train_accuracy": final["train_accuracy"],
        "train_loss": final["train_loss"],
        "best_accuracy": best["test_accuracy"],
        "best_epoch": best["epoch"],
        "epochs": final["epoch"],
        "parameters": models.parameter_count(net),
        "macs": cost.macs(run, data_root),
    }


def _provenance(history: training.History, run: Run, keys: Keys, data_root: str | None) -> dict[str, Any]:
    train, test = datasets.train_and_test(run, data_root)
    form = history.policy.to_dict()
    gpu = history.policy.device.type == "cuda"
    return {
        **form,
        "device_name": torch.cuda.get_device_name(history.policy.device) if gpu else form["device"],
        "torch": torch.__version__,
        "python": platform.python_version(),
        "threads": torch.get_num_threads(),
        "seconds": history.seconds,
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "data": train.title,
        "data_digest": keys.data,
        "source": train.source,
        "labels": len(train.label_names),
        "train_images": len(train),
        "test_images": len(test),
    }
