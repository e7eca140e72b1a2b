"""Rewiring between epochs as a training step: SET and its five relatives by cosine similarity.

Mocanu et al., Nat. Commun. 9, 2383 (2018); Pieterse, Mocanu, arXiv:1903.07138 (2019). Within an epoch this is
plain back-propagation; before every epoch but the first each masked layer is rewired once, from its weights
as they are then and from how similar neurons were for the images of the epoch that has ended.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast

import torch
from torch import Tensor, nn

from filterwise.errors import ParameterError, check_choice, check_count, refused
from filterwise.models.sizes import check_positive
from filterwise.prune.masks import masked_layer, masks_of
from filterwise.prune.rewiring import ALGORITHMS, needs_similarity, rewire
from filterwise.prune.similarity import layer_similarities
from filterwise.training.recipe import Recipe
from filterwise.training.steps import Step, backprop, steps


@steps("rewire")
def rewiring(
    recipe: Recipe,
    device: torch.device,
    dtype: torch.dtype,
    algorithm: str = "SET",
    zeta: float = 0.3,
    layers: str | Sequence[str] = (),
    samples: int = 10_000,
) -> RewiringStep:
    """Back-propagation that rewires masked linear layers before every epoch but the first.

    Parameters
    ----------
    algorithm
        One of `filterwise.prune.rewiring.ALGORITHMS`.
    zeta
        Share of a layer's connections that is lost, in (0, 1].
    layers
        By default all linear layers that have a mask.
    samples
        The similarity is taken over the first so many images that the ended epoch presented, as they were
        augmented, through the network as it is at the epoch's end, in evaluation mode.

    Raises ParameterError: an option is not allowed. The step raises it for a layer that has no mask.
    """
    check_choice("algorithm", algorithm, ALGORITHMS)
    if not 0 < check_positive("zeta", zeta) <= 1:
        raise refused("zeta", zeta, "it must be above 0 and at most 1")
    check_count("samples", samples)
    named = (layers,) if isinstance(layers, str) else tuple(layers)
    return RewiringStep(backprop(recipe, device, dtype), algorithm, zeta, named, samples)


class RewiringStep:
    """See :func:`rewiring`; ``plain`` is the step within an epoch.

    What it remembers between epochs are the images, and so a checkpoint holds them.
    """

    def __init__(
        self, plain: Step, algorithm: str, zeta: float, layers: tuple[str, ...] = (), samples: int = 10_000
    ) -> None:
        self.plain, self.algorithm, self.zeta = plain, algorithm, zeta
        self.layers, self.samples = layers, samples
        self._looks = needs_similarity(algorithm)
        self._seen: list[Tensor] = []

    def __call__(self, net: nn.Module, images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """One training step; the images are kept while there is room for them."""
        room = self.samples - sum(map(len, self._seen))
        if self._looks and room > 0:
            self._seen.append(images[:room].detach())
        return self.plain(net, images, labels)

    @torch.no_grad()
    def before_epoch(self, net: nn.Module, optimiser: torch.optim.Optimizer, epoch: int, seed: int) -> None:
        """Rewire, but for epoch 0.

        What is lost or new has weight 0, and 0 in all that the optimiser remembers of it. ``seed`` draws
        this epoch's new connections, layer by layer.
        """
        names = self._names(net)
        if epoch > 0:
            generator = torch.Generator().manual_seed(seed)
            similarities: Mapping[str, Tensor] = {}
            if self._looks:
                similarities = layer_similarities(net, names, self._images(net))
            for name in names:
                layer = net.get_submodule(name)
                weight = cast(Tensor, layer.weight_orig)
                mask = cast(Tensor, layer.weight_mask)
                S = similarities.get(name)
                found = rewire(weight, mask.bool(), S, self.algorithm, self.zeta, generator)
                mask.copy_(found.mask)
                weight.mul_(found.core)
                for remembered in optimiser.state[weight].values():
                    if isinstance(remembered, Tensor) and remembered.shape == weight.shape:
                        remembered.mul_(found.core)
        self._seen = []

    def _images(self, net: nn.Module) -> Tensor:
        """What was seen, as it would come back from a checkpoint: contiguous, on the network's device."""
        if not self._seen:
            raise ParameterError("step='rewire' has seen no images to take similarities from")
        return torch.cat(self._seen).contiguous().to(next(net.parameters()).device)

    def _names(self, net: nn.Module) -> list[str]:
        """The layers, by the modules that hold the weights."""
        masks = masks_of(net)
        linear = [name for name in masks if isinstance(net.get_submodule(name), nn.Linear)]
        names = [masked_layer(net, layer)[0] for layer in self.layers] or linear
        if not names:
            raise ParameterError("step='rewire' needs linear layers with masks; edit='sparse' puts some on")
        for name in names:
            check_choice("layers", name, linear)
        return names

    def state_dict(self) -> dict[str, Tensor]:
        """The images that it has seen since the last update."""
        return {"images": torch.cat(self._seen).contiguous()} if self._seen else {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """The inverse of :meth:`state_dict`."""
        self._seen = [state["images"]] if "images" in state else []
