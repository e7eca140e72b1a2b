"""What pruning saves in milliseconds: masked, dead channels taken out, and whole channels by magnitude."""

from __future__ import annotations

from typing import Any

import numpy as np

from filterwise.papers.afcc.edits import root_of
from filterwise.papers.afcc.measured_fields import true_test
from filterwise.prune.equal_amount import joined_by
from filterwise.prune.importance import remove_by_magnitude
from filterwise.prune.masks import masked_layer, masks_of
from filterwise.prune.removal import remove_dead
from filterwise.prune.timing import latency
from filterwise.runs.measuring import measurements
from filterwise.runs.store import Result
from filterwise.training.evaluation import evaluate


@measurements("afcc.latency")
def timed(
    result: Result, *, batch: int = 32, repeats: int = 100, test_images: int = 0
) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """A masked network in turns with the dense one, with its smaller equal, and with a structured peer.

    ``removed``: the same outputs, dead channels taken out. ``structured``: from the dense network, whole
    channels by Torch-Pruning's group magnitude until the masked convolutions keep no more weights than here;
    it is timed, not retrained. The row has ``ms@``, ``ms_lower@``, ``ms_upper@`` (quartiles) and
    ``parameters@`` of each, ``batch``, ``threads`` and ``channels_removed``.
    """
    root, net = root_of(result).network(), result.network().cpu()
    shape = result.train_set().shape
    smaller = remove_dead(net, shape)
    on = masks_of(net)
    convolutions = [
        layer
        for layer in joined_by(net)
        if layer.startswith("features.") and masked_layer(net, layer)[0] in on
    ]
    kept = sum(int(on[masked_layer(net, layer)[0]].sum()) for layer in convolutions)
    structured = remove_by_magnitude(root, convolutions, kept, shape)
    nets = {"dense": root, "masked": net, "removed": smaller.net, "structured": structured.net}
    table = latency(nets, shape, batch, repeats)
    row: dict[str, Any] = {
        "batch": batch,
        "channels_removed": int((smaller.table["outputs"] - smaller.table["outputs_left"]).sum()),
        "constant_channels": sum(smaller.constant.values()),
        "accuracy": evaluate(smaller.net, true_test(result, test_images), device=result.device).accuracy,
        "parameters@dense": smaller.parameters,
        "parameters@removed": smaller.parameters_left,
        "parameters@structured": structured.parameters_left,
        "parameters@masked": smaller.parameters - sum(int((~mask).sum()) for mask in on.values()),
    }
    for name, times in table.iterrows():
        row |= {f"ms@{name}": float(times["median"]), f"ms_lower@{name}": float(times["lower"])}
        row |= {f"ms_upper@{name}": float(times["upper"])}
    return row, {}
