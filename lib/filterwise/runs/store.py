"""Finished runs on disk: one folder a run, written at once or not at all."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import uuid
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
from filelock import FileLock, Timeout
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from filterwise import models
from filterwise.files import checkout
from filterwise.errors import FilterwiseError, RunError
from filterwise.runs import datasets
from filterwise.runs.spec import Keys, Run
from filterwise.runs.tables import read_csv

if TYPE_CHECKING:
    from filterwise.data import ImageSet

#: Rises when the files of a folder change their meaning.
FORMAT = 1
FILES = ("run.json", "history.csv", "result.json", "weights.safetensors")


def runs_root(root: str | Path | None = None) -> Path:
    """Where runs are stored: ``root``, else the environment variable ``FILTERWISE_RUNS``, else
    ``data/runs``."""
    given = root or os.environ.get("FILTERWISE_RUNS")
    return Path(given).expanduser() if given else (checkout() or Path.cwd()) / "data" / "runs"


@dataclass(frozen=True)
class Result:
    """A finished run, read from its folder.

    ``metrics`` are numbers of the last epoch (``accuracy``, ``loss``, ...), ``provenance`` says on what they
    were made. ``device`` is where measurements on it should run; it is not part of the stored result.
    """

    run: Run
    folder: Path
    metrics: dict[str, float]
    provenance: dict[str, Any]
    keys: Keys
    device: str = "auto"
    data_root: str | None = field(default=None, repr=False)

    @cached_property
    def history(self) -> pd.DataFrame:
        """One row an epoch: epoch, lr, losses, accuracies, seconds."""
        return read_csv(self.folder / "history.csv")

    def network(self) -> nn.Module:
        """The trained network, on the CPU, in evaluation mode.

        Raises
        ------
        RunError
            If the stored weights do not fit the network that the code now builds.
        """
        net = build_network(self.run, self.data_root)
        try:
            net.load_state_dict(load_file(self.folder / "weights.safetensors"))
        except (RuntimeError, SafetensorError, OSError) as error:
            raise RunError(f"{self.folder}: weights do not fit {self.run.model!r}: {error}") from error
        return net.eval()

    def train_set(self) -> ImageSet:
        """The images it was trained on."""
        return datasets.train_and_test(self.run, self.data_root)[0]

    def test_set(self) -> ImageSet:
        """The images it was tested on."""
        return datasets.train_and_test(self.run, self.data_root)[1]


def build_network(run: Run, data_root: str | Path | None = None) -> nn.Module:
    """The network of a run with its initial weights, fitted to the shape and labels of its images."""
    images = datasets.train_and_test(run, data_root)[0]
    channels, height, _ = images.shape
    return models.build(
        run.model,
        labels=len(images.label_names),
        channels=channels,
        size=height,
        seed=run.seed,
        **run.model_kwargs,
    )


@contextlib.contextmanager
def lock(root: Path, key: str, timeout: float = -1) -> Iterator[None]:
    """Hold the one lock of a key, for threads and processes alike; freed by the system if its holder dies.

    Raises
    ------
    RunError
        If another process holds it for longer than ``timeout`` seconds (-1 waits for ever).
    """
    folder = root / ".locks"
    folder.mkdir(parents=True, exist_ok=True)
    held = FileLock(folder / f"{key}.lock", timeout=timeout)
    try:
        held.acquire()
    except Timeout:
        raise RunError(f"run {key} is being worked on by another process; waited {timeout:g} s") from None
    try:
        yield
    finally:
        held.release()


def write(
    root: Path, keys: Keys, run: Run, history: pd.DataFrame, state: dict[str, Tensor], body: dict
) -> Path:
    """Store a finished run as the folder ``root/<key>``, through a temporary name."""
    folder = root / keys.key
    temporary = root / f".{keys.key}.{uuid.uuid4().hex}"
    temporary.mkdir(parents=True)
    try:
        history.to_csv(temporary / "history.csv", index=False)
        # Two names may share one tensor, and channels-last ones are not contiguous: safetensors wants
        # neither.
        save_file(
            {name: t.detach().cpu().contiguous().clone() for name, t in state.items()}, temporary / FILES[3]
        )
        specification = {"format": FORMAT, **vars(keys), "run": run.to_dict()}
        _write_json(temporary / "run.json", specification)
        sums = {name: checksum(temporary / name) for name in ("run.json", "history.csv", FILES[3])}
        _write_json(temporary / "result.json", {**body, "checksums": sums})
        os.rename(temporary, folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return folder


def read(
    root: Path, keys: Keys, run: Run, device: str = "auto", data_root: str | None = None
) -> Result | None:
    """The stored result of a run, or ``None``; a broken folder is set aside with a warning."""
    folder = root / keys.key
    if not folder.is_dir():
        return None
    try:
        specification = json.loads((folder / "run.json").read_text(encoding="utf-8"))
        if specification["format"] != FORMAT or Run.from_dict(specification["run"]) != run:
            raise ValueError("run.json is of another run or format")
        body = json.loads((folder / "result.json").read_text(encoding="utf-8"))
        for name, expected in body["checksums"].items():
            if checksum(folder / name) != expected:
                raise ValueError(f"{name} is not what was written")
        return Result(run, folder, dict(body["metrics"]), dict(body["provenance"]), keys, device, data_root)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, FilterwiseError) as error:
        aside = root / f"{keys.key}.broken-{uuid.uuid4().hex[:8]}"
        os.rename(folder, aside)
        what = f"{type(error).__name__}: {error}"
        warnings.warn(f"stored run {folder} is broken ({what}); set aside as {aside.name}", stacklevel=2)
        return None


def checksum(path: Path) -> str:
    """Digest (32 hex digits) of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, _hash).hexdigest()


def _hash() -> hashlib.blake2b:
    return hashlib.blake2b(digest_size=16)


def _write_json(path: Path, values: dict[str, Any]) -> None:
    path.write_text(json.dumps(values, indent=1, sort_keys=True, ensure_ascii=False) + "\n", encoding="utf-8")


def name_digest(path: Path) -> str:
    """A short name for a path, for locks that must not lie beside committed files."""
    return hashlib.blake2b(str(path).encode(), digest_size=8).hexdigest()
