"""The VGG trainings at full width that several chapters measure: each is written, and trained, once."""

from __future__ import annotations

from filterwise.runs.specification import Run
from filterwise.training.recipe import Recipe


def vgg_run(
    model: str, recipe: Recipe, seed: int, data: str = "cifar10", plan: str = "V", order: str = ""
) -> Run:
    """A network of the VGG family on all images, with He normal initial weights.

    Parameters
    ----------
    model : such as ``"vgg16"``
    plan, order : where it pools, and the series next to the output; plan "V" takes no order

    >>> vgg_run("vgg16", Recipe(), 0).model_kwargs
    {'init': 'he', 'plan': 'V'}
    """
    pools = {"plan": plan, **({"order": order} if order else {})}
    return Run(model, data, recipe, seed, None, {"init": "he", **pools})
