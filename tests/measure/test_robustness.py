"""Sweeps over threshold and greedy order change what they may change and nothing else."""

from __future__ import annotations

import pytest
import torch

from filterwise.errors import ParameterError
from filterwise.measure import clip, layer_summary, order_sweep, threshold_sweep


def fields() -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.rand(40, 12, 12, generator=generator) ** 2 + torch.eye(12) / 2


def test_rows_are_summaries() -> None:
    table = threshold_sweep(fields(), (0.1, 0.3, 0.6))
    assert table.loc[0.3].to_dict() == layer_summary(fields(), 0.3).to_dict()
    assert (table["D_all"].diff().dropna() <= 0).all()  # a higher threshold leaves no more ones
    assert table["D_all"].iloc[-1] < table["D_all"].iloc[0]


def test_order_changes_the_split_only() -> None:
    table = order_sweep(fields(), shuffles=6, seed=1)
    assert len(table) == 7
    assert table.loc[0].to_dict() == layer_summary(fields()).to_dict()
    for fixed in ("D", "D_all", "SNR_label", "share_without_cluster"):
        assert table[fixed].nunique() == 1
    assert table["C_s"].nunique() > 1
    ones = float(clip(fields()).sum())
    signal = ones - table["n_all"] * 40
    assert (abs(table["SNR_block"] - signal / (table["n_all"] * 40)) < 1e-9).all()
    assert table.equals(order_sweep(clip(fields()), shuffles=6, seed=1))
    assert not table.equals(order_sweep(fields(), shuffles=6, seed=2))


def test_refusals() -> None:
    with pytest.raises(ParameterError, match="at least one"):
        threshold_sweep(fields(), ())
    with pytest.raises(ParameterError, match=r"threshold=1\.0"):
        threshold_sweep(fields(), (0.3, 1.0))
    with pytest.raises(ParameterError, match="shuffles=-1"):
        order_sweep(fields(), shuffles=-1)
