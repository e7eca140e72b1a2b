"""Verdicts on planted records: holds, fails, undecided, not measured."""

import dataclasses
import math
from itertools import product

import numpy as np
import pandas as pd
import pytest

from filterwise import claims
from filterwise.claims import estimates, intervals, registered, test_images
from filterwise.claims.schema import Claim, Condition, Criterion, PaperNumber, Rule
from filterwise.registry import Entry
from filterwise.runs import records as records_module

LAYERS = "features.1 features.2 features.3"


def runs(noise, snr, accuracy=None, network="net", labels=10, seeds=None):
    """Planted records: first and last layer's noise and SNR per seed, and probe accuracies."""
    accuracy = accuracy or [(0.3, 0.6, 0.9)] * len(noise)
    rows = []
    for seed, (n, ratio, probes) in enumerate(zip(noise, snr, accuracy, strict=True)):
        row = {"network": network, "data": "planted", "device": "cpu", "labels": labels, "layers": LAYERS}
        row |= {"seed": (seeds or range(9))[seed], "accuracy": probes[-1]}
        for layer, one_n, one_snr, probe in zip(LAYERS.split(), n, ratio, probes, strict=True):
            row |= {f"n@{layer}": one_n, f"SNR_block@{layer}": one_snr, f"probe_accuracy@{layer}": probe}
            row |= {f"N_c@{layer}": 1.5, f"C_s@{layer}": 2.0, f"no_cluster@{layer}": 0.0}
            row |= {f"positions@{layer}": 4.0, f"preferred_share@{layer}": 0.9}
            row |= {f"single_filter_accuracy@{layer}": 1.1 / labels}
            # untrained convolutions: the same in every layer, and larger clusters
            row |= {f"untrained_n@{layer}": 10.0, f"untrained_SNR_block@{layer}": 0.5}
            row |= {f"untrained_probe_accuracy@{layer}": 0.3, f"untrained_preferred_share@{layer}": 0.8}
            row |= {f"untrained_N_c@{layer}": 1.5, f"untrained_C_s@{layer}": 2.5}
        rows.append(row)
    return pd.DataFrame(rows)


GOOD_NOISE, BAD_NOISE = (10.0, 6.0, 2.0), (10.0, 9.0, 8.0)
GOOD_SNR, BAD_SNR = (0.5, 0.7, 1.5), (0.5, 0.5, 0.6)


@pytest.fixture(scope="module")
def sfp():
    return {claim.id: claim for claim in claims.load("4-sfp")}


def verdict(claim, records, profile="quick"):
    return claims.find(claim, records, profile, np.random.default_rng(0)).verdict


def test_count_rule(sfp):
    three_good = runs([GOOD_NOISE] * 3, [GOOD_SNR] * 3)
    two_good = runs([GOOD_NOISE, GOOD_NOISE, BAD_NOISE], [GOOD_SNR] * 3)
    one_good = runs([GOOD_NOISE, BAD_NOISE, BAD_NOISE], [GOOD_SNR] * 3)
    assert verdict(sfp["S4"], three_good) == "holds"
    assert verdict(sfp["S4"], two_good) == "holds"
    assert verdict(sfp["S4"], one_good) == "fails"


def test_count_rule_wants_both_conditions_in_the_same_seeds(sfp):
    """Noise falls in seeds 0 and 1, SNR rises in seeds 1 and 2: each in two of three, together in one."""
    crossed = runs([GOOD_NOISE, GOOD_NOISE, BAD_NOISE], [BAD_SNR, GOOD_SNR, GOOD_SNR])
    assert verdict(sfp["S4"], crossed) == "fails"


def test_a_failure_names_the_arms_in_which_all_is_met(sfp):
    two = [runs([noise] * 3, [GOOD_SNR] * 3, network=name) for name, noise in
           (("deep", GOOD_NOISE), ("flat", BAD_NOISE))]  # fmt: skip
    finding = claims.find(sfp["S4"], pd.concat(two), "quick", np.random.default_rng(0))
    assert finding.verdict == "fails"
    assert finding.why.endswith(" All that is asked for is met in deep, planted, 10 labels.")
    alone = claims.find(sfp["S4"], two[1], "quick", np.random.default_rng(0))
    assert "is met in" not in alone.why


