"""Many tasks on joblib's engine: processes of this machine, or whatever ``joblib.parallel_config`` says."""

from __future__ import annotations

import importlib
import os
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

from joblib import Parallel, delayed
from joblib.externals.loky import get_reusable_executor
from joblib.parallel import get_active_backend

from filterwise import disk
from filterwise.errors import FilterwiseError, check_at_least
from filterwise.registry import Registry
from filterwise.runs import lease
from filterwise.training.device import pick_device

Item = TypeVar("Item")
Answer = TypeVar("Answer")

_WATCH = "filterwise: ends with its parent"
# A worker that dies (killed, out of memory) fails its own task only, after it died twice with it.
_DIED = "its worker process died twice; out of memory?"


@dataclass(frozen=True)
class Outcome(Generic[Answer]):
    """What became of one item: an answer, or an error in words with its traceback."""

    index: int
    answer: Answer | None = None
    error: str = ""
    traceback: str = ""


def in_words(error: Exception) -> str:
    """An error as text; one that is not the library's own with its type."""
    return str(error) if isinstance(error, FilterwiseError) else f"{type(error).__name__}: {error}"


@dataclass(frozen=True)
class Place:
    """Where one task works: on which device, out of which devices; always with one thread."""

    device: str = "auto"
    devices: tuple[str, ...] | None = ()
    per_device: int = 1

    def enter(self) -> str:
        """Prepare this process; the device to train on."""
        if self.device not in ("auto", "cuda"):
            return self.device
        devices = lease.cuda_devices() if self.devices is None else self.devices
        if not devices:
            return self.device
        lease.take(devices, self.per_device)
        return "cuda"


def on_cluster() -> bool:
    """Whether ``joblib.parallel_config`` names an engine other than processes of this machine."""
    return type(get_active_backend()[0]).__name__ not in ("LokyBackend", "SequentialBackend")


def plan(jobs: int | None, device: str, per_device: int) -> tuple[int, Place]:
    """How many workers, and where each works.

    Without ``jobs``: one worker a place on a device; on the CPU one a core. On a cluster the engine decides
    how many workers there are, and each finds its own device.

    >>> plan(2, "cpu", 1)
    (2, Place(device='cpu', devices=(), per_device=1))
    """
    check_at_least("per_device", per_device, 1)
    if on_cluster():
        return -1, Place(device, None, per_device)
    pick_device(device)  # a device that is not there is refused once, and not by every run
    devices = lease.cuda_devices() if device in ("auto", "cuda") else ()
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    if jobs is None:
        jobs = len(devices) * per_device or cores
    check_at_least("jobs", jobs, 1)
    if devices:
        jobs = min(jobs, len(devices) * per_device)
    if jobs == 1:  # works in this very process, which keeps its threads and its devices
        return 1, Place(device, (), per_device)
    return jobs, Place(device, devices, per_device)


def outcomes(
    task: Callable[[Item, str], Answer], items: Sequence[Item], jobs: int, place: Place, scratch: Path
) -> Iterator[Outcome[Answer]]:
    """``task(item, device)`` for every item, in the order in which they end; each item ends exactly once.

    Errors become outcomes. If a worker dies, whatever was in flight is tried again alone, one after the
    other, so that only the item that kills its worker fails; all others go on as before.
    """
    with disk.scratch(scratch, "sweep") as marks:
        yield from _outcomes(task, items, jobs, place, marks)


def _outcomes(
    task: Callable[[Item, str], Answer], items: Sequence[Item], jobs: int, place: Place, marks: Path
) -> Iterator[Outcome[Answer]]:
    parent = 0 if on_cluster() else os.getpid()
    known = tuple(sorted(Registry.foreign))
    left = dict(enumerate(items))
    alone: list[int] = []
    try:
        while left:
            batch = alone[:1] or list(left)
            work = (delayed(_work)(task, left[index], index, place, marks, known, parent) for index in batch)
            # Two workers for one item: with one, joblib would work in this process and die with the item.
            workers = 2 if alone and jobs > 0 else min(jobs, len(batch))
            try:
                # batch_size and pre_dispatch: a task is handed out when a worker is free for it, not before
                parallel = Parallel(
                    workers, return_as="generator_unordered", batch_size=1, pre_dispatch="n_jobs"
                )
                for outcome in parallel(work):
                    if outcome.index in left:
                        del left[outcome.index]
                        yield outcome
            except Exception as error:  # each engine has its own error for a lost worker
                if jobs == 1 and not alone:
                    raise
                if alone:
                    yield Outcome(alone[0], error=_DIED, traceback=repr(error))
                    del left[alone[0]]
                else:
                    alone = [index for index in left if (marks / str(index)).exists()] or list(left)[:1]
                    continue
            alone = [index for index in alone[1:] if index in left]
    finally:
        if jobs > 1 and place.devices:
            get_reusable_executor().shutdown(wait=True)  # idle workers would keep their devices


def _work(
    task: Callable[[Any, str], Answer],
    item: Any,
    index: int,
    place: Place,
    marks: Path,
    modules: tuple[str, ...],
    parent: int,
) -> Outcome[Answer]:
    _end_with(parent)
    mark = marks / str(index)
    if marks.is_dir():
        mark.touch()
    try:
        for module in modules:  # what they register, an item may name
            importlib.import_module(module)
        return Outcome(index, task(item, place.enter()))
    except Exception as error:
        return Outcome(index, error=in_words(error), traceback=traceback.format_exc())
    finally:
        mark.unlink(missing_ok=True)


def _end_with(parent: int) -> None:
    """See to it that this worker ends when ``parent``, the process that started it, was killed."""
    if parent and os.getppid() == parent and not any(each.name == _WATCH for each in threading.enumerate()):
        threading.Thread(target=_watch, args=(parent,), name=_WATCH, daemon=True).start()


def _watch(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(1.0)
    os._exit(1)
