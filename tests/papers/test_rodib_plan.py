"""Chapter 6's trainings: equal N, equal weights of the control, what a record says, what is refused."""

import dataclasses

import numpy as np
import pytest
import torch

import filterwise as fw
from filterwise.errors import ParameterError
from filterwise.papers.rodib import measure, plan
from filterwise.papers.rodib.quantities import SINGLE, WIDE
from filterwise.papers.rodib.timed_arms import delays_needed
from filterwise.runs.jobs import check_jobs

PROFILES = ("quick", "cifar", "short", "paper")


def arms_of(profile):
    return [arm for _, arms in plan.groups(profile) for arm in arms]


def weights(arm):
    channels, size, _ = fw.data.describe(arm.run.data).shape
    labels = 45 if arm.task == "pair" else arm.run.labels or fw.data.describe(arm.run.data).labels
    net = fw.models.build("rodib", labels=labels, channels=channels, size=size, **arm.run.model_kwargs)
    return fw.models.parameter_count(net), net


@pytest.mark.parametrize("profile", PROFILES)
def test_lists_are_consistent(profile):
    jobs = plan.jobs(profile)
    check_jobs(jobs)
    exact = [job for job in jobs if dict(job.options)["exact"]]
    assert len({job.run.seed for job in exact}) == len(exact) >= 3  # the exact part once a seed
    assert all(job.bundle for job in jobs) or profile == "quick"


@pytest.mark.parametrize("profile", ["quick", "cifar"])
def test_every_arm_has_its_single_delay_of_the_same_n_recipe_and_images(profile):
    arms = arms_of(profile)
    single = {(a.n, a.task, a.run.seed, a.run.data, a.run.labels, a.purpose == "delayed convolution"): a
              for a in arms if a.arm == SINGLE}  # fmt: skip
    for arm in arms:
        key = (arm.n, arm.task, arm.run.seed, arm.run.data, arm.run.labels)
        other = single[(*key, arm.purpose == "delayed convolution")]
        same = arm.run.replace(model_options=other.run.model_options)
        assert same == other.run
        if arm.arm != WIDE:
            assert arm.run.model_kwargs["fc_inputs"] == arm.n


@pytest.mark.parametrize("profile", ["quick", "cifar"])
def test_a_wide_network_has_the_weights_of_what_it_matches(profile):
    """To half a hidden node, which is as near as whole nodes come."""
    arms = [arm for arm in arms_of(profile) if arm.run.seed == 0]
    wide = [arm for arm in arms if arm.arm == WIDE]
    assert wide
    for arm in wide:
        kind = {name: value for name, value in arm.run.model_kwargs.items() if name != "hidden"}
        kind |= {"delays": arm.delays, "kind": arm.matches, "fc_inputs": arm.n}
        matched = dataclasses.replace(arm, run=arm.run.replace(model_options=kind))
        mine, net = weights(arm)
        theirs, _ = weights(matched)
        node = net.layers[0].weight[0, 0].numel() + 1 + net.layers[-1].weight.shape[1]
        if arm.purpose == "delayed convolution":
            node = net.features[-1].conv.weight[0].numel() + 3 + net.units  # a filter, its bias and norm
        assert abs(mine - theirs) <= node / 2 + 1


def test_the_fixed_network_keeps_its_weights_its_images_a_label_and_its_steps():
    for profile, whole in (("quick", 100), ("cifar", 100)):
        arms = [arm for arm in arms_of(profile) if arm.purpose == "more labels" and arm.run.seed == 0]
        fixed = [arm for arm in arms if arm.arm == "generic"]
        assert [arm.run.labels for arm in fixed] == [10, 30, None]
        assert len({weights(arm)[0] for arm in fixed}) == 1
        grown = [weights(arm)[0] for arm in arms if arm.arm == SINGLE]
        assert np.diff(grown).tolist() == [20 * 9, 70 * 9]  # a unit: N = 8 weights and a bias
        n = [arm.run.data_kwargs.get("n") for arm in fixed]
        if profile == "cifar":
            images = [count / (arm.run.labels or whole) for count, arm in zip(n, fixed, strict=True)]
            assert len(set(images)) == 1
        shown = [arm.run.recipe.epochs * (arm.run.labels or whole) for arm in fixed]
        assert max(shown) <= 1.02 * min(shown)


