"""Probe heads: what they start from, what they learn, and that they do not influence one another."""

from __future__ import annotations

import dataclasses
import math

import pytest
import torch
from torch import nn

from filterwise.data import ImageSet, scale
from filterwise.errors import ParameterError, TrainingDiverged
from filterwise.measure import HEAD_RECIPE, probe_heads
from filterwise.measure.head_training import generator_for, initial_weight

QUICK = HEAD_RECIPE.replace(epochs=3, batch=10, flip=False, shift=0)


def random_set(n: int, labels: int, seed: int, split: str = "train") -> ImageSet:
    """Label = position of the bright pixel among the first ``labels`` pixels."""
    generator = torch.Generator().manual_seed(seed)
    own = torch.arange(n) % labels
    images = torch.randint(0, 100, (n, 1, 6, 6), generator=generator, dtype=torch.uint8)
    images.view(n, -1)[torch.arange(n), own] = 255
    return ImageSet(images, own, tuple(str(label) for label in range(labels)), "pixel", split)


@pytest.fixture
def net() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(1, 4, 3, padding=1),
        nn.BatchNorm2d(4),
        nn.ReLU(),
        nn.Conv2d(4, 3, 3),
        nn.ReLU(),
        nn.Dropout(0.5),
    )


def test_start_is_uniform_within_one_over_root_of_the_inputs() -> None:
    weight = initial_weight(50, 20, 9, generator_for(0, "head x"))
    bound = 1 / math.sqrt(180)
    assert float(weight.abs().max()) <= bound
    assert float(weight.std()) == pytest.approx(bound / math.sqrt(3), rel=0.02)


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_two_steps_against_the_update_written_out(net: nn.Sequential, smoothing: float) -> None:
    """One image a label, one batch an epoch: Nesterov momentum, L2 and the cross-entropy gradient by hand."""
    ds = random_set(4, 4, seed=0)
    changes = {"momentum": 0.9, "weight_decay": 0.01, "decay": 0.5, "label_smoothing": smoothing}
    recipe = QUICK.replace(epochs=2, batch=4, lr=0.1, **changes)
    head = probe_heads(net, "4", ds, ds, recipe, seed=7)["4"]
    features = net.eval()[:5](scale(ds.images)).detach().flatten(1).double()
    weight = initial_weight(4, 3, 16, generator_for(7, "head 4")).flatten(1).double()
    velocity = torch.zeros_like(weight)
    truth = (1 - smoothing) * torch.eye(4, dtype=torch.float64)[ds.labels] + smoothing / 4
    start = features @ weight.T
    for rate in (0.1, 0.05):
        gradient = (torch.softmax(features @ weight.T, dim=1) - truth).T @ features / 4 + 0.01 * weight
        velocity = 0.9 * velocity + gradient
        weight = weight - rate * (gradient + 0.9 * velocity)
    torch.testing.assert_close(head.weight.flatten(1).double(), weight, rtol=1e-5, atol=1e-6)
    loss = torch.nn.functional.cross_entropy(start, ds.labels, label_smoothing=smoothing)
    assert head.history["loss"][0] == pytest.approx(float(loss), rel=1e-5)


def test_learns_what_a_linear_head_can_learn(net: nn.Sequential) -> None:
    train, test = random_set(200, 4, seed=1), random_set(80, 4, seed=2, split="test")
    heads = probe_heads(net, ["2", "4"], train, test, QUICK.replace(epochs=15))
    assert heads["2"].accuracy > 0.9
    history = heads["2"].history
    assert len(history) == 15
    assert history["loss"].iloc[-1] < history["loss"].iloc[0]
    assert heads["2"].weight.shape == (4, 4, 36)
    assert heads["4"].weight.shape == (4, 3, 16)


def test_accuracy_is_that_of_the_stored_weights(net: nn.Sequential) -> None:
    train, test = random_set(60, 4, seed=1), random_set(37, 4, seed=2, split="test")
    head = probe_heads(net, "4", train, test, QUICK)["4"]
    chosen = (net.eval()[:5](scale(test.images)).flatten(1) @ head.weight.flatten(1).T).argmax(dim=1)
    right = (chosen == test.labels).float()
    assert head.accuracy == pytest.approx(float(right.mean()))
    for label in range(4):
        assert float(head.per_label[label]) == pytest.approx(float(right[test.labels == label].mean()))


