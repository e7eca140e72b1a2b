"""Whether heads share out the two digits of a picture instead of its hundred labels.

In the set digit-pairs a label is a number of two digits. A group of nodes that knows one of them well names
few labels rightly, although it knows as much as one that names some labels and no others.
"""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd
import torch
from torch import Tensor

from filterwise.measure.head_groups import against_random
from filterwise.measure.token_heads import Reading


def digit_accuracies(reading: Reading, groups: Tensor) -> Tensor:
    """Accuracy of each group alone on the left and on the right digit, (groups, 2).

    A group's answer for a digit is the one whose ten labels have the largest summed field.
    """
    found = []
    for nodes in groups:
        fields = (reading.z[:, nodes] @ reading.weight[:, nodes].T).view(-1, 10, 10)  # (N, left, right)
        left, right = (fields.sum(dim=dim).argmax(dim=1) for dim in (2, 1))
        hits = torch.stack([left == reading.labels // 10, right == reading.labels % 10])
        found.append(hits.double().mean(dim=1))
    return torch.stack(found)


def preference(accuracies: Tensor) -> float:
    """How far groups lean to one of the two digits: mean over groups of |left - right|."""
    return float((accuracies[:, 0] - accuracies[:, 1]).abs().mean())


def leaning(reading: Reading, heads: int, draws: int = 50, seed: int = 0) -> dict[str, float]:
    """How far the heads lean to one digit, beside random groups of their nodes; see ``against_random``."""
    return against_random(
        lambda groups: preference(digit_accuracies(reading, groups)), reading, heads, draws, seed
    )


def leaning_table(readings: Mapping[str, Reading], heads: int) -> pd.DataFrame:
    """:func:`leaning` encoder by encoder; ``readings`` by part, such as "qkv/4"."""
    rows = {
        f"encoder {part.removeprefix('qkv/')}": leaning(one, heads)
        for part, one in readings.items()
        if part.startswith("qkv/")
    }
    names = {"value": "heads", "null": "random groups", "null_sd": "sd of these", "z": "z"}
    return pd.DataFrame(rows).T.rename(columns=names).rename_axis("place")
