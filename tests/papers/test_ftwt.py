"""Dynamic pruning: the training step against its definition, jobs, measurement and quantities."""

from __future__ import annotations

import copy

import numpy as np
import pandas as pd
import pytest
import torch
import torch.nn.functional as F

from filterwise.claims.registered import measure
from filterwise.data import ImageSet
from filterwise.data.augmentation import scale
from filterwise.errors import ParameterError
from filterwise.figures.tables import NothingToShow
from filterwise.models import build
from filterwise.papers.afcc import ftwt_figures, ftwt_measures, ftwt_quantities
from filterwise.papers.afcc.ftwt_plan import DynamicStudy, ftwt_jobs
from filterwise.papers.afcc.ftwt_step import FireTogether, mask_loss
from filterwise.prune.dynamic import StaticBlock, predicted_blocks, put_predictors, watching
from filterwise.prune.dynamic_macs import observe
from filterwise.runs import Run, measured, result, row
from filterwise.runs.jobs import check_jobs
from filterwise.training import Recipe, fit
from filterwise.training.edits import Given
from filterwise.training.steps import make_step

STAGES = ((6, 1), (8, 2))
RECIPE = Recipe(
    epochs=4, batch=10, lr=0.02, momentum=0.9, flip=False, shift=0, precision="float32", decay=0.5,
    decay_every=1,
)  # fmt: skip


@pytest.fixture(autouse=True)
def _one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def images(count=40, seed=0):
    generator = torch.Generator().manual_seed(seed)
    pixels = torch.randint(0, 256, (count, 2, 8, 8), dtype=torch.uint8, generator=generator)
    return ImageSet(pixels, torch.arange(count) % 4, ("a", "b", "c", "d"))


def network(seed=0, spread=0.0, **options):
    net = build("vgg", labels=4, channels=2, size=8, seed=seed, stages=STAGES)
    put_predictors(net, Given(images(), 0), **{"r": 0.8, **options})
    generator = torch.Generator().manual_seed(7)
    with torch.no_grad():
        for block in predicted_blocks(net):
            block.predictor.weight.normal_(0, max(spread, 1e-9), generator=generator)
    return net


def predictors(net):
    return {name: value.clone() for name, value in net.named_parameters() if ".predictor." in name}


def train(net, step, **options):
    return fit(net, images(), images(seed=1), RECIPE, device="cpu", step=step, progress=False, **options)


def test_the_loss_is_the_mean_over_layers_of_sums_over_filters():
    net = network(spread=5.0).train()
    blocks = predicted_blocks(net)
    with watching(net) as seen:
        net(scale(images().images))
    by_layer = []
    for one in seen:
        z, g = one.logits.double(), one.target.double()
        each = -(g * torch.sigmoid(z).log() + (1 - g) * torch.sigmoid(-z).log())
        by_layer.append(each.sum() / len(z))
    want = sum(by_layer) / len(by_layer)
    for mode in ("decoupled", "joint"):
        assert mask_loss(seen, blocks, mode).item() == pytest.approx(want.item(), rel=1e-5)


def test_the_predictors_loss_reaches_the_network_in_joint_mode_alone():
    net = network(spread=5.0).train()
    blocks, reached = predicted_blocks(net), {}
    for mode in ("decoupled", "joint"):
        net.zero_grad(set_to_none=True)
        with watching(net) as seen:
            net(scale(images().images))
        mask_loss(seen, blocks, mode).backward()
        assert all(weight.grad is not None for block in blocks for weight in block.predictor.parameters())
        reached[mode] = {
            name
            for name, weight in net.named_parameters()
            if weight.grad is not None and "predictor" not in name
        }
    assert reached["decoupled"] == set()
    assert {"features.1.conv.weight", "features.2.conv.weight"} <= reached["joint"]
    # nothing is predicted from the last layer's output, so only the task reaches its weights
    assert "features.3.conv.weight" not in reached["joint"]


