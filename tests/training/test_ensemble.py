"""Members of an ensemble against their solo runs; what they may not share; divergence.

Their checkpoints are in ``test_ensemble_checkpoints.py``.
"""

import copy

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from filterwise import models
from filterwise.errors import ParameterError, TrainingDiverged
from filterwise.training import Recipe, fit, fit_many

PLAIN = {"precision": "float32", "memory_format": "contiguous"}
RECIPE = Recipe(epochs=3, batch=16, lr=0.05, shift=1, decay=0.5, decay_every=1, **PLAIN)
SEEDS = (3, 0, 8)
NUMBERS = ["epoch", "lr", "train_loss", "train_accuracy", "test_loss", "test_accuracy"]


def lenet(seed):
    return models.build("lenet5", labels=3, channels=2, size=16, seed=seed, d1=3)


def small_vgg(seed):
    return models.build("vgg", labels=3, channels=2, size=16, seed=seed, stages=((4, 1), (6, 2)))


def together(nets, ds, test=None, recipes=RECIPE, **options):
    options = {"seeds": SEEDS, **options}
    return fit_many(nets, ds, test, recipes, device="cpu", progress=False, **options)


def close(first, second, tolerance=5e-5):
    """States equal within ``tolerance``; the buffers, batch normalisation's statistics, as well."""
    mine, other = first.state_dict(), second.state_dict()
    assert list(mine) == list(other)
    for name in mine:
        assert torch.allclose(mine[name].double(), other[name].double(), atol=tolerance, rtol=1e-4), name
    return True


@pytest.mark.parametrize("build", [lenet, small_vgg])
@pytest.mark.parametrize("nesterov", [True, False])
def test_every_member_is_its_solo_run(build, nesterov, make_set):
    ds, test = make_set(size=16), make_set(21, size=16, seed=1)
    recipe = RECIPE.replace(nesterov=nesterov, warmup_steps=3, label_smoothing=0.1)
    nets = [build(seed) for seed in SEEDS]
    histories = together(nets, ds, test, recipe, evaluate_every=2)
    for net, history, seed in zip(nets, histories, SEEDS, strict=True):
        solo = build(seed)
        alone = fit(solo, ds, test, recipe, seed, "cpu", evaluate_every=2, progress=False)
        assert close(net, solo)
        for column in NUMBERS:
            want = alone.table[column].tolist()
            assert history.table[column].tolist() == pytest.approx(want, rel=1e-4, abs=1e-5, nan_ok=True), (
                column
            )


def test_members_may_differ_in_rate_momentum_decay_and_schedule(make_set):
    ds = make_set(size=16)
    recipes = [
        RECIPE,
        RECIPE.replace(lr=0.1, momentum=0.5, weight_decay=0.0),
        Recipe.from_dict({**RECIPE.to_dict(), "schedule": "cosine", "decay": 0.6, "decay_every": 20}),
    ]
    nets = [lenet(1) for _ in recipes]
    together(nets, ds, recipes=recipes, seeds=(5, 5, 5))
    for net, recipe in zip(nets, recipes, strict=True):
        solo = lenet(1)
        fit(solo, ds, None, recipe, 5, "cpu", progress=False)
        assert close(net, solo)
    assert not torch.allclose(nets[0].features[0].conv.weight, nets[1].features[0].conv.weight, atol=1e-4)


@pytest.mark.parametrize("build", [lenet, small_vgg])
def test_a_member_that_diverges_does_not_spoil_the_others(build, make_set):
    ds, test = make_set(size=16), make_set(21, size=16, seed=1)
    recipes = [RECIPE, RECIPE.replace(lr=1e20, decay=1.0), RECIPE]
    nets = [build(seed) for seed in SEEDS]
    histories = together(nets, ds, test, recipes)
    assert [bool(history.diverged) for history in histories] == [False, True, False]
    assert "learning rate 1e+20" in histories[1].diverged
    assert len(histories[1].table) < 3
    with pytest.raises(TrainingDiverged, match="learning rate"):
        _ = histories[1].final
    for member in (0, 2):
        solo = build(SEEDS[member])
        fit(solo, ds, test, RECIPE, SEEDS[member], "cpu", progress=False)
        assert close(nets[member], solo)
        assert histories[member].final["epoch"] == 3


