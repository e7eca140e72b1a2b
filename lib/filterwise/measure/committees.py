"""Committees: what several trained networks answer together, and how much of it they owe to each other.

The soft committee of Gross et al., Physica A 675, 130835 (2025), averages the output fields of members
r = 1 ... R. Which field is averaged makes a difference, so all three readings are computed, :data:`RULES`.
Logits of all members on the same images stand in one tensor (R, N, K).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import torch
from torch import Tensor

from filterwise.errors import ParameterError, check_choice, check_count, refused
from filterwise.measure.head_training import generator_for

#: "softmax": the largest of sum_r softmax(f^r)_j; "logits": the largest of sum_r f^r_j; "vote": the label
#: that most members name, and among labels with as many votes the one that "softmax" prefers.
RULES = ("softmax", "logits", "vote")
#: Bins of equal width in which confidence and accuracy are compared.
BINS = 15


@dataclass(frozen=True, eq=False)
class Committee:
    """What `study_committee` finds, all on the same N images; on the CPU, float64 where not said otherwise.

    Attributes
    ----------
    members : accuracy of each member, (R,)
    accuracy : of the whole committee, by rule
    pairs : by rule, accuracy of the committee of members a and b at [a, b], (R, R); member a's own at [a, a]
    disagreement : share of images to which a and b give different answers, (R, R)
    calibration, confidence : expected calibration error and mean largest probability of each member, (R,)
    committee_calibration, committee_confidence : the same of the mean of the members' softmax
    member_right, right : which images each member (R, N), and the committee by rule (N,), name rightly; bool
    best : the member that counts as the best
    bins : of the calibration errors
    """

    members: Tensor
    accuracy: dict[str, float]
    pairs: dict[str, Tensor]
    disagreement: Tensor
    calibration: Tensor
    confidence: Tensor
    committee_calibration: float
    committee_confidence: float
    member_right: Tensor
    right: dict[str, Tensor]
    best: int
    bins: int = BINS

    @property
    def mean_disagreement(self) -> float:
        """Mean over the pairs of different members."""
        return float(self.disagreement[torch.ones_like(self.disagreement).triu(1) == 1].mean())

    def gain(self, rule: str = "softmax") -> float:
        """Accuracy of the committee minus that of its mean member."""
        check_choice("rule", rule, RULES)
        return self.accuracy[rule] - float(self.members.mean())

    def gain_over_best(self, rule: str = "softmax") -> float:
        """Accuracy of the committee minus that of the member ``best``."""
        check_choice("rule", rule, RULES)
        return self.accuracy[rule] - float(self.members[self.best])


def study_committee(
    logits: Tensor | Sequence[Tensor], labels: Tensor, best: int | None = None, bins: int = BINS
) -> Committee:
    """Accuracy of members, pairs and the whole committee, disagreement, calibration and gains.

    Parameters
    ----------
    logits : (R, N, K), or R tensors (N, K), of at least two members
    labels : int64 (N,)
    best : the member that the gain is counted from, chosen on other images. None takes the most accurate on
        these, which flatters that member and so understates the gain
    bins : of the calibration errors

    Raises ParameterError: shapes that do not fit, labels outside 0 to K - 1, logits that are not finite, or a
    member that is not there.

    >>> sure, wrong = torch.tensor([[3.0, 0], [0, 1]]), torch.tensor([[0, 1.0], [0, 1]])
    >>> found = study_committee([sure, wrong, torch.eye(2)], torch.tensor([0, 1]))
    >>> found.members.tolist(), found.accuracy["softmax"], found.disagreement[0].tolist()
    ([1.0, 0.5, 1.0], 1.0, [0.0, 0.5, 0.0])
    >>> found.gain("vote") == 1 - 2.5 / 3
    True
    """
    fields, labels = _checked(logits, labels)
    count = len(fields)
    shares = fields.softmax(dim=2)
    answers = fields.argmax(dim=2)
    member_right = answers == labels
    right = {rule: _chosen(fields, shares, rule) == labels for rule in RULES}
    members = member_right.double().mean(dim=1)
    if best is None:
        best = int(members.argmax())
    elif check_count("best", best, 0) >= count:
        raise refused("best", best, f"the committee has the members 0 to {count - 1}")
    pairs = {rule: torch.diag(members) for rule in RULES}
    disagreement = torch.zeros(count, count, dtype=torch.float64)
    for a, b in combinations(range(count), 2):
        disagreement[a, b] = disagreement[b, a] = (answers[a] != answers[b]).double().mean()
        for rule in RULES:
            named = _chosen(fields[[a, b]], shares[[a, b]], rule)
            pairs[rule][a, b] = pairs[rule][b, a] = (named == labels).double().mean()
    together = shares.mean(dim=0)
    return Committee(
        members=members,
        accuracy={rule: float(each.double().mean()) for rule, each in right.items()},
        pairs=pairs,
        disagreement=disagreement,
        calibration=torch.tensor(
            [calibration_error(each, labels, bins) for each in shares], dtype=torch.float64
        ),
        confidence=shares.amax(dim=2).mean(dim=1),
        committee_calibration=calibration_error(together, labels, bins),
        committee_confidence=float(together.amax(dim=1).mean()),
        member_right=member_right,
        right=right,
        best=int(best),
        bins=bins,
    )


def committee_answers(logits: Tensor | Sequence[Tensor], rule: str = "softmax") -> Tensor:
    """The label that the committee names for each image, int64 (N,), by one of :data:`RULES`.

    ``logits``: (R, N, K), or R tensors (N, K). Of equal largest fields the first label is taken.
    Raises ParameterError: an unknown rule, with the near miss; shapes that do not fit; NaN or infinity.

    >>> sure, unsure = torch.tensor([[9.0, 0.0, 0.0]]), torch.tensor([[0.0, 0.1, 0.0]])
    >>> [int(committee_answers([sure, unsure, unsure], rule)) for rule in RULES]
    [0, 0, 1]
    """
    check_choice("rule", rule, RULES)
    fields = _members(logits)
    return _chosen(fields, fields.softmax(dim=2), rule)


def calibration_error(probabilities: Tensor, labels: Tensor, bins: int = BINS) -> float:
    """Expected calibration error, sum over bins b of ``n_b / N |accuracy_b - confidence_b|``.

    How far a network's largest probability is from how often it is right. The n_b images whose largest
    probability lies in (b / bins, (b + 1) / bins] make bin b: bins of equal width, 15 unless told otherwise;
    empty ones do not count (Guo et al., ICML 2017). 0 is perfect; a network that names one half of two labels
    rightly and is always sure has 0.5. The error of few images is biased upwards.
    ``probabilities``: (N, K), rows that sum to 1; ``labels``: int64 (N,).
    Raises ParameterError: shapes that do not fit, or rows that are no probabilities.

    >>> round(calibration_error(torch.tensor([[0.9, 0.1], [0.9, 0.1]]), torch.tensor([0, 1])), 6)
    0.4
    """
    check_count("bins", bins)
    shares = _floats("probabilities", probabilities, 2)
    _check_labels(labels, *shares.shape)
    sums = shares.sum(dim=1)
    if bool((shares < 0).any()) or not torch.allclose(sums, torch.ones_like(sums), atol=1e-4):
        raise ParameterError(
            "probabilities has rows with negative values or sums other than 1; give a softmax"
        )
    confidence, answers = shares.max(dim=1)
    right = (answers == labels.cpu()).double()
    place = (confidence * bins).ceil().long().sub(1).clamp(0, bins - 1)
    gaps = torch.zeros(bins, dtype=torch.float64).index_add_(0, place, right - confidence)
    return float(gaps.abs().sum() / len(shares))


def independent_committee(
    logits: Tensor | Sequence[Tensor],
    labels: Tensor,
    rule: str = "softmax",
    draws: int = 20,
    seed: int = 0,
) -> Tensor:
    """Accuracy of a committee whose members err as often, but independently given the label: (draws,).

    In each draw every member's answers, whole rows of logits, are dealt anew among the images of the same
    label. So each member keeps its accuracy on every label, its confusion matrix and its confidences to the
    last digit; only which of a label's images it gets wrong no longer has to do with the other members.
    For two labels and a majority vote the mean over draws is that of independent coins.

    What it says: how much a committee of this size and of these members would gain if no image were harder
    than another of its label. Networks trained on the same images agree on what is hard, so a real committee
    stays below; (its gain) / (the gain here) is how much of that is left. What it does not say: it is no
    bound, as members that make up for each other's errors would beat it; it is no test of whether a committee
    gains, for members that are copies of each other gain nothing and this gains all the same; and it does
    not tell networks that differ by design from networks that differ by seed: for that, compare committees.

    Raises ParameterError: as `study_committee`; or no label has two images, so that nothing can be dealt.

    >>> generator = torch.Generator().manual_seed(0)
    >>> labels = torch.zeros(1000, dtype=torch.int64)
    >>> errs = torch.arange(1000) < 300                        # three copies of one member with 70 %
    >>> member = torch.where(errs[:, None], torch.tensor([-9.0, 9.0]), torch.tensor([9.0, -9.0]))
    >>> found = independent_committee([member] * 3, labels, draws=50)
    >>> bool((found.mean() - (0.7**3 + 3 * 0.7**2 * 0.3)).abs() < 0.01)
    True
    """
    check_choice("rule", rule, RULES)
    check_count("draws", draws)
    fields, labels = _checked(logits, labels)
    if int(torch.bincount(labels).max()) < 2:
        raise ParameterError(
            "labels has one image of each label; answers are dealt among images of one label"
        )
    generator = generator_for(seed, "committee of independent members")
    shares = fields.softmax(dim=2)
    home = labels.argsort(stable=True)
    found = []
    for _ in range(draws):
        dealt = torch.empty(fields.shape[:2], dtype=torch.int64)
        for row in dealt:
            # sorted by label, and within a label by a drawn number
            drawn = torch.rand(len(labels), generator=generator, dtype=torch.float64)
            order = drawn.argsort()
            row[home] = order[labels[order].argsort(stable=True)]
        index = dealt[:, :, None].expand_as(fields)
        named = _chosen(fields.gather(1, index), shares.gather(1, index), rule)
        found.append((named == labels).double().mean())
    return torch.stack(found)


def _chosen(fields: Tensor, shares: Tensor, rule: str) -> Tensor:
    """Answers (N,) of members with logits ``fields`` and softmax ``shares``, both (R, N, K)."""
    if rule == "logits":
        return fields.sum(dim=0).argmax(dim=1)
    preferred = shares.sum(dim=0)
    if rule == "softmax":
        return preferred.argmax(dim=1)
    votes = torch.zeros_like(preferred)
    for answers in fields.argmax(dim=2):
        votes[torch.arange(len(votes)), answers] += 1
    return torch.where(votes == votes.amax(dim=1, keepdim=True), preferred, -1.0).argmax(dim=1)


def _checked(logits: Tensor | Sequence[Tensor], labels: Tensor) -> tuple[Tensor, Tensor]:
    fields = _members(logits)
    _check_labels(labels, *fields.shape[1:])
    return fields, labels.cpu()


def _members(logits: Tensor | Sequence[Tensor]) -> Tensor:
    """Logits (R, N, K) as float64 on the CPU, where sums over members do not depend on the device."""
    if not isinstance(logits, Tensor):
        shapes = [tuple(getattr(each, "shape", ())) or type(each).__name__ for each in logits]
        if len(set(shapes)) != 1 or not all(isinstance(each, Tensor) for each in logits):
            raise ParameterError(
                f"logits has members of shapes {shapes}; all must be (N, K) of the same images and labels"
            )
        logits = torch.stack([each.detach().cpu() for each in logits])
    fields = _floats("logits", logits, 3)
    if len(fields) < 2:
        raise ParameterError(f"logits has {len(fields)} member; a committee needs at least 2")
    return fields


def _floats(name: str, values: object, axes: int) -> Tensor:
    wanted = "(R, N, K) = (members, images, labels)" if axes == 3 else "(N, K) = (images, labels)"
    if not isinstance(values, Tensor) or values.ndim != axes or 0 in values.shape:
        shape = tuple(getattr(values, "shape", ())) or type(values).__name__
        raise ParameterError(f"{name} has shape {shape}; {wanted} is needed")
    floats = values.detach().cpu().double()
    broken = ~floats.isfinite()
    if bool(broken.any()):
        place = broken.nonzero()[0].tolist()
        where = f"member {place[0]}, image {place[1]}" if axes == 3 else f"image {place[0]}"
        raise ParameterError(f"{name} has NaN or infinity, first at {where}; finite numbers are needed")
    return floats


def _check_labels(labels: object, images: int, outputs: int) -> None:
    if not isinstance(labels, Tensor) or labels.dtype != torch.int64 or labels.shape != (images,):
        found = (
            f"{labels.dtype} {tuple(labels.shape)}" if isinstance(labels, Tensor) else type(labels).__name__
        )
        raise ParameterError(f"labels must be int64 ({images},), one for each image; got {found}")
    if int(labels.min()) < 0 or int(labels.max()) >= outputs:
        raise ParameterError(
            f"labels goes from {int(labels.min())} to {int(labels.max())}; the members have {outputs} outputs"
        )
