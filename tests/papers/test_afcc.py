"""Chapter 5's runs: masks that stay through retraining, frozen layers that are frozen, clusters that do not
come from test images, chains of runs, imposed sets, and equal amounts for every peer."""

import numpy as np
import pytest
import torch

import filterwise as fw
from filterwise.errors import ParameterError
from filterwise.measure.norms import refit_norms
from filterwise.papers.afcc import plan, rewired_heads
from filterwise.papers.afcc.masked_tail import Tail
from filterwise.papers.afcc.measure import FITTED, _nearest
from filterwise.papers.afcc.measured_fields import fields_of, true_test
from filterwise.prune.equal_amount import Connections
from filterwise.prune.masks import masks_of
from filterwise.prune.rewiring import ALGORITHMS
from filterwise.runs.jobs import check_jobs
from filterwise.runs.networks import beginning

RECIPE = fw.training.Recipe(epochs=2, batch=20, lr=0.02, momentum=0.9, decay_every=1, flip=False, shift=0)
STAGES = {"stages": ((6, 1), (8, 1), (10, 1))}
DENSE = fw.runs.Run("vgg", "parts", RECIPE, 0, 5, STAGES, {"n": 400, "seed": 1, "held_out": 0.25})
LAYERS = ("features.2", "features.3", "classifier.1")


def pruned(recipe=RECIPE, layers=LAYERS, start=DENSE, train=LAYERS, **options):
    edit = {"layers": layers, "threshold": 0.5, "head_epochs": 2, "beside": LAYERS, **options}
    return start.then(recipe=recipe, edit=("connections", edit), train=train)


@pytest.fixture(scope="module")
def runs_folder(tmp_path_factory):
    return tmp_path_factory.mktemp("runs")


@pytest.fixture
def result(runs_folder):
    return lambda run: fw.runs.result(run, runs_folder, device="cpu")


def weights_of(net):
    return {name: value.clone() for name, value in net.state_dict().items()}


HEAVY = [
    RECIPE.replace(epochs=20, momentum=0.95, weight_decay=1e-3),
    fw.training.Recipe(
        epochs=20, batch=20, lr=0.003, weight_decay=0.1, optimiser="adamw", flip=False, shift=0
    ),
]


@pytest.mark.parametrize("recipe", HEAVY, ids=["sgd", "adamw"])
def test_removed_weights_are_exactly_zero_after_hundreds_of_steps(result, recipe):
    run = pruned(recipe)
    done = result(run)  # 20 epochs of 15 steps
    net, begun = done.network(), beginning(run, done.train_set(), done.start(), "cpu")
    masks = masks_of(net)
    assert list(masks) == ["features.2.conv", "features.3.conv", "classifier.1"]
    for layer, mask in masks.items():
        module = net.get_submodule(layer)
        assert 0 < int((~mask).sum()) < mask.numel()
        assert torch.equal(masks_of(begun)[layer], mask)
        assert bool((module.weight_orig[~mask] == 0).all())
        assert bool((module.weight[~mask] == 0).all())
        assert not torch.equal(module.weight[mask], begun.get_submodule(layer).weight[mask])


def test_loaded_weights_do_not_undo_the_masks_and_answers_differ_from_the_dense_ones(result):
    done = result(pruned())
    images = fw.data.augmentation.scale(done.test_set().images[:20])
    with torch.no_grad():
        answers = done.network()(images)
        again = done.network()(images)
        assert torch.equal(answers, again)
        assert not torch.allclose(answers, result(DENSE).network()(images))


def test_layers_that_do_not_learn_keep_every_bit_batch_norms_included(result):
    run = pruned(train=("features.3", "classifier.1"))
    before, after = weights_of(result(DENSE).network()), weights_of(result(run).network())
    for name, value in before.items():
        if name.startswith(("features.1.", "features.2.bn", "features.2.conv.bias")):
            assert torch.equal(after[name], value), name
    assert not torch.equal(after["features.3.bn.running_mean"], before["features.3.bn.running_mean"])


