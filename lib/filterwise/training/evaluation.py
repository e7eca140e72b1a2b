"""What a trained network answers: logits, loss and accuracy, in float32 and evaluation mode."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from filterwise.data.augmentation import scale
from filterwise.errors import ParameterError, check_at_least
from filterwise.training.device import pick_device

if TYPE_CHECKING:
    from filterwise.data import FolderSet, ImageSet


@dataclass(frozen=True)
class Evaluation:
    """Result of `evaluate`.

    Attributes
    ----------
    loss : mean cross-entropy
    accuracy : share of images whose largest logit is at their label
    per_label : float64 (K,), the accuracy on each label's images; NaN for a label without images
    n : images
    """

    loss: float
    accuracy: float
    per_label: Tensor
    n: int


@contextlib.contextmanager
def evaluation_mode(net: nn.Module) -> Iterator[nn.Module]:
    """``net`` in evaluation mode and without gradients; every module's own mode comes back afterwards."""
    modes = [(module, module.training) for module in net.modules()]
    net.eval()
    try:
        with torch.no_grad():
            yield net
    finally:
        for module, training in modes:
            module.training = training


def logits(
    net: nn.Module, ds: ImageSet | FolderSet, batch: int = 500, device: str | torch.device = "auto"
) -> Tensor:
    """The network's answers to all images, in their order.

    Returns
    -------
    float32 (N, K) on the device; ``net`` is moved there and otherwise left as it was.

    Raises
    ------
    ParameterError
        Device or batch are not allowed.
    """
    check_at_least("batch", batch, 1)
    where = pick_device(device)
    net.to(where)
    with evaluation_mode(net):
        parts = [net(scale(images.to(where))).float() for images, _ in ds.batches(batch)]
    return torch.cat(parts)


def evaluate(
    net: nn.Module, ds: ImageSet | FolderSet, batch: int = 500, device: str | torch.device = "auto"
) -> Evaluation:
    """Loss, accuracy and accuracy per label of ``net`` on all images of ``ds``, without augmentation.

    Raises
    ------
    ParameterError
        The labels do not fit the network's, or device or batch are not allowed.

    >>> from filterwise.data import ImageSet
    >>> ds = ImageSet(torch.zeros(4, 3, 4, 4, dtype=torch.uint8), torch.tensor([0, 1, 0, 1]), ("a", "b"))
    >>> result = evaluate(nn.Sequential(nn.Flatten(), nn.Linear(3 * 4 * 4, 2)), ds, device="cpu")
    >>> result.accuracy, result.n, sorted(result.per_label.tolist())
    (0.5, 4, [0.0, 1.0])
    """
    answers = logits(net, ds, batch, device)
    labels = ds.labels.to(answers.device)
    count = answers.shape[1]
    if int(labels.max()) >= count:
        raise ParameterError(
            f"the set {ds.name!r} has labels up to {int(labels.max())}, but the network has {count} outputs"
        )
    loss = F.cross_entropy(answers, labels)
    right = (answers.argmax(1) == labels).cpu()
    labels = labels.cpu()
    per_label = torch.bincount(labels, right.to(torch.float64), count) / torch.bincount(
        labels, minlength=count
    )
    return Evaluation(float(loss), float(right.to(torch.float64).mean()), per_label, len(labels))
