"""Soft committees of several trained networks on images that none of them has seen.

Gross et al., Physica A 675, 130835 (2025). What a committee gains says little alone: every ensemble gains.
So the same row is measured of committees of equal networks with other seeds and of convolutional networks.
"""

from __future__ import annotations

from itertools import combinations
from typing import Any

import numpy as np
from torch import Tensor

from filterwise.data.imageset import ImageSet
from filterwise.errors import ParameterError
from filterwise.measure.committees import RULES, Committee, independent_committee, study_committee
from filterwise.papers.afcc.measured_fields import true_test
from filterwise.runs.measuring import measurements
from filterwise.runs.store import Result
from filterwise.training.evaluation import logits


@measurements("vit.committee")
def soft_committee(
    *results: Result, draws: int = 20, seed: int = 0, test_images: int = 0
) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """What several networks answer together to the data set's own test images, beside each alone.

    Parameters
    ----------
    draws, seed : of the committees of independent members, see
        :func:`~filterwise.measure.committees.independent_committee`
    test_images : the first so many, of every label equally many; 0 for all

    The best member is the one with the highest accuracy on the held-out images, of which the run's record
    speaks, and never by test images; where a member's run has held none out, there is no best member (None).

    The row: ``accuracy``, of the softmax committee; ``members`` and their ``member_models``; by member, from
    1, ``member_accuracy@``, ``held_out_accuracy@``, ``calibration_error@`` and ``confidence@``;
    ``mean_member``, ``best_member`` and ``best_member_number``; by rule ``committee@``, ``gain@`` (over the
    mean member, with ``gain_error@``, its standard error over test images) and ``gain_over_best@``;
    ``independent@``, the mean accuracy of the draws, ``independent_spread@``, their standard deviation, and
    ``independent_gain@``; ``committee_calibration_error``, ``committee_confidence`` and ``calibration_bins``;
    ``disagreement``, the mean over pairs, and for each pair ``disagreement@1-2`` and ``pair_accuracy@1-2``
    (softmax).
    Arrays, packed eight images a byte: ``member_right``, uint8 (members, test images / 8), and
    ``committee_right`` (test images / 8), of the softmax committee.

    Raises ParameterError: fewer than two networks, or networks whose test images are not the same.
    """
    if len(results) < 2:
        raise ParameterError(f"a committee needs at least 2 runs; got {len(results)}")
    tests = [true_test(result, test_images) for result in results]
    check_same_images(results, tests)
    fields = [
        logits(result.network(), test, device=result.device).cpu()
        for result, test in zip(results, tests, strict=True)
    ]
    labels = tests[0].labels
    chosen = best_held_out(results)
    found = study_committee(fields, labels, chosen)
    row: dict[str, Any] = {
        "accuracy": found.accuracy["softmax"],
        "members": len(results),
        "member_models": " ".join(result.run.model for result in results),
        "mean_member": float(found.members.mean()),
        "best_member": None if chosen is None else float(found.members[chosen]),
        "best_member_number": None if chosen is None else chosen + 1,
        **by_member(results, found),
        **by_rule(found, chosen),
        **independent_columns(fields, labels, found, draws, seed),
        **by_pair(found),
    }
    arrays = {
        "member_right": np.packbits(found.member_right.numpy(), axis=1),
        "committee_right": np.packbits(found.right["softmax"].numpy()),
    }
    return row, arrays


def best_held_out(results: tuple[Result, ...]) -> int | None:
    """Index of the run most accurate on the images it held out, the first of equals; None without such."""
    if not all("held_out" in result.run.data_kwargs for result in results):
        return None
    return int(np.argmax([result.metrics["accuracy"] for result in results]))


def check_same_images(results: tuple[Result, ...], tests: list[ImageSet]) -> None:
    """Raise a ParameterError naming the first run whose test images are not those of the first."""
    for number, test in enumerate(tests, start=1):
        if test.digest != tests[0].digest:
            mine, first = (one.title or one.name for one in (test, tests[0]))
            raise ParameterError(
                f"run {number} ({results[number - 1].run.model}) has other test images, {len(test)} of "
                f"{mine}, than run 1, {len(tests[0])} of {first}; a committee answers to the same images"
            )


def by_member(results: tuple[Result, ...], found: Committee) -> dict[str, Any]:
    """Columns ``quantity@number`` of the members, from 1."""
    row: dict[str, Any] = {}
    for number, result in enumerate(results, start=1):
        held_out = result.metrics["accuracy"] if "held_out" in result.run.data_kwargs else None
        row |= {
            f"member_accuracy@{number}": float(found.members[number - 1]),
            f"held_out_accuracy@{number}": held_out,
            f"calibration_error@{number}": float(found.calibration[number - 1]),
            f"confidence@{number}": float(found.confidence[number - 1]),
        }
    return row | {
        "committee_calibration_error": found.committee_calibration,
        "committee_confidence": found.committee_confidence,
        "calibration_bins": found.bins,
    }


def by_rule(found: Committee, chosen: int | None) -> dict[str, Any]:
    """Accuracy and gains by rule; the gain over the best member only where held-out images chose it."""
    row: dict[str, Any] = {}
    for rule in RULES:
        apart = found.right[rule].double() - found.member_right.double().mean(dim=0)
        row |= {
            f"committee@{rule}": found.accuracy[rule],
            f"gain@{rule}": found.gain(rule),
            f"gain_error@{rule}": float(apart.std() / len(apart) ** 0.5),
            f"gain_over_best@{rule}": None if chosen is None else found.gain_over_best(rule),
        }
    return row


def independent_columns(
    fields: list[Tensor], labels: Tensor, found: Committee, draws: int, seed: int
) -> dict[str, Any]:
    """What members that err as often, independently of each other, would reach together."""
    row: dict[str, Any] = {"independent_draws": draws}
    for rule in RULES:
        drawn = independent_committee(fields, labels, rule, draws, seed)
        row |= {
            f"independent@{rule}": float(drawn.mean()),
            f"independent_spread@{rule}": float(drawn.std()) if draws > 1 else None,
            f"independent_gain@{rule}": float(drawn.mean() - found.members.mean()),
        }
    return row


def by_pair(found: Committee) -> dict[str, Any]:
    """Columns ``quantity@a-b`` of each two members, from 1."""
    row: dict[str, Any] = {"disagreement": found.mean_disagreement}
    for a, b in combinations(range(len(found.members)), 2):
        row |= {
            f"disagreement@{a + 1}-{b + 1}": float(found.disagreement[a, b]),
            f"pair_accuracy@{a + 1}-{b + 1}": float(found.pairs["softmax"][a, b]),
        }
    return row