def test_count_rule_keeps_its_share_with_more_seeds(sfp):
    six = runs([GOOD_NOISE] * 4 + [BAD_NOISE] * 2, [GOOD_SNR] * 6)
    assert verdict(sfp["S4"], six) == "holds"
    assert verdict(sfp["S4"], runs([GOOD_NOISE] * 3 + [BAD_NOISE] * 3, [GOOD_SNR] * 6)) == "fails"


def test_too_few_seeds_and_no_records(sfp):
    for claim in ("S1", "S3", "S4"):
        assert verdict(sfp[claim], runs([GOOD_NOISE] * 2, [GOOD_SNR] * 2)) == "undecided"
        assert verdict(sfp[claim], pd.DataFrame()) == "not measured"


def test_a_part_that_was_not_measured_leaves_the_claim_undecided(sfp):
    records = runs([GOOD_NOISE] * 3, [GOOD_SNR] * 3).drop(
        columns=[f"SNR_block@{layer}" for layer in LAYERS.split()]
    )
    finding = claims.find(sfp["S4"], records, "quick", np.random.default_rng(0))
    assert finding.verdict == "undecided"
    assert "first: no value." in finding.why


def test_what_has_no_value_is_named_by_its_conditions_options():
    options = {"layer": "conv", "network": ["tree3 6/16", "tree3 15/16"], "regime": "offline"}
    condition = Condition("zero_share", ">", 0.5, options=options)
    finding = claims.find(planted(condition), pd.DataFrame(), "quick", np.random.default_rng(0))
    assert ": no value (conv, tree3 6/16, tree3 15/16, offline)." in finding.why


def test_where_nothing_decides_the_claims_own_numbers_are_said():
    """No condition has a value, but the claim's quantity has one."""
    condition = Condition("error_growth_exponent", "within", low=0.75, high=1.25)
    records = runs([GOOD_NOISE] * 3, [(1.0, 1.0, 2.0)] * 3)
    finding = claims.find(planted(condition), records, "quick", np.random.default_rng(0))
    assert finding.verdict == "undecided"
    assert ": no value. SNR_block, last measured layer over first: 2.0" in finding.why


def test_interval_rule(sfp):
    good = [(0.3, 0.6, 0.9)] * 3
    mixed = [(0.3, 0.6, 0.9), (0.3, 0.6, 0.9), (0.9, 0.6, 0.89)]
    bad = [(0.9, 0.6, 0.3)] * 3
    noise, snr = [GOOD_NOISE] * 3, [GOOD_SNR] * 3
    assert verdict(sfp["S1"], runs(noise, snr, good)) == "holds"
    assert verdict(sfp["S1"], runs(noise, snr, mixed)) == "undecided"
    assert verdict(sfp["S1"], runs(noise, snr, bad)) == "fails"


def test_one_failing_arm_fails_the_claim(sfp):
    good = runs([GOOD_NOISE] * 3, [GOOD_SNR] * 3)
    other = runs([BAD_NOISE] * 3, [BAD_SNR] * 3, network="other")
    finding = claims.find(sfp["S4"], pd.concat([good, other]), "quick", np.random.default_rng(0))
    assert finding.verdict == "fails"
    assert "other" in finding.why
    assert [e.arm.split(",")[0] for e in finding.headline] == ["net", "other"]


def test_report_only_is_never_a_pass(sfp):
    both = runs([GOOD_NOISE] * 3, [GOOD_SNR] * 3, labels=40)
    both = both.assign(**{"subset_N_c@K10": 1.5, "subset_C_s@K10": 2.0})
    finding = claims.find(sfp["S7"], both, "quick", np.random.default_rng(0))
    assert finding.verdict == "reported"
    assert "No pass rule" in finding.why
    assert finding.headline[0].value == pytest.approx(1.0)
    assert finding.headline[0].control == pytest.approx(4.0)


