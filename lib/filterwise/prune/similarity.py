"""Cosine similarity of the two neurons that a connection joins, over the images of a set.

Pieterse, Mocanu, arXiv:1903.07138 (2019). With A the outputs (images, neurons) of the layer below and B those
of the layer above, as they are, not centred,

    S_ji = |sum_n B_nj A_ni| / (||B_j|| ||A_i||).

All of it is three sums over images, so that one pass over the set is enough.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from filterwise.errors import ParameterError, check_choice
from filterwise.models.modes import evaluation_mode

#: Images that go through the network together; fixed, because sums are rounded by it.
_AT_ONCE = 500


class CosineSums:
    """The sums that S is made of, batch by batch.

    >>> sums = CosineSums()
    >>> sums.add(torch.tensor([[1.0, 0.0]]), torch.tensor([[2.0]]))
    >>> sums.add(torch.tensor([[1.0, 0.0]]), torch.tensor([[0.0]]))
    >>> sums.similarity()
    tensor([[0.7071, 0.0000]])
    """

    def __init__(self) -> None:
        self._products: Tensor | None = None
        self._below: Tensor | None = None
        self._above: Tensor | None = None

    def add(self, inputs: Tensor, outputs: Tensor) -> None:
        """One batch: the neurons below (n, in) and above (n, out).

        Raises ParameterError: they are no two tables of as many rows.
        """
        if inputs.ndim != 2 or outputs.ndim != 2 or len(inputs) != len(outputs):
            shapes = f"inputs {tuple(inputs.shape)} and outputs {tuple(outputs.shape)}"
            raise ParameterError(f"{shapes}; (images, in) and (images, out) are needed")
        below, above = inputs.detach(), outputs.detach()
        sums = above.mT @ below, below.square().sum(0), above.square().sum(0)
        if self._products is None or self._below is None or self._above is None:
            self._products, self._below, self._above = sums
            return
        if self._products.shape != sums[0].shape:
            raise ParameterError(
                f"a batch of {inputs.shape[1]} inputs and {outputs.shape[1]} outputs after batches of "
                f"{self._products.shape[1]} and {self._products.shape[0]}"
            )
        for total, part in zip((self._products, self._below, self._above), sums, strict=True):
            total.add_(part)

    def similarity(self) -> Tensor:
        """S (out, in), in [0, 1]; 0 where a neuron was silent for all images.

        Raises ParameterError: no image was added.
        """
        if self._products is None or self._below is None or self._above is None:
            raise ParameterError("no images: the similarity of neurons needs at least one")
        norms = self._above.sqrt()[:, None] * self._below.sqrt()
        found = self._products.abs() / norms.clamp_min(torch.finfo(norms.dtype).tiny)
        return torch.where(norms > 0, found, 0.0).clamp_(max=1)


def cosine_similarity(inputs: Tensor, outputs: Tensor) -> Tensor:
    """S of all pairs of a neuron below and one above.

    Parameters
    ----------
    inputs, outputs
        (images, in) and (images, out): what each neuron gives for each image.

    Returns (out, in), the shape of the weight between them; 0 for a neuron that is silent for all images.
    Raises ParameterError: they are no two tables of as many rows.

    >>> cosine_similarity(torch.tensor([[1.0, 0.0], [1.0, 0.0]]), torch.tensor([[-3.0], [-3.0]]))
    tensor([[1., 0.]])
    """
    sums = CosineSums()
    sums.add(inputs, outputs)
    return sums.similarity()


def layer_similarities(net: nn.Module, layers: Sequence[str], images: Tensor) -> dict[str, Tensor]:
    """S of linear layers of a network over a set of images, in evaluation mode.

    Both ends are taken before the activation, as in the authors' program: the neurons above are the layer's
    own outputs, those below the outputs of the linear layer that was computed just before it, where it has as
    many nodes as the layer has inputs. Otherwise, as for the first layer, they are the layer's inputs.

    Parameters
    ----------
    net
        Left as it was.
    layers
        Names of linear layers.
    images
        Float (n, C, H, W), as the network is given them.

    Returns S (out, in) by layer.
    Raises ParameterError: no images, no linear layer of a name (the near miss is named), or one that the
    network does not use.
    """
    names: dict[nn.Module, str] = {
        module: name for name, module in net.named_modules() if isinstance(module, nn.Linear)
    }
    for name in layers:
        check_choice("layer", name, names.values())
    if len(images) == 0:
        raise ParameterError("no images: the similarity of neurons needs at least one")
    found = {name: CosineSums() for name in layers}
    before: list[Tensor] = []

    def listen(module: nn.Module, given: tuple[Tensor, ...], output: Tensor) -> None:
        name = names[module]
        below = given[0]
        if before and before[0].shape == below.shape:
            below = before[0]
        if name in found:
            found[name].add(below.flatten(0, -2).float(), output.flatten(0, -2).float())
        before[:] = [output.clone()]  # an activation may work in place

    hooks = [module.register_forward_hook(listen) for module in names]
    try:
        with evaluation_mode(net):
            for part in images.split(_AT_ONCE):
                before.clear()
                net(part)
    finally:
        for hook in hooks:
            hook.remove()
    return {name: sums.similarity() for name, sums in found.items()}
