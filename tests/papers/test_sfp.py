"""Chapter 4's jobs and measurement, end to end on the procedural set."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

import filterwise as fw
from filterwise import measure
from filterwise.errors import ParameterError
from filterwise.measure import study_layers
from filterwise.papers.chapter import jobs as jobs_of
from filterwise.papers.sfp import measure as sfp_measure
from filterwise.papers.sfp import plan
from filterwise.runs.jobs import check_jobs
from filterwise.runs.records import load_records
from filterwise.training import Recipe

HEADS = Recipe(epochs=2, momentum=0.9, flip=False, shift=0)
STAGES = ((4, 1), (8, 1), (12, 1))


@pytest.fixture(scope="module")
def parts():
    return [fw.data.load("parts", split, labels=4, n=n) for split, n in (("train", 200), ("test", 80))]


@pytest.fixture(scope="module")
def net(parts):
    torch.set_num_threads(1)
    net = fw.models.build("vgg", labels=4, channels=1, size=16, seed=1, stages=STAGES)
    fw.training.fit(
        net, parts[0], None, Recipe(epochs=2, batch=20, flip=False, shift=0), seed=1, device="cpu"
    )
    return net


@pytest.fixture(scope="module")
def found(net, parts):
    return study_layers.study(net, *parts, recipe=HEADS, seed=3, device="cpu", shuffles=3)


def test_study_agrees_with_the_measures_it_is_made_of(found, net, parts):
    layer = "features.2"
    heads = measure.probe_heads(net, [layer], *parts, HEADS, 3, "cpu", cache=True)
    M = measure.label_fields(measure.class_means(net, layer, parts[1], device="cpu"), heads[layer].weight)
    assert torch.equal(found.matrices[layer], M)
    summary = measure.layer_summary(M, 0.3)
    for quantity in ("N_c", "C_s", "n", "n_in", "n_out", "SNR_block", "SNR_label"):
        assert found.table.loc[layer, quantity] == pytest.approx(summary[quantity], nan_ok=True)
    assert found.table.loc[layer, "probe_accuracy"] == heads[layer].accuracy
    assert found.table.loc[layer, "positions"] == 16
    assert np.array_equal(found.coverage[layer].numpy(), measure.clip(M).sum(0))
    at_threshold = found.thresholds.set_index(["layer", "threshold"]).loc[(layer, 0.3), "n"]
    assert at_threshold == pytest.approx(summary["n"], nan_ok=True)


def test_study_leaves_the_network_as_it_was(net, parts):
    net.train()
    before = {name: value.clone() for name, value in net.state_dict().items()}
    study_layers.study(net, *parts, ["features.3"], recipe=HEADS, device="cpu", shuffles=0)
    assert net.training
    for name, value in net.state_dict().items():
        assert torch.equal(value, before[name]), name


def test_same_seed_same_table(found, net, parts):
    again = study_layers.study(net, *parts, recipe=HEADS, seed=3, device="cpu", shuffles=3)
    pd.testing.assert_frame_equal(found.table, again.table)


def test_study_refuses_unknown_layers(net, parts):
    with pytest.raises(ParameterError, match=r"did you mean 'features\.3'"):
        study_layers.study(net, *parts, ["feature.3"], recipe=HEADS, device="cpu")


def test_large_matrices_are_kept_of_the_first_filters_only(net, parts, monkeypatch, found):
    monkeypatch.setattr(study_layers, "KEPT_ENTRIES", 5 * 16)
    small = study_layers.study(net, *parts, ["features.3"], recipe=HEADS, seed=3, device="cpu", shuffles=0)
    assert len(small.matrices["features.3"]) == 5
    assert (
        small.table.loc["features.3", "n"] == found.table.loc["features.3", "n"]
    )  # numbers are of all filters


def test_untrained_control_has_activations_of_order_one(parts):
    """Without fitted batch norms an untrained network's signals shrink layer by layer."""
    fresh = fw.models.build("vgg", labels=4, channels=1, size=16, seed=1, stages=((16, 3), (16, 3)))
    control = study_layers.untrained(fresh, parts[0])
    last = fw.models.layer_names(fresh)[-1]
    raw, fitted = (measure.class_means(net, last, parts[1], device="cpu").mean() for net in (fresh, control))
    assert raw < 0.1 < fitted
    for name, weight in fresh.named_parameters():
        assert torch.equal(weight, dict(control.named_parameters())[name])


def test_arrays_are_small_and_say_which_filters(found):
    arrays = sfp_measure.kept_arrays(found)
    for layer in found.layers:
        matrices, filters = arrays[f"M@{layer}"].astype(float), arrays[f"filters@{layer}"]
        assert len(matrices) == len(filters)
        whole = found.matrices[layer][filters.astype(int)].double().numpy()
        scaled = whole / np.maximum(
            np.abs(whole).max(axis=(1, 2), keepdims=True), 1e-30
        )  # a silent filter is 0
        assert np.abs(matrices - scaled).max() < 1e-3
        sizes = arrays[f"sizes@{layer}"]
        clusters = found.table.loc[layer, "N_c"] * (1 - found.table.loc[layer, "no_cluster"])
        assert sizes.sum() == pytest.approx(clusters * found.table.loc[layer, "filters"])
    assert all(value.dtype != object for value in arrays.values())