def planted(condition, rule=None, seeds=3):
    criterion = Criterion("c", (condition,), rule or Rule("interval", "t", 0.90))
    return Claim("X", "s", PaperNumber(None, "t", "u"), "w", "snr_ratio", criterion, seeds, (), ("quick",))


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ((1.00, 1.01, 0.99), "holds"),
        ((2.00, 2.01, 1.99), "fails"),
        ((0.50, 0.51, 0.49), "fails"),
        ((1.19, 1.20, 1.21), "undecided"),
        ((0.1, 1.0, 1.9), "undecided"),  # the interval holds the whole band
    ],
)
def test_equivalence(values, expected):
    condition = Condition("snr_ratio", "within", low=0.8, high=1.2)
    records = runs([GOOD_NOISE] * 3, [(1.0, 1.0, value) for value in values])
    assert verdict(planted(condition), records) == expected


def test_bounds_that_depend_on_the_number_of_seeds():
    condition = Condition(
        "snr_ratio", "within", low=0.99, high=1.01, fewer_than=5, low_fewer=0.8, high_fewer=1.2
    )
    for seeds, expected in ((3, "holds"), (5, "fails")):
        values = 1.1 + 0.001 * np.arange(seeds)
        records = runs([GOOD_NOISE] * seeds, [(1.0, 1.0, value) for value in values])
        assert verdict(planted(condition), records) == expected


def test_estimate_rule_needs_no_interval():
    condition = Condition("snr_ratio", ">=", bound=2.0)
    records = runs([GOOD_NOISE], [(1.0, 1.0, 2.0)])
    claim = planted(condition, Rule("estimate"), seeds=1)
    assert verdict(claim, records) == "holds"
    assert verdict(planted(condition, seeds=1), records) == "undecided"


def test_ordering_of_networks(sfp):
    """S8: the better network has the better SNR in every seed, or in none."""
    noise = [GOOD_NOISE] * 3
    low, middle, high = (
        runs(noise, [(0.5, 0.7, ratio)] * 3, [(0.3, 0.6, accuracy)] * 3, name)
        for name, ratio, accuracy in (("low", 1.0, 0.8), ("middle", 1.5, 0.85), ("high", 2.0, 0.9))
    )
    turned = high.assign(**{"SNR_block@features.3": 0.6})
    assert verdict(sfp["S8"], pd.concat([low, middle, high]), "cifar") == "holds"
    assert verdict(sfp["S8"], pd.concat([low, middle, turned]), "cifar") == "fails"
    assert verdict(sfp["S8"], pd.concat([low, high]), "cifar") == "not measured"


def test_error_against_labels(sfp):
    rng = np.random.default_rng(3)
    counts = (3, 5, 10, 20, 40, 80)
    base = runs([GOOD_NOISE] * 3, [GOOD_SNR] * 3)

    def planted_errors(of, counts):
        columns = {f"{name}@K{k}": of(k) for k in counts for name in ("hardest_error", "mean_error")}
        return base.assign(**columns, **{f"draws@K{k}": 10 for k in counts})

    straight = planted_errors(lambda k: 0.02 + 0.005 * k + 1e-3 * rng.normal(size=3), counts)
    root = planted_errors(lambda k: 0.02 + 0.05 * np.sqrt(k) + 1e-3 * rng.normal(size=3), counts)
    assert verdict(sfp["S5"], straight) == "holds"
    assert verdict(sfp["S5"], root) == "fails"
    assert verdict(sfp["S5"], planted_errors(lambda k: 0.01 * k, counts[:4])) == "not measured"


