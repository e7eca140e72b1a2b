"""How it learns: recipe, numerics, the training loop with its steps and checkpoints, and evaluation.

>>> from filterwise.training import RECIPES, Recipe
>>> RECIPES["group"] == Recipe()
True
"""

from filterwise.lazy import attach

__getattr__, __dir__, __all__ = attach(
    __name__,
    {
        "device": ["Timer", "pick_device", "synchronize", "threads"],
        "edits": ["Given"],
        "ensemble": ["fit_many"],
        "evaluation": ["Evaluation", "evaluate", "logits"],
        "feed": ["Feed", "epoch_seed"],
        "history": ["History"],
        "loop": ["fit"],
        "numerics": ["Numerics", "resolve"],
        "recipe": ["RECIPES", "Recipe"],
        "steps": ["Step"],
    },
)
