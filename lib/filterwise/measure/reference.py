"""The slow way, for tests and benchmarks: silence every other filter's head weights and run again."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from filterwise.data.imageset import ImageSet
from filterwise.errors import ParameterError
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
    pool: int | None = None,
) -> Tensor:
    """SFP matrices by the procedure of Tzach et al. 2023: one forward pass over all images for each filter.

    For every filter in turn, all head weights (K, F, P) but its own are set to zero, all images go through
    the network up to the layer and through the silenced head, and the K outputs are averaged over the images
    of each label. ``label_fields`` gives the same numbers from one pass in all. Returns float32 (number of
    ``filters``, by default all, K, K): row = label of the input, column = output label.

    Raises ParameterError: head weights that do not fit the layer, or a filter out of range.

    >>> import filterwise as fw
    >>> from filterwise.measure import class_means, label_fields
    >>> ds = fw.data.load("digit-pairs", split="test", n=400).only_labels([0, 1, 2])
    >>> net = fw.models.build("lenet5", labels=3, channels=1)
    >>> weight = torch.randn(3, 6, 196, generator=torch.Generator().manual_seed(0))
    >>> slow = silence_and_rerun(net, "features.1", weight, ds)
    >>> fast = label_fields(class_means(net, "features.1", ds), weight)
    >>> bool(torch.allclose(slow, fast, atol=1e-5))
    True
    """
    counts = label_counts(ds)
    labels = len(counts)
    where = measuring_device(net, device)
    with measuring(net, where), Capture(net, layer, pool) as capture:
        first, _ = next(iter(float_batches(ds, 1, where)))
        count, positions = shapes_of(capture(first))[layer]
        if head_weight.numel() != labels * count * positions or head_weight.shape[0] != labels:
            raise ParameterError(
                f"head_weight of shape {tuple(head_weight.shape)} does not fit layer {layer!r} with "
                f"{(labels, count, positions)} = (K, F, P)"
            )
        weight = head_weight.detach().to(where).reshape(labels, count, positions)
        chosen = list(range(count)) if filters is None else list(filters)
        wrong = [f for f in chosen if not 0 <= f < count]
        if wrong:
            raise ParameterError(
                f"filters={wrong!r} are out of range; layer {layer!r} has filters 0 to {count - 1}"
            )
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