@pytest.mark.parametrize(
    ("labels", "generic", "shared", "equal"),
    [(10, 4, 4, 6), (100, 10, 14, 51), (45, 7, 9, 23), (9, 3, 4, 5), (16, 4, 6, 9), (2, 2, 2, 2)],
)
def test_the_fewest_delays_that_are_enough(labels, generic, shared, equal):
    found = {kind: delays_needed(labels, kind) for kind in ("generic", "shared", "equal")}
    assert found == {"generic": generic, "shared": shared, "equal": equal}
    for kind, count in found.items():
        net = fw.models.build("rodib", labels=labels, delays=count, kind=kind, front="flat", fc_inputs=2)
        assert len(net.times) >= labels
        if count > 2:
            with pytest.raises(ParameterError, match=f"it takes delays={count}"):
                fw.models.build(
                    "rodib", labels=labels, delays=count - 1, kind=kind, front="flat", fc_inputs=2
                )


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """A tenth of the quick arms, one epoch each: one of every kind."""
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("runs")
    found = {}
    for arm in arms_of("quick"):
        kind = (arm.arm, arm.task, arm.label_map)
        if kind not in found and arm.run.data != "digit-pairs":
            n = {"n": 90, "n_test": 90}
            changes = {"recipe.epochs": 1, **{f"data_options.{name}": value for name, value in n.items()}}
            result = fw.runs.result(arm.run.replace(**changes), folder, device="cpu")
            found[kind] = (arm, result)
    return found


def test_a_record_says_what_the_outputs_are_used_for(small):
    rows = {
        kind: fw.runs.row(arm.job(), [result], result.measured("rodib.arm", task=arm.task))
        for kind, (arm, result) in small.items()
    }
    one = rows["generic", "one", "spread"]
    assert (one["M"], one["N"], one["outputs_available"], one["outputs_used"]) == (4, 2, 16, 10)
    assert rows["equal", "one", "spread"]["outputs_available"] == 11
    assert rows[SINGLE, "one", "spread"]["outputs_available"] == 10
    lone = rows["asynchronous", "one", "spread"]
    assert lone["weights"] == 784 * 16 + 16 * 10 + 4 * 16 + 16 * 10  # one line a connection, and biases
    assert lone["weights"] < lone["parameters"]
    assert rows["generic", "pair", "spread"]["exact_match"] == rows["generic", "pair", "spread"]["accuracy"]


def test_exact_match_by_hand(small):
    arm, result = small["generic", "both", "spread"]
    net, test = result.network(), result.test_set()
    answers = fw.training.logits(net, test, device="cpu")
    right = 0
    for row, shares in zip(answers, test.labels, strict=True):
        named = set(row.argsort(descending=True)[:2].tolist())
        right += named == set(shares.nonzero()[:, 0].tolist())
    assert result.measured("rodib.arm", task="both").row["exact_match"] == right / len(test)
    assert arm.task == "both"


def test_the_series_of_a_record_are_the_networks(small):
    _, result = small["equal", "one", "spread"]
    found = result.measured("rodib.arm").arrays
    answers = fw.training.logits(result.network(), result.test_set(), device="cpu")[:20]
    np.testing.assert_allclose(found["series"][:, found["label_places"]], answers, atol=1e-5)
    assert found["times"].tolist() == list(range(11))
    assert "series" not in small[SINGLE, "one", "spread"][1].measured("rodib.arm").arrays


def test_jitter_is_measured_on_moved_lines(small, monkeypatch):
    _, result = small["generic", "one", "spread"]
    net = result.network()
    monkeypatch.setattr(measure, "SHARES", (0.2,))
    monkeypatch.setattr(measure, "DRAWS", 1)
    found = measure.jitter_accuracies(result, net)
    moved = fw.models.jittered(net, 0.2, torch.Generator().manual_seed(1000 * result.run.seed))
    expected = fw.training.evaluate(moved, result.test_set(), device="cpu").accuracy
    assert found == {"jitter_accuracy@0.2": pytest.approx(expected)}


def test_the_exact_part_is_exact():
    for seed in (0, 1):
        row = measure.exact_part(seed)
        assert len([name for name in row if name.startswith("outputs@")]) == 36
        assert row["outputs@generic-2-10"] == 100
        assert row["outputs@shared-3-5"] == 35
        assert max(row[name] for name in ("unrolled_error", "lemma_error", "lemma_gradient_error")) < 1e-12


def test_the_page_trains_controls_for_its_first_seed():
    jobs = plan.page_jobs("quick", 5, 2)
    check_jobs(jobs)
    about = [{**dict(job.about), "seed": job.run.seed} for job in jobs]
    main = [each for each in about if each["purpose"] == "main" and each["arm"] != WIDE]
    assert {each["seed"] for each in main} == {5, 6}
    assert {each["seed"] for each in about if each["purpose"] != "main"} == {5}
    assert {each["task"] for each in about} == {"one", "both", "pair"}
    assert len(jobs) < 60


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"profile": "cifar10"}, "did you mean 'cifar'"),
        ({"fc_inputs": [0, 2]}, "fc_inputs=0"),
        ({"fc_inputs": [4]}, "must hold at least 2 different numbers"),
        ({"fc_inputs": [4, 4]}, "must hold at least 2 different numbers"),
        ({"delays": 3}, "delays=3 give 9 output times, fewer than the 10 labels; choose at least 4"),
        ({"delays": -1}, "delays=-1"),
        ({"seeds": 0}, "seeds=0"),
        ({"seed": -1}, "seed=-1"),
    ],
)
def test_parameters_that_cannot_be_are_refused(given, message):
    with pytest.raises(ParameterError, match=message):
        plan.page_jobs(**{"profile": "quick", **given})
