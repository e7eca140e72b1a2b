"""A layer in numbers: clusters, noise and the three signal-to-noise ratios."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from torch import Tensor, nn

from filterwise.errors import ParameterError, check_at_least
from filterwise.measure.clustering import as_bool, assign_clusters, cluster_sizes
from filterwise.measure.fields import check_matrices, clip, field_chunks

#: Per-filter quantities that are averaged over filters.
AVERAGED = ("N_c", "D", "s", "n", "n_in", "n_out")

_Counts = tuple[pd.DataFrame, NDArray[np.int64], NDArray[np.int64]]


def _counted(clipped: NDArray[np.bool_], order: Sequence[int] | None) -> _Counts:
    """Per-filter counts, the sizes of all clusters, and S (K, K) of clipped matrices (F, K, K)."""
    assigned = assign_clusters(clipped, order)
    sizes = cluster_sizes(assigned)
    inside = assigned >= 0
    ones = clipped.sum(axis=(1, 2))
    signal = (sizes**2).sum(axis=1)
    in_columns = (clipped.sum(axis=1) * inside).sum(axis=1)  # ones in columns that belong to a cluster
    columns = {
        "N_c": (sizes > 0).sum(axis=1),
        "D": inside.sum(axis=1),
        "s": signal,
        "n": ones - signal,
        "n_in": in_columns - signal,
        "n_out": ones - in_columns,
        "largest": sizes.max(axis=1, initial=0),
    }
    return pd.DataFrame(columns).rename_axis("filter"), sizes[sizes > 0], clipped.sum(axis=0)


def _clipped(M: object, threshold: float) -> NDArray[np.bool_]:
    """bool (F, K, K) from fields, or from matrices that are clipped already."""
    matrices = check_matrices("M", M)
    if matrices.ndim != 3 or len(matrices) == 0:
        raise ParameterError(
            f"M has shape {tuple(matrices.shape)}; (F, K, K) with at least one filter is needed"
        )
    return as_bool("M", clip(matrices, threshold) if matrices.is_floating_point() else matrices, ndim=(3,))


def _ratio(above: float, below: float) -> float:
    """above / below; infinite if only ``below`` is zero, NaN if both are."""
    if below == 0:
        return float("nan") if above == 0 or np.isnan(above) else float("inf")
    return above / below


def _summarise(table: pd.DataFrame, sizes: NDArray[np.int64], S: NDArray[np.int64]) -> pd.Series:
    labels = len(S)
    with_cluster = table[table["N_c"] > 0]
    some = with_cluster[list(AVERAGED)].mean()
    every = table[list(AVERAGED)].mean()
    cluster_size = float(sizes.mean()) if len(sizes) else float("nan")
    on_diagonal = float(np.trace(S)) / labels
    off_diagonal = float(S.sum() - np.trace(S)) / (labels * (labels - 1)) if labels > 1 else 0.0
    values = {
        "N_c": some["N_c"],
        "C_s": cluster_size,
        "n": some["n"],
        "n_in": some["n_in"],
        "n_out": some["n_out"],
        "D": some["D"],
        "SNR_block": _ratio(float(table["s"].sum()), float(table["n"].sum())),
        "SNR_label": _ratio(on_diagonal, off_diagonal),
        "SNR_mf": _ratio(some["N_c"] * cluster_size * (labels - 1), some["n"]),
        "share_without_cluster": (len(table) - len(with_cluster)) / len(table),
        **{f"{name}_all": every[name] for name in AVERAGED if name != "s"},
        "SNR_mf_all": _ratio(every["N_c"] * cluster_size * (labels - 1), every["n"]),
        "filters": len(table),
        "labels": labels,
    }
    return pd.Series({name: float(value) for name, value in values.items()}, name="layer")


def filter_table(M: object, threshold: float = 0.3, order: Sequence[int] | None = None) -> pd.DataFrame:
    """Clusters and noise of every filter, one row a filter; the arguments are those of ``layer_summary``.

    Columns: ``N_c`` clusters, ``D`` ones on the diagonal (= labels in clusters), ``s`` ones inside the
    blocks, ``n`` ones outside, ``n_in`` those in columns of some cluster, ``n_out`` the others, ``largest``
    the size of the largest cluster.

    >>> filter_table(np.tile(np.eye(3, dtype=bool), (2, 1, 1)))[["N_c", "D", "n"]].values.tolist()
    [[3, 3, 0], [3, 3, 0]]
    """
    return _counted(_clipped(M, threshold), order)[0]


def layer_summary(M: object, threshold: float = 0.3, order: Sequence[int] | None = None) -> pd.Series:
    """A layer's averages over its filters, and its signal-to-noise ratios.

    ==========================  =====================================================================
    ``N_c``, ``n``, ``n_in``,   clusters, noise, internal and external noise, ones on the diagonal: means
    ``n_out``, ``D``            over the filters that have a cluster; over all filters as ``N_c_all`` etc.
    ``C_s``                     mean size over the pooled list of all clusters of all filters
    ``SNR_block``               sum_f s(f) / sum_f n(f), all filters
    ``SNR_label``               mean_i S_ii / mean_{i != j} S_ij with S_ij = sum_f B^f[i, j]
    ``SNR_mf``                  N_c * C_s * (K - 1) / n, the mean-field estimate from the averages above
    ``share_without_cluster``   share of filters without any cluster
    ==========================  =====================================================================

    Ratios are infinite without noise; averages are NaN if no filter has a cluster. ``M``: fields
    (F, K, K), or clipped matrices, bool (then ``threshold``, theta of ``clip``, is not used); ``order``: as
    in ``clusters``.
    Raises ParameterError: M is not (F, K, K) or not finite; a threshold outside [0, 1).

    >>> B = np.tile(np.eye(4, dtype=bool), (2, 1, 1))
    >>> B[0, 0, 1] = True
    >>> layer_summary(B)[["N_c", "C_s", "n", "SNR_block"]].tolist()
    [4.0, 1.0, 0.5, 8.0]
    """
    return _summarise(*_counted(_clipped(M, threshold), order))


def layer_summary_of(
    mean: Tensor, head_weight: Tensor | nn.Module | object, threshold: float = 0.3
) -> tuple[pd.Series, pd.DataFrame, NDArray[np.int64]]:
    """:func:`layer_summary`, :func:`filter_table` and S (K, K) without ever holding all F matrices.

    For K = 1,000 labels the matrices of 512 filters are 2 GB; here they come and go in chunks of filters.

    >>> import torch
    >>> summary, filters, S = layer_summary_of(torch.eye(3)[:, None, :], torch.eye(3))
    >>> float(summary["N_c"]), len(filters), S.tolist()
    (3.0, 1, [[1, 0, 0], [0, 1, 0], [0, 0, 1]])
    """
    parts = [_counted(_clipped(M, threshold), None) for _, M in field_chunks(mean, head_weight)]
    tables, sizes, coverage = zip(*parts, strict=True)
    table, S = pd.concat(tables, ignore_index=True).rename_axis("filter"), sum(coverage[1:], coverage[0])
    return _summarise(table, np.concatenate(sizes), S), table, S


def order_sweep(M: object, threshold: float = 0.3, shuffles: int = 10, seed: int = 0) -> pd.DataFrame:
    """``layer_summary`` with labels visited in ascending order (row 0) and in ``shuffles`` random orders.

    ``D``, ``SNR_label`` and the total number of ones cannot change; ``N_c``, ``C_s``, and the split of the
    ones into blocks and noise can. ``M``: fields (F, K, K), or clipped matrices, bool.

    >>> order_sweep(np.tile(np.eye(4, dtype=bool), (2, 1, 1)), shuffles=2)["N_c"].tolist()
    [4.0, 4.0, 4.0]
    """
    check_at_least("shuffles", shuffles, 0)
    clipped, generator = _clipped(M, threshold), np.random.default_rng(seed)
    orders = [None, *(generator.permutation(clipped.shape[-1]).tolist() for _ in range(shuffles))]
    rows = [_summarise(*_counted(clipped, order)) for order in orders]
    return pd.DataFrame(rows, index=pd.RangeIndex(len(rows), name="order"))