def test_t_interval_against_the_table():
    """n = 4, s = 1, t(0.975, 3) = 3.182446."""
    values = np.array([-1.5, -0.5, 0.5, 1.5]) / np.sqrt(5 / 3)
    low, high = intervals.mean_interval(values, np.random.default_rng(0), "t")
    assert high == pytest.approx(3.182446 / 2, rel=1e-6)
    assert low == pytest.approx(-high)


def test_bootstrap_of_three_seeds_reaches_from_smallest_to_largest():
    for seed in range(5):
        low, high = intervals.mean_interval(
            np.array([0.2, 0.5, 0.9]), np.random.default_rng(seed), "bootstrap"
        )
        assert (low, high) == pytest.approx((0.2, 0.9), abs=1e-12)


def test_bootstrap_of_many_seeds_agrees_with_t():
    values = np.random.default_rng(1).normal(size=60)
    boot = intervals.mean_interval(values, np.random.default_rng(2), "bootstrap")
    assert np.allclose(boot, intervals.mean_interval(values, np.random.default_rng(0), "t"), atol=0.06)
    assert math.isclose(sum(boot) / 2, values.mean(), abs_tol=0.05)


def test_resampled_seeds_are_those_that_are_drawn():
    """The mean over drawn seeds is the mean over the drawn runs; of three seeds all draws are taken, equal
    ones evaluated once."""
    records = pd.DataFrame({"seed": [3, 3, 5, 8], "x": [1.0, 2.0, 4.0, 8.0]})
    asked = []

    def evaluate(table):
        asked.append(tuple(table["seed"]))
        rare = {"b": 1.0} if 8 in set(table["seed"]) else {}  # 19 of 27 draws
        often = {} if set(table["seed"]) == {8} else {"c": 1.0}  # 26 of 27
        return {"a": table["x"].mean()} | rare | often

    draws = intervals.resampled(records, evaluate, np.random.default_rng(0))
    drawn = list(product(range(3), repeat=3))
    runs = [[1.0, 2.0], [4.0], [8.0]]
    expected = [np.mean(np.concatenate([runs[i] for i in draw])) for draw in drawn]
    assert np.allclose(np.sort(draws["a"]), np.sort(expected))
    assert "b" not in draws  # where it exists the seed 8 was drawn, which is no random choice
    assert len(draws["c"]) == sum(set(draw) != {2} for draw in drawn)
    assert len(asked) == len(set(asked)) == 10  # multisets of three out of three


def test_of_many_seeds_some_draws_are_taken_at_random():
    records = pd.DataFrame({"seed": range(8), "x": np.arange(8.0)})

    def evaluate(table):
        return {"a": table["x"].mean()}

    draws = intervals.resampled(records, evaluate, np.random.default_rng(0), resamples=300)
    drawn = np.random.default_rng(0).integers(0, 8, size=(300, 8))
    assert np.allclose(draws["a"], drawn.mean(axis=1))


def test_of_a_few_seeds_the_interval_owes_nothing_to_chance():
    records = pd.DataFrame({"seed": range(4), "x": [0.1, 0.4, 0.2, 0.7]})

    def evaluate(table):
        return {"a": table["x"].mean()}

    one, other = (intervals.resampled(records, evaluate, np.random.default_rng(at))["a"] for at in (0, 1))
    assert np.array_equal(one, other)
    assert one.std() == pytest.approx(records["x"].std(ddof=0) / 2)  # the bootstrap's own standard error


def test_an_interval_that_decided_is_the_one_that_is_shown(sfp):
    records = runs([GOOD_NOISE] * 3, [GOOD_SNR] * 3)
    finding = claims.find(sfp["S4"], records, "quick", np.random.default_rng(0))
    shown = finding.estimates()
    gains = ["noise_ratio_by_training", "snr_ratio_by_training"]
    assert [each.quantity for each in shown] == ["noise_ratio", "snr_ratio", *gains]
    assert shown[0] is finding.parts[0]


