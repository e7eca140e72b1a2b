"""Committees and latencies of trained networks, against numbers worked out from the same runs by hand."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch

from filterwise import models
from filterwise.errors import ParameterError
from filterwise.measure.committees import RULES, calibration_error, independent_committee
from filterwise.papers.afcc.measured_fields import true_test
from filterwise.papers.vit_shp import block_latencies
from filterwise.papers.vit_shp.soft_committees import best_held_out
from filterwise.runs import Run, measured, result
from filterwise.training import Recipe
from filterwise.training.evaluation import logits

RECIPE = Recipe(
    epochs=3, batch=20, lr=2e-3, optimiser="adamw", momentum=0.95, nesterov=True, weight_decay=0.01,
    flip=False, shift=0, precision="float32",
)  # fmt: skip
SMALL = {"d": 12, "depth": 2, "heads": 2, "tokenizer_layers": 3, "filters": 6, "linear_std": 0.1,
         "attention_dropout": 0.0, "depth_rate": 0.0}  # fmt: skip
DATA = {"n": 150, "held_out": 0.2}


def run(seed: int = 0, data: dict[str, float] | None = None, **options: int) -> Run:
    return Run("cct", "parts", RECIPE, seed, 4, {**SMALL, **options}, DATA if data is None else data)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield str(tmp_path_factory.mktemp("runs"))
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def results(folder):
    return [result(each, folder, device="cpu") for each in (run(), run(1), run(2, heads=6))]


@pytest.fixture(scope="module")
def found(results):
    return measured(results, "vit.committee", {"draws": 4, "test_images": 200})


def test_the_committee_answers_to_images_that_no_member_was_chosen_by(results, found):
    test = true_test(results[0], 200)
    assert test.split == "test"
    assert len(test) == 200
    assert test.digest != results[0].test_set().digest
    fields = torch.stack([logits(each.network(), test, device="cpu") for each in results]).double()
    right = fields.argmax(2) == test.labels
    row = found.row
    for number, own in enumerate(right, start=1):
        assert row[f"member_accuracy@{number}"] == pytest.approx(float(own.double().mean()))
        assert row[f"held_out_accuracy@{number}"] == results[number - 1].metrics["accuracy"]
        shares = fields[number - 1].softmax(1)
        assert row[f"calibration_error@{number}"] == pytest.approx(calibration_error(shares, test.labels))
        assert row[f"confidence@{number}"] == pytest.approx(float(shares.amax(1).mean()))
    together = fields.softmax(2).mean(0)
    named = together.argmax(1) == test.labels
    assert row["accuracy"] == row["committee@softmax"] == pytest.approx(float(named.double().mean()))
    logit_answers = fields.sum(0).argmax(1)
    assert row["committee@logits"] == pytest.approx(float((logit_answers == test.labels).double().mean()))
    assert row["committee_calibration_error"] == pytest.approx(calibration_error(together, test.labels))
    assert row["mean_member"] == pytest.approx(float(right.double().mean()))
    for rule in RULES:
        assert row[f"gain@{rule}"] == pytest.approx(row[f"committee@{rule}"] - row["mean_member"])
        drawn = independent_committee(fields, test.labels, rule, draws=4)
        assert row[f"independent@{rule}"] == pytest.approx(float(drawn.mean()))
        assert row[f"independent_gain@{rule}"] == pytest.approx(float(drawn.mean()) - row["mean_member"])
        assert row[f"independent_spread@{rule}"] == pytest.approx(float(drawn.std()))
    apart = named.double() - right.double().mean(0)
    assert row["gain_error@softmax"] == pytest.approx(float(apart.std()) / 200**0.5)
    answers = fields.argmax(2)
    assert row["disagreement@1-3"] == pytest.approx(float((answers[0] != answers[2]).double().mean()))
    pairs = [row[f"disagreement@{pair}"] for pair in ("1-2", "1-3", "2-3")]
    assert row["disagreement"] == pytest.approx(np.mean(pairs))
    pair = fields[:2].softmax(2).sum(0).argmax(1) == test.labels
    assert row["pair_accuracy@1-2"] == pytest.approx(float(pair.double().mean()))
    assert row["member_models"] == "cct cct cct"


def test_right_bits_come_back_from_the_arrays(results, found):
    bits = np.unpackbits(found.arrays["member_right"], axis=1, count=200).astype(bool)
    assert bits.shape == (3, 200)
    assert bits.mean(1) == pytest.approx([found.row[f"member_accuracy@{number}"] for number in (1, 2, 3)])
    together = np.unpackbits(found.arrays["committee_right"], count=200).astype(bool)
    assert together.mean() == pytest.approx(found.row["accuracy"])


def test_the_best_member_is_chosen_by_held_out_images(results, found, monkeypatch):
    held_out = [each.metrics["accuracy"] for each in results]
    assert found.row["best_member_number"] == int(np.argmax(held_out)) + 1
    on_test = [found.row[f"member_accuracy@{number}"] for number in (1, 2, 3)]
    worst = int(np.argmin(on_test))
    # were the member that is worst on test images the best on held-out ones, it would be the one
    for place, each in enumerate(results):
        monkeypatch.setitem(each.metrics, "accuracy", 1.0 if place == worst else 0.0)
    row = measured(results, "vit.committee", {"draws": 1, "test_images": 200}).row
    assert row["best_member_number"] == worst + 1
    assert row["best_member"] == pytest.approx(min(on_test))
    assert row["gain_over_best@vote"] == pytest.approx(row["committee@vote"] - min(on_test))


def test_without_held_out_images_there_is_no_best_member(folder, results):
    plain = result(run(data={"n": 60, "n_test": 40}), folder, device="cpu")
    assert best_held_out((results[0], plain)) is None
    row = measured([plain, plain], "vit.committee", {"draws": 1}).row
    assert row["best_member"] is None
    assert row["gain_over_best@softmax"] is None
    assert row["held_out_accuracy@1"] is None
    assert row["gain@softmax"] == 0
    with pytest.raises(ParameterError, match=r"run 2 \(cct\) has other test images, 40 of parts, than run 1"):
        measured([results[0], plain], "vit.committee")
    with pytest.raises(ParameterError, match="at least 2 runs; got 1"):
        measured([plain], "vit.committee")


def test_latency_of_convolutions_in_place_of_encoders(folder, results):
    replaced = result(run(replaced=1, convolutions=1), folder, device="cpu")
    options = {"names": ("base", "1+1"), "batches": (1, 3), "repeats": 3, "warm_up": 1, "test_images": 40}
    row = measured([results[0], replaced], "vit.latency", options).row
    for name, one in (("base", results[0]), ("1+1", replaced)):
        assert row[f"macs@{name}"] == one.metrics["macs"]
        assert row[f"parameters@{name}"] == one.metrics["parameters"]
        assert row[f"late_accuracy@{name}"] == one.metrics["accuracy"]
        assert row[f"early_epochs@{name}"] == 1
        assert row[f"early_accuracy@{name}"] == one.history["test_accuracy"].iloc[0]
        assert row[f"attention_kernel_float32@{name}"] == "flash_attention_for_cpu"
        test = true_test(one, 40)
        right = logits(one.network(), test, device="cpu").argmax(1) == test.labels
        assert row[f"test_accuracy@{name}"] == pytest.approx(float(right.double().mean()))
        for batch in (1, 3):
            times = [row[f"{part}_{batch}_float32@{name}"] for part in ("ms_lower", "ms", "ms_upper")]
            assert 0 < times[0] <= times[1] <= times[2]
            first = row[f"ms_{batch}_float32@base"]
            assert row[f"speed_up_{batch}_float32@{name}"] == pytest.approx(first / times[1])
    assert row["precisions"] == "float32"  # no CUDA, no mixed precision
    assert row["timed_threads"] == 1
    assert row["batches"] == "1 3"
    for names in (("base",), ("one", "one")):
        with pytest.raises(ParameterError, match="must be 2 different names"):
            measured([results[0], replaced], "vit.latency", {"names": names})


def test_mixed_precision_is_timed_where_it_is_asked_for(folder, results, monkeypatch):
    seen, real = [], block_latencies.latency

    def watched(nets, shape, *rest):
        with torch.no_grad():
            seen.append({net(torch.zeros(1, *shape)).dtype for net in nets.values()})
        return real(nets, shape, *rest)

    monkeypatch.setattr(block_latencies, "latency", watched)
    options = {"batches": (1,), "repeats": 1, "warm_up": 0, "test_images": 8}
    pair = results[:2]
    row = measured(pair, "vit.latency", {**options, "precisions": ("bfloat16", "float32")}).row
    assert seen == [{torch.bfloat16}, {torch.float32}]
    assert row["precisions"] == "bfloat16 float32"
    assert {"ms_1_bfloat16@2", "ms_1_float32@1", "attention_kernel_bfloat16@1"} <= set(row)
    with pytest.raises(ParameterError, match=r"precisions='bfloat' is not known; .*'bfloat16'"):
        measured(pair, "vit.latency", {**options, "precisions": ("bfloat",)})


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_both_precisions_are_timed_on_cuda(folder, results):
    device = result(results[0].run, folder, device="cuda")
    row = measured([device], "vit.latency", {"repeats": 3, "warm_up": 1, "test_images": 8}).row
    assert row["precisions"] == "float32 bfloat16"
    assert row["timed_device"] == torch.cuda.get_device_name()
    assert row["ms_128_bfloat16@1"] > 0


def test_early_accuracy_is_that_of_the_first_tenth():
    epochs = range(1, 41)
    history = pd.DataFrame({"epoch": epochs, "test_accuracy": [epoch / 100 for epoch in epochs]})
    got = block_latencies.early_and_late(history)
    assert got == {"epochs": 40, "early_epochs": 4, "early_accuracy": 0.04, "late_accuracy": 0.4}
    history.loc[history["epoch"] % 3 > 0, "test_accuracy"] = float("nan")  # evaluated every third epoch
    assert block_latencies.early_and_late(history)["early_accuracy"] == 0.03
    assert block_latencies.early_and_late(history.iloc[:15])["early_accuracy"] is None


def test_the_kernel_that_is_not_fused_is_called_so():
    from torch.nn.attention import SDPBackend, sdpa_kernel

    net = models.build("cct", labels=3, size=16, **SMALL)
    assert block_latencies.attention_kernels(net, (3, 16, 16)) == "flash_attention_for_cpu"
    with sdpa_kernel(SDPBackend.MATH):
        assert block_latencies.attention_kernels(net, (3, 16, 16)) == "math"
    assert net.training  # as it was