def test_frozen_weights_stay(make_set):
    nets = [small_vgg(seed) for seed in SEEDS]
    for net in nets:
        net.features[0].conv.weight.requires_grad_(False)
    start = [net.features[0].conv.weight.clone() for net in nets]
    together(nets, make_set(size=16))
    assert all(torch.equal(net.features[0].conv.weight, was) for net, was in zip(nets, start, strict=True))


def test_the_callers_randomness_and_threads_are_untouched(make_set):
    before = torch.get_rng_state(), torch.get_num_threads()
    fit_many(lenet, make_set(size=16), None, RECIPE, SEEDS, "cpu", progress=False)
    assert torch.equal(before[0], torch.get_rng_state())
    assert before[1] == torch.get_num_threads()


class Noisy(nn.Module):
    """Drops units by the functional form, which no look at the modules can find."""

    def __init__(self):
        super().__init__()
        self.head = nn.Linear(2 * 16 * 16, 3)

    def forward(self, images):
        return self.head(F.dropout(images.flatten(1), 0.5, self.training))


def test_random_layers_are_refused(make_net, make_set):
    with pytest.raises(ParameterError, match=r"draws random numbers .* in the layer '4'"):
        together([make_net(seed, dropout=0.5) for seed in SEEDS], make_set())
    with pytest.raises(ParameterError, match="draws random numbers"):
        together([Noisy() for _ in SEEDS], make_set(size=16))


def test_what_members_must_share_is_checked(make_set):
    ds, nets = make_set(size=16), [lenet(seed) for seed in SEEDS]
    states = [copy.deepcopy(net.state_dict()) for net in nets]
    wrong = [
        (
            {"recipes": [RECIPE, RECIPE.replace(batch=8), RECIPE]},
            "batch=8 of member 1 differs from 16 of member 0",
        ),
        ({"recipes": [RECIPE, RECIPE]}, "3 nets and 2 recipes"),
        ({"seeds": (1, 2)}, "3 nets and 2 seeds"),
        ({"seeds": (1, 2, -3)}, "seed=-3"),
        ({"recipes": RECIPE.replace(mixup=0.2)}, "mixup=0.2 is not for members"),
        (
            {"recipes": RECIPE.replace(optimiser="adamw", momentum=0.95)},
            "optimiser='adamw' is not for members",
        ),
        ({"recipes": RECIPE.replace(memory_format="channels_last")}, "stacked weights are contiguous"),
        ({"nets": [*nets[:2], small_vgg(0)]}, "2 different shapes"),
        ({"nets": [nets[0], nets[1], nets[0]]}, "the same network twice"),
        ({"nets": [], "seeds": ()}, "nets is empty"),
        ({"nets": lenet, "seeds": None}, "seeds=None"),
        ({"evaluate_every": 0}, "evaluate_every=0"),
        ({"checkpoint_every": 0}, "checkpoint_every=0"),
        ({"checkpoints": ["a", "b"]}, r"checkpoints=\['a', 'b'\] must be 3 folders"),
    ]
    for change, message in wrong:
        with pytest.raises(ParameterError, match=message):
            together(**{"nets": nets, "ds": ds, **change})
    assert all(
        torch.equal(value, state[name])
        for net, state in zip(nets, states, strict=True)
        for name, value in net.state_dict().items()
    )


def test_ctrl_c_ends_all_members_soon(make_set):
    nets, calls = [lenet(seed) for seed in SEEDS], []

    def interrupt(module, inputs):
        if module.training:
            calls.append(1)
            if len(calls) == 5:
                raise KeyboardInterrupt

    for net in nets:
        net.register_forward_pre_hook(interrupt)
    with pytest.raises(KeyboardInterrupt):
        together(nets, make_set(size=16), None, RECIPE.replace(epochs=200))
    assert len(calls) < 100  # of the 3 * 200 * 4 steps


def test_progress_is_a_line_an_epoch(make_set, capsys):
    fit_many(lenet, make_set(size=16), None, RECIPE, SEEDS, "cpu")
    lines = capsys.readouterr().err.splitlines()
    assert [line.partition(":")[0] for line in lines] == ["epoch 1/3", "epoch 2/3", "epoch 3/3"]
