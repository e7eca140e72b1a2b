"""Chapter 7's measurement of a network place by place, and the networks that a record left for its page."""

import numpy as np
import pytest
import torch
from safetensors.torch import load

import filterwise as fw
from filterwise.errors import RunError
from filterwise.papers.chapter import jobs
from filterwise.papers.vit_shp import digits_of_heads, live, plan
from filterwise.papers.vit_shp.encoders_measured import places_of
from filterwise.runs import finding, rows
from filterwise.runs.jobs import Job
from filterwise.runs.measuring import measured
from filterwise.runs.recording import record
from filterwise.runs.records import VARIED

RECIPE = fw.training.Recipe(
    epochs=2, batch=50, lr=0.003, optimiser="adamw", weight_decay=0.05, schedule="cosine", flip=False, shift=0
)
TINY = {"depth": 3, "d": 12, "heads": 3, "tokenizer_layers": 2, "linear_std": 0.2}
DENSE = fw.runs.Run("cct", "parts", RECIPE, 0, 5, TINY, {"n": 200, "held_out": 0.25})
BRIEF = {"probe_epochs": 2, "draws": 3, "regroupings": 4}


def job(run=DENSE, **options):
    about = {"network": "tiny H3", "kind": "transformer"}
    return Job("tiny", run, "vit.places", {**BRIEF, **options}, about)


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    return tmp_path_factory.mktemp("home")


@pytest.fixture(autouse=True)
def here(home, monkeypatch):
    monkeypatch.setenv("FILTERWISE_RUNS", str(home / "runs"))
    monkeypatch.setenv("FILTERWISE_RECORDS", str(home / "records"))


def taken(one, **options):
    result = finding.result(one.run, device="cpu")
    return measured((result,), one.measure, {**dict(one.options), **options}), result


def test_places_go_from_the_tokens_upwards_and_follow_convolutions():
    net = fw.models.build("cct", 3, size=16, **{**TINY, "replaced": 1})
    assert list(places_of(net, ("qkv", "ff"))) == ["ff/0", "qkv/2", "ff/2", "qkv/3", "ff/3"]
    assert places_of(net, ("hid",)) == {
        "ff/0": "positions", "hid/2": "encoders.2.ff.gelu", "hid/3": "encoders.3.ff.gelu"
    }  # fmt: skip
    assert list(places_of(fw.models.build("lenet5"), ("qkv",))) == ["layer/1", "layer/2"]


def test_every_place_is_measured_on_the_true_test_images_with_its_controls():
    found, result = taken(job(weights=True))
    row = found.row
    assert row["parts"] == "ff/0 qkv/1 ff/1 qkv/2 ff/2 qkv/3 ff/3"
    test = DENSE.replace(data_options={"n": 200}).sets()[1]
    assert row["accuracy"] == fw.training.evaluate(result.network(), test, device="cpu").accuracy
    for part in row["parts"].split():
        assert 0 <= row[f"probe_accuracy@{part}"] <= 1
        assert row[f"untrained_n@{part}"] != row[f"n@{part}"]
        assert found.arrays[f"sizes@{part}"].mean() <= 5
    owners = [int(owner) for owner in row["owners@qkv/2"].split()]
    values = found.arrays["accuracies_heads@qkv/2"]
    assert (len(owners), row["heads@qkv/2"]) == (5, 3)
    np.testing.assert_array_equal(values.astype(np.float32).argmax(axis=0), owners)
    gap = values.astype(float).max(axis=0).mean() - values.astype(float).mean()
    assert row["gap@qkv/2"] == pytest.approx(gap, abs=2e-3)
    assert row["least_owned@qkv/2"] == np.bincount(owners, minlength=3).min()
    assert row["pre_pool_correlation@qkv/3"] <= 1
    assert "lean@qkv/3" not in row
    kept = load(found.arrays["weights"].tobytes())
    assert torch.equal(kept["encoders.2.ff.up.weight"], result.network().encoders[1].ff.up.weight)


def test_without_its_control_and_of_other_kinds_of_places():
    found, _ = taken(job(kinds=("hid", "mid"), control=False))
    assert found.row["parts"] == "ff/0 mid/1 hid/1 mid/2 hid/2 mid/3 hid/3"
    assert not [name for name in found.row if name.startswith(("untrained_", "gap"))]
    assert "weights" not in found.arrays


def test_a_page_loads_the_weights_of_a_record_and_trains_where_there_are_none(home, monkeypatch):
    one = job(weights=True, test_images=100)
    record("7-vit-shp", "quick", [one], device="cpu", say=lambda *_: None)
    records = fw.runs.load_records("7-vit-shp", "quick")
    records.attrs["profile"] = "quick"
    monkeypatch.setattr(finding, "result", lambda *_, **__: pytest.fail("trained although there are weights"))
    (loaded,) = live.networks([one], records)
    assert (loaded.name, loaded.heads, len(loaded.test)) == ("tiny H3", 3, 100)
    table = live.about([loaded], "cpu")
    assert table.loc["tiny H3", "accuracy"] == pytest.approx(records["accuracy"].item())
    assert table.loc["tiny H3", "as recorded"] == records["accuracy"].item()
    monkeypatch.undo()
    monkeypatch.setenv("FILTERWISE_RUNS", str(home / "runs"))
    (trained,) = live.networks([one], records.iloc[:0])
    assert trained.recorded is None
    (again,) = live.networks([one], records, retrain=True)
    for net in (trained.net, again.net):
        assert torch.equal(net.fc.weight, loaded.net.fc.weight)
    reading = loaded.read(("qkv",), epochs=1, images=100, device="cpu")["qkv/2"]
    silenced = torch.zeros_like(reading.z)
    silenced[:, 4:8] = reading.z[:, 4:8]  # the second of three heads
    fields = silenced @ reading.weight.T
    by_label = torch.stack([fields[reading.labels == label].mean(0) for label in range(5)])
    torch.testing.assert_close(by_label, reading.head_fields(3)[1], atol=1e-5, rtol=1e-4)


