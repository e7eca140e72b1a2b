"""How it learns: recipe, device policy, the training loop with its checkpoints, and evaluation.

>>> from filterwise.training import RECIPES, Recipe
>>> RECIPES["group"] == Recipe()
True
"""

from filterwise.training.device import Timer, deterministic, pick_device, synchronize, threads
from filterwise.training.device_policy import Policy, policy
from filterwise.training.ensemble import fit_many
from filterwise.training.evaluation import Evaluation, evaluate, evaluation_mode, logits
from filterwise.training.feed import Feed, epoch_seed
from filterwise.training.history import History
from filterwise.training.loop import fit
from filterwise.training.recipe import RECIPES, Recipe
from filterwise.training.step import Step
from filterwise.training.together import Decision, faster_together

__all__ = [
    "RECIPES",
    "Decision",
    "Evaluation",
    "Feed",
    "History",
    "Policy",
    "Recipe",
    "Step",
    "Timer",
    "deterministic",
    "epoch_seed",
    "evaluate",
    "evaluation_mode",
    "faster_together",
    "fit",
    "fit_many",
    "logits",
    "pick_device",
    "policy",
    "synchronize",
    "threads",
]
