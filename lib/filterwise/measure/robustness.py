"""How much a layer's numbers hang on the threshold and on the order in which clusters are looked for."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from filterwise.errors import ParameterError, check_at_least
from filterwise.measure.fields import check_matrices, clip
from filterwise.measure.summary import layer_summary


def threshold_sweep(M: object, thresholds: Sequence[float] = (0.2, 0.3, 0.4, 0.5)) -> pd.DataFrame:
    """``layer_summary`` at several thresholds theta, one row each.

    Parameters
    ----------
    M
        Fields (F, K, K).

    Raises
    ------
    ParameterError
        No threshold, one outside [0, 1), or matrices that are clipped already.

    >>> import torch
    >>> threshold_sweep(torch.eye(3)[None] + 0.25)[["C_s", "n"]]
                C_s    n
    threshold
    0.2         1.0  0.0
    0.3         1.0  0.0
    0.4         1.0  0.0
    0.5         1.0  0.0
    """
    if not len(thresholds):
        raise ParameterError("thresholds=[] has no value; give at least one in [0, 1)")
    rows = [layer_summary(clip(M, theta)) for theta in thresholds]  # type: ignore[arg-type]
    return pd.DataFrame(rows, index=pd.Index(list(thresholds), name="threshold"))


def order_sweep(M: object, threshold: float = 0.3, shuffles: int = 10, seed: int = 0) -> pd.DataFrame:
    """``layer_summary`` with labels visited in ascending order (row 0) and in ``shuffles`` random orders.

    ``D``, ``SNR_label`` and the total number of ones cannot change; ``N_c``, ``C_s``, and the split of the
    ones into blocks and noise can.

    Parameters
    ----------
    M
        Fields (F, K, K), or clipped matrices, bool.
    shuffles, seed
        Number of random orders, and the seed they are drawn from.

    >>> import torch
    >>> B = torch.eye(3, dtype=torch.bool)
    >>> B[0, 1] = B[1, 0] = B[1, 2] = B[2, 1] = True
    >>> sorted(set(order_sweep(B[None])["D"]))
    [3.0]
    """
    check_at_least("shuffles", shuffles, 0)
    matrices = check_matrices("M", M)
    clipped = clip(matrices, threshold) if matrices.is_floating_point() else matrices
    generator = np.random.default_rng(seed)
    labels = clipped.shape[-1]
    orders = [list(range(labels)), *(generator.permutation(labels).tolist() for _ in range(shuffles))]
    rows = [layer_summary(clipped, order=order) for order in orders]
    return pd.DataFrame(rows, index=pd.RangeIndex(len(rows), name="order"))
