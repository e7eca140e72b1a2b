"""Recipes: schedules against torch's own, strict values, plain dictionaries."""

import dataclasses
import itertools
import json

import pytest
import torch

from filterwise.errors import ParameterError
from filterwise.training import RECIPES, Recipe


def torch_rates(make_scheduler, lr, steps, per_epoch=1):
    """The learning rates of torch's own scheduler, one a step; the scheduler moves once in ``per_epoch``."""
    optimiser = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=lr)
    scheduler, rates = make_scheduler(optimiser), []
    for step in range(steps):
        rates.append(optimiser.param_groups[0]["lr"])
        optimiser.step()
        if (step + 1) % per_epoch == 0:
            scheduler.step()
    return rates


def test_step_schedule_is_torchs():
    recipe = Recipe(epochs=7, decay=0.6, decay_every=2)
    want = torch_rates(lambda o: torch.optim.lr_scheduler.StepLR(o, 2, 0.6), 0.01, 21, per_epoch=3)
    assert [recipe.learning_rate(step, 3) for step in range(21)] == pytest.approx(want)


@pytest.mark.parametrize("lowest", [0.0, 0.02])
def test_cosine_schedule_is_torchs(lowest):
    recipe = Recipe(epochs=4, lr=0.1, lr_min=lowest, schedule="cosine")
    want = torch_rates(lambda o: torch.optim.lr_scheduler.CosineAnnealingLR(o, 20, lowest), 0.1, 20)
    assert [recipe.learning_rate(step, 5) for step in range(20)] == pytest.approx(want)


def test_later_fields_leave_the_keys_of_older_recipes():
    later = {field.name for field in dataclasses.fields(Recipe) if field.metadata.get("omit_at_default")}
    assert later == {
        *("optimiser", "betas", "eps", "lr_min", "mixup", "cutmix", "random_erasing", "rand_augment")
    }
    assert later < set(Recipe().to_dict())


def test_warm_up_rises_to_the_peak_then_the_schedule_begins():
    recipe = Recipe(epochs=6, lr=0.1, schedule="cosine", warmup_steps=4)
    rates = [recipe.learning_rate(step, 5) for step in range(30)]
    assert rates[:5] == pytest.approx([0.025, 0.05, 0.075, 0.1, 0.1])
    assert all(later < earlier for earlier, later in itertools.pairwise(rates[4:]))
    assert 0 < rates[-1] < 0.001


def test_pieces_are_the_papers_for_lenet():
    recipe = RECIPES["lenet"]
    at = [recipe.learning_rate(epoch * 500, 500) for epoch in (0, 99, 100, 149, 150, 199)]
    assert at == [0.01, 0.01, 0.005, 0.005, 0.001, 0.001]


def test_named_recipes_are_the_papers():
    group = {"lr": 0.01, "momentum": 0.95, "weight_decay": 1e-3, "decay": 0.6, "decay_every": 20}
    shared = {"batch": 100, "nesterov": True, "schedule": "step", "flip": True, "shift": 4}
    assert RECIPES["group"] == Recipe(epochs=300, **group, **shared)
    head = {**group, "momentum": 0.975, "decay": 0.975, "decay_every": 1}
    assert RECIPES["head"] == Recipe(epochs=200, **head, **shared)


@pytest.mark.parametrize("recipe", RECIPES.values(), ids=list(RECIPES))
def test_plain_values_come_back_as_an_equal_recipe(recipe):
    again = Recipe.from_dict(json.loads(json.dumps(recipe.to_dict())))
    assert again == recipe
    assert hash(again) == hash(recipe)


def test_equal_recipes_have_equal_json():
    assert json.dumps(Recipe(lr=1).to_dict()) == json.dumps(Recipe(lr=1.0).to_dict())


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"epochs": 0}, "epochs=0 is not allowed; it must be an integer of at least 1"),
        ({"epochs": 2.0}, "epochs=2.0"),
        ({"epochs": True}, "epochs=True"),
        ({"batch": "100"}, "batch='100'"),
        ({"lr": float("nan")}, "lr=nan"),
        ({"lr": float("inf")}, "finite"),
        ({"lr": -0.1}, "lr=-0.1"),
        ({"momentum": 1.0}, "momentum=1.0 is not allowed; it must be a number of at least 0 and below 1"),
        ({"momentum": 0}, "nesterov=True needs momentum above 0"),
        ({"flip": 1}, "flip=1"),
        ({"shift": -1}, "shift=-1"),
        ({"schedule": "steps"}, "did you mean 'step'"),
        ({"precision": "bf16"}, "did you mean 'bfloat16'"),
        ({"memory_format": "nhwc"}, "choose from 'auto', 'contiguous', 'channels_last'"),
        ({"milestones": ((3, 0.1),)}, "is used by schedule='pieces' only"),
        ({"schedule": "pieces"}, "needs milestones"),
        ({"schedule": "pieces", "milestones": ((5, 0.1), (5, 0.2))}, "the epochs must rise"),
        ({"schedule": "pieces", "milestones": (5, 0.1)}, "pairs"),
        ({"schedule": "cosine", "decay": 0.5}, "decay=0.5 is used by schedule='step' only"),
        ({"optimiser": "adam"}, "did you mean 'adamw'"),
        ({"optimiser": "adamw", "momentum": 0.9}, "momentum=0.9 is used by optimiser='sgd' only"),
        ({"betas": (0.9, 0.95)}, "betas=(0.9, 0.95) is used by optimiser='adamw' only"),
        ({"optimiser": "adamw", "betas": (0.9, 1.0)}, "betas=1.0"),
        ({"lr_min": 1e-4}, "lr_min=0.0001 is used by schedule='cosine' only"),
        ({"schedule": "cosine", "lr_min": 0.1}, "lr_min=0.1 is not allowed; it must be at most lr=0.01"),
        ({"rand_augment": 31}, "rand_augment=31 is not allowed; it must be at most 30"),
        ({"random_erasing": 1.1}, "random_erasing=1.1"),
        ({"mixup": -1}, "mixup=-1"),
        ({"learning_rate": 0.1}, "recipe parameter='learning_rate' is not known"),
        ({"weight_decy": 0.1}, "did you mean 'weight_decay'"),
    ],
)
def test_bad_values_are_refused_by_name(values, message):
    with pytest.raises(ParameterError) as caught:
        Recipe.from_dict(values)
    assert message in str(caught.value)