def test_predictors_move_as_plain_descent_with_momentum_and_the_rate_of_the_schedule():
    """Against torch's own optimiser, fed with gradients of the predictors' loss alone."""
    net, ds = network(spread=2.0), images()
    step = FireTogether(RECIPE, torch.device("cpu"), torch.float32, cooldown=1.0, rate_ratio=5.0)
    backbone = [weight for name, weight in net.named_parameters() if "predictor" not in name]
    loop = torch.optim.SGD(net.parameters(), lr=0.01, momentum=0.9, weight_decay=0.1)
    twin = copy.deepcopy(net)
    own = [weight for block in predicted_blocks(twin) for weight in block.predictor.parameters()]
    want = torch.optim.SGD(own, lr=1.0, momentum=0.9)
    net.train()
    step.before_epoch(net, loop, 0, 0)
    for rate in (0.01, 0.01, 0.004):
        loop.param_groups[0]["lr"], want.param_groups[0]["lr"] = rate, 5 * rate
        twin.load_state_dict({**net.state_dict(), **predictors(twin)})
        twin.train()
        with watching(twin) as seen:
            twin(scale(ds.images))
        want.zero_grad()
        mask_loss(seen, predicted_blocks(twin), "decoupled").backward()
        want.step()
        step(net, scale(ds.images), ds.labels)
        assert all(
            weight.grad is None for block in predicted_blocks(net) for weight in block.predictor.parameters()
        )
        assert all(weight.grad is not None for weight in backbone)
        loop.step()
        for mine, other in zip(predictors(net).values(), own, strict=True):
            torch.testing.assert_close(mine, other.detach(), rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("mode", ["decoupled", "joint"])
def test_after_the_cool_down_predictors_are_frozen_to_the_bit(mode):
    net, states = network(), []
    train(
        net,
        ("ftwt", {"mode": mode, "rate_ratio": 50.0}),
        after_epoch=lambda _: states.append(copy.deepcopy(net.state_dict())),
    )
    names = [name for name in states[0] if ".predictor." in name]
    learnt, last = states[1], states[3]
    assert all(torch.equal(learnt[name], last[name]) for name in names)
    assert not all(torch.equal(states[0][name], learnt[name]) for name in names)
    assert not torch.equal(learnt["features.1.conv.weight"], last["features.1.conv.weight"])


def test_with_no_weight_or_no_time_predictors_stay_where_they_began():
    for options in ({"weight": 0.0}, {"cooldown": 0.0}):
        net = network()
        before = predictors(net)
        train(net, ("ftwt", options))
        assert all(torch.equal(before[name], value) for name, value in predictors(net).items())


def test_the_ground_truth_of_a_training_step_is_that_of_its_own_maps():
    """The loss of a step is the task's, and its logits are those of the masked network."""
    net, ds = network(spread=3.0), images()
    step = FireTogether(RECIPE, torch.device("cpu"), torch.float32)
    step.before_epoch(net, torch.optim.SGD(net.parameters(), lr=0.0), 0, 0)
    twin = copy.deepcopy(net)
    loss, logits = step(net, scale(ds.images), ds.labels)
    want = twin(scale(ds.images))
    torch.testing.assert_close(logits, want.detach())
    torch.testing.assert_close(loss, F.cross_entropy(want, ds.labels).detach())


@pytest.mark.parametrize("stop", [1, 2, 3])
def test_a_killed_training_goes_on_to_the_same_bits(tmp_path, stop):
    """Broken off while predictors learn, when they have just been frozen, and later."""
    step = ("ftwt", {"mode": "joint", "rate_ratio": 50.0})
    whole = network()
    train(whole, step, checkpoint=tmp_path / "whole", checkpoint_every=1)

    class Killed(Exception):
        pass

    def kill(history):
        if history["epoch"] == stop:
            raise Killed

    with pytest.raises(Killed):
        train(network(), step, checkpoint=tmp_path / "cut", checkpoint_every=1, after_epoch=kill)
    again = network()
    train(again, step, checkpoint=tmp_path / "cut", checkpoint_every=1)
    one, other = whole.state_dict(), again.state_dict()
    assert all(torch.equal(one[name], other[name]) for name in one)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"mode": "coupled"}, "mode='coupled' is not known; choose from 'decoupled', 'joint'; did you mean"),
        ({"weight": -1}, "weight=-1 is too small"),
        ({"cooldown": 1.5}, "cooldown=1.5 is not allowed"),
        ({"rate_ratio": "fast"}, "rate_ratio='fast' is not allowed"),
        ({"momentum": 1.0}, "momentum=1.0 is not allowed"),
        ({"rate": 1.0}, "does not take the options"),
    ],
)
def test_wrong_options_of_the_step_are_refused(options, message):
    with pytest.raises(ParameterError, match=message):
        train(network(), ("ftwt", options))


