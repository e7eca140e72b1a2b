"""Many masked heads at once: each is what it would be alone, and removed weights stay zero."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from filterwise.errors import ParameterError
from filterwise.measure.features import Features
from filterwise.measure.head_training import generator_for
from filterwise.prune.masked_heads import head_accuracies, train_masked
from filterwise.training.recipe import Recipe

RECIPE = Recipe(epochs=3, batch=7, lr=0.05, momentum=0.9, decay_every=1, flip=False, shift=0)


def features(images: int = 40, filters: int = 5, positions: int = 2, labels: int = 3) -> Features:
    draws = torch.Generator().manual_seed(0)
    values = torch.rand(images, filters, positions, generator=draws)
    own = torch.randint(labels, (images,), generator=draws)
    return Features({"layer": values}, own, tuple("abc"))


def stacked(heads: int) -> tuple[Tensor, Tensor]:
    draws = torch.Generator().manual_seed(1)
    return torch.randn(heads, 3, 10, generator=draws), torch.rand(heads, 3, 10, generator=draws) < 0.5


def test_each_head_equals_autograd_with_torchs_optimiser_under_its_mask() -> None:
    data, (weights, masks) = features(), stacked(3)
    found = train_masked(data, "layer", weights, masks, RECIPE, seed=4)
    for number in range(3):
        one = torch.nn.Parameter(weights[number] * masks[number])
        sgd = torch.optim.SGD(
            [one], lr=RECIPE.lr, momentum=0.9, nesterov=True, weight_decay=RECIPE.weight_decay
        )
        orders, step = generator_for(4, "order"), 0
        for _ in range(RECIPE.epochs):
            for part in torch.randperm(40, generator=orders).split(7):
                sgd.param_groups[0]["lr"] = RECIPE.learning_rate(step, 6)
                outputs = data.values["layer"][part].flatten(1) @ (one * masks[number]).T
                loss = torch.nn.functional.cross_entropy(outputs, data.labels[part])
                sgd.zero_grad()
                loss.backward()
                sgd.step()
                step += 1
        torch.testing.assert_close(found[number], one.detach() * masks[number], atol=1e-5, rtol=1e-4)


def test_removed_weights_are_exactly_zero_after_hundreds_of_steps() -> None:
    weights, masks = stacked(2)
    found = train_masked(features(), "layer", weights, masks, RECIPE.replace(epochs=60))
    assert bool((found[~masks] == 0).all())
    assert bool((found[masks] != 0).all())


def test_a_head_does_not_depend_on_those_beside_it() -> None:
    weights, masks = stacked(3)
    together = train_masked(features(), "layer", weights, masks, RECIPE)
    alone = train_masked(features(), "layer", weights[1:2], masks[1:2], RECIPE)
    torch.testing.assert_close(together[1:2], alone, atol=1e-6, rtol=1e-5)


def test_masks_may_move_between_epochs() -> None:
    weights, masks = stacked(1)
    seen = []

    def turn(epoch: int, learned: Tensor, on: Tensor, momentum: Tensor) -> None:
        seen.append((epoch, float(momentum.abs().max())))
        if epoch == 1:
            on.logical_not_()
            learned.mul_(on)
            momentum.mul_(on)

    found = train_masked(features(), "layer", weights, masks, RECIPE, before_epoch=turn)
    assert [epoch for epoch, _ in seen] == [0, 1, 2]
    assert seen[0][1] == 0 < seen[1][1]
    assert bool((found[masks] == 0).all())  # the given masks are not changed
    assert bool((found[~masks] != 0).all())


def test_accuracies_are_those_of_the_argmax() -> None:
    data, (weights, _) = features(), stacked(4)
    flat = data.values["layer"].flatten(1)
    expected = [float(((flat @ one.T).argmax(1) == data.labels).double().mean()) for one in weights]
    assert head_accuracies(data, "layer", weights) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"masks": torch.ones(2, 3, 10)}, "torch.float32"),
        ({"weights": torch.zeros(2, 3, 9)}, r"weights \(2, 3, 9\)"),
        ({"recipe": RECIPE.replace(flip=True)}, "cannot be augmented"),
    ],
)
def test_bad_input_is_named(change, message) -> None:
    weights, masks = stacked(2)
    given = {"weights": weights, "masks": masks, "recipe": RECIPE} | change
    with pytest.raises(ParameterError, match=message):
        train_masked(features(), "layer", **given)
