"""Finished runs on disk: one folder a run, written at once or not at all."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import json
import os
import uuid
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from filterwise import disk, files
from filterwise.errors import FilterwiseError, RunError
from filterwise.runs.csv_tables import read_csv
from filterwise.runs.networks import beginning
from filterwise.runs.plain_values import canonical, digest
from filterwise.runs.specification import Keys, Run
from filterwise.training.evaluation import evaluate
from filterwise.training.learning import settle_masks

if TYPE_CHECKING:
    from filterwise.data.imageset import ImageSet
    from filterwise.runs.measuring import Measured

#: Rises when the files of a folder change their meaning.
FORMAT = 2
FILES = ("run.json", "history.csv", "result.json", "weights.safetensors")


def runs_root(root: str | Path | None = None) -> Path:
    """Where runs are stored: ``root``, else the environment variable ``FILTERWISE_RUNS``, else
    ``data/runs``.

    >>> runs_root("somewhere").name
    'somewhere'
    """
    return files.data_folder("runs", root)


@dataclass(frozen=True)
class Result:
    """A finished run, read from its folder.

    ``metrics`` are numbers of the last epoch (``accuracy``, ``loss``, ...) and of the network (``macs``,
    ``parameters``); ``provenance`` says on what they were made; ``right`` (test images,) is which test images
    the network names rightly. ``device`` is where measurements on it should run; it is not stored.

    >>> import tempfile
    >>> from filterwise.runs import Run, result
    >>> from filterwise.training.recipe import Recipe
    >>> run = Run("lenet5", "parts", Recipe(epochs=1), data_options={"n": 100, "n_test": 50})
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     found = result(run, folder, device="cpu")
    ...     len(found.right), found.metrics["epochs"], found.network().layer_names
    (50, 1, ('features.1', 'features.2'))
    """

    run: Run
    folder: Path
    metrics: dict[str, float]
    provenance: dict[str, Any]
    keys: Keys
    right: np.ndarray = field(repr=False, compare=False)
    device: str = "auto"
    data_root: str | None = field(default=None, repr=False)

    @cached_property
    def history(self) -> pd.DataFrame:
        """One row an epoch: epoch, lr, losses, accuracies, seconds."""
        return read_csv(self.folder / "history.csv")

    def start(self) -> Result | None:
        """The result that this run began with.

        Raises RunError if it is not stored any more.
        """
        if self.run.start is None:
            return None
        key = self.provenance["start"]
        found = read(self.folder.parent / key, self.run.start, self.device, self.data_root)
        if found is None:
            raise RunError(f"{self.folder} began with the run {key}, which is gone; run it again")
        return found

    def network(self) -> nn.Module:
        """The trained network, on the CPU, in evaluation mode.

        Raises RunError if the stored weights do not fit the network that the code now builds.
        """
        net = beginning(self.run, self.train_set(), self.start(), self.device)
        try:
            net.load_state_dict(load_file(self.folder / FILES[3]))
        except (RuntimeError, SafetensorError, OSError) as error:
            raise RunError(f"{self.folder}: weights do not fit {self.run.model!r}: {error}") from error
        settle_masks(net)  # a masked weight is worked out in a forward pass, and this one is still to come
        return net.eval()

    def train_set(self) -> ImageSet:
        """The images it was trained on."""
        return self.run.sets(self.data_root)[0]

    def test_set(self) -> ImageSet:
        """The images it was tested on."""
        return self.run.sets(self.data_root)[1]

    def train_accuracy(self) -> float:
        """Accuracy on the training images, in evaluation mode and without augmentation."""
        return float(evaluate(self.network(), self.train_set(), device=self.device).accuracy)

    def measured(self, name: str, **options: Any) -> Measured:
        """A registered measurement of this result, taken or read back."""
        from filterwise.runs.measuring import measured

        return measured((self,), name, options)


@contextlib.contextmanager
def lock(root: Path, key: str, timeout: float = -1) -> Iterator[None]:
    """Hold the one lock of a key, for threads and processes alike; freed by the system if its holder dies.

    Raises RunError if another process holds it for longer than ``timeout`` seconds (-1 waits for ever);
    FolderError if ``root`` is full, or cannot be written to, at any time while it is held.
    """
    with disk.naming(root), files.lock(root / ".locks" / f"{key}.lock", timeout):
        yield


def write(
    root: Path, keys: Keys, run: Run, history: pd.DataFrame, state: dict[str, Tensor], body: Mapping[str, Any]
) -> None:
    """Store a finished run as the folder ``root/<key>``, through a temporary name.

    ``body`` has ``metrics``, ``provenance`` and ``right``, bool (test images,). The key's lock must be held.
    """
    disk.forget_unfinished(root / keys.key)
    with files.atomic(root / keys.key) as temporary:
        temporary.mkdir()
        history.to_csv(temporary / "history.csv", index=False)
        # Two names may share one tensor, and channels-last ones are not contiguous: safetensors wants
        # neither.
        tensors = {name: value.detach().cpu().contiguous().clone() for name, value in state.items()}
        save_file(tensors, temporary / FILES[3])
        _write_json(temporary / "run.json", {"format": FORMAT, **vars(keys), "run": run.to_dict()})
        values = {**body, "right": pack(body["right"])}
        sums = {name: checksum(temporary / name) for name in ("run.json", "history.csv", FILES[3])}
        values["checksums"] = sums
        _write_json(temporary / "result.json", {**values, "digest": digest(canonical(values))})


def read(folder: Path, run: Run, device: str = "auto", data_root: str | None = None) -> Result | None:
    """The stored result of a run, or ``None``; a broken folder is set aside with a warning."""
    if not folder.is_dir():
        return None
    try:
        stored = json.loads((folder / "run.json").read_text(encoding="utf-8"))
        if stored["format"] != FORMAT or Run.from_dict(stored["run"]) != run:
            raise ValueError("run.json is of another run or format")
        body = json.loads((folder / "result.json").read_text(encoding="utf-8"))
        if body.pop("digest", None) != digest(canonical(body)):
            raise ValueError("result.json is not what was written")
        for name, expected in body["checksums"].items():
            if checksum(folder / name) != expected:
                raise ValueError(f"{name} is not what was written")
        keys = Keys(**{each.name: stored[each.name] for each in fields(Keys)})
        right, made = unpack(body["right"]), dict(body["provenance"])
        return Result(run, folder, dict(body["metrics"]), made, keys, right, device, data_root)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, FilterwiseError) as error:
        aside = folder.with_name(f"{folder.name}.broken-{uuid.uuid4().hex[:8]}")
        os.rename(folder, aside)
        what = f"{type(error).__name__}: {error}"
        warnings.warn(f"stored run {folder} is broken ({what}); set aside as {aside.name}", stacklevel=2)
        return None


def pack(bits: np.ndarray) -> str:
    """Truth values (N,) as text: their number, and eight a byte in base 64.

    >>> unpack(pack(np.array([True, False, True]))).tolist()
    [True, False, True]
    """
    return f"{len(bits)} {base64.b64encode(np.packbits(bits).tobytes()).decode()}"


def unpack(text: str) -> np.ndarray:
    """The inverse of :func:`pack`."""
    count, _, packed = text.partition(" ")
    whole = np.unpackbits(np.frombuffer(base64.b64decode(packed), np.uint8), count=int(count))
    return whole.astype(bool)


def checksum(path: Path) -> str:
    """Digest (32 hex digits) of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=16)).hexdigest()


def _write_json(path: Path, values: dict[str, Any]) -> None:
    path.write_text(json.dumps(values, indent=1, sort_keys=True, ensure_ascii=False) + "\n", encoding="utf-8")
