"""Why a claim may fail here and be true of the paper: what a claim file may say, and what a test gave."""

import dataclasses
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from filterwise import claims
from filterwise.claims import ledger_pages
from filterwise.claims.doubts import once_more
from filterwise.claims.schema import Doubt
from filterwise.errors import ParameterError
from filterwise.papers.chapter import folders, jobs
from filterwise.papers.told_apart import LONGER, VARIATIONS, WIDER, varied
from filterwise.runs.records import VARIED, without_varied

LAYERS = "features.1 features.2"
REASONS = ("recipe: too short", "scale: too small")


def row(seed, share, what=None, network="net"):
    """A planted record with one share of favourites in both layers; ``what`` was varied in it."""
    name = f"{network}, seed {seed}"
    planted = {
        "name": f"{name}, {what}" if what else name,
        "network": network,
        "data": "planted",
        "device": "cpu",
        "labels": 10,
        "layers": LAYERS,
        "seed": seed,
        "accuracy": 0.5,
        VARIED: what,
    }
    for layer in LAYERS.split():
        planted |= {f"preferred_share@{layer}": share, f"positions@{layer}": 4.0}
        planted |= {f"single_filter_accuracy@{layer}": 0.11, f"untrained_preferred_share@{layer}": 0.4}
    return planted


@pytest.fixture
def failed():
    """The claim that a filter has a favourite of at least 0.7, with a doubt, and records where it has not."""
    (claim,) = (each for each in claims.load("4-sfp") if each.id == "S2")
    claim = dataclasses.replace(claim, doubt=Doubt(REASONS, "longer", 0.5, (LONGER, WIDER)))
    plain = [row(seed, share) for seed, share in enumerate((0.50, 0.54, 0.52))]
    plain += [row(seed, 0.6, network="other") for seed in range(3)]
    table = pd.DataFrame([*plain, row(1, 0.66, LONGER)])
    found = claims.find(claim, without_varied(table), "cifar", np.random.default_rng(0))
    assert found.verdict == "fails"
    return found, table


def test_a_varied_job_takes_the_place_of_its_own_seed_alone(failed):
    found, table = failed
    (only,) = once_more(found, table)
    assert (only.varied, only.seeds, only.quantity) == (LONGER, 1, "preferred_share")
    assert only.before == pytest.approx(0.54)
    assert only.after == pytest.approx(0.66)
    assert only.arm.startswith("net, ")


def test_several_seeds_are_averaged_on_both_sides(failed):
    found, table = failed
    both = pd.concat([table, pd.DataFrame([row(2, 0.60, LONGER)])])
    (only,) = once_more(found, both)
    assert (only.seeds, only.before, only.after) == (2, pytest.approx(0.53), pytest.approx(0.63))
    assert only.spread == pytest.approx(0.03 * 2**0.5)
    card = ledger_pages.chapter_table([dataclasses.replace(found, once_more=(only,))])
    assert "in 2 seeds: preferred share 0.630 ± 0.042 in place of 0.530" in card
    assert f"Not run yet: {WIDER}." in card


def test_a_number_that_needs_another_run_has_no_value():
    (claim,) = (each for each in claims.load("1-pooling") if each.id == "P6")
    about = {"seed": 0, "epochs": 12, "data": "planted", "device": "cpu", "labels": 10, "network": "avgg8"}
    about |= {"plan": "L2", "order": "AP2-MP4", "arm_kind": "main", "lr": 0.1, "base": "vgg8", "macs": 1.0}
    arms = (("linear", 0.7, None), ("relu", 0.6, None), ("linear", 0.8, LONGER))
    rows = [
        {**about, "fc_activation": kind, "accuracy": accuracy, VARIED: what} for kind, accuracy, what in arms
    ]
    for each in rows:
        each["name"] = each["fc_activation"] + (f", {LONGER}" if each[VARIED] else "")
    table = pd.DataFrame(rows)
    found = claims.find(claim, without_varied(table), "cifar", np.random.default_rng(0))
    failed = dataclasses.replace(found, verdict="fails", decided_by=found.parts[0])
    assert not list(once_more(failed, table))
    both = pd.concat(
        [table, table.tail(1).assign(fc_activation="relu", accuracy=0.75, name=f"relu, {LONGER}")]
    )
    (only,) = once_more(failed, both)
    assert (only.before, only.after) == (pytest.approx(0.1), pytest.approx(0.05))


def test_a_processor_of_another_kind_is_told(failed):
    found, table = failed
    table["precision"] = ["float32" if what else "bfloat16" for what in table[VARIED].fillna("")]
    (only,) = once_more(found, table)
    assert only.form == "computed in float32, the others in bfloat16"
    card = ledger_pages.chapter_table([dataclasses.replace(found, once_more=(only,))])
    assert f"in 1 seed ({only.form}): preferred share 0.660" in card
    assert next(once_more(found, table.assign(precision="float32"))).form == ""