def test_a_network_without_predictors_is_refused():
    net = build("vgg", labels=4, channels=2, size=8, stages=STAGES)
    with pytest.raises(ParameterError, match="put them on with edit='mask_predictors'"):
        train(net, "ftwt")
    assert callable(make_step("ftwt", RECIPE, _form()))


def _form():
    from filterwise.training.numerics import resolve

    return resolve(RECIPE, "cpu")


@pytest.mark.parametrize("profile", ["quick", "cifar", "short", "paper"])
def test_jobs_are_distinct_and_every_arm_starts_with_its_seeds_dense_network(profile):
    listed = ftwt_jobs(profile)
    check_jobs(listed)
    assert {job.bundle for job in listed} == {"ftwt"}
    assert {job.run.seed for job in listed} == {0, 1, 2}
    dense = {job.run.seed: job.run for job in listed if dict(job.about)["ftwt"] == "dense"}
    decoupled = [job.run for job in listed if dict(job.about)["ftwt"] == "decoupled"]
    for job in listed:
        about, run = dict(job.about), job.run
        assert job.cost_seconds > 0
        if about["ftwt"] in ("retrained", "decoupled", "joint"):
            assert run.start == dense[run.seed]
        if about["ftwt"] == "static":
            assert run.start in decoupled
            assert dict(run.start.edit[1])["r"] == about["r"]
        if about["ftwt"] != "dense":  # retrained equally
            assert run.recipe == next(one.recipe for one in decoupled)


def test_unknown_profiles_are_refused():
    with pytest.raises(ParameterError, match="did you mean 'quick'"):
        ftwt_jobs("quik")


@pytest.fixture(scope="module")
def records(tmp_path_factory):
    """Every arm of one seed of a tiny study, run and measured."""
    torch.set_num_threads(1)
    root = tmp_path_factory.mktemp("runs")
    recipe = Recipe(epochs=2, batch=20, lr=0.02, momentum=0.9, flip=False, shift=0)
    run = Run("vgg", "parts", recipe, 0, 4, {"stages": ((6, 1), (8, 1))}, {"n": 120, "n_test": 60})
    masses = {"decoupled": (0.9, 0.5), "joint": (0.5,)}
    study = DynamicStudy(
        "tiny", run, recipe.replace(lr=0.01), masses, 50.0, (1, 1), head_epochs=1, seeds=(0,)
    )
    rows, found = [], {}
    for job in study.jobs():
        one = result(job.run, root, device="cpu")
        what = measured((one,), job.measure, job.options)
        rows.append(row(job, [one], what))
        found[job.name] = (one, what)
    return pd.DataFrame(rows), found


def test_a_record_of_every_arm_feeds_every_quantity(records):
    table, _ = records
    names = ["mask_gain", "largest_cut", "cut_follows_r", "foreseen_error", "foreseen_over_guess",
             "dynamic_minus_static", "decoupled_minus_joint"]  # fmt: skip
    for name in names:
        found = measure(name, table)
        assert len(found) >= 1, name
        assert found["control"].notna().all(), name
    assert len(measure("mask_gain", table)) == 2  # a row for each r
    assert table["macs_share"].between(0, 1).all()
    assert (table.set_index("ftwt").loc[["dense", "retrained"], "macs_share"] == 1).all()


