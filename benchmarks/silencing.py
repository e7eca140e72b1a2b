"""The slow way, which tests and the benchmark compare with: silence every other filter and run again."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from filterwise.data.imageset import ImageSet
from filterwise.measure.fields import split_head
from filterwise.measure.hooks import Capture, measuring, measuring_device, shapes_of
from filterwise.measure.means import float_batches, label_counts


def silence_and_rerun(
    net: nn.Module,
    layer: str,
    head_weight: Tensor,
    ds: ImageSet,
    filters: Sequence[int] | None = None,
    batch: int = 500,
    device: str | torch.device = "auto",
) -> Tensor:
    """SFP matrices by the procedure of Tzach et al. 2023: one forward pass over all images for each filter.

    For every filter in turn, all head weights (K, F, P) but its own are set to zero, all images go through
    the network up to the layer and through the silenced head, and the K outputs are averaged over the images
    of each label. ``label_fields`` gives the same numbers from one pass in all. Returns float32 (number of
    ``filters``, by default all, K, K): row = label of the input, column = output label.
    Raises ParameterError: head weights that do not fit the layer.
    """
    counts = label_counts(ds)
    labels = len(counts)
    where = measuring_device(net, device)
    with measuring(net, where), Capture(net, layer) as capture:
        first, _ = next(iter(float_batches(ds, 1, where)))
        shape = shapes_of(capture(first))[layer]
        _, weight = split_head(torch.empty(labels, *shape, device=where), head_weight)
        chosen = range(shape[0]) if filters is None else filters
        matrices = torch.empty(len(chosen), labels, labels)
        for row, f in enumerate(chosen):
            silenced = torch.zeros_like(weight)
            silenced[:, f] = weight[:, f]
            sums = torch.zeros(labels, labels, dtype=torch.float64)
            for images, own in float_batches(ds, batch, where):
                fields = capture(images)[layer].flatten(1)
                outputs = functional.linear(fields, silenced.flatten(1).to(fields.dtype))
                sums.index_add_(0, own.cpu(), outputs.cpu().double())
            matrices[row] = (sums / counts.view(-1, 1)).float()
    return matrices
