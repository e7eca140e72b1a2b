"""The pictures on which a filter fires most: what it looks for, shown instead of named."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from filterwise.data.imageset import ImageSet
from filterwise.errors import ParameterError, check_count
from filterwise.measure.hooks import Capture, check_finite, measuring, measuring_device
from filterwise.measure.own_data import Data, own_batches


@dataclass(frozen=True)
class StrongestImages:
    """For each filter the images of its largest mean activation, the largest first.

    Attributes
    ----------
    ds : the images, with labels
    places : by layer (F, n), where in ``ds`` they stand
    means : by layer (F, n), the activation's mean over positions, <a_fp(x)>_p

    >>> ds = ImageSet(torch.zeros(2, 1, 4, 4, dtype=torch.uint8), torch.tensor([0, 1]), ("cat", "dog"))
    >>> found = StrongestImages(ds, {"1": torch.tensor([[1, 0]])}, {"1": torch.tensor([[0.5, 0.0]])})
    >>> found.of("1", 0), found.labels(found.of("1", 0))
    ([1], ['dog'])
    """

    ds: ImageSet
    places: dict[str, Tensor]
    means: dict[str, Tensor]

    def of(self, layer: str, number: int) -> list[int]:
        """Places in ``ds`` of the images on which filter ``number`` fires, at most n, the strongest first.

        An image on which its mean activation is not above zero is left out: there the filter does not fire.
        """
        fires = self.means[layer][number] > 0
        return [int(place) for place in self.places[layer][number][fires]]

    def labels(self, places: Iterable[int]) -> list[str]:
        """Names of the labels of the images at ``places``; of weighted labels the first of the heaviest."""
        own = self.ds.labels if self.ds.labels.ndim == 1 else self.ds.labels.argmax(1)
        return [str(self.ds.label_names[int(own[place])]) for place in places]


def strongest_images(
    net: nn.Module,
    layers: str | Sequence[str],
    ds: ImageSet,
    count: int = 5,
    *,
    inputs: Data | None = None,
    batch: int = 500,
    pool: int | None = None,
    device: str | torch.device = "auto",
) -> StrongestImages:
    """Find the images on which each filter fires most, in one forward pass for all layers.

    A filter fires on x by the mean of its activation over positions, <a_fp(x)>_p; of equal images the earlier
    comes first. The network is left as it was found.

    Parameters
    ----------
    net, layers, ds, batch, pool, device : as in :func:`filterwise.measure.class_means`
    count : images a filter, n; all if there are fewer
    inputs : the same images in the same order as the network takes them, where it has a scale of its own: a
        ``DataLoader`` or pairs (inputs, labels). By default they are scaled to [-1, 1], as in this book.

    Raises ParameterError: images that are no ImageSet, other inputs than images, an unknown layer, a count
    below 1, images that the network does not take, an output that is not finite.

    >>> import filterwise as fw
    >>> ds = fw.data.load("parts", "test", labels=3, n=60)
    >>> found = strongest_images(fw.models.build("lenet5", labels=3, channels=1), "features.2", ds, count=4)
    >>> found.places["features.2"].shape, len(found.of("features.2", 0)) <= 4
    (torch.Size([16, 4]), True)
    """
    check_count("count", count)
    if not isinstance(ds, ImageSet):
        raise ParameterError(f"ds is a {type(ds).__name__}; an ImageSet is expected, its pictures are shown")
    where = measuring_device(net, device)
    names = [layers] if isinstance(layers, str) else list(layers)
    best: dict[str, tuple[Tensor, Tensor]] = {}
    start = 0
    with measuring(net, where), Capture(net, names, pool) as capture:
        for images, labels in own_batches(ds if inputs is None else inputs, batch, where):
            own = ds.labels[start : start + len(labels)]
            if inputs is not None and own.ndim == 1 and not torch.equal(labels.cpu(), own):
                raise ParameterError(
                    f"inputs {start} to {start + len(labels) - 1} have other labels than these images of ds; "
                    "the same images in the same order are expected"
                )
            here = torch.arange(start, start + len(labels), device=where)
            for layer, fields in capture(images).items():
                means = fields.float().mean(2).T  # (filters, images)
                check_finite(layer, means)
                known = best.get(layer, (means[:, :0], here[:0].expand(len(means), 0)))
                both = torch.cat([known[0], means], 1)
                places = torch.cat([known[1], here.expand(len(means), -1)], 1)
                # stable: images seen earlier stand further left
                largest, order = both.sort(dim=1, descending=True, stable=True)
                best[layer] = largest[:, :count], places.gather(1, order[:, :count])
            start += len(labels)
    if start != len(ds):
        raise ParameterError(f"inputs are {start} and ds has {len(ds)} images; the same images are expected")
    return StrongestImages(
        ds,
        {layer: places.cpu() for layer, (_, places) in best.items()},
        {layer: means.cpu() for layer, (means, _) in best.items()},
    )
