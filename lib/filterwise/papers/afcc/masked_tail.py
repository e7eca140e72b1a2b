"""The upper part of a trained network under masks, judged without retraining from cached maps."""

from __future__ import annotations

import copy
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from filterwise.data.augmentation import scale
from filterwise.data.imageset import ImageSet
from filterwise.measure.norms import fit_norms
from filterwise.papers.afcc.measured_fields import true_test
from filterwise.prune.equal_amount import joined_by
from filterwise.prune.masks import apply
from filterwise.runs.store import Result
from filterwise.training.device import pick_device
from filterwise.training.learning import settle_masks

_BATCH = 500


class Tail:
    """A network from the lowest masked block up, and the maps that it reads, of training and test images.

    Masks of the blocks above leave the maps below as they are, so these are computed once for hundreds of
    masks. Batch norms of the upper part are fitted to every masked network. Maps and masked networks are on
    the result's device; ``net``, whose weights are scored, is on the CPU.

    Parameters
    ----------
    result
        Of blocks ``features.m`` and a ``classifier``.
    layers
        That will be masked, in any order.
    fitted
        Training images, the first ones, that batch norms are fitted to.
    test_images
        The first so many, 0 for all.
    """

    def __init__(self, result: Result, layers: tuple[str, ...], fitted: int, test_images: int = 0) -> None:
        self.net, self.seed, self._device = result.network(), result.run.seed, pick_device(result.device)
        order = list(joined_by(self.net))
        lowest = min(layers, key=order.index)
        blocks: nn.Sequential = self.net.features  # type: ignore[assignment]
        self._first = next(
            (m for m, name in enumerate(blocks._modules) if f"features.{name}" == lowest), len(blocks)
        )
        train, test = result.train_set(), true_test(result, test_images)
        below = copy.deepcopy(blocks[: self._first]).to(self._device)
        self._train = self._maps(below, train, fitted)
        self._test, self._labels = self._maps(below, test, len(test)), test.labels.cpu()

    def _maps(self, below: nn.Module, ds: ImageSet, count: int) -> Tensor:
        """Outputs of the blocks below, (N, C, h, h)."""
        images = ds.images[:count].to(self._device)
        with torch.no_grad():
            return torch.cat([below(scale(part)) for part in images.split(_BATCH)])

    def accuracy(self, masks: Mapping[str, Tensor]) -> float:
        """Share of test images that are named rightly under these masks; none: the whole network's."""
        net = copy.deepcopy(self.net)
        apply(net, masks)
        settle_masks(net)
        blocks, classifier = list(net.features.children()), net.classifier.children()  # type: ignore[union-attr]
        upper = nn.Sequential(*blocks[self._first :], nn.Flatten(), *classifier).to(self._device)
        fit_norms(upper, self._train)
        with torch.no_grad():
            answers = torch.cat([upper(part).argmax(dim=1) for part in self._test.split(_BATCH)]).cpu()
        return float((answers == self._labels).double().mean())
