"""What groups of nodes know together: attention heads, and random groups of as many nodes as their null.

Any partition of the nodes has a best group for every label. What heads have beyond groups dealt at random
belongs to them; the rest belongs to nodes and weights alone. Koresh et al. (2025), Gross et al. (2025).
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from filterwise.errors import ParameterError, check_choice, check_count
from filterwise.measure.clustering import assign_clusters, cluster_sizes
from filterwise.measure.fields import clip, label_fields
from filterwise.measure.head_training import generator_for
from filterwise.measure.summary import layer_summary
from filterwise.measure.token_heads import Reading
from filterwise.models.cct import check_heads

#: Ways to say which head a label belongs to: A_h(l), c_h(l) and F_h(l).
QUANTITIES = ("accuracy", "votes", "field")
#: Values of single-group fields (images, groups, labels) that are held at a time.
CHUNK = 2**23


def own_groups(d: int, heads: int) -> Tensor:
    """The heads' own nodes, int64 (H, d/H): head h owns h d/H to (h + 1) d/H - 1.

    Raises ParameterError: heads that do not divide d.

    >>> own_groups(6, 2).tolist()
    [[0, 1, 2], [3, 4, 5]]
    """
    return torch.arange(d).view(check_heads(heads, d, "d"), -1)


def random_groups(d: int, heads: int, generator: torch.Generator) -> Tensor:
    """The same nodes dealt at random to as many groups of equal size, int64 (H, d/H).

    >>> sorted(random_groups(6, 2, torch.Generator().manual_seed(0)).flatten().tolist())
    [0, 1, 2, 3, 4, 5]
    """
    check_heads(heads, d, "d")
    return torch.randperm(d, generator=generator).view(heads, -1)


def group_fields(reading: Reading, groups: Tensor) -> Tensor:
    """SHP matrices of groups of nodes (H, n): (H, K, K), row = label of the input.

    M_h[i, j] = sum over the nodes k of the group of mu[i, k] W[j, k].

    >>> from filterwise.measure.token_heads import TokenHead
    >>> z, labels = torch.tensor([[2.0, 0, 0, 0], [0, 1, 0, 0], [0, 0, 3, 0]]), torch.tensor([0, 0, 1])
    >>> head = TokenHead("encoders.1", *torch.ones(3, 4), weight=torch.tensor([[1.0, 1, 0, 0], [0, 0, 1, 1]]))
    >>> reading = Reading(head, z, labels, torch.tensor([[1.0, 0.5, 0, 0], [0, 0, 3, 0]]), 1.0, torch.ones(2))
    >>> group_fields(reading, own_groups(4, 2)).tolist()
    [[[1.5, 0.0], [0.0, 0.0]], [[0.0, 0.0], [0.0, 3.0]]]
    """
    weight = reading.weight[:, groups.flatten()]
    return label_fields(reading.mu[:, groups], weight)


def group_accuracies(reading: Reading, groups: Tensor) -> Tensor:
    """A_h(l): accuracy on the inputs of label l with all nodes outside the group silenced. (H, K)

    >>> from filterwise.measure.token_heads import TokenHead
    >>> z, labels = torch.tensor([[2.0, 0, 0, 0], [0, 1, 0, 0], [0, 0, 3, 0]]), torch.tensor([0, 0, 1])
    >>> head = TokenHead("encoders.1", *torch.ones(3, 4), weight=torch.tensor([[1.0, 1, 0, 0], [0, 0, 1, 1]]))
    >>> reading = Reading(head, z, labels, torch.tensor([[1.0, 0.5, 0, 0], [0, 0, 3, 0]]), 1.0, torch.ones(2))
    >>> group_accuracies(reading, own_groups(4, 2)).tolist()
    [[1.0, 0.0], [1.0, 1.0]]
    """
    count, labels = len(groups), len(reading.weight)
    weight = reading.weight[:, groups].permute(1, 2, 0)  # (H, n, K)
    right = torch.zeros(count, labels, dtype=torch.int64)
    step = max(1, CHUNK // (count * labels))
    for z, own in zip(reading.z.split(step), reading.labels.split(step), strict=True):
        answers = torch.bmm(z[:, groups].transpose(0, 1), weight).argmax(dim=2)  # (H, images)
        hit = (answers == own).T.long()
        right.T.index_add_(0, own, hit)
    return right / torch.bincount(reading.labels, minlength=labels)


def group_votes(reading: Reading, groups: Tensor, threshold: float = 0.3) -> Tensor:
    """c_h(l): how many nodes of the group have label l in their set T_k. (H, K)"""
    return node_sets(reading, threshold)[groups].sum(dim=1)


def node_sets(reading: Reading, threshold: float = 0.3) -> Tensor:
    """T_k of every node, bool (d, K): labels j with M_k[j, j] > theta max M_k, without making M_k.

    max M_k is the larger of the products of the largest, and of the smallest, mu[:, k] and W[:, k].

    >>> from filterwise.measure.token_heads import TokenHead
    >>> z, labels = torch.tensor([[2.0, 0, 0, 0], [0, 1, 0, 0], [0, 0, 3, 0]]), torch.tensor([0, 0, 1])
    >>> head = TokenHead("encoders.1", *torch.ones(3, 4), weight=torch.tensor([[1.0, 1, 0, 0], [0, 0, 1, 1]]))
    >>> reading = Reading(head, z, labels, torch.tensor([[1.0, 0.5, 0, 0], [0, 0, 3, 0]]), 1.0, torch.ones(2))
    >>> node_sets(reading).tolist()
    [[True, False], [True, False], [False, True], [False, False]]
    """
    clip(torch.ones(1, 1), threshold)  # refuses a threshold
    mu, weight = reading.mu, reading.weight
    positive = mu.amax(0).clamp_min(0) * weight.amax(0).clamp_min(0)
    negative = mu.amin(0).clamp_max(0) * weight.amin(0).clamp_max(0)
    largest = torch.maximum(positive, negative)
    diagonal = mu * weight
    return ((diagonal / torch.where(largest > 0, largest, 1.0) > threshold) & (largest > 0)).T


def belonging(reading: Reading, groups: Tensor, by: str = "accuracy", threshold: float = 0.3) -> Tensor:
    """How much each group stands for each label, (H, K): A_h(l), c_h(l) or F_h(l).

    The owner of a label is the group with the largest value. F_h(l) is the group's diagonal field M_h[l, l].
    Raises ParameterError: an unknown quantity, with the near miss.

    >>> from filterwise.measure.token_heads import TokenHead
    >>> z, labels = torch.tensor([[2.0, 0, 0, 0], [0, 1, 0, 0], [0, 0, 3, 0]]), torch.tensor([0, 0, 1])
    >>> head = TokenHead("encoders.1", *torch.ones(3, 4), weight=torch.tensor([[1.0, 1, 0, 0], [0, 0, 1, 1]]))
    >>> reading = Reading(head, z, labels, torch.tensor([[1.0, 0.5, 0, 0], [0, 0, 3, 0]]), 1.0, torch.ones(2))
    >>> belonging(reading, own_groups(4, 2), by="field").tolist()
    [[1.5, 0.0], [0.0, 3.0]]
    """
    check_choice("by", by, QUANTITIES)
    if by == "accuracy":
        return group_accuracies(reading, groups)
    if by == "votes":
        return group_votes(reading, groups, threshold).float()
    return group_fields(reading, groups).diagonal(dim1=1, dim2=2)


def specialisation(values: Tensor) -> float:
    """gap = mean over labels of the best group's value minus the mean over all groups. values (H, K)

    >>> round(specialisation(torch.tensor([[0.9, 0.1], [0.3, 0.7]])), 3)
    0.3
    """
    return float(values.amax(dim=0).double().mean() - values.double().mean())


def owners(values: Tensor) -> Tensor:
    """The group with the largest value for each label, the first of equal ones: int64 (K,).

    >>> owners(torch.tensor([[0.9, 0.1], [0.2, 0.8]])).tolist()
    [0, 1]
    """
    return values.argmax(dim=0)


def against_random(
    of: Callable[[Tensor], float], reading: Reading, heads: int, draws: int, seed: int = 0
) -> dict[str, float]:
    """A number of the heads' own nodes beside those of random groups.

    ``of``: groups (H, n) -> number. Returns ``value``, ``null`` and ``null_sd`` (mean and deviation over the
    draws) and ``z`` = (value - null) / null_sd, not a number where the draws do not differ.

    >>> from filterwise.measure.token_heads import TokenHead
    >>> z, labels = torch.tensor([[2.0, 0, 0, 0], [0, 1, 0, 0], [0, 0, 3, 0]]), torch.tensor([0, 0, 1])
    >>> head = TokenHead("encoders.1", *torch.ones(3, 4), weight=torch.tensor([[1.0, 1, 0, 0], [0, 0, 1, 1]]))
    >>> reading = Reading(head, z, labels, torch.tensor([[1.0, 0.5, 0, 0], [0, 0, 3, 0]]), 1.0, torch.ones(2))
    >>> gap = lambda groups: specialisation(group_accuracies(reading, groups))
    >>> found = against_random(gap, reading, heads=2, draws=20)
    >>> found["value"], found["value"] >= found["null"]
    (0.25, True)
    """
    if check_count("draws", draws) < 2:
        raise ParameterError(f"draws={draws!r} give no spread; at least 2 are needed")
    d = reading.weight.shape[1]
    generator = generator_for(seed, f"random groups of {heads}")
    drawn = np.array([of(random_groups(d, heads, generator)) for _ in range(draws)])
    return beside(of(own_groups(d, heads)), drawn)


def beside(value: float, drawn: np.ndarray) -> dict[str, float]:
    """One number and its null distribution, as :func:`against_random` gives it."""
    finite = bool(np.isfinite(drawn).all())  # a ratio is infinite where there is no noise at all
    mean, sd = float(drawn.mean()), float(drawn.std(ddof=1)) if finite else float("nan")
    apart = (value - mean) / sd if sd > 1e-12 else float("nan")
    return {"value": value, "null": mean, "null_sd": sd, "z": apart}


def head_summary(M: Tensor, threshold: float = 0.3) -> dict[str, float]:
    """SHP matrices (H, K, K) in numbers.

    N_c, C_s, n, n_in, SNR_label and SNR_block as of filters; ``unit_share`` u, the share of clusters with one
    label; ``coverage`` and ``least_coverage``, mean over labels and smallest number of heads that have the
    label in T_h; ``rank_one``, share of the squared norm in the first singular value, mean over heads.

    >>> found = head_summary(torch.stack([torch.eye(3), torch.ones(3, 3)]))
    >>> found["N_c"], found["unit_share"], found["coverage"]
    (2.0, 0.75, 2.0)
    """
    clipped = clip(M, threshold)
    summary = layer_summary(clipped)
    sizes = cluster_sizes(assign_clusters(clipped))
    sizes = sizes[sizes > 0]
    coverage = clipped.diagonal(dim1=1, dim2=2).sum(dim=0)
    squares = torch.linalg.svdvals(M.double()).square()
    kept = ("N_c", "C_s", "n", "n_in", "SNR_label", "SNR_block", "share_without_cluster")
    return {
        **{name: float(summary[name]) for name in kept},
        "unit_share": float((sizes == 1).mean()) if len(sizes) else float("nan"),
        "coverage": float(coverage.double().mean()),
        "least_coverage": float(coverage.min()),
        "rank_one": float((squares[:, 0] / squares.sum(dim=1)).nanmean()),
    }


def summary_against_random(
    reading: Reading, heads: int, threshold: float = 0.3, draws: int = 20, seed: int = 0
) -> pd.DataFrame:
    """:func:`head_summary` of the heads beside random groups of their nodes.

    Returns one row a quantity: ``value``, ``null``, ``null_sd``, ``z``; see :func:`against_random`.

    >>> from filterwise.measure.token_heads import TokenHead
    >>> z, labels = torch.tensor([[2.0, 0, 0, 0], [0, 1, 0, 0], [0, 0, 3, 0]]), torch.tensor([0, 0, 1])
    >>> head = TokenHead("encoders.1", *torch.ones(3, 4), weight=torch.tensor([[1.0, 1, 0, 0], [0, 0, 1, 1]]))
    >>> reading = Reading(head, z, labels, torch.tensor([[1.0, 0.5, 0, 0], [0, 0, 3, 0]]), 1.0, torch.ones(2))
    >>> summary_against_random(reading, heads=2, draws=5).loc["N_c", "value"].item()
    1.0
    """
    check_count("draws", draws, 2)
    d = reading.weight.shape[1]
    generator = generator_for(seed, f"random groups of {heads}")
    drawn = pd.DataFrame(
        [
            head_summary(group_fields(reading, random_groups(d, heads, generator)), threshold)
            for _ in range(draws)
        ]
    )
    own = head_summary(group_fields(reading, own_groups(d, heads)), threshold)
    rows = {name: beside(value, drawn[name].to_numpy()) for name, value in own.items()}
    return pd.DataFrame(rows).T.rename_axis("quantity")