def test_static_networks_cost_as_much_as_their_dynamic_ones_and_begin_with_the_dense_weights(records):
    _, found = records
    for name, (one, _) in found.items():
        if "static" not in name:
            continue
        net, twin = one.network(), one.start()
        blocks = [block for block in net.features if isinstance(block, StaticBlock)]
        train_set = one.train_set()
        wanted = observe(twin.network(), train_set, device="cpu")
        got = observe(net, train_set, device="cpu")
        target = float(wanted.macs.sum(1).double().mean())
        assert int(got.macs[0].sum()) >= target
        # one filter less anywhere would be below, but for layers that round together
        assert int(got.macs[0].sum()) - target <= sum(
            cost.per_pair * (cost.channels + max(each.filters for each in got.costs)) for cost in got.costs
        )
        from filterwise.runs.networks import beginning

        begun = beginning(one.run, train_set, twin, "cpu").state_dict()
        dense = twin.start().network().state_dict()
        assert all(torch.equal(begun[weight], value) for weight, value in dense.items())
        for block, weight in zip(blocks, [dense[f"features.{m}.conv.weight"] for m in (1, 2)], strict=True):
            norms = weight.abs().sum((1, 2, 3))
            assert norms[block.kept].min() >= norms[~block.kept].max() if (~block.kept).any() else True


def test_the_twin_needs_a_run_with_predictors():
    from filterwise.training.edits import edits

    net = build("vgg", labels=4, channels=2, size=8, stages=STAGES)
    with pytest.raises(ParameterError, match="edit='static_twin' needs a run that starts"):
        edits.get("static_twin").function(net, Given(images(), 0))


def test_rates_and_mask_quality_are_counted_over_images(records):
    _, found = records
    one, what = next(each for name, each in found.items() if "decoupled r=0.5" in name)
    test = one.test_set()
    seen = observe(one.network(), test, device="cpu")
    for layer in ("features.1", "features.2"):
        mask = seen.masks[layer].numpy()
        rate = what.arrays[f"rate@{layer}"]
        for label in range(4):
            own = mask[test.labels.numpy() == label]
            np.testing.assert_allclose(rate[:, label], own.mean(0), atol=1e-3)
        target = seen.targets[layer].numpy()
        constant = [max(np.mean(column), 1 - np.mean(column)) for column in target.T]
        assert what.row[f"majority@{layer}"] == pytest.approx(np.mean(constant))
        right = (seen.answers[layer].numpy() == target).mean()
        assert what.row[f"mask_accuracy@{layer}"] == pytest.approx(right)
        assert what.row[f"active@{layer}"] == pytest.approx(mask.mean())
    dense = next(each for name, each in found.items() if "dense" in name)[1]
    assert dense.arrays["foreseen"].shape == (6, 3)
    assert (np.diff(dense.arrays["foreseen"][:, 1]) <= 0).all()  # a smaller r never costs more here
    assert what.row["foreseen_share"] == pytest.approx(_foreseen(one), abs=1e-12)
    assert what.arrays["clusters@features.2"].shape == (8, 4)


def _foreseen(one):
    net = one.start().network()
    put_predictors(net, Given(one.train_set(), 0), r=0.5)
    return observe(net, one.test_set(), "target", device="cpu").share


def planted(**changes):
    """Two seeds with three r: dynamic cuts 0.2, 0.5 and 0.8 of the cost."""
    rows = []
    about = {"network": "net", "data": "planted", "labels": 10, "device": "cpu"}
    for seed in (0, 1):
        rows.append({**about, "seed": seed, "ftwt": "retrained", "accuracy": 0.9, "macs_share": 1.0})
        for r, share in ((0.9, 0.8), (0.8, 0.5), (0.7, 0.2)):
            for arm, accuracy in (("decoupled", 0.89), ("static", 0.85), ("joint", 0.8)):
                one = {**about, "seed": seed, "ftwt": arm, "r": r, "accuracy": accuracy, "macs_share": share,
                       "foreseen_share": share - 0.1, "mask_accuracy": 0.9, "majority": 0.7}  # fmt: skip
                rows.append(one | changes.get(arm, {}))
    # the chapter's other methods
    rows.append({**about, "seed": 0, "ftwt": None, "accuracy": 0.1})
    return pd.DataFrame(rows)


def values(name, table, **options):
    return measure(name, table, options)["value"].tolist()


