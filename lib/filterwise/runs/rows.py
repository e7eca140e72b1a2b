"""The one row that a job gives: in a table of records, and in a page's own table."""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from typing import Any

import numpy as np

from filterwise.errors import RunError
from filterwise.runs.jobs import Job
from filterwise.runs.measuring import Measured
from filterwise.runs.plain_values import digest
from filterwise.runs.records import COLUMNS
from filterwise.runs.store import Result

#: Columns of a record's training curves.
HISTORY = ("epoch", "lr", "train_loss", "train_accuracy", "test_loss", "test_accuracy")
#: Columns that a measurement may give in place of the first run's.
_OVERRIDES = ("accuracy", "labels", "data")


def row(job: Job, results: Sequence[Result], found: Measured) -> dict[str, Any]:
    """A record's row: the job, how its runs were made, what they reached, and what was measured.

    Raises RunError if the measurement, or ``job.about``, gives a column of every record.

    >>> import tempfile
    >>> from filterwise.runs import Job, Run, measured, result
    >>> from filterwise.training.recipe import Recipe
    >>> run = Run("lenet5", "parts", Recipe(epochs=1), data_options={"n": 100, "n_test": 50})
    >>> job = Job("LeNet-5, seed 0", run, "tree.network", {"exact": False})
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     results = [result(run, folder, device="cpu")]
    ...     found = row(job, results, measured(results, job.measure, job.options))
    >>> found["name"], found["test_images"]
    ('LeNet-5, seed 0', 50)
    """
    first, made = results[0], results[0].provenance
    own = {**dict(job.about), **found.row}
    for name in own:
        if name in COLUMNS and name not in ("network", *_OVERRIDES):
            raise RunError(f"job {job.name!r}: {name!r} is a column of every record")
    several = len(results) > 1
    common = {
        "name": job.name,
        "network": job.run.model,
        "seed": job.run.seed,
        "data": made["data"],
        "labels": made["labels"],
        "epochs": first.metrics["epochs"],
        "accuracy": first.metrics["accuracy"],
        "train_images": first.metrics["train_images"],
        "test_images": first.metrics["test_images"],
        "macs": first.metrics["macs"],
        "parameters": first.metrics["parameters"],
        "best_accuracy": first.metrics["best_accuracy"],
        "runs": len(results),
        "seconds": round(sum(result.provenance["seconds"] for result in results), 2),
        "measure_seconds": round(found.seconds, 2),
        "device": made["device_name"],
        "precision": made["precision"],
        "memory_format": made["memory_format"],
        "engine": made["engine"],
        "threads": made["threads"],
        "torch": made["torch"],
        "recorded": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "measure": job.measure,
        "data_digest": first.keys.data,
        "settings": job.settings,
        "spec_key": digest(job.settings, *(result.keys.spec_key for result in results)),
        "key": digest(*(result.keys.key for result in results)) if several else first.keys.key,
        "code": first.keys.code,
        "measure_code": found.code,
    }
    return {**common, **own}


def arrays(results: Sequence[Result], found: Measured) -> dict[str, np.ndarray]:
    """A record's arrays: those measured, and of its runs

    - ``right``: which test images each run names rightly, packed eight a byte, uint8 (runs, test images / 8);
    - ``history``: the first run's training curves, float32 (epochs, :data:`HISTORY`).
    """
    curves = results[0].history[list(HISTORY)].to_numpy(dtype=np.float32)
    right = np.stack([np.packbits(result.right) for result in results])
    return {**found.arrays, "right": right, "history": curves}