def test_head_is_the_same_whatever_is_measured_beside_it(net: nn.Sequential) -> None:
    train, test = random_set(40, 4, seed=1), random_set(20, 4, seed=2)
    recipe = HEAD_RECIPE.replace(epochs=2, batch=16, shift=1)
    alone = probe_heads(net, "4", train, test, recipe, seed=3)["4"]
    beside = probe_heads(net, ["2", "4", "0"], train, test, recipe, seed=3)
    assert list(beside) == ["2", "4", "0"]
    torch.testing.assert_close(beside["4"].weight, alone.weight)
    again = probe_heads(net, "4", train, test, recipe, seed=3)["4"]
    assert torch.equal(again.weight, alone.weight)
    other = probe_heads(net, "4", train, test, recipe, seed=4)["4"]
    assert not torch.allclose(other.weight, alone.weight)


def test_cached_features_give_the_same_head(net: nn.Sequential) -> None:
    train, test = random_set(40, 4, seed=1), random_set(20, 4, seed=2)
    live = probe_heads(net, ["2", "4"], train, test, QUICK)
    exact = probe_heads(net, ["2", "4"], train, test, QUICK, cache=True, cache_dtype="float32")
    rounded = probe_heads(net, ["2", "4"], train, test, QUICK, cache=True)
    for layer in live:
        torch.testing.assert_close(exact[layer].weight, live[layer].weight, rtol=1e-4, atol=1e-6)
        torch.testing.assert_close(rounded[layer].weight, live[layer].weight, rtol=1e-2, atol=1e-3)
    assert exact["2"].cached


def test_augmentation_is_on_by_default_and_matters(net: nn.Sequential) -> None:
    train, test = random_set(40, 4, seed=1), random_set(20, 4, seed=2)
    plain = probe_heads(net, "4", train, test, QUICK)["4"]
    moved = probe_heads(net, "4", train, test, HEAD_RECIPE.replace(epochs=3, batch=10))["4"]
    assert not torch.allclose(plain.weight, moved.weight)


def test_network_is_frozen(net: nn.Sequential) -> None:
    net.train()
    before = {name: value.clone() for name, value in net.state_dict().items()}
    probe_heads(net, ["2", "4"], random_set(40, 4, seed=1), random_set(20, 4, seed=2), QUICK)
    assert net.training
    assert all(torch.equal(before[name], value) for name, value in net.state_dict().items())
    assert all(parameter.grad is None for parameter in net.parameters())


def test_global_random_state_is_not_touched(net: nn.Sequential) -> None:
    state = torch.get_rng_state()
    probe_heads(net, "4", random_set(20, 4, seed=1), random_set(20, 4, seed=2), HEAD_RECIPE.replace(epochs=1))
    assert torch.equal(torch.get_rng_state(), state)


def test_refusals(net: nn.Sequential) -> None:
    train, test = random_set(20, 4, seed=1), random_set(20, 4, seed=2)
    with pytest.raises(ParameterError, match="layer '44'"):
        probe_heads(net, "44", train, test, QUICK)
    with pytest.raises(ParameterError, match="same labels"):
        probe_heads(net, "4", train, random_set(20, 5, seed=2), QUICK)
    with pytest.raises(ParameterError, match="cannot be augmented"):
        probe_heads(net, "4", train, test, HEAD_RECIPE, cache=True)
    with pytest.raises(ParameterError, match=r"features of 1 layer\(s\) need .* memory"):
        probe_heads(net, "4", train, test, QUICK, cache=True, memory=20 * 48 * 2 - 1)
    with pytest.raises(ParameterError, match=r"cache_dtype='float8'.*did you mean"):
        probe_heads(net, "4", train, test, QUICK, cache=True, cache_dtype="float8")
    with pytest.raises(TrainingDiverged, match="layer '4' diverged in epoch"):
        probe_heads(net, "4", train, test, QUICK.replace(lr=1e30, epochs=5))


def test_label_without_test_images_has_no_accuracy(net: nn.Sequential) -> None:
    test = random_set(20, 4, seed=2)
    keep = test.labels != 2
    some = dataclasses.replace(test, images=test.images[keep], labels=test.labels[keep], digest="")
    head = probe_heads(net, "4", random_set(20, 4, seed=1), some, QUICK)["4"]
    assert torch.isnan(head.per_label).tolist() == [False, False, True, False]
