"""The loop: against a plain one, repeatable, unseeded outside, in place, with clear refusals."""

import copy
import math

import pandas as pd
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from torch import nn

from filterwise.data import load_folder
from filterwise.errors import ParameterError, TrainingDiverged
from filterwise.training import Feed, Recipe, evaluate, fit, resolve

PLAIN = {"precision": "float32", "memory_format": "contiguous"}
RECIPE = Recipe(epochs=3, batch=16, lr=0.05, momentum=0.9, shift=1, decay=0.5, decay_every=1, **PLAIN)


def train(net, ds, test=None, recipe=RECIPE, **options):
    return fit(net, ds, test, recipe, device="cpu", progress=False, **options)


def test_it_is_the_plain_loop_of_torch(make_net, make_set):
    ds = make_set()
    net, plain = make_net(), make_net()
    history = train(net, ds, seed=5)

    optimiser = torch.optim.SGD(plain.parameters(), 0.05, 0.9, weight_decay=1e-3, nesterov=True)
    scheduler = torch.optim.lr_scheduler.StepLR(optimiser, 1, 0.5)
    feed, losses = Feed(ds.images, ds.labels, RECIPE, 5), []
    for epoch in range(3):
        loss_sum = right = 0.0
        for images, labels in feed.epoch(epoch):
            logits = plain(images)
            loss = F.cross_entropy(logits, labels)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            loss_sum += loss.item() * len(labels)
            right += (logits.argmax(1) == labels).sum().item()
        scheduler.step()
        losses.append((loss_sum / 50, right / 50))
    for mine, other in zip(net.parameters(), plain.parameters(), strict=True):
        assert torch.allclose(mine, other, atol=1e-6)
    assert history.table["train_loss"].tolist() == pytest.approx([loss for loss, _ in losses], rel=1e-5)
    assert history.table["train_accuracy"].tolist() == pytest.approx([accuracy for _, accuracy in losses])
    assert history.table["lr"].tolist() == [0.05, 0.025, 0.0125]


@pytest.mark.parametrize("memory_format", ["contiguous", "channels_last"])
def test_same_seed_same_network_and_the_callers_randomness_is_untouched(
    make_net, make_set, same_state, memory_format
):
    recipe = RECIPE.replace(memory_format=memory_format)
    nets = [make_net(dropout=0.3) for _ in range(3)]
    before = torch.get_rng_state()
    for net, seed, outside in zip(nets, (0, 0, 1), (1, 2, 1), strict=True):
        torch.rand(outside)  # what others drew before must not matter
        before = torch.get_rng_state()
        train(net, make_set(), recipe=recipe, seed=seed)
        assert torch.equal(torch.get_rng_state(), before)
    assert same_state(nets[0], nets[1])
    assert not same_state(nets[0], nets[2])
    assert all(weight.is_contiguous() for weight in nets[0].parameters())


def test_it_learns_and_the_history_says_what_evaluate_says(make_net, make_set):
    net, test = make_net(), make_set(count=31, seed=1)
    history = train(net, make_set(), test, RECIPE.replace(epochs=10, decay=0.9), evaluate_every=3)
    table = history.table
    assert table["epoch"].tolist() == list(range(1, 11))
    assert table["epoch"][table["test_accuracy"].notna()].tolist() == [3, 6, 9, 10]
    result = evaluate(net, test, device="cpu")
    assert (history.final["test_loss"], history.final["test_accuracy"]) == (result.loss, result.accuracy)
    assert result.accuracy > 0.9
    assert history.best["test_accuracy"] == table["test_accuracy"].max()
    assert history.seconds == pytest.approx(table["seconds"].sum())
    assert history.numerics.precision == "float32"


def test_best_without_a_test_set_goes_by_train_accuracy(make_net, make_set):
    history = train(make_net(), make_set())
    assert history.table[["test_loss", "test_accuracy"]].isna().all(axis=None)
    assert history.best["train_accuracy"] == history.table["train_accuracy"].max()


def test_a_step_of_ones_own_decides_the_gradients(make_net, make_set):
    ds, net = make_set(), make_net()
    start = copy.deepcopy(net.state_dict())

    def head_only(net, images, labels):
        logits = net(images)
        loss = F.cross_entropy(logits, labels)
        net[-1].weight.grad, net[-1].bias.grad = torch.autograd.grad(loss, [net[-1].weight, net[-1].bias])
        return loss, logits

    history = train(net, ds, recipe=Recipe(epochs=2, batch=16), step=head_only)
    assert torch.equal(net[0].weight, start["0.weight"])
    assert not torch.equal(net[-1].weight, start["6.weight"])
    assert history.numerics == resolve(Recipe(), "cpu")  # as the plain step


