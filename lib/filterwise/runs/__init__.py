"""What was run: a specification, its content key, its stored result; sweeps over many; measurements of
results and their records.

>>> from filterwise import runs
>>> from filterwise.training import Recipe
>>> run = runs.Run("lenet5", "parts", Recipe(epochs=3), model_options={"d1": 4})
>>> len(runs.grid(run, seed=range(3), **{"recipe.lr": [0.01, 0.1]}))
6
"""

from filterwise.lazy import attach

__getattr__, __dir__, __all__ = attach(
    __name__,
    {
        "combinations": ["grid"],
        "finding": ["Paused", "result"],
        "jobs": ["Job"],
        "measuring": ["Measured", "measured", "measurements"],
        "queueing": ["Pending", "pending"],
        "recording": ["Recorded", "record"],
        "records": ["COLUMNS", "arrays", "load_records", "write_record"],
        "rows": ["row"],
        "specification": ["Keys", "Run"],
        "store": ["Result", "runs_root"],
        "sweeping": ["Failure", "SweepResult", "describe", "queue", "sweep"],
    },
)
