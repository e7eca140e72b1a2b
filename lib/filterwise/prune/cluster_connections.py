"""Applied filter's cluster connections (AFCC): which connections between two layers stay.

Tzach et al., Phys. Rev. E 111, 065307 (2025).
"""

from __future__ import annotations

import torch
from torch import Tensor

from filterwise.errors import ParameterError, check_count
from filterwise.prune.filter_labels import check_sets


def afcc_mask(label_sets_out: Tensor, label_sets_in: Tensor) -> Tensor:
    """Q[o, i] = 1 if filter o of layer l+1 and filter i of layer l have at least one label in common.

    Whole k x k kernels are kept or removed; biases and batch norms are not masked. A filter without labels
    is cut off, in and out.

    Parameters
    ----------
    label_sets_out, label_sets_in
        bool (filters of l+1, K) and (filters of l, K); see ``label_sets``. For a layer that reads the labels'
        outputs, ``torch.eye(K, dtype=torch.bool)`` are the outputs' own sets.

    Returns bool (out, in).

    Raises ParameterError: sets that are not boolean, or of different numbers of labels.

    >>> below = torch.tensor([[True, False, False], [False, True, True]])
    >>> above = torch.tensor([[True, True, False], [False, False, False], [False, False, True]])
    >>> afcc_mask(above, below).int().tolist()
    [[1, 1], [0, 0], [0, 1]]
    """
    out, below = check_sets("label_sets_out", label_sets_out), check_sets("label_sets_in", label_sets_in)
    if out.shape[1] != below.shape[1]:
        raise ParameterError(
            f"label_sets_out has {out.shape[1]} labels and label_sets_in {below.shape[1]}; they must be equal"
        )
    # labels in common are counted in float32, which is exact to 2**24 of them
    return out.float() @ below.to(out.device).float().T > 0


def shared_cluster_mask(assigned_out: Tensor, assigned_in: Tensor) -> Tensor:
    """The stricter reading: a cluster of one filter lies within a cluster of the other.

    Parameters
    ----------
    assigned_out, assigned_in
        int (filters, K): the number of each label's cluster, -1 for none, as
        ``filterwise.measure.assign_clusters`` gives it.

    Returns bool (out, in).

    Raises ParameterError: different numbers of labels.

    >>> one, two = torch.tensor([[0, 0, 1]]), torch.tensor([[0, 1, -1], [0, 0, -1], [-1, -1, 0]])
    >>> shared_cluster_mask(one, two).tolist()
    [[True, True, True]]
    >>> shared_cluster_mask(torch.tensor([[0, 0, -1]]), torch.tensor([[-1, 0, 0]])).tolist()
    [[False]]
    """
    if assigned_out.shape[1] != assigned_in.shape[1]:
        raise ParameterError(
            f"assigned_out has {assigned_out.shape[1]} labels and assigned_in {assigned_in.shape[1]}; they "
            "must be equal"
        )
    (first, of_first), (second, of_second) = _cluster_rows(assigned_out), _cluster_rows(assigned_in)
    common = first.float() @ second.float().T  # (clusters out, clusters in): labels in common
    sizes = torch.minimum(first.sum(dim=1)[:, None], second.sum(dim=1)[None])
    within = (common == sizes).to(torch.float32)
    # back from pairs of clusters to pairs of filters
    return of_first.float() @ within @ of_second.float().T > 0


def _cluster_rows(assigned: Tensor) -> tuple[Tensor, Tensor]:
    """All clusters of all filters, bool (clusters, K), and whose they are, bool (filters, clusters)."""
    numbers = torch.arange(int(assigned.max()) + 1 if assigned.numel() else 0)
    members = assigned[:, None, :] == numbers[None, :, None]  # (filters, most clusters, K)
    owner, number = torch.nonzero(members.any(dim=2), as_tuple=True)
    return members[owner, number], torch.arange(len(assigned))[:, None] == owner[None]


def output_mask(sets: Tensor, positions: int = 1) -> Tensor:
    """Q[j, (f, p)] = 1 at all positions p if output j is one of filter f's labels.

    ``sets``: bool (F, K); ``positions``: P, of each filter's map, flattened filter by filter.

    Returns bool (K, F * P), the shape of a linear layer's weight.

    Raises ParameterError: sets that are not boolean (F, K), or fewer than one position.

    >>> output_mask(torch.tensor([[True, False], [True, True]]), positions=2).int().tolist()
    [[1, 1, 1, 1], [0, 0, 1, 1]]
    """
    return check_sets("sets", sets).T.repeat_interleave(check_count("positions", positions), dim=1)