def test_a_quantity_that_is_a_condition_too_has_one_interval_and_is_computed_once(monkeypatch):
    """On the records as they are for each use; once on every draw of seeds, and of test images."""
    asked, of_images = [], []

    def mean(records):
        """Mean."""
        asked.append(tuple(records["seed"]))
        arm = {"arm": "a", "n": records["seed"].nunique(), "data": "planted", "device": "cpu"}
        return [{**arm, "value": records["x"].mean(), "control": math.nan}]

    def image_draws(records, evaluate, generator):
        of_images.append(evaluate)
        return {"a": np.array([0.2, 0.3])}

    entry = Entry("planted", mean, registered.quantities.get("width_exponent").facts)
    assert entry.facts["images"]
    monkeypatch.setattr(registered.quantities, "get", lambda name: entry)
    monkeypatch.setattr(estimates, "_image_draws", image_draws)
    records = pd.DataFrame({"seed": range(3), "x": [0.1, 0.4, 0.2]})
    twice = Criterion("Above.", (Condition("planted", ">", bound=0), Condition("planted", "<", bound=1)))
    about = {
        "statement": "More.",
        "paper": PaperNumber(None, "more", "here"),
        "where": "here",
        "controls": (),
        "seeds": 3,
    }
    claim = Claim(id="X", quantity="planted", criterion=twice, profiles=("quick",), **about)
    found = claims.find(claim, records, "quick", np.random.default_rng(0))
    assert (len(asked), len(of_images)) == (3 + 10, 1)  # of the 27 draws of three seeds ten differ
    assert len({(each.low, each.high) for each in (*found.headline, *found.parts)}) == 1


def crossed_design(rng, seeds, images, of_seed, of_image, rest):
    """X_si = a_s + b_i + e_si with these standard deviations and mean 0, (seeds, images)."""
    a, b = rng.normal(scale=of_seed, size=(seeds, 1)), rng.normal(scale=of_image, size=images)
    return a + b + rng.normal(scale=rest, size=(seeds, images))


@pytest.mark.parametrize(
    ("of_seed", "of_image", "rest"), [(0.05, 1.0, 0.3), (0.0, 1.0, 0.3), (0.05, 0.0, 0.3), (0.0, 0.0, 0.3)]
)
def test_intervals_over_seeds_and_images_cover_the_truth(of_seed, of_image, rest):
    """At least 95 % hold the mean, within three standard errors of 400 draws; seeds alone miss it."""
    rng, held, held_by_seeds = np.random.default_rng(0), 0, 0
    for _ in range(400):
        table = crossed_design(rng, 4, 300, of_seed, of_image, rest)
        values = table.mean(axis=1)
        alone = intervals.mean_interval(values, rng, "t")
        low, high = intervals.widened(float(values.mean()), alone, intervals.image_half_width(table))
        held += low <= 0 <= high
        held_by_seeds += alone[0] <= 0 <= alone[1]
    assert held / 400 > 0.95 - 3 * np.sqrt(0.05 * 0.95 / 400)
    if of_image:
        assert held_by_seeds / 400 < 0.9


def test_half_width_of_images_against_the_written_out_mean_squares():
    """Seeds that agree leave the binomial error; images that do not matter leave none."""
    bits = np.random.default_rng(1).random(1000) < 0.7
    same = np.repeat(bits[None].astype(float), 3, axis=0)
    expected = 1.959964 * bits.std(ddof=1) / np.sqrt(1000)
    assert intervals.image_half_width(same) == pytest.approx(expected, rel=1e-6)
    noise = np.random.default_rng(2).normal(size=(3, 1000))
    flat = noise - noise.mean(axis=0)  # every image has the same mean over the seeds
    assert intervals.image_half_width(flat) == 0.0


