"""Committees against loops, hand examples and coins."""

from __future__ import annotations

import itertools
from collections import Counter

import pytest
import torch
from torch import Tensor

import filterwise as fw
from filterwise.errors import ParameterError
from filterwise.measure.committees import (
    RULES,
    calibration_error,
    committee_answers,
    independent_committee,
    study_committee,
)


def some_logits(members: int = 4, images: int = 60, labels: int = 5, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Members that lean towards the label, each with noise of its own."""
    generator = torch.Generator().manual_seed(seed)
    answers = torch.arange(images) % labels
    noise = torch.randn(members, images, labels, generator=generator)
    return noise + torch.eye(labels)[answers], answers


def by_hand(fields: Tensor, rule: str) -> list[int]:
    """The rules as they read, image by image."""
    named = []
    for image in range(fields.shape[1]):
        shares = sum(member[image].double().softmax(0) for member in fields)
        if rule == "softmax":
            named.append(int(shares.argmax()))
        elif rule == "logits":
            named.append(int(sum(member[image].double() for member in fields).argmax()))
        else:
            votes = Counter(int(member[image].argmax()) for member in fields)
            most = [label for label, count in votes.items() if count == max(votes.values())]
            named.append(max(most, key=lambda label: float(shares[label])))
    return named


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("members", [2, 3, 4])
def test_answers_are_those_of_the_rules(rule: str, members: int) -> None:
    fields, _ = some_logits(members)
    assert committee_answers(fields, rule).tolist() == by_hand(fields, rule)
    assert committee_answers(list(fields), rule).tolist() == by_hand(fields, rule)


def test_a_tie_is_broken_among_the_tied_labels_only() -> None:
    # one vote each for 0 and 1; label 2 has most softmax together, and no vote
    fields = torch.tensor([[[1.01, 0.0, 1.0]], [[0.0, 1.2, 1.0]]])
    assert committee_answers(fields, "softmax").tolist() == [2]
    assert committee_answers(fields, "vote").tolist() == [1]


def test_logits_and_softmax_differ_where_one_member_is_very_sure() -> None:
    fields = torch.tensor([[[20.0, 0.0]], [[0.0, 3.0]], [[0.0, 3.0]]])
    assert [int(committee_answers(fields, rule)) for rule in RULES] == [1, 0, 1]


def test_accuracies_pairs_and_disagreement() -> None:
    fields, labels = some_logits()
    found = study_committee(fields, labels)
    answers = fields.argmax(2)
    for r, member in enumerate(answers):
        assert float(found.members[r]) == pytest.approx(float((member == labels).double().mean()))
        assert torch.equal(found.member_right[r], member == labels)
    for a, b in itertools.product(range(4), repeat=2):
        apart = sum(int(x != y) for x, y in zip(answers[a], answers[b], strict=True)) / 60
        assert float(found.disagreement[a, b]) == pytest.approx(apart)
        for rule in RULES:
            named = torch.tensor(by_hand(fields[[a, b]], rule)) if a != b else answers[a]
            assert float(found.pairs[rule][a, b]) == pytest.approx(float((named == labels).double().mean()))
    for rule in RULES:
        right = torch.tensor(by_hand(fields, rule)) == labels
        assert torch.equal(found.right[rule], right)
        assert found.accuracy[rule] == pytest.approx(float(right.double().mean()))
        assert found.gain(rule) == pytest.approx(found.accuracy[rule] - float(found.members.mean()))
        assert found.gain_over_best(rule) == pytest.approx(found.accuracy[rule] - float(found.members.max()))
    mean = sum(float(found.disagreement[a, b]) for a, b in itertools.combinations(range(4), 2)) / 6
    assert found.mean_disagreement == pytest.approx(mean)


def test_the_best_member_may_be_chosen_elsewhere() -> None:
    fields, labels = some_logits()
    plain = study_committee(fields, labels)
    worst = int(plain.members.argmin())
    chosen = study_committee(fields, labels, best=worst)
    assert chosen.best == worst
    assert plain.best == int(plain.members.argmax())
    assert chosen.gain_over_best() > plain.gain_over_best()
    assert chosen.gain() == plain.gain()


def test_copies_of_one_member_gain_nothing() -> None:
    fields, labels = some_logits(1)
    found = study_committee(fields.expand(3, -1, -1), labels)
    assert all(found.accuracy[rule] == float(found.members[0]) for rule in RULES)
    assert found.mean_disagreement == 0
    assert found.committee_calibration == pytest.approx(float(found.calibration[0]))
    assert found.committee_confidence == pytest.approx(float(found.confidence[0]))


def test_calibration_error_against_a_loop() -> None:
    fields, labels = some_logits(1, images=500)
    shares = (2 * fields[0]).softmax(1)
    total = 0.0
    for b in range(15):
        inside = [i for i in range(500) if b / 15 < float(shares[i].max()) <= (b + 1) / 15]
        if inside:
            right = sum(int(shares[i].argmax() == labels[i]) for i in inside) / len(inside)
            total += (
                len(inside) / 500 * abs(right - sum(float(shares[i].max()) for i in inside) / len(inside))
            )
    assert calibration_error(shares, labels) == pytest.approx(total, abs=1e-9)
    assert calibration_error(shares, labels, bins=1) == pytest.approx(
        abs(float((shares.argmax(1) == labels).double().mean() - shares.amax(1).mean())), abs=1e-6
    )
    found = study_committee([fields[0], 2 * fields[0]], labels)
    assert float(found.calibration[1]) == pytest.approx(total, abs=1e-6)
    mean = (fields[0].double().softmax(1) + (2 * fields[0].double()).softmax(1)) / 2
    assert found.committee_calibration == pytest.approx(calibration_error(mean, labels))
    assert found.committee_confidence == pytest.approx(float(mean.amax(1).mean()))


def test_probabilities_that_are_true_have_no_calibration_error() -> None:
    labels = torch.tensor([0, 0, 0, 1] * 5)
    assert calibration_error(torch.tensor([[0.75, 0.25]] * 20), labels) == pytest.approx(0, abs=1e-9)
    assert calibration_error(torch.tensor([[1.0, 0.0]] * 20), labels) == pytest.approx(0.25)


def vote_of_coins(rates: list[float]) -> float:
    """Chance that more than half of independent coins are right."""
    total = 0.0
    for outcome in itertools.product((True, False), repeat=len(rates)):
        if sum(outcome) > len(rates) / 2:
            chance = 1.0
            for right, rate in zip(outcome, rates, strict=True):
                chance *= rate if right else 1 - rate
            total += chance
    return total


def test_independent_members_are_coins_label_by_label() -> None:
    rates = {0: [0.6, 0.7, 0.8], 1: [0.9, 0.5, 0.65]}
    labels = torch.arange(800) % 2
    fields = torch.zeros(3, 800, 2)
    for label, own in rates.items():
        places = (labels == label).nonzero()[:, 0]
        for r, rate in enumerate(own):  # the same images are hard for all
            named = torch.where(torch.arange(400) < round(400 * rate), label, 1 - label)
            fields[r, places, named] = 5.0
    expected = (vote_of_coins(rates[0]) + vote_of_coins(rates[1])) / 2
    found = independent_committee(fields, labels, "vote", draws=60)
    assert float(found.mean()) == pytest.approx(expected, abs=5 * float(found.std()) / 60**0.5)
    assert float(found.std()) < 0.02
    assert abs(study_committee(fields, labels).accuracy["vote"] - expected) > 0.03


def test_dealing_keeps_every_members_confusion_matrix(monkeypatch: pytest.MonkeyPatch) -> None:
    from filterwise.measure import committees

    fields, labels = some_logits(3, images=100)
    dealt = []
    monkeypatch.setattr(
        committees, "_chosen", lambda new, shares, rule: dealt.append((new, shares)) or new[0].argmax(1)
    )
    independent_committee(fields, labels, draws=2)
    assert len(dealt) == 2
    for new, shares in dealt:
        torch.testing.assert_close(shares, new.softmax(2))
        moved = [not torch.equal(new[r], fields[r].double()) for r in range(3)]
        assert moved == [True, True, True]
        for r, label in itertools.product(range(3), range(5)):
            rows = sorted(map(tuple, new[r, labels == label].tolist()))
            assert rows == sorted(map(tuple, fields[r, labels == label].double().tolist()))
    (first, _), (second, _) = dealt
    assert not torch.equal(first, second)
    assert not torch.equal((first[0] != fields[0]).any(1), (first[1] != fields[1]).any(1))


def test_draws_come_from_the_seed_and_leave_the_shared_state_alone() -> None:
    fields, labels = some_logits()
    state = torch.get_rng_state()
    first, again = (independent_committee(fields, labels, draws=5, seed=3) for _ in range(2))
    other = independent_committee(fields, labels, draws=5, seed=4)
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert torch.equal(torch.get_rng_state(), state)


def test_public_names() -> None:
    assert fw.measure.study_committee is study_committee
    assert {"Committee", "calibration_error", "committee_answers", "independent_committee"} <= set(
        fw.measure.__all__
    )


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda f, y: committee_answers(f, "votes"), "rule='votes' is not known; .*did you mean 'vote'"),
        (lambda f, y: study_committee(f, y).gain("logit"), "did you mean 'logits'"),
        (lambda f, y: study_committee(f, y).gain_over_best("mean"), "rule='mean' is not known"),
        (lambda f, y: independent_committee(f, y, "softmx"), "did you mean 'softmax'"),
        (lambda f, y: study_committee(f[:1], y), "1 member; a committee needs at least 2"),
        (lambda f, y: study_committee(f[0], y), r"shape \(60, 5\); \(R, N, K\)"),
        (lambda f, y: study_committee([f[0], f[1, :9]], y), r"\(60, 5\), \(9, 5\)"),
        (lambda f, y: study_committee([f[0], 3], y), "'int'"),
        (lambda f, y: study_committee(f, y[:9]), r"int64 \(60,\).*got torch.int64 \(9,\)"),
        (lambda f, y: study_committee(f, y.float()), "torch.float32"),
        (lambda f, y: study_committee(f, y + 1), "labels goes from 1 to 5; the members have 5 outputs"),
        (lambda f, y: study_committee(f, y, best=4), "best=4 is not allowed; .*members 0 to 3"),
        (lambda f, y: study_committee(f, y, best=-1), "best=-1"),
        (lambda f, y: study_committee(f, y, bins=0), "bins=0"),
        (lambda f, y: independent_committee(f, y, draws=0), "draws=0"),
        (lambda f, y: independent_committee(f[:, :5], y[:5]), "one image of each label"),
        (lambda f, y: calibration_error(f[0], y), "sums other than 1"),
        (lambda f, y: committee_answers(f.log()), "NaN or infinity, first at member 0, image"),
    ],
)
def test_what_does_not_fit_is_refused(call, message) -> None:
    fields, labels = some_logits()
    with pytest.raises(ParameterError, match=message):
        call(fields, labels)