def test_clusters_come_from_held_out_images_unless_the_test_images_are_asked_for(result, monkeypatch):
    done = result(DENSE)
    train, held_out, test = done.train_set(), done.test_set(), true_test(done)
    assert len(train) == 300
    assert len(held_out) == 100
    pictures = [{image.numpy().tobytes() for image in part.images} for part in (train, held_out, test)]
    assert not pictures[1] & pictures[2]
    assert not pictures[0] & pictures[1]
    _, ours = fields_of(done, LAYERS, 2)
    _, theirs = fields_of(done, LAYERS, 2, "test")
    net = done.network()
    head = fw.measure.probe_heads(
        net, "features.3", train, held_out, fw.measure.HEAD_RECIPE.replace(epochs=2, flip=False, shift=0),
        0, "cpu", cache=True,
    )["features.3"]  # fmt: skip
    for images, found in ((held_out, ours), (test, theirs)):
        expected = fw.measure.label_fields(fw.measure.class_means(net, "features.3", images), head)
        torch.testing.assert_close(found["features.3"], expected, atol=1e-6, rtol=1e-5)
    masks = [result(pruned(images=images)).network() for images in ("held_out", "test")]
    assert any(
        not torch.equal(one, other)
        for one, other in zip(*(masks_of(net).values() for net in masks), strict=True)
    )


@pytest.mark.parametrize("criterion", ["random", "magnitude", "kernel-l2", "filter-l1", "random-afcc"])
def test_peers_remove_as_much_in_every_layer(result, criterion):
    ours, theirs = (masks_of(result(pruned(criterion=name)).network()) for name in ("afcc", criterion))
    assert {k: int(v.sum()) for k, v in ours.items()} == {k: int(v.sum()) for k, v in theirs.items()}
    assert any(not torch.equal(ours[k], theirs[k]) for k in ours)


def test_one_by_one_masks_are_those_of_the_unpruned_network(result):
    top = pruned(layers=("classifier.1",), train=("features.3", "classifier.1"))
    both = pruned(layers=("features.3",), start=top, train=("features.2", "features.3"))
    chained, at_once = (masks_of(result(run).network()) for run in (both, pruned()))
    assert list(chained) == ["features.3.conv", "classifier.1"]
    for layer, mask in chained.items():
        assert torch.equal(mask, at_once[layer])
    anew = pruned(layers=("features.3",), start=top, train=("features.2",), anew=True)
    done = result(anew)
    between, fields = fields_of(done.start(), ("features.3",), 2, beside=LAYERS)
    expected = Connections(between, fields, 0.5).masks(done.start().network())["features.3"]
    assert torch.equal(masks_of(done.network())["features.3.conv"], expected)


def test_a_threshold_that_loses_labels_warns_and_names_them(result):
    done = result(DENSE)
    run = pruned(threshold=0.99, layers=("classifier.1",))
    with pytest.warns(UserWarning, match=r"no filter of 'classifier\.1' keeps \d of 5 labels: \d"):
        net = beginning(run, done.train_set(), done, "cpu")
    with torch.no_grad():
        answers = net.eval()(fw.data.augmentation.scale(true_test(done).images))
    lost = (~masks_of(net)["classifier.1"].any(1)).nonzero().flatten().tolist()
    assert lost
    assert bool((answers[:, lost] == 0).all())


def test_imposed_sets_are_drawn_not_measured_and_fresh_weights_have_their_bound(result):
    edit = ("imposed-sets", {"layers": LAYERS, "sets": "cyclic", "size": 2})
    run = DENSE.replace(edit=edit)
    net = beginning(run, result(DENSE).train_set())
    masks = masks_of(net)
    sets = {p: fw.prune.cyclic_label_sets(n, 5, 2) for p, n in (("features.1", 6), ("features.2", 8))}
    expected = fw.prune.afcc_mask(sets["features.2"], sets["features.1"])
    assert torch.equal(masks["features.2.conv"].flatten(2).all(2), expected)
    kept = masks["classifier.1"].sum(1, keepdim=True)
    assert bool((net.get_submodule("classifier.1").weight.abs() <= 1 / kept.sqrt()).all())
    again = beginning(run, result(DENSE).train_set())
    assert all(
        torch.equal(a, b) for a, b in zip(weights_of(net).values(), weights_of(again).values(), strict=True)
    )


def test_the_tail_answers_like_the_whole_network(result):
    done = result(DENSE)
    net = done.network()
    for norm in net.modules():  # its norms fitted in one batch, as the tail does
        if isinstance(norm, torch.nn.BatchNorm2d):
            norm.momentum = None
    tail = Tail(done, ("features.3", "classifier.1"), fitted=300)
    norm = net.get_submodule("features.3").bn
    norm.reset_running_stats()
    norm.train()
    with torch.no_grad():
        net(fw.data.augmentation.scale(done.train_set().images))
        norm.eval()
        test = true_test(done)
        answers = net(fw.data.augmentation.scale(test.images)).argmax(1)
    assert tail.accuracy({}) == pytest.approx(float((answers == test.labels).double().mean()), abs=0.01)
    nothing = {"classifier.1": torch.zeros(5, 10 * 2 * 2, dtype=torch.bool)}
    assert tail.accuracy(nothing) == pytest.approx(float((test.labels == 0).double().mean()))


