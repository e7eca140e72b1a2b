"""Rewiring between epochs, broken off and resumed; the jobs, measures and quantities of the comparison."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

from filterwise.claims.registered import quantities
from filterwise.data import load
from filterwise.errors import ParameterError
from filterwise.figures.tables import NothingToShow
from filterwise.models import build
from filterwise.papers.afcc import set_arms, set_figures, set_jobs, set_measures, set_quantities
from filterwise.papers.afcc.rewiring_step import RewiringStep, rewiring
from filterwise.prune.masks import masks_of
from filterwise.prune.rewiring import ALGORITHMS, rewire, sparse
from filterwise.prune.similarity import layer_similarities
from filterwise.runs.finding import result
from filterwise.training import Given, Recipe, fit
from filterwise.training.learning import optimiser_of
from filterwise.training.steps import backprop

RECIPE = set_jobs.RECIPE.replace(epochs=5, batch=20, weight_decay=1e-3, shift=0)
FEW = {"n": 200, "noise_features": 20}
LAYERS = ("hidden.1.linear", "hidden.2.linear")


def begun(seed: int = 0, hidden: tuple[int, ...] = (12, 12)) -> nn.Module:
    net = build("mlp", labels=2, channels=40, size=1, hidden=hidden, seed=seed)
    sparse(net, Given(load("madelon", **FEW), seed), density=0.3, standardise=True)
    return net


def train(net: nn.Module, recipe: Recipe = RECIPE, **options):
    train_set, test = load("madelon", **FEW), load("madelon", "test", n=100, noise_features=20)
    return fit(net, train_set, test, recipe, device="cpu", progress=False, **options)


class Watched(RewiringStep):
    """The step, which writes down masks and momenta after each of its updates."""

    def __init__(self, algorithm: str) -> None:
        super().__init__(backprop(RECIPE, torch.device("cpu"), torch.float32), algorithm, 0.3)
        self.seen: list[dict[str, torch.Tensor]] = []
        self.momenta: list[bool] = []

    def before_epoch(self, net, optimiser, epoch, seed):
        before = masks_of(net)
        super().before_epoch(net, optimiser, epoch, seed)
        self.seen.append(masks_of(net))
        for name in LAYERS:
            layer = net.get_submodule(name)
            absent = layer.weight_mask == 0
            new = (layer.weight_mask == 1) & ~before[name]
            assert (layer.weight_orig[absent | new] == 0).all()
            for state in optimiser.state[layer.weight_orig].values():
                if isinstance(state, torch.Tensor) and state.shape == absent.shape:
                    assert (state[absent | new] == 0).all()
                    self.momenta.append(bool((state != 0).any()))


@pytest.mark.parametrize("optimiser", ["sgd", "adamw"])
@pytest.mark.parametrize("algorithm", ["SET", "CoDACoRSET"])
def test_what_is_lost_or_new_is_zero_for_weights_and_optimiser(algorithm: str, optimiser: str) -> None:
    recipe = RECIPE
    if optimiser == "adamw":
        recipe = Recipe(
            epochs=5, batch=20, lr=0.01, optimiser="adamw", decay=1.0, flip=False, shift=0, momentum=0.95
        )
    net, step = begun(), Watched(algorithm)
    before = masks_of(net)
    train(net, recipe, step=step)
    assert len(step.seen) == 5
    assert any(step.momenta)
    for name in LAYERS:
        numbers = {int(masks[name].sum()) for masks in [before, *step.seen]}
        assert len(numbers) == 1
        assert torch.equal(step.seen[0][name], before[name])  # not before the first epoch
        assert all(not torch.equal(step.seen[n][name], step.seen[n + 1][name]) for n in range(4))


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_absent_weights_are_zero_after_hundreds_of_steps(algorithm: str) -> None:
    net = begun()
    before = {name: int(mask.sum()) for name, mask in masks_of(net).items()}
    train(net, RECIPE.replace(epochs=30, batch=10), step=("rewire", {"algorithm": algorithm}))
    for name, mask in masks_of(net).items():
        layer = net.get_submodule(name)
        assert int(mask.sum()) == before[name]
        assert (layer.weight[~mask] == 0).all()
        assert (layer.weight_orig[~mask] == 0).all()
        # what leads to a node without a way on has no gradient; the others learn
        assert (layer.weight != 0).any()


def test_an_update_is_one_of_the_weights_at_the_epochs_end() -> None:
    net, other = begun(), begun()
    images = torch.randn(30, 40, 1, 1)
    labels = torch.arange(30) % 2
    step = rewiring(RECIPE, torch.device("cpu"), torch.float32, "CoPACoRSET", layers=LAYERS[0], samples=25)
    optimiser = optimiser_of(net, RECIPE)
    step.before_epoch(net, optimiser, 0, 11)
    for part in images.split(10):
        step(net, part, labels[:10])
        optimiser.step()
    other.load_state_dict(net.state_dict())
    step.before_epoch(net, optimiser, 1, 12)
    S = layer_similarities(other, [LAYERS[0]], images[:25])[LAYERS[0]]
    layer = other.get_submodule(LAYERS[0])
    generator = torch.Generator().manual_seed(12)
    wanted = rewire(layer.weight_orig, layer.weight_mask.bool(), S, "CoPACoRSET", 0.3, generator)
    mine = net.get_submodule(LAYERS[0])
    assert torch.equal(mine.weight_mask.bool(), wanted.mask)
    assert torch.equal(mine.weight_orig, layer.weight_orig * wanted.core)
    assert torch.equal(net.hidden[1].linear.weight_mask, other.hidden[1].linear.weight_mask)  # not named


@pytest.mark.parametrize("algorithm", ["SET", "CoPASET", "CoDACoRSET"])
def test_broken_off_and_resumed_is_the_same_to_the_bit(algorithm: str, tmp_path) -> None:
    options = {"step": ("rewire", {"algorithm": algorithm, "samples": 150}), "seed": 4}
    whole = begun()
    history = train(whole, **options)

    def stop(row) -> None:
        if row["epoch"] == 3:
            raise KeyboardInterrupt

    broken = begun()
    with pytest.raises(KeyboardInterrupt):
        train(broken, **options, checkpoint=tmp_path, checkpoint_every=2, after_epoch=stop)
    resumed = begun()  # another process would begin with the network of the run
    again = train(resumed, **options, checkpoint=tmp_path)
    state = resumed.state_dict()
    assert all(torch.equal(value, state[name]) for name, value in whole.state_dict().items())
    columns = ["train_loss", "train_accuracy", "test_loss", "test_accuracy"]
    assert history.table[columns].equals(again.table[columns])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"algorithm": "CoPSET"}, "algorithm='CoPSET' is not known; .* did you mean 'CoPASET'"),
        ({"zeta": 1.2}, "zeta=1.2 is not allowed"),
        ({"samples": 0}, "samples=0 is not allowed"),
        ({"layers": "hidden.11.linear"}, "layer 'hidden.11.linear' is not in this network; did you mean"),
        ({"layers": ["classifier"]}, "layers='classifier' is not known; choose from 'hidden.1.linear'"),
        ({"zetta": 0.3}, "step='rewire' does not take the options"),
    ],
)
def test_refusals_of_the_step(options: dict, message: str) -> None:
    with pytest.raises(ParameterError, match=message):
        train(begun(), step=("rewire", options))


def test_a_network_without_masks_is_refused() -> None:
    net = build("mlp", labels=2, channels=40, size=1)
    with pytest.raises(ParameterError, match="needs linear layers with masks; edit='sparse'"):
        train(net, step="rewire")


@pytest.mark.parametrize("profile", ["quick", "cifar", "short", "paper"])
def test_all_arms_of_a_seed_have_the_same_images_and_connections(profile: str) -> None:
    jobs = set_jobs.jobs_of_set(profile)
    assert len({job.name for job in jobs}) == len(jobs)
    by_seed: dict = {}
    for job in jobs:
        by_seed.setdefault((job.run.data, job.run.seed), {})[dict(job.about)["algorithm"]] = job.run
    for runs in by_seed.values():
        assert set(runs) == set(set_arms.ARMS)
        assert len({run.data_options for run in runs.values()}) == 1
        assert len({run.recipe for run in runs.values()}) == 1
        assert len({runs[arm].edit for arm in (*ALGORITHMS, set_arms.FIXED)}) == 1


def test_a_page_trains_what_the_records_hold() -> None:
    arms = ["SET", "dense"]
    listed = [job for job in set_jobs.jobs_of_set("quick") if job.run.seed == 1]
    wanted = {job.settings for job in listed if dict(job.about)["algorithm"] in arms}
    assert {job.settings for job in set_jobs.page_jobs_of_set("quick", arms, 1)} == wanted
    (few,) = set_jobs.page_jobs_of_set("quick", ["dense"], 0, noise_features=30)
    assert few.run.sets()[0].shape == (50, 1, 1)
    with pytest.raises(ParameterError, match=r"arm='CoDASE' is not known; .* did you mean 'CoDASET'"):
        set_jobs.page_jobs_of_set("quick", ["CoDASE"])


def test_the_narrow_network_has_as_many_weights() -> None:
    study = set_jobs.MADELON
    near = {}
    for nodes in range(1, 200):
        net = build("mlp", labels=2, channels=500, size=1, hidden=(nodes,) * 3)
        near[nodes] = sum(module.weight.numel() for module in net.modules() if isinstance(module, nn.Linear))
    wanted = 10 * (700 + 400 + 400) + 400
    assert study.narrow() == min(near, key=lambda nodes: abs(near[nodes] - wanted))


def hits_by_hand(scores: np.ndarray, relevant: int, tries: int = 4000) -> float:
    generator = np.random.default_rng(0)
    found = []
    for _ in range(tries):
        order = generator.permutation(len(scores))
        top = order[np.argsort(-scores[order], kind="stable")][:relevant]
        found.append((top < relevant).sum())
    return float(np.mean(found))


def test_hits_are_those_of_ties_broken_by_chance() -> None:
    generator = np.random.default_rng(1)
    for highest in (2, 4, 30):
        scores = generator.integers(0, highest, size=25)
        assert abs(set_measures.hits(scores, 6) - hits_by_hand(scores, 6)) < 0.1
    assert set_measures.hits(np.ones(500), 20) == 0.8


@pytest.mark.parametrize("arm", ["CoPACoRSET", "SET", set_arms.FIXED, set_arms.NARROW])
def test_what_is_measured_of_a_run(arm: str, tmp_path) -> None:
    study = set_jobs.Study("madelon", 40, 2, (12, 12), 3.0, RECIPE, 1, own_data=True)
    found = result(study.run(arm, 1, {**FEW, "n_test": 100}), tmp_path, device="cpu")
    row, arrays = set_measures.connectivity(found)
    net = found.network()
    first = net.hidden[0].linear
    first(torch.zeros(1, 40))  # works the masked weights out
    connections = {name: int(mask.sum()) for name, mask in masks_of(net).items()}
    if arm == set_arms.NARROW:
        connections = {name: net.get_submodule(name).weight.numel() for name in LAYERS}
    assert row["weights"] == sum(connections.values()) + net.classifier.weight.numel()
    degrees = (first.weight != 0).sum(0).numpy()
    assert (arrays["degrees"] >= degrees).all()  # a connection's weight can still be 0
    assert row["relevant"] == 20
    assert row["strength_hits"] == set_measures.hits(first.weight.detach().abs().double().sum(0).numpy(), 20)
    # with nothing removed the network is whole; with everything its answer is always the same
    assert np.allclose(arrays["curves"][:, 0], found.metrics["accuracy"])
    shares = found.test_set().labels.bincount() / 100
    assert all(min(abs(float(end) - shares)) < 1e-6 for end in arrays["curves"][:, -1])
    assert arrays["removed"][[0, -1]].tolist() == [0, 40]
    assert ("turnover" in row) == (arm in ALGORITHMS)
    assert ("similarity_share" in row) == (arm == "CoPACoRSET")
    if "turnover" in row:
        assert 0 < row["turnover"] < 0.5
    if "similarity_share" in row:
        assert row["similarity_share"] > 0
        forward = 40 * 12 + 12 * 12 + 24
        pairs = 40 * 12 + 12 * 12
        assert row["similarity_operations"] == pytest.approx((forward + pairs) * 4 / (3 * forward * 5))


def test_removal_leaves_out_the_inputs_that_it_says() -> None:
    net, ds = begun(), load("madelon", **FEW)
    order = np.random.default_rng(0).permutation(40)
    counts = np.array([0, 13, 40])
    found = set_measures.removal_curves(net, ds, order, counts, torch.device("cpu"))
    net.eval()
    for count, accuracy in zip(counts, found, strict=True):
        z = net.inputs((ds.images.float() / 127.5 - 1).flatten(1))
        z[:, order[:count].copy()] = 0
        with torch.no_grad():
            right = net.classifier(net.hidden(z)).argmax(1) == ds.labels
        assert accuracy == pytest.approx(float(right.double().mean()))


def records(**columns: dict[str, float]) -> pd.DataFrame:
    """One column after the other: algorithm -> number at seed 0; at seed 1 a tenth more."""
    rows = []
    for seed in (0, 1):
        for arm in set_arms.ARMS:
            own = {name: values[arm] + 0.1 * seed for name, values in columns.items() if arm in values}
            about = {"family": "set-cosine", "algorithm": arm, "data": "madelon", "seed": seed}
            rows.append({**about, "device": "cpu", **own})
    rows.append({"family": "other", "algorithm": "SET", "data": "madelon", "seed": 0, "accuracy": 9.0})
    return pd.DataFrame(rows)


def values_of(name: str, table: pd.DataFrame, **options) -> dict:
    rows = quantities.get(name).function(table, **options)
    return {(row["arm"], row["seed"]): (row["value"], row["control"]) for row in rows}


def test_gains_are_paired_and_averaged_over_the_five() -> None:
    accuracy = dict(zip(set_arms.ARMS, (0.5, 0.6, 0.7, 0.6, 0.7, 0.9, 0.4, 0.45, 0.3), strict=True))
    table = records(accuracy=accuracy)
    found = values_of("rewiring_gain", table, group="cosine", baseline="SET")
    assert found == {
        ("cosine variants - SET, madelon", seed): (pytest.approx(0.2), pytest.approx(-0.05))
        for seed in (0, 1)
    }
    found = values_of("rewiring_gain", table, group="SET", baseline="dense")
    assert [value for value, _ in found.values()] == pytest.approx([0.1, 0.1])
    missing = table[~((table["algorithm"] == "CoRSET") & (table["seed"] == 0))]
    assert [seed for _, seed in values_of("rewiring_gain", missing, group="cosine", baseline="SET")] == [1]
    with pytest.raises(ParameterError, match="baseline='Dense' is not known"):
        values_of("rewiring_gain", table, group="cosine", baseline="Dense")


def test_quantities_read_their_columns() -> None:
    numbers = {arm: float(place) for place, arm in enumerate(set_arms.ARMS)}
    names = ("input_hits", "strength_hits", "removal_gap", "similarity_share", "similarity_operations")
    table = records(**dict.fromkeys((*names, "lost_least_first", "lost_most_first"), numbers))
    dense, fixed, cosine = numbers["dense"], numbers["fixed sparse"], (1 + 2 + 3 + 4 + 5) / 5
    assert values_of("connectivity_hits", table, algorithm=["CoRSET"])["CoRSET, madelon", 0] == (3, dense)
    gain = values_of("connectivity_hits_gain", table, algorithm="CoDASET", baseline="fixed sparse")
    assert gain["CoDASET - fixed sparse, madelon", 1][0] == pytest.approx(1 - fixed)
    for order in ("least", "most"):
        loss = values_of("removal_loss", table, algorithm="SET", order=order)
        assert loss[f"SET, {order} connected first, madelon", 0] == (0, fixed)
    gap = values_of("removal_gap_gain", table, algorithm="CoRSET", baseline="SET")
    assert gap["CoRSET - SET, madelon", 0][0] == 3
    share = values_of("similarity_share", table)
    assert share["similarity, madelon", 0] == (cosine, cosine)
    assert all(
        quantities.get(name).function(pd.DataFrame({"accuracy": [1.0]}), **options) == []
        for name, options in (
            ("rewiring_gain", {"group": "cosine", "baseline": "SET"}),
            ("connectivity_hits", {"algorithm": "SET"}),
            ("connectivity_hits_gain", {"algorithm": "SET", "baseline": "dense"}),
            ("removal_loss", {"algorithm": "SET", "order": "least"}),
            ("removal_gap_gain", {"algorithm": "SET", "baseline": "dense"}),
            ("similarity_share", {}),
        )
    )
    assert math.isnan(quantities.get("removal_gap_gain").function(table, "SET", "dense")[0]["control"])
    assert set_quantities.cells(table, "nothing") == {}


def test_figures_and_table() -> None:
    degrees = {"SET": np.arange(30), "CoDASET": np.arange(30)[::-1].copy()}
    figure = set_figures.degree_bars(degrees, 5)
    assert "SET 0, CoDASET 5" in figure.alt
    assert [len(ax.patches) for ax in figure.axes] == [30, 30]
    lines = set_figures.removal_curves({"SET": np.random.default_rng(0).random((3, 2, 4))}, np.arange(4))
    assert len(lines.axes[0].lines) == 3
    with pytest.raises(NothingToShow):
        set_figures.degree_bars({}, 5)
    accuracy = {arm: 0.5 for arm in set_arms.ARMS}
    table = set_figures.results_table(records(accuracy=accuracy, input_hits=accuracy))
    assert table.index.tolist() == list(set_arms.ARMS)
    assert table["accuracy"].tolist() == ["0.550 ± 0.071"] * 9
    assert set_figures.results_table(pd.DataFrame()).empty
    assert set_figures.kept(pd.DataFrame(), "5-afcc", "quick") == {}


def test_names_without_torch_are_those_of_the_algorithms():
    assert tuple(ALGORITHMS) == set_arms.ALGORITHMS
