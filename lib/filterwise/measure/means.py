"""Class means of a layer's activations, of many layers in one pass over the images."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import overload

import torch
from torch import Tensor, nn

from filterwise.data.augmentation import scale
from filterwise.data.imageset import ImageSet
from filterwise.errors import DataError, ParameterError, check_count
from filterwise.measure.hooks import Capture, check_finite, measuring, measuring_device

#: Values of one batch of images at most: 2**21 is 682 images of 3x32x32, or 13 of 3x224x224. On a CPU a
#: quarter of it, because there the activations of a smaller batch stay in its cache (1.25 times faster).
BATCH_VALUES = 2**21
#: Bytes that one float64 copy of a slice of a batch's activations may take.
SLICE_BYTES = 2**26


def float_batches(ds: ImageSet, batch: int, device: torch.device) -> Iterator[tuple[Tensor, Tensor]]:
    """Images, scaled to [-1, 1] where they are uint8, and labels, in batches on ``device``.

    ``batch`` is an upper limit: pictures larger than 32x32 come in smaller batches (:data:`BATCH_VALUES`).
    Floating-point images are passed on as they are.
    """
    check_count("batch", batch)
    values = BATCH_VALUES // 4 if device.type == "cpu" else BATCH_VALUES
    size = min(batch, max(1, values // max(1, math.prod(ds.shape))))
    for images, labels in ds.batches(size):
        images = images.to(device)
        if not images.is_floating_point():
            images = scale(images)
        yield images, labels.to(device)


def check_memory(what: str, shapes: Mapping[str, tuple[int, ...]], size: int, memory: int) -> None:
    """Raise a ParameterError if tensors of these shapes, by layer, ``size`` bytes a value, are too large."""
    needed = {layer: size * math.prod(shape) for layer, shape in shapes.items()}
    if sum(needed.values()) > memory:
        worst = max(needed, key=lambda layer: needed[layer])
        raise ParameterError(
            f"{what} of {len(needed)} layer(s) need {sum(needed.values()) / 2**30:.2f} GiB, more than "
            f"memory={memory / 2**30:.2f} GiB; the largest is {worst!r} with shape {shapes[worst]}; "
            "give pool=7, fewer layers or images, or more memory"
        )


def label_counts(ds: ImageSet, complete: bool = True) -> Tensor:
    """Number of images of each label, (K,).

    Raises DataError: the set is empty, a label is out of range, or, if ``complete``, one has no image.
    """
    if not hasattr(ds, "label_names"):
        raise ParameterError(f"ds is a {type(ds).__name__}; images with labels and their names are expected")
    labels, names = ds.labels, ds.label_names
    if len(labels) == 0:
        raise DataError(f"image set {ds.name!r} ({ds.split}) has no images")
    low, high = int(labels.min()), int(labels.max())
    if low < 0 or high >= len(names):
        raise DataError(
            f"labels of {ds.name!r} run from {low} to {high}, but there are {len(names)} label names"
        )
    counts = torch.bincount(labels.cpu(), minlength=len(names))
    empty = torch.nonzero(counts == 0).flatten().tolist()
    if empty and complete:
        shown = ", ".join(f"{label} ({names[label]!r})" for label in empty[:5])
        raise DataError(
            f"{len(empty)} of {len(names)} labels of {ds.name!r} ({ds.split}) have no image: {shown}"
            f"{', ...' if len(empty) > 5 else ''}; use ds.only_labels(...) to measure the others"
        )
    return counts


@overload
def class_means(
    net: nn.Module, layers: str, ds: ImageSet, batch: int = ..., device: str | torch.device = ...,
    pool: int | None = ..., memory: int = ...,
) -> Tensor: ...  # fmt: skip
@overload
def class_means(
    net: nn.Module, layers: list[str] | tuple[str, ...], ds: ImageSet, batch: int = ...,
    device: str | torch.device = ..., pool: int | None = ..., memory: int = ...,
) -> dict[str, Tensor]: ...  # fmt: skip
def class_means(
    net: nn.Module,
    layers: str | list[str] | tuple[str, ...],
    ds: ImageSet,
    batch: int = 500,
    device: str | torch.device = "auto",
    pool: int | None = None,
    memory: int = 2**32,
) -> Tensor | dict[str, Tensor]:
    """Mean activation of each filter at each position for the images of each label, in one forward pass.

    abar[i, f, p] = mean over images x of label i of a_{f,p}(x), which ``label_fields`` multiplies with the
    head's weights. uint8 images are scaled to [-1, 1] as in training, without augmentation; the network runs
    in evaluation mode and is left as it was found.

    Parameters
    ----------
    net, layers : any module, and the dotted name of a submodule, or a list of names (then one pass serves
        all). Maps (N, F, H, W), tokens (N, T, F) and vectors (N, F) are understood.
    ds : the images; the paper measures on test images
    batch : images in one forward pass, at most; see :func:`float_batches`
    pool : average-pool maps with a side above ``2 * pool`` to pool x pool; 7 for 224x224 pictures
    memory : bytes that the running sums may take, 8 * K * F * P a layer (float64)

    Returns (K, F, P) = (labels, filters, positions), on the CPU, accumulated in float64 and returned in
    float32 (float64 for a float64 network); by layer name if a list was given.
    Raises ParameterError: unknown layer, an output that has no filters or is not finite, images that the
    network does not take, or sums beyond ``memory``; DataError: a label without images.

    >>> import filterwise as fw
    >>> ds = fw.data.load("digit-pairs", split="test", n=200)
    >>> class_means(fw.models.build("lenet5", labels=100, channels=1), "features.2", ds).shape
    torch.Size([100, 16, 25])
    """
    where = measuring_device(net, device)
    label_counts(ds)
    with measuring(net, where), Capture(net, layers, pool) as capture:
        sums = ClassSums(len(ds.label_names), memory)
        for images, labels in float_batches(ds, batch, where):
            sums.add(capture(images), labels)
    means = sums.means()
    return means[layers] if isinstance(layers, str) else means


class ClassSums:
    """Float64 sums of layers' outputs over the inputs of each label, and how many inputs these were.

    ``memory``: bytes that the sums may take.
    """

    def __init__(self, labels: int, memory: int = 2**32) -> None:
        self.counts = torch.zeros(labels, dtype=torch.int64)
        self._memory = memory
        self._sums: dict[str, Tensor] = {}
        self._dtype = torch.float32

    def add(self, outputs: Mapping[str, Tensor], labels: Tensor) -> None:
        """Add outputs (N, F, P) by layer of inputs with labels (N,); a ParameterError beyond the memory."""
        if not self._sums:
            self._make(outputs)
        self.counts += torch.bincount(labels.cpu(), minlength=len(self.counts))
        for layer, fields in outputs.items():
            sums = self._sums[layer].view(len(self.counts), -1)
            rows, own = fields.flatten(1).to(sums.device), labels.to(sums.device)
            step = max(1, SLICE_BYTES // (8 * rows.shape[1]))
            for start in range(0, len(rows), step):
                part = slice(start, start + step)
                sums.index_add_(0, own[part], rows[part].double())

    def _make(self, outputs: Mapping[str, Tensor]) -> None:
        shapes = {layer: (len(self.counts), *fields.shape[1:]) for layer, fields in outputs.items()}
        check_memory("class means", shapes, 8, self._memory)
        for layer, fields in outputs.items():
            # MPS has no float64: the sums then live on the CPU
            home = torch.device("cpu") if fields.device.type == "mps" else fields.device
            self._sums[layer] = torch.zeros(shapes[layer], dtype=torch.float64, device=home)
            self._dtype = torch.promote_types(fields.dtype, torch.float32)

    def means(self) -> dict[str, Tensor]:
        """(K, F, P) by layer, on the CPU, in float32, or float64 of float64 outputs; NaN without inputs.

        Raises ParameterError: an output was NaN or infinite; the layer is named.
        """
        for layer, sums in self._sums.items():
            check_finite(layer, sums)
        counts = self.counts.view(-1, 1, 1)
        return {layer: (sums.cpu() / counts).to(self._dtype) for layer, sums in self._sums.items()}