def test_what_a_retrained_network_records(result):
    run = pruned()
    done = result(run)
    row, arrays = done.measured("afcc.retrained").row, done.measured("afcc.retrained").arrays
    test = true_test(done)
    right = fw.training.evaluate(done.network(), test, device="cpu")
    assert row["accuracy"] == right.accuracy
    assert np.array_equal(
        np.unpackbits(arrays["test_right"], count=len(test)).astype(bool), right.right.numpy()
    )
    assert row["removed_largest"] == 0
    masks = masks_of(done.network())
    assert row["dilution@classifier.1"] == pytest.approx(1 - float(masks["classifier.1"].double().mean()))
    assert {"accuracy_before", "accuracy_as_is", "macs_left", "parameters_left"} <= set(row)
    begun = beginning(run, done.train_set(), done.start(), "cpu")
    assert row["accuracy_as_is"] == fw.training.evaluate(begun, test, device="cpu").accuracy
    fitted = refit_norms(begun, done.train_set(), FITTED)
    assert row["accuracy_before"] == fw.training.evaluate(fitted, test, device="cpu").accuracy


def test_masks_of_a_network_record_what_is_said_of_them(result):
    measured = result(DENSE).measured("afcc.masks", layers=LAYERS, thresholds=(0.5,), head_epochs=2)
    row = measured.row
    between, fields = fields_of(result(DENSE), LAYERS, 2)
    found = Connections(between, fields, 0.5)
    for layer in LAYERS:
        assert row[f"dilution@{layer}/0.5"] == pytest.approx(1 - float(found.afcc(layer).double().mean()))
        shares = torch.from_numpy(measured.arrays[f"diagonal@{between[layer].below}"].astype(np.float32))
        assert torch.equal(shares > 0.5, found.sets[between[layer].below])  # no share lies within rounding
    assert row["lost_labels@0.5"] == len(fw.prune.lost_labels(found.sets["features.3"]))
    assert 0 <= row["overlap@features.3"] <= 1
    assert row["unretrained@dense"] == Tail(result(DENSE), LAYERS, fitted=300).accuracy({})


def test_output_heads_at_equal_amounts(result):
    options = {"head_epochs": 2, "retrain_epochs": 1, "thresholds": (0.5,)}
    row = result(DENSE).measured("afcc.output", **options).row
    for kind in ("before", "after"):
        for criterion in ("afcc", "random", "magnitude", "kernel-l2", "filter-l1", "diagonal-top"):
            assert 0 <= row[f"{kind}@{criterion}/0.5"] <= 1
    assert {"dense_before", "dense_after", "fresh@afcc/0.5", "output_dilution@0.5"} <= set(row)


def test_rewired_heads_keep_afccs_number_of_weights_and_the_first_epoch_is_not_rewired(result, monkeypatch):
    seen = []
    ours = rewired_heads.rewire

    def watched(weight, mask, similarity, algorithm, zeta, generator):
        found = ours(weight, mask, similarity, algorithm, zeta, generator)
        seen.append((algorithm, int(mask.sum()), int(found.mask.sum())))
        return found

    monkeypatch.setattr(rewired_heads, "rewire", watched)
    options = {"head_epochs": 2, "retrain_epochs": 1, "thresholds": (0.5,)}
    row, _ = rewired_heads.rewired(result(DENSE), **options)
    dense = result(DENSE).measured("afcc.output", **options).row
    kept = round((1 - dense["output_dilution@0.5"]) * 5 * 10) * 4  # labels, filters, positions
    assert {(before, after) for _, before, after in seen} == {(kept, kept)}
    assert [name for name, _, _ in seen] == 2 * list(ALGORITHMS)  # before the second and the third epoch
    assert {name.partition("/")[0] for name in row} == {f"rewired@{a}" for a in (*ALGORITHMS, "fixed sparse")}


def test_whole_channels_go_until_no_more_weights_are_left_than_under_afccs_masks(result):
    pytest.importorskip("torch_pruning")
    dense, ours, whole = result(DENSE), result(pruned()), result(pruned(criterion="structured"))
    masks, small = masks_of(ours.network()), whole.network()
    assert list(masks_of(small)) == ["classifier.1"]
    kept = sum(int(masks[f"features.{m}.conv"].sum()) for m in (2, 3))
    left = sum(small.get_submodule(f"features.{m}").conv.weight.numel() for m in (2, 3))
    assert 0 < left <= kept
    assert int(masks_of(small)["classifier.1"].sum()) == int(masks["classifier.1"].sum())
    row = whole.measured("afcc.retrained").row
    total = fw.models.parameter_count(dense.network())
    zeros = int((~masks_of(small)["classifier.1"]).sum())
    assert row["parameters_left"] == pytest.approx((fw.models.parameter_count(small) - zeros) / total)
    assert row["macs_left"] < 1