def test_a_record_of_other_weights_is_refused(home, monkeypatch):
    one = job(weights=True, test_images=100)
    records = fw.runs.load_records("7-vit-shp", "quick", root=home / "records")
    records.attrs["profile"] = "quick"
    other = torch.nn.Linear(2, 2).state_dict()
    from safetensors.torch import save

    monkeypatch.setattr(live, "arrays", lambda *_: {"weights": np.frombuffer(save(other), dtype=np.uint8)})
    with pytest.raises(RunError, match="the record of 'tiny' has other weights"):
        live.networks([one], records)


def test_planted_readers_of_one_digit_lean_and_random_groups_of_their_nodes_do_not():
    from filterwise.measure.token_heads import Reading, TokenHead

    labels = torch.arange(600) % 100
    z, weight = torch.zeros(600, 20), torch.zeros(100, 20)
    every = torch.arange(100)
    for digit in range(10):
        z[:, digit], z[:, 10 + digit] = (labels // 10 == digit).float(), (labels % 10 == digit).float()
        weight[every // 10 == digit, digit] = 1.0
        weight[every % 10 == digit, 10 + digit] = 1.0
    mu = torch.stack([z[labels == label].mean(0) for label in every])
    empty = torch.zeros(20)
    one = Reading(TokenHead("x", empty, empty, empty, weight), z, labels, mu, 1.0, empty)
    both = digits_of_heads.digit_accuracies(one, fw.measure.own_groups(20, 2))
    torch.testing.assert_close(both, torch.tensor([[1.0, 0.1], [0.1, 1.0]], dtype=torch.float64))
    found = digits_of_heads.leaning(one, 2, draws=20)
    assert found["value"] == pytest.approx(0.9)
    assert found["z"] > 3
    assert digits_of_heads.leaning_table({"ff/1": one, "qkv/1": one}, 2).index.tolist() == ["encoder 1"]


@pytest.mark.parametrize("profile", ["quick", "cifar", "short", "paper"])
def test_every_profile_has_each_comparison_with_its_controls(profile):
    listed = jobs("7-vit-shp", profile)
    assert len({one.name for one in listed}) == len(listed)
    kinds = {str(dict(one.about)["kind"]) for one in listed}
    assert {"transformer", "convolved", "cnn", "latency", "andc", "heads"} < kinds
    assert {f"{how} {what}" for how in ("different", "equal") for what in ("transformers", "cnns")} < kinds
    for one in listed:
        for run in one.runs:
            root = run if run.start is None else run.start
            assert dict(root.data_options)["held_out"] == 0.1
    for kind in ("andc", "heads"):
        arms = [one for one in listed if dict(one.about)["kind"] == kind and VARIED not in dict(one.about)]
        assert len({one.run.recipe for one in arms}) == 1  # retrained alike
        assert {dict(one.about)["criterion"] for one in arms} >= {"dense", "random", "magnitude"}
    several = [one for one in listed if one.measure == "vit.committee"]
    assert {len(one.runs) for one in several} == {3}
    for one in several:
        equal = dict(one.about)["equal"]
        assert (len({run.seed for run in one.runs}) == 3) is equal
        assert (len({run.model_options for run in one.runs}) == 1) is equal


def test_the_page_measures_each_network_of_each_seed_as_the_records_do():
    listed = plan.page_jobs("quick", seed=1, seeds=2)
    recorded = {one.settings for one in jobs("7-vit-shp", "quick")}
    assert len(listed) == 8
    assert {one.settings for one in listed} <= recorded
    with pytest.raises(fw.errors.ParameterError, match="net='cct-mini H5' is not known"):
        plan.dense_run("quick", net="cct-mini H5")


@pytest.mark.parametrize(
    ("measure", "options", "count", "column"),
    [
        ("vit.places", BRIEF, 1, "z_gap@qkv/3"),
        ("vit.pruned", {"repeats": 2, "batch": 4}, 1, "ms@pruned"),
        ("vit.latency", {"names": ("H3", "H3 conv"), "batches": (2,), "repeats": 2}, 2, "ms_2_float32@H3"),
        ("vit.committee", {"draws": 2}, 2, "gain@softmax"),
    ],
)
def test_every_measurement_makes_a_record_beside_the_columns_of_all_records(measure, options, count, column):
    runs = [DENSE, DENSE.replace(model_options={**TINY, "replaced": 1})][:count]
    results = [finding.result(run, device="cpu") for run in runs]
    one = Job("one", tuple(runs), measure, options, {"network": "tiny", "kind": "any"})
    made = rows.row(one, results, measured(results, one.measure, one.options))
    assert isinstance(made[column], float)
    assert made["runs"] == count
