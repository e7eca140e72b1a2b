"""Data as users have them: an image set, a DataLoader, or a pair of tensors, in batches on a device."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import torch
from torch import Tensor

from filterwise.data.augmentation import scale
from filterwise.data.imageset import ImageSet
from filterwise.errors import ParameterError
from filterwise.measure.means import float_batches

#: An image set, a DataLoader of (inputs, labels), or one such pair of tensors.
Data = Any


def own_batches(data: ImageSet | Data, batch: int, device: torch.device) -> Iterator[tuple[Tensor, Tensor]]:
    """Floating-point inputs and int64 labels (N,), on the device.

    uint8 inputs are scaled to [-1, 1], floating-point inputs are passed on as they are. A DataLoader's
    batches stay as it makes them; others have at most ``batch`` inputs.

    Raises ParameterError: data of another kind.

    >>> pair = (torch.rand(5, 1, 2, 2), torch.arange(5))
    >>> [len(labels) for _, labels in own_batches(pair, 2, torch.device("cpu"))]
    [2, 2, 1]
    """
    if hasattr(data, "label_names"):
        yield from float_batches(data, batch, device)
        return
    pairs: Any = data
    if isinstance(data, (tuple, list)) and len(data) == 2 and all(isinstance(one, Tensor) for one in data):
        if len(data[0]) != len(data[1]):
            raise ParameterError(f"data has {len(data[0])} inputs and {len(data[1])} labels")
        pairs = zip(data[0].split(batch), data[1].split(batch), strict=True)
    elif not isinstance(data, Iterable):
        raise ParameterError(f"data={type(data).__name__} is no ImageSet, DataLoader or (inputs, labels)")
    for pair in pairs:
        if not isinstance(pair, (tuple, list)) or len(pair) != 2:
            raise ParameterError(f"data gives a {type(pair).__name__}; pairs (inputs, labels) are needed")
        inputs, labels = pair[0].to(device), torch.as_tensor(pair[1]).to(device, torch.int64)
        yield inputs if inputs.is_floating_point() else scale(inputs), labels
