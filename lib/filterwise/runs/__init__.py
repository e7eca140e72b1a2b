"""What was run: a specification, its content key, its stored result; sweeps over many; records for the
claims.

>>> from filterwise import runs
>>> from filterwise.training import Recipe
>>> run = runs.Run("lenet5", "parts", Recipe(epochs=3), model_options={"d1": 4})
>>> len(runs.grid(run, seed=range(3), **{"recipe.lr": [0.01, 0.1]}))
6
"""

# Imported here and not when first used: `runs.sweep` and `runs.record` are the functions, and importing the
# modules of these names later would put the modules in their place.
from filterwise.runs.execute import Paused, result
from filterwise.runs.job import Job
from filterwise.runs.pending import Pending, pending
from filterwise.runs.record import Recorded, record
from filterwise.runs.records import CHAPTERS, PROFILES, arrays, load_records, tidy, write_record
from filterwise.runs.spec import Keys, Run, grid
from filterwise.runs.store import Result, runs_root
from filterwise.runs.sweep import Failure, SweepResult, describe, queue, sweep

__all__ = [
    "CHAPTERS",
    "PROFILES",
    "Failure",
    "Job",
    "Keys",
    "Paused",
    "Pending",
    "Recorded",
    "Result",
    "Run",
    "SweepResult",
    "arrays",
    "describe",
    "grid",
    "load_records",
    "pending",
    "queue",
    "record",
    "result",
    "runs_root",
    "sweep",
    "tidy",
    "write_record",
]