def kept_run(root, seed, right, network="net", spec="a", digest="d"):
    """A record with its right/wrong bits, as ``filterwise record`` leaves it."""
    row = {column: "x" for column in records_module.COLUMNS}
    row |= {"name": f"{network} seed {seed}", "network": network, "seed": seed, "data": "planted"}
    row |= {"accuracy": float(np.mean(right)), "test_images": len(right), "data_digest": digest}
    row |= {"spec_key": f"{spec}{seed:031x}", "key": f"{spec}{seed:031x}", "device": "cpu"}
    records_module.write_record("1-pooling", "quick", row, {"right": np.packbits(right)[None]}, root)


def test_answers_of_records_are_read_back_and_subtracted(tmp_path):
    rng = np.random.default_rng(0)
    one, other = rng.random((2, 37)) < 0.6
    kept_run(tmp_path, 0, one)
    kept_run(tmp_path, 0, other, "late", "b")
    kept_run(tmp_path, 0, other, "elsewhere", "c", digest="e")
    table = records_module.load_records("1-pooling", "quick", tmp_path)
    table = test_images.with_right(table, "1-pooling", "quick", tmp_path)
    first, second, elsewhere = (row for _, row in table.iterrows())
    assert (test_images.accuracy_by_image(first) == one).all()
    assert (test_images.difference_by_image(first, second) == one.astype(int) - other).all()
    assert test_images.difference_by_image(first, elsewhere) is None  # other images
    changed = table.assign(accuracy=0.5)  # an accuracy on other images than those of the bits
    again = test_images.with_right(changed.drop(columns="right"), "1-pooling", "quick", tmp_path)
    assert test_images.accuracy_by_image(again.iloc[0]) is None
    assert test_images.accuracy_by_image(table.drop(columns="right").iloc[0]) is None


def test_resampled_images_move_runs_on_the_same_images_together(tmp_path):
    right = np.arange(200) % 3 > 0
    for spec, digest in (("a", "d"), ("b", "d"), ("c", "e")):
        kept_run(tmp_path, 0, right, spec, spec, digest)
    table = records_module.load_records("1-pooling", "quick", tmp_path)
    table = test_images.with_right(table, "1-pooling", "quick", tmp_path)
    draws = test_images.resampled_accuracies(table, np.random.default_rng(0), 400)
    found = np.array([draw["accuracy"] for draw in draws])  # (draws, runs)
    assert (found[:, 0] == found[:, 1]).all()
    assert abs(np.corrcoef(found[:, 0], found[:, 2])[0, 1]) < 0.2
    assert found[:, 0].std() == pytest.approx(np.sqrt(right.mean() * (1 - right.mean()) / 200), rel=0.15)
    assert not list(test_images.resampled_accuracies(table.assign(right=None), np.random.default_rng(0), 3))


def test_a_verdict_counts_test_images_beside_seeds(tmp_path, monkeypatch):
    """Seeds agree on a gain of 0.02 that 400 test images cannot tell from none."""
    rng = np.random.default_rng(0)
    early = rng.random(400) < 0.7
    late = early.copy()
    late[rng.choice(np.flatnonzero(~early), 58, replace=False)] = True
    late[rng.choice(np.flatnonzero(early), 50, replace=False)] = False
    for seed in range(3):
        kept_run(tmp_path, seed, early)
        kept_run(tmp_path, seed, late, "late", "b")
    table = records_module.load_records("1-pooling", "quick", tmp_path)

    def gain(records):
        rows = []
        for seed, runs in records.groupby("seed"):
            one, other = (runs[runs["network"] == name].iloc[0] for name in ("late", "net"))
            about = {"arm": "late", "seed": seed, "control": math.nan, "data": "planted", "device": "cpu"}
            images = test_images.difference_by_image(one, other)
            rows.append(about | {"value": one["accuracy"] - other["accuracy"], "images": images})
        return rows

    facts = {"unit": "", "control": "", "pooled": False, "digits": 3, "images": False, "words": {}}
    monkeypatch.setitem(registered.quantities._entries, "snr_ratio", Entry("snr_ratio", gain, facts))
    claim = planted(Condition("snr_ratio", ">", bound=0.0))
    known = test_images.with_right(table, "1-pooling", "quick", tmp_path)
    for records, expected in ((table, "holds"), (known, "undecided")):
        finding = claims.find(claim, records, "quick", np.random.default_rng(0))
        assert finding.verdict == expected
    (found,) = finding.headline
    assert found.value == pytest.approx(0.02)
    assert found.by_seeds == pytest.approx(0, abs=1e-9)
    assert found.by_images == pytest.approx((found.high - found.low) / 2)