def test_times_are_of_equal_answers_and_fewer_weights(result):
    pytest.importorskip("torch_pruning")
    done = result(pruned())
    row = done.measured("afcc.latency", batch=4, repeats=3).row
    assert row["accuracy"] == pytest.approx(done.measured("afcc.retrained").row["accuracy"])
    assert row["parameters@masked"] < row["parameters@dense"] >= row["parameters@removed"]
    for name in ("dense", "masked", "removed", "structured"):
        assert 0 < row[f"ms_lower@{name}"] <= row[f"ms@{name}"] <= row[f"ms_upper@{name}"]


@pytest.mark.filterwarnings("ignore:no filter at the")
@pytest.mark.filterwarnings("ignore:no filter of")
def test_a_network_whose_layers_are_traced_is_masked_by_held_out_images(result):
    few = {"n": 100, "held_out": 0.4}
    dense = fw.runs.Run("efficientnet_b0", "parts", RECIPE.replace(epochs=1), 0, 4, {"width": 0.1}, few)
    edit = ("connections-anywhere", {"threshold": 0.5})
    done = result(dense.then(recipe=RECIPE.replace(epochs=1), edit=edit))
    net = done.network()
    masks = masks_of(net)
    assert set(masks) == set(fw.prune.maskable_layers(result(dense).network()))
    convolutions = {name: net.get_submodule(name) for name in masks if "classifier" not in name}
    assert all(one.kernel_size == (1, 1) and one.groups == 1 for one in convolutions.values())
    assert done.measured("afcc.retrained").row["removed_largest"] == 0
    with pytest.raises(ParameterError, match="give the run a start"):
        beginning(dense.replace(edit=edit), result(dense).train_set())


def test_alike_kernels_are_distinct_and_near():
    draws = torch.Generator().manual_seed(0)
    wanted, offered = torch.rand(20, generator=draws), torch.rand(60, generator=draws)
    chosen = _nearest(wanted, offered)
    assert len(set(chosen.tolist())) == 20
    gap = (offered[chosen].sort().values - wanted.sort().values).abs()
    assert float(gap.mean()) < 0.05
    everything = _nearest(torch.full((5,), 9.0), torch.arange(5.0))
    assert sorted(everything.tolist()) == list(range(5))


@pytest.mark.parametrize("profile", ["quick", "cifar", "short", "paper"])
def test_lists_are_consistent_and_every_amount_has_its_peers_and_a_dense_control(profile):
    jobs = plan.jobs(profile)
    check_jobs(jobs)
    about = [(dict(job.about), job) for job in jobs if job.measure == "afcc.retrained"]
    main = [(a, job) for a, job in about if not a.get("variant")]
    networks = {(a["network"], job.run.seed) for a, job in main}
    for network, seed in networks:
        own = [(a, job) for a, job in main if (a["network"], job.run.seed) == (network, seed)]
        kinds = {(a["criterion"], a["theta"]) for a, _ in own}
        assert ("dense", 0.0) in kinds
        for theta in {theta for name, theta in kinds if name == "afcc"}:
            assert {(name, theta) for name in ("random", "magnitude", "kernel-l2", "filter-l1")} <= kinds
        retrained = [job.run for a, job in own if not a["criterion"].endswith(" sets")]
        assert len({run.recipe for run in retrained}) == 1
        assert len({run.train for run in retrained}) == 1
        assert len({run.start for run in retrained}) == 1


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"layers": ("features.4",)}, r"layers='features\.4' is not known; .*did you mean 'features\.3'"),
        ({"criterion": "magnitud"}, "did you mean 'magnitude'"),
        ({"threshold": 1.5}, r"threshold=1\.5 is outside"),
        ({"images": "tset"}, "did you mean 'test'"),
        ({"share": "clusters"}, "did you mean 'cluster'"),
    ],
)
def test_bad_input_is_named(result, change, message):
    done = result(DENSE)
    with pytest.raises(ParameterError, match=message):
        beginning(pruned(**change), done.train_set(), done, "cpu")


def test_masks_need_a_trained_network(result):
    run = DENSE.replace(edit=("connections", {"layers": LAYERS}))
    with pytest.raises(ParameterError, match="give the run a start"):
        beginning(run, result(DENSE).train_set())
