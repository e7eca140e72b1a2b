"""A frozen network's features of a whole image set, kept in bounded memory."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from filterwise.data.imageset import ImageSet
from filterwise.errors import DataError, ParameterError, check_choice
from filterwise.measure.hooks import Capture, measuring, measuring_device, shapes_of
from filterwise.measure.means import ClassSums, check_memory, float_batches, label_counts

_DTYPES = {"float16": torch.float16, "float32": torch.float32}


@dataclass(frozen=True)
class Features:
    """Outputs of layers for every image, and the images' labels.

    ``values``: by layer (N, F, P), float16 or float32, on the device they were computed on; ``labels``: int64
    (N,), on the same device; ``label_names``: the K names.

    >>> found = Features({"fc": torch.zeros(3, 4, 1)}, torch.tensor([0, 1, 0]), ("a", "b"))
    >>> found.values["fc"].shape, found.labels.shape
    (torch.Size([3, 4, 1]), torch.Size([3]))
    """

    values: dict[str, Tensor]
    labels: Tensor
    label_names: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.labels)

    def only_labels(self, labels: list[int]) -> Features:
        """The images of these labels, relabelled 0, 1, ... in the order given."""
        new = torch.full((len(self.label_names),), -1, device=self.labels.device)
        new[torch.tensor(labels, device=self.labels.device)] = torch.arange(
            len(labels), device=self.labels.device
        )
        chosen = torch.nonzero(new[self.labels] >= 0).flatten()
        return Features(
            {layer: values[chosen] for layer, values in self.values.items()},
            new[self.labels[chosen]],
            tuple(self.label_names[label] for label in labels),
        )

    def batches(self, size: int, order: Tensor | None = None) -> Iterator[tuple[dict[str, Tensor], Tensor]]:
        """float32 features (B, F, P) by layer and labels (B,), in ``order`` (a permutation of the images)."""
        for start in range(0, len(self), size):
            part = slice(start, start + size) if order is None else order[start : start + size]
            yield {layer: values[part].float() for layer, values in self.values.items()}, self.labels[part]

    def class_means(self) -> dict[str, Tensor]:
        """As the function ``class_means``, from the stored features: (K, F, P) by layer, float32, CPU.

        Raises DataError: a label without images.
        """
        sums = ClassSums(len(self.label_names))
        for outputs, labels in self.batches(500):
            sums.add(outputs, labels)
        if int(sums.counts.min()) == 0:
            raise DataError(f"some of the {len(self.label_names)} labels have no image, so no mean")
        return sums.means()


def frozen_features(
    net: nn.Module,
    layers: str | list[str] | tuple[str, ...],
    ds: ImageSet,
    batch: int = 500,
    device: str | torch.device = "auto",
    pool: int | None = None,
    dtype: str = "float16",
    memory: int = 2**32,
) -> Features:
    """Outputs of named layers for all images, without augmentation, in evaluation mode.

    Parameters
    ----------
    net, layers, ds, batch, device, pool : as in ``class_means``
    dtype : ``float16`` halves the memory and rounds each activation to 11 bits (relative error up to 5e-4;
        values above 65,504 do not fit and are refused); ``float32`` keeps it
    memory : bytes that the features may take: N * F * P * 2 or 4 bytes, summed over the layers

    Raises ParameterError: features beyond ``memory``; an unknown layer or dtype; activations that are not
    finite in ``dtype``; DataError: a set without images.

    >>> import filterwise as fw
    >>> ds = fw.data.load("parts", labels=3, n=6)
    >>> net = fw.models.build("vgg", labels=3, channels=1, size=16, stages=((4, 1), (8, 1)))
    >>> found = frozen_features(net, "features.2", ds, device="cpu")
    >>> found.values["features.2"].shape, found.labels.shape
    (torch.Size([6, 8, 16]), torch.Size([6]))
    """
    check_choice("dtype", dtype, _DTYPES)
    kind = _DTYPES[dtype]
    label_counts(ds, complete=False)
    where = measuring_device(net, device)
    with measuring(net, where), Capture(net, layers, pool) as capture:
        values: dict[str, Tensor] = {}
        start = 0
        for images, _ in float_batches(ds, batch, where):
            outputs = capture(images)
            if not values:
                shapes = {layer: (len(ds), *shape) for layer, shape in shapes_of(outputs).items()}
                check_memory("features", shapes, kind.itemsize, memory)
                values = {layer: torch.empty(shapes[layer], dtype=kind, device=where) for layer in shapes}
            for layer, fields in outputs.items():
                values[layer][start : start + len(images)] = fields
            start += len(images)
    for layer, stored in values.items():
        if not all(bool(torch.isfinite(part).all()) for part in stored.split(1000)):
            raise ParameterError(
                f"activations of layer {layer!r} are not finite in dtype={dtype!r}; use dtype='float32' "
                "unless the network itself gives NaN or infinity"
            )
    return Features(values, ds.labels.to(where), tuple(ds.label_names))