def test_no_verdict_counts_a_varied_row(failed):
    found, table = failed
    without = claims.find(
        found.claim, without_varied(table[table[VARIED].isna()]), "cifar", np.random.default_rng(0)
    )
    assert [each.value for each in found.parts] == [each.value for each in without.parts]
    assert VARIED not in without_varied(table)


@pytest.mark.parametrize("verdict", ["holds", "undecided", "not measured"])
def test_only_a_failure_is_told_apart(failed, verdict):
    found, table = failed
    assert not list(once_more(dataclasses.replace(found, verdict=verdict), table))


def test_a_card_names_reasons_in_order_and_what_the_test_gave(failed):
    found, table = failed
    card = ledger_pages.chapter_table([dataclasses.replace(found, once_more=tuple(once_more(found, table)))])
    assert card.index("(1) recipe: too short") < card.index("(2) scale: too small")
    assert "30 min of one core" in card
    assert f"With {LONGER}, in 1 seed: preferred share 0.660 in place of 0.540" in card
    assert "It was not run yet." in ledger_pages.chapter_table([found])
    elsewhere = ledger_pages.chapter_table([dataclasses.replace(found, profile="short")])
    assert "too short" not in elsewhere


def test_a_test_that_is_another_scale_leads_to_its_card(failed):
    found, _ = failed
    doubt = dataclasses.replace(found.claim.doubt, profile="short")
    card = ledger_pages.chapter_table(
        [dataclasses.replace(found, claim=dataclasses.replace(found.claim, doubt=doubt))]
    )
    assert 'href="#claim-4-sfp-S2-short"' in card
    assert "not run" not in card


def test_a_scale_that_is_a_test_is_one_of_the_claim():
    doubts = [(each.doubt, each.profiles) for name in folders() for each in claims.load(name) if each.doubt]
    named = [(doubt.profile, profiles) for doubt, profiles in doubts if doubt.profile]
    assert named
    assert all(profile in profiles for profile, profiles in named)


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"profile": "shrt"}, "did you mean 'short'"),
        ({"reasons": ("recipe: one",)}, "two or more"),
        ({"reasons": ("luck: a", "scale: b")}, "luck"),
        ({"hours": -1.0}, "hours"),
    ],
)
def test_a_doubt_is_checked(given, says):
    with pytest.raises(ParameterError, match=says):
        Doubt(**{"reasons": REASONS, "test": "longer", "hours": 1.0, **given})


@pytest.mark.parametrize("name", list(VARIATIONS))
def test_a_variation_changes_one_thing_and_leaves_its_start(name):
    by_name = {job.name: job for job in jobs(name, "cifar")}
    for job in (job for job in by_name.values() if dict(job.about).get(VARIED)):
        what = dict(job.about)[VARIED]
        plain = by_name[job.name.removesuffix(f", {what}")]
        assert (job.measure, job.options) == (plain.measure, plain.options)
        assert job.priority > plain.priority
        for new, old in zip(job.all_runs, plain.all_runs, strict=True):
            assert (new.start, new.seed, new.data_options) == (old.start, old.seed, old.data_options)
            if what == LONGER:
                assert new.recipe.epochs == 3 * old.recipe.epochs
                assert new.model_options == old.model_options
                # the rate ends where it ended
                ends = [run.recipe.learning_rate(450 * run.recipe.epochs - 1, 450) for run in (new, old)]
                assert ends[0] == pytest.approx(ends[1], abs=0.05 * old.recipe.lr)
                continue
            assert new.recipe == old.recipe
            if what == WIDER:
                assert new.model_kwargs == {**old.model_kwargs, "width": 2 * old.model_kwargs["width"]}
            elif old.edit is None:
                assert new == old
            else:
                layers = [layer for layer in dict(old.edit[1])["layers"] if "features" in layer]
                assert len(layers) == 3
                assert (
                    new.edit == old.replace(edit=(old.edit[0], {**dict(old.edit[1]), "layers": layers})).edit
                )


def test_every_variation_is_asked_for_by_a_claim_and_the_other_way_round():
    for name in folders():
        asked = {what for claim in claims.load(name) if claim.doubt for what in claim.doubt.varied}
        assert asked == {each.varied for each in VARIATIONS.get(name, ())}


def test_a_variation_of_no_job_is_refused():
    with pytest.raises(ParameterError, match="vgg6"):
        list(varied("4-sfp", [SimpleNamespace(name="vgg7, cifar10, seed 0")]))
