"""What a trained network answers: logits, loss and accuracy, in float32 and evaluation mode."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from filterwise.data.augmentation import scale
from filterwise.errors import ParameterError, TrainingDiverged, check_count
from filterwise.models.modes import evaluation_mode
from filterwise.training.device import pick_device, threads
from filterwise.training.steps import cross_entropy, hits

if TYPE_CHECKING:
    from filterwise.data.folder import FolderSet
    from filterwise.data.imageset import ImageSet


@dataclass(frozen=True)
class Evaluation:
    """Result of `evaluate`.

    Attributes
    ----------
    loss : mean cross-entropy
    accuracy : share of images whose largest logit is at their label, or at one of their labels
    per_label : float64 (K,), the accuracy on each label's images; NaN for a label without images; an image
        with several labels counts for each
    right : bool (n,), which images are answered right; on the CPU
    n : images

    >>> from filterwise.data import ImageSet
    >>> ds = ImageSet(torch.zeros(4, 1, 2, 2, dtype=torch.uint8), torch.tensor([0, 0, 0, 1]), ("a", "b"))
    >>> net = nn.Sequential(nn.Flatten(), nn.Linear(4, 2))
    >>> _ = net[1].weight.data.zero_(), net[1].bias.data.copy_(torch.tensor([1.0, 0.0]))
    >>> found = evaluate(net, ds, device="cpu")
    >>> found.accuracy, found.per_label.tolist(), found.right.tolist()
    (0.75, [1.0, 0.0], [True, True, True, False])
    """

    loss: float
    accuracy: float
    per_label: Tensor
    right: Tensor
    n: int


def logits(
    net: nn.Module, ds: ImageSet | FolderSet, batch: int = 500, device: str | torch.device = "auto"
) -> Tensor:
    """The network's answers to all images, in their order; by one thread, as in training.

    Returns float32 (N, K) on the device; ``net`` is moved there and otherwise left as it was.
    Raises ParameterError: device or batch are not allowed, or the network does not take such images or
    answers with something else than one tensor.

    >>> from filterwise.data import ImageSet
    >>> ds = ImageSet(torch.zeros(4, 1, 2, 2, dtype=torch.uint8), torch.tensor([0, 1, 0, 1]), ("a", "b"))
    >>> logits(nn.Sequential(nn.Flatten(), nn.Linear(4, 2)), ds, device="cpu").shape
    torch.Size([4, 2])
    """
    check_count("batch", batch)
    where = pick_device(device)
    net.to(where)
    with evaluation_mode(net), threads(1):
        parts = [answer(net, scale(images.to(where))).float() for images, _ in ds.batches(batch)]
    return torch.cat(parts)


def answer(net: nn.Module, images: Tensor) -> Tensor:
    """What ``net`` answers to images (n, C, H, W): (n, K).

    Raises ParameterError: it does not take such images, or answers with something else than one such tensor.
    """
    try:
        found = net(images)
    except torch.OutOfMemoryError:
        raise
    except RuntimeError as error:
        shape, why = tuple(images.shape[1:]), str(error).partition("\n")[0]
        raise ParameterError(f"the network does not take images of shape {shape}: {why}") from error
    if not isinstance(found, Tensor) or found.ndim != 2:
        kind = f"shape {tuple(found.shape)}" if isinstance(found, Tensor) else f"a {type(found).__name__}"
        raise ParameterError(f"the network answers with {kind}, one tensor (images, labels) is expected")
    return found


def evaluate(
    net: nn.Module, ds: ImageSet | FolderSet, batch: int = 500, device: str | torch.device = "auto"
) -> Evaluation:
    """Loss, accuracy and accuracy per label of ``net`` on all images of ``ds``, without augmentation.

    Raises ParameterError: the labels do not fit the network's, or what `logits` refuses; TrainingDiverged: an
    answer is NaN or infinite, which has no largest logit.

    >>> from filterwise.data import ImageSet
    >>> ds = ImageSet(torch.zeros(4, 3, 4, 4, dtype=torch.uint8), torch.tensor([0, 1, 0, 1]), ("a", "b"))
    >>> evaluate(nn.Sequential(nn.Flatten(), nn.Linear(3 * 4 * 4, 2)), ds, device="cpu").accuracy
    0.5
    """
    answers = logits(net, ds, batch, device)
    labels = ds.labels.to(answers.device)
    count = answers.shape[1]
    check_labels(f"the set {ds.name!r}", labels, count)
    wrong = (~answers.isfinite()).any(1)
    if bool(wrong.any()):
        raise TrainingDiverged(
            f"the network answers {int(wrong.sum())} of {len(answers)} images of {ds.name!r} with NaN or "
            f"infinity, first image {int(wrong.nonzero()[0])}; finite numbers are expected"
        )
    right = hits(answers, labels).cpu()
    loss, labels = cross_entropy(answers, labels), labels.cpu()
    if labels.is_floating_point():
        image, labels = (labels == labels.amax(1, keepdim=True)).nonzero(as_tuple=True)
        counted = right[image]
    else:
        counted = right
    hits_by_label = torch.bincount(labels, counted.to(torch.float64), count)
    per_label = hits_by_label / torch.bincount(labels, minlength=count)
    accuracy = float(right.to(torch.float64).mean())
    return Evaluation(float(loss), accuracy, per_label, right, len(right))


def check_labels(what: str, labels: Tensor, outputs: int) -> None:
    """Raise a ParameterError for labels that the network has no output for, and images without any."""
    if labels.is_floating_point():
        if labels.shape[1] != outputs:
            raise ParameterError(
                f"{what} has shares of {labels.shape[1]} labels, but the network has {outputs} outputs"
            )
        if not bool((labels.sum(1) > 0).all()):
            raise ParameterError(f"{what} has images without any label; leave them out")
    elif int(labels.max()) >= outputs:
        raise ParameterError(
            f"{what} has labels up to {int(labels.max())}, but the network has {outputs} outputs"
        )