@pytest.mark.parametrize("profile", ["quick", "cifar", "short", "paper"])
def test_jobs_are_distinct_and_every_network_has_its_seeds(profile):
    listed = plan.jobs(profile)
    check_jobs(listed)
    seeds = {}
    for job in listed:
        seeds.setdefault(job.name.rpartition(", seed ")[0], []).append(job.run.seed)
    known = [0, 1, 2, 3, 4] if profile == "cifar" else [0, 1, 2]
    assert all(each == known for each in seeds.values())
    assert all(job.cost_seconds > 0 for job in listed)


def test_cifar_profile_has_a_seed_of_every_network_on_ten_labels_before_the_second_of_any():
    listed = sorted(plan.jobs("cifar"), key=lambda job: job.priority)
    ten = [(job.run.seed, job.run.model) for job in listed if job.run.data == "cifar10"]
    assert [seed for seed, _ in ten] == sorted(seed for seed, _ in ten)
    assert {model for seed, model in ten if seed == 0} == {"vgg6", "vgg16", "avgg6", "avgg16"}
    assert min(job.run.recipe.epochs for job in listed) >= 10


@pytest.mark.parametrize("profile", ["quick", "cifar", "short", "paper"])
def test_the_rate_of_heads_falls_a_hundredfold(profile):
    for job in plan.jobs(profile):
        options = dict(job.options)
        recipe = sfp_measure.head_recipe(options["head_epochs"], False, options.get("head_fall", 0))
        last = recipe.learning_rate(recipe.epochs * 10 - 1, 10)
        assert recipe.learning_rate(0, 10) / last > 99.9


@pytest.mark.parametrize("profile", ["quick", "cifar", "short", "paper"])
def test_no_committed_record_is_of_heads_that_still_learned(profile):
    """Older rows, whose heads ended at 80 % of their rate, would count a network twice."""
    records = load_records("4-sfp", profile, Path(__file__).parents[2] / "data" / "records")
    if len(records):
        assert (records["head_rate_left"] < 0.0101).all()
        assert not records.duplicated(["network", "data", "labels", "seed"]).any()


def test_a_rate_that_rises_or_has_no_time_to_fall_is_refused():
    with pytest.raises(ParameterError, match="head_fall"):
        sfp_measure.head_recipe(10, False, 0.5)
    with pytest.raises(ParameterError, match="head_epochs"):
        sfp_measure.head_recipe(1, False, 100)


def test_unknown_profile():
    with pytest.raises(ParameterError, match="did you mean 'quick'"):
        jobs_of("4-sfp", "quik")


def test_a_record_of_a_tiny_run_feeds_every_sfp_quantity_of_one_network(tmp_path):
    """Train, measure, and read the row back with the claims' quantities: none is left unmeasured."""
    recipe = Recipe(epochs=2, batch=20, flip=False, shift=0)
    options = {"stages": STAGES}
    run = fw.runs.Run("vgg", "parts", recipe, 0, 8, options, {"n": 160, "n_test": 80})
    measured = {"head_epochs": 2, "head_fall": 100, "counts": (2, 3, 4, 5, 6, 8), "few": 3}
    job = fw.runs.Job("tiny", run, "sfp.layers", measured, {"network": "tiny"})
    result = fw.runs.result(run, root=tmp_path, device="cpu")
    found = fw.runs.measured((result,), job.measure, job.options)
    records = pd.DataFrame([fw.runs.row(job, [result], found)])
    assert len(found.arrays) > 0
    single = [
        "probe_rank_correlation", "last_head_gap", "probe_gain_by_training", "preferred_share",
        "preferred_share_by_training", "labels_covered", "labels_covered_by_training",
        "single_filter_accuracy_in_chances", "filters_without_cluster", "noise_ratio", "snr_ratio",
        "noise_ratio_by_training", "snr_ratio_by_training", "error_growth_exponent", "error_line_slope",
    ]  # fmt: skip
    for name in single:
        table = fw.claims.measure(name, records)
        assert len(table) == 1, name
    for name in ("probe_rank_correlation", "noise_ratio", "snr_ratio"):
        assert fw.claims.measure(name, records)["control"].notna().all(), name
    assert 0 <= fw.claims.measure("preferred_share", records)["value"][0] <= 1
    assert records["head_rate_left"][0] == pytest.approx(0.01)
    both = pd.concat([records, records.assign(network="other")], ignore_index=True)
    for name in [one for one in single if not one.startswith("error_")]:
        table = fw.claims.measure(name, both, {"ends": True})
        assert [arm.split(", ")[2] for arm in table["arm"]] == ["8 labels"] * 2 + ["3 labels"] * 2, name
    # the study is kept with the run and comes back whole
    study = sfp_measure.read_study(result.measured("sfp.study", head_epochs=2, head_fall=100))
    again = study_layers.study(
        result.network(), result.train_set(), result.test_set(),
        recipe=sfp_measure.head_recipe(2, False, 100), seed=0, device="cpu",
    )  # fmt: skip
    pd.testing.assert_frame_equal(study.table, again.table, check_dtype=False)
    for layer in again.layers:
        assert torch.equal(study.matrices[layer], again.matrices[layer])
        assert torch.equal(study.heads[layer].weight, again.heads[layer].weight)
