"""What masks save: kernels, weights and multiply-accumulates, layer by layer and in the whole network."""

from __future__ import annotations

import pandas as pd
import torch
from torch import Tensor, nn

from filterwise.models.counting import parameter_count
from filterwise.models.modes import evaluation_mode
from filterwise.prune.masks import masks_of


def savings(net: nn.Module, shape: tuple[int, int, int] = (3, 32, 32)) -> pd.DataFrame:
    """Kept and all connections, weights and multiply-accumulates of every convolution and linear layer.

    A connection is a pair (out, in): a kernel of a convolution, a weight of a linear layer. It is kept if any
    of its weights is. Multiply-accumulates count kept weights times positions of the output. Layers without
    a mask keep all.

    Parameters
    ----------
    net
        A network with or without masks; it is left as it was found.
    shape
        (C, H, W) of one image.

    Returns one row a layer: ``connections``, ``connections_kept``, ``weights``, ``weights_kept``, ``macs``,
    ``macs_kept``, ``dilution`` (removed share of connections) and ``weight_dilution``.

    >>> from filterwise.prune.masks import apply
    >>> net = nn.Sequential(nn.Conv2d(2, 2, 3, padding=1), nn.Flatten(), nn.Linear(8, 2))
    >>> apply(net, {"0": torch.eye(2, dtype=torch.bool)})[0].weight.shape
    torch.Size([2, 2, 3, 3])
    >>> savings(net, (2, 2, 2))[["weights_kept", "macs_kept", "dilution"]].to_dict("index")["0"]
    {'weights_kept': 18, 'macs_kept': 72, 'dilution': 0.5}
    """
    positions = _positions(net, shape)
    masks = masks_of(net)
    rows = []
    for layer, places in positions.items():
        weight: Tensor = net.get_submodule(layer).weight  # type: ignore[assignment]
        mask = masks.get(layer, torch.ones((), dtype=torch.bool).expand(weight.shape))
        kept = mask.flatten(2).any(dim=2) if mask.ndim > 2 else mask
        weights, left = weight.numel(), int(mask.sum())
        rows.append({
            "layer": layer,
            "connections": kept.numel(),
            "connections_kept": int(kept.sum()),
            "weights": weights,
            "weights_kept": left,
            "macs": weights * places,
            "macs_kept": left * places,
            "dilution": 1 - int(kept.sum()) / kept.numel(),
            "weight_dilution": 1 - left / weights,
        })  # fmt: skip
    return pd.DataFrame(rows).set_index("layer")


def totals(
    net: nn.Module, shape: tuple[int, int, int] = (3, 32, 32), dense: nn.Module | None = None
) -> dict[str, float]:
    """A network's own shares left: of all parameters (biases and norms included) and of the operations.

    ``dense``: the network that it was pruned from, where whole channels were taken out; by default itself.

    Keys ``parameters_left``, ``macs_left`` (shares) and ``network_dilution`` (removed weights / all weights
    of convolutions and linear layers).

    >>> from filterwise.prune.masks import apply
    >>> net = nn.Sequential(nn.Conv2d(2, 2, 1, bias=False), nn.Flatten(), nn.Linear(8, 2, bias=False))
    >>> totals(apply(net, {"2": torch.arange(16).view(2, 8) < 8}), (2, 2, 2))["parameters_left"]
    0.6
    """
    table = savings(net, shape)
    whole, of = (table, net) if dense is None else (savings(dense, shape), dense)
    left = parameter_count(net) - int(table["weights"].sum() - table["weights_kept"].sum())
    return {
        "parameters_left": left / parameter_count(of),
        "macs_left": float(table["macs_kept"].sum() / whole["macs"].sum()),
        "network_dilution": 1 - float(table["weights_kept"].sum() / whole["weights"].sum()),
    }


def _positions(net: nn.Module, shape: tuple[int, int, int]) -> dict[str, int]:
    """Positions of each convolution's and linear layer's output, in the order in which they run."""
    found: dict[str, int] = {}
    handles = []

    def counted(name: str) -> object:
        def hook(_module: nn.Module, _inputs: object, output: Tensor) -> None:
            features = output.shape[1] if output.ndim != 3 else output.shape[2]
            found[name] = found.get(name, 0) + output[0].numel() // features

        return hook

    for name, module in net.named_modules():
        if isinstance(module, (nn.Conv2d, nn.Linear)):
            handles.append(module.register_forward_hook(counted(name)))  # type: ignore[arg-type]
    first = next(net.parameters())
    try:
        with evaluation_mode(net), torch.no_grad():
            net(torch.zeros(1, *shape, dtype=first.dtype, device=first.device))
    finally:
        for handle in handles:
            handle.remove()
    return found