def test_quantities_of_planted_records():
    table = planted()
    assert values("mask_gain", table) == pytest.approx([0.2] * 6)
    assert values("largest_cut", table) == pytest.approx([0.8, 0.8])
    assert values("cut_follows_r", table) == pytest.approx([1.0, 1.0])
    (half,) = measure("change_at_half", table).to_dict("records")[:1]
    assert (half["value"], half["control"]) == pytest.approx((-0.01, -0.05))
    assert values("foreseen_error", table) == pytest.approx([0.1] * 6)
    guess = [abs(r**2 - share) - 0.1 for r, share in ((0.7, 0.2), (0.8, 0.5), (0.9, 0.8))] * 2
    assert values("foreseen_over_guess", table) == pytest.approx(guess)
    assert values("dynamic_minus_static", table) == pytest.approx([0.04, 0.04])
    assert values("decoupled_minus_joint", table) == pytest.approx([0.09, 0.09])
    assert values("decoupled_minus_joint", table, at="smallest r") == pytest.approx([0.09, 0.09])


def test_decoupled_and_joint_are_compared_at_equal_cost():
    """Joint between its neighbours; cheaper than all of it, against the cheapest."""
    table = planted(joint={"macs_share": 0.5})
    # joint is a point (0.5, 0.8) and the dense network (1, 0.9): at 0.8 the line is at 0.86
    assert values("decoupled_minus_joint", table)[0] == pytest.approx(
        ((0.89 - 0.86) + (0.89 - 0.8) + (0.89 - 0.8)) / 3
    )
    with pytest.raises(ParameterError, match="at='lowest' is not known"):
        ftwt_quantities.decoupled_minus_joint(table, at="lowest")


def test_what_is_not_recorded_is_not_measured():
    whole = planted()
    for name in ("mask_gain", "largest_cut", "change_at_half", "dynamic_minus_static", "foreseen_error"):
        assert len(measure(name, pd.DataFrame())) == 0
        assert len(measure(name, whole[whole["ftwt"] == "retrained"])) == 0
    little = whole[(whole["ftwt"] != "decoupled") | (whole["r"] == 0.9)]
    assert len(measure("change_at_half", little)) == 0  # nothing saves half
    assert len(measure("cut_follows_r", little)) == 0


def test_cluster_gain_leaves_out_filters_without_inside_or_outside():
    rate = np.array([[1.0, 0.0, 0.0], [0.2, 0.4, 0.9], [0.3, 0.3, 0.3]])
    inside = np.array([[True, False, False], [True, True, True], [False, False, False]])
    assert ftwt_measures.cluster_gain(rate, inside) == 1.0
    assert np.isnan(ftwt_measures.cluster_gain(rate[1:], inside[1:]))


def test_figures_and_tables_show_the_records(records):
    table, found = records
    (axes,) = ftwt_figures.accuracy_against_macs(table).axes
    lines = {bars.get_label(): bars[0] for bars in axes.containers}
    static = table[table["ftwt"] == "static"].sort_values("r")
    drawn = lines["static, L1 norm, 1 seed"]
    np.testing.assert_allclose(np.asarray(drawn.get_xdata(), float), static["macs_share"])
    decoupled = table[table["ftwt"] == "decoupled"]
    masks = ftwt_figures.masks_table(table)
    assert masks.loc[(0.5, 2), "right"] == pytest.approx(
        decoupled.set_index("r").loc[0.5, "mask_accuracy@features.2"]
    )
    what = next(each for name, each in found.items() if "decoupled r=0.5" in name)[1]
    kept = ftwt_figures.rates_kept(what.arrays, "features.2")
    figure = ftwt_figures.rate_matrix(*kept)
    order = [image.images[0].get_array() for image in figure.axes[:3]]
    for drawn_part, part in zip(order, kept, strict=True):
        assert sorted(map(tuple, np.asarray(drawn_part))) == sorted(map(tuple, part.astype(float)))
    with pytest.raises(NothingToShow, match="target_rate"):
        ftwt_figures.rates_kept(what.arrays, "features.9")
    assert "8 filters by 4 labels" in figure.alt
    assert "Accuracy and cost left" in ftwt_figures.said_of_cost(table)
    with pytest.raises(NothingToShow):
        ftwt_figures.of_dynamic(table.assign(ftwt=None))
    with pytest.raises(ParameterError, match="have shapes"):
        ftwt_figures.rate_matrix(*[np.zeros((2, 3))] * 2, np.zeros((3, 2)))
