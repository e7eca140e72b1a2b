"""Single-filter answers against loops over inputs and filters."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from filterwise.measure.inputs import InputFields

LABELS = 4


def answers(fields: Tensor, weight: Tensor, own: Tensor, batch: int = 16) -> InputFields:
    found = InputFields.of_none(*weight.shape[:2])
    for part in torch.arange(len(fields)).split(batch):
        found.add(fields[part], weight, own[part])
    return found


@pytest.mark.parametrize("chunk", [1, 10**9])
@pytest.mark.parametrize(("filters", "positions"), [(6, 9), (7, 1)])
def test_equals_loops(filters: int, positions: int, chunk: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("filterwise.measure.inputs.CHUNK_FIELDS", chunk)
    generator = torch.Generator().manual_seed(5)
    # ReLU of small maps: some filters are silent on some inputs
    fields = (torch.randn(50, filters, positions, generator=generator) - 1).relu()
    weight = torch.randn(LABELS, filters, positions, generator=generator)
    own = torch.arange(50) % LABELS
    found = answers(fields, weight, own)
    some_silent = 0
    for f in range(filters):
        chosen, silent, right = [0] * LABELS, 0, 0
        for n in range(50):
            z = [float(weight[j, f] @ fields[n, f]) for j in range(LABELS)]
            if len(set(z)) == 1:
                silent += 1
                continue
            answer = z.index(max(z))
            chosen[answer] += 1
            right += answer == int(own[n])
        some_silent += silent
        assert found.chosen[f].tolist() == chosen
        assert int(found.silent[f]) == silent
        assert float(found.accuracy[f]) == pytest.approx((right + silent / LABELS) / 50)
        assert float(found.preferred_share[f]) == pytest.approx(max(chosen) / 50)
        assert float(found.active_share[f]) == pytest.approx(1 - silent / 50)
        if positions == 1:  # one position answers every active input alike
            assert chosen[int(weight[:, f, 0].argmax())] == 50 - silent
    assert some_silent > 0
    doubled = answers(fields.double(), weight.double(), own)
    assert torch.equal(doubled.chosen, found.chosen)


def test_dead_filter_invents_no_answer() -> None:
    own = torch.arange(50) % LABELS
    fields = torch.zeros(50, 2, 1)
    fields[:, 1] = 1
    found = answers(fields, torch.tensor([[1.0, 1.0], [0, 3], [0, 2], [0, 0]]).unsqueeze(2), own)
    assert found.active_share.tolist() == [0, 1]
    assert found.preferred_share.tolist() == [0, 1]
    assert float(found.accuracy[0]) == 1 / LABELS
    assert float(found.accuracy[1]) == pytest.approx(float((own == 1).double().mean()))