def test_frozen_weights_stay(make_net, make_set):
    net = make_net()
    net[0].weight.requires_grad_(False)
    start = net[0].weight.clone()
    train(net, make_set())
    assert torch.equal(net[0].weight, start)


def test_divergence_names_epoch_rate_and_last_finite_loss(make_net, make_set):
    with pytest.raises(
        TrainingDiverged, match=r"in epoch \d+, step \d+ of 4, at learning rate 1e\+18; (the|it)"
    ):
        train(make_net(), make_set(), recipe=RECIPE.replace(lr=1e18, decay=1.0))


def test_a_network_broken_by_the_very_last_step_is_refused(make_net, make_set):
    """One step: its loss is finite, the weights after it are not."""
    ds = make_set(count=16)
    recipe = RECIPE.replace(epochs=1, lr=1e38, weight_decay=1e3)
    for test in (None, ds):
        net = make_net()
        net[0].weight.data.mul_(1e3)
        with pytest.raises(TrainingDiverged, match="no longer finite after epoch 1 at learning rate 1e\\+38"):
            train(net, ds, test, recipe)


def test_after_epoch_sees_the_rows_and_may_end_the_training(make_net, make_set):
    class Enough(Exception):
        pass

    rows = []

    def stop(row):
        rows.append(row)
        if row["epoch"] == 2:
            raise Enough

    with pytest.raises(Enough):
        train(make_net(), make_set(), after_epoch=stop)
    assert [row["epoch"] for row in rows] == [1, 2]


def test_progress_is_a_line_an_epoch_or_silent(make_net, make_set, capsys):
    fit(make_net(), make_set(), recipe=RECIPE, device="cpu")
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 3
    assert lines[0].startswith("epoch 1/3: loss ")
    train(make_net(), make_set())
    out = capsys.readouterr()
    assert (out.out, out.err) == ("", "")


def test_the_last_partial_batch_is_used(make_net, make_set):
    sizes = []

    def spy(net, images, labels):
        sizes.append(len(images))
        logits = net(images)
        loss = F.cross_entropy(logits, labels)
        loss.backward()
        return loss, logits

    train(make_net(), make_set(count=50), recipe=RECIPE.replace(epochs=1), step=spy)
    assert sizes == [16, 16, 16, 2]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"seed": -1}, "seed=-1"),
        ({"evaluate_every": 0}, "evaluate_every=0"),
        ({"checkpoint_every": 0}, "checkpoint_every=0"),
        ({"device": "gpu"}, "device='gpu' is not known"),
    ],
)
def test_bad_parameters_are_refused(make_net, make_set, change, message):
    with pytest.raises(ParameterError, match=message):
        fit(make_net(), make_set(), **{"recipe": RECIPE, "device": "cpu", "progress": False, **change})


def test_sets_that_do_not_fit_the_network_are_refused(make_net, make_set):
    with pytest.raises(ParameterError, match="train has labels up to 3, but the network has 3 outputs"):
        train(make_net(), make_set(labels=4))
    with pytest.raises(ParameterError, match=r"does not take images of shape \(3, 8, 8\)"):
        train(make_net(), make_set(channels=3))
    with pytest.raises(ParameterError, match=r"test has images of shape \(2, 6, 6\), train of \(2, 8, 8\)"):
        train(make_net(), make_set(), make_set(size=6))
    with pytest.raises(ParameterError, match="answers with shape"):
        train(nn.Conv2d(2, 3, 3), make_set())


def test_a_folder_of_pictures_trains_from_memory_and_is_evaluated_where_it_lies(make_net, tmp_path):
    generator = torch.Generator().manual_seed(0)
    for label in ("cat", "dog"):
        (tmp_path / label).mkdir()
        for number in range(3):
            pixels = torch.randint(0, 256, (20, 20, 3), dtype=torch.uint8, generator=generator)
            Image.fromarray(pixels.numpy()).save(tmp_path / label / f"{number}.png")
    pictures = load_folder(tmp_path, size=8)
    net = nn.Sequential(nn.Flatten(), nn.Linear(3 * 8 * 8, 2))
    with pytest.raises(ParameterError, match="in_memory"):
        train(net, pictures)
    history = train(net, pictures.in_memory(), pictures)
    assert history.final["test_accuracy"] == evaluate(net, pictures.in_memory(), device="cpu").accuracy


def test_bfloat16_trains_too(make_net, make_set):
    history = train(make_net(), make_set(), recipe=RECIPE.replace(precision="bfloat16"))
    assert history.numerics.precision == "bfloat16"
    assert isinstance(history.table, pd.DataFrame)
    assert math.isfinite(history.final["train_loss"])
    assert history.final["train_loss"] < history.table["train_loss"][0]
