"""What was measured on results: taken once, kept beside the first of them, read back ever after."""

from __future__ import annotations

import json
import time
import warnings
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from filterwise import disk, files
from filterwise.errors import RunError
from filterwise.registry import Registry
from filterwise.runs.plain_values import canonical, digest, options
from filterwise.runs.reach import code_digest
from filterwise.runs.store import Result
from filterwise.training.device import threads

#: Functions ``measure(*results, **options) -> (row, arrays)``: quantities (per layer: ``"quantity@layer"``)
#: and small arrays for figures. They should compute on ``result.device``.
#:
#: >>> "sfp.layers" in measurements.names()
#: True
measurements = Registry("measurement", "filterwise.papers.*.measure")
_ROW = "__row__"


@dataclass(frozen=True)
class Measured:
    """A measurement's row of numbers, its arrays, how long it took, and the digest of its code."""

    row: dict[str, Any]
    arrays: dict[str, np.ndarray]
    seconds: float
    code: str


def measured(
    results: Sequence[Result], name: str, given: Mapping[str, Any] | Sequence[tuple[str, Any]] = ()
) -> Measured:
    """A registered measurement of one result, or of several together.

    It is kept in the folder of the first result, by its name, options, code and all results' keys.

    Where it cannot be kept because the disk is full, it is given back all the same, with a warning.

    Raises ParameterError for a name that is not registered; RunError if the measurement gives what is no
    plain row; FolderError if the folder of runs cannot be written to.

    >>> import tempfile
    >>> from filterwise.runs import Run, result
    >>> from filterwise.training.recipe import Recipe
    >>> run = Run("lenet5", "parts", Recipe(epochs=1), data_options={"n": 100, "n_test": 50})
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     found = measured([result(run, folder, device="cpu")], "tree.network", {"exact": False})
    >>> found.row, found.arrays
    ({}, {})
    """
    function = measurements.get(name).function
    chosen, code = options(f"{name} options", given), code_digest(function)
    keys = [result.keys.key for result in results]
    kept = digest(name, canonical(dict(chosen)), code, *keys)
    path = results[0].folder / "measured" / f"{name}-{kept[:16]}.npz"
    root = results[0].folder.parent
    with disk.naming(root), files.lock(root / ".locks" / f"{kept}.lock"):
        found = _read(path, code)
        if found is None:
            started = time.perf_counter()
            with threads(1):  # the number of threads must not show in the numbers
                row, arrays = function(*results, **dict(chosen))
            found = Measured(
                plain_row(name, row),
                {each: _array(name, each, value) for each, value in arrays.items()},
                time.perf_counter() - started,
                code,
            )
            try:
                with disk.naming(path.parent):
                    _write(path, found)
            except disk.FolderError as error:
                warnings.warn(f"{name} is measured but not kept: {error}", stacklevel=2)
    return found


def _write(path: Path, found: Measured) -> None:
    row = json.dumps({"row": found.row, "seconds": found.seconds})
    disk.forget_unfinished(path)
    with files.atomic(path) as temporary:
        np.savez_compressed(temporary, **{_ROW: np.array(row), **found.arrays})  # type: ignore[arg-type]


def _read(path: Path, code: str) -> Measured | None:
    if not path.is_file():
        return None
    try:
        with path.open("rb") as opened, np.load(opened, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
        kept = json.loads(str(arrays.pop(_ROW)))
        return Measured(kept["row"], arrays, float(kept["seconds"]), code)
    except (OSError, ValueError, KeyError, TypeError, zipfile.BadZipFile) as error:
        warnings.warn(f"{path} is broken ({error}); it is measured again", stacklevel=2)
        return None


def _array(measurement: str, name: str, value: object) -> np.ndarray:
    array = np.asarray(value)
    if array.dtype == object:
        raise RunError(f"{measurement}: array {name!r} holds Python objects; numbers, truth values and text "
                       "can be kept")  # fmt: skip
    return array


def plain_row(measurement: str, row: Mapping[str, Any]) -> dict[str, Any]:
    """A measured row with plain values.

    Raises RunError if it has a value that is not a number, truth value, text or None.

    >>> plain_row("a", {"snr@features.1": np.float32(0.5), "layers": "features.1"})
    {'snr@features.1': 0.5, 'layers': 'features.1'}
    """
    values: dict[str, Any] = {}
    for name, value in row.items():
        if isinstance(value, np.generic) or (hasattr(value, "item") and getattr(value, "ndim", None) == 0):
            value = value.item()
        if value is not None and type(value) not in (bool, int, float, str):
            raise RunError(
                f"{measurement} gives {name!r} as {type(value).__name__}; arrays go beside the row"
            )
        values[name] = value
    return values