def test_images_are_crossed_with_seeds_only_where_all_seeds_have_them(tmp_path):
    right = np.arange(10) % 3 > 0
    for seed, spec, digest in ((0, "a", "a"), (0, "b", "b"), (1, "a", "a"), (1, "b", "c"), (2, "a", "e")):
        kept_run(tmp_path, seed, right, spec, spec, digest)
    table = records_module.load_records("1-pooling", "quick", tmp_path)
    table = test_images.with_right(table, "1-pooling", "quick", tmp_path)
    assert test_images.crossed(table, (0, 1), 10)
    assert not test_images.crossed(table, (0, 1, 2), 10)
    assert not test_images.crossed(table, (0, 1), 9)
    assert not test_images.crossed(table[table["network"] == "b"], (0, 1), 10)


def test_answers_on_the_images_of_a_measurement_go_before_those_of_the_training(tmp_path):
    """A network that was trained with images held out is judged by others: the accuracy says which."""
    rng = np.random.default_rng(0)
    held_out, test = rng.random(24) < 0.5, rng.random(37) < 0.7
    kept_run(tmp_path, 0, test)
    table = records_module.load_records("1-pooling", "quick", tmp_path)
    path = records_module.arrays_path("1-pooling", "quick", str(table["spec_key"].iloc[0]), tmp_path)
    np.savez(path, right=np.packbits(held_out)[None], test_right=np.packbits(test))
    handle = test_images.Right(path, len(held_out), float(test.mean()), "d")
    assert (handle.bits() == test).all()
    trained = test_images.Right(path, len(held_out), 0.123, "d")
    assert trained.bits() is None
    np.savez(path, right=np.packbits(held_out)[None])
    other = test_images.Right(path, len(held_out), float(held_out.mean()), "d")
    assert (other.bits() == held_out).all()
    assert other.set != handle.set


def spread_over(n: int, mean: float, spread: float) -> pd.DataFrame:
    """A claim's accuracies with this mean and standard deviation, in ``n`` seeds."""
    steps = np.linspace(-1, 1, n)
    values = mean + spread * steps / steps.std(ddof=1)
    accuracy = [(0.3, 0.6, value) for value in values]
    return runs([GOOD_NOISE] * n, [GOOD_SNR] * n, accuracy, seeds=range(100))


@pytest.mark.parametrize(("bound", "method"), [(0.45, "t"), (0.55, "t"), (0.46, "bootstrap")])
def test_with_the_seeds_that_are_named_an_undecided_claim_is_decided_and_not_with_fewer(sfp, bound, method):
    """By records of the same mean and spread; of the bootstrap, which is rough at four seeds, within five."""
    name = "probe_gain_by_training"  # here the last layer's accuracy minus 0.3
    condition = Condition(name, ">", bound=bound - 0.3)
    rule = Rule(method=method)

    def found(n):
        claim = dataclasses.replace(
            sfp["S1"],
            quantity=name,
            criterion=Criterion("above", (condition,), rule),
            profiles=("quick",),
        )
        return claims.find(claim, spread_over(n, 0.5, 0.1), "quick", np.random.default_rng(0))

    open_one = found(4)
    assert open_one.verdict == "undecided"
    needed = int(open_one.seeds_to_decide)
    assert open_one.seeds_there == 4
    slack = 0 if method == "t" else 5
    assert 4 < needed < 100
    assert found(needed + slack).verdict != "undecided"
    assert math.isnan(found(needed + slack).seeds_to_decide)
    assert found(needed - 1 - slack).verdict == "undecided"
