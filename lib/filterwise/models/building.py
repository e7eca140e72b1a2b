"""Networks by name: ``build("avgg8", labels=10, order="AP2-MP4")``.

A network registers itself where it is defined, ``@models("lenet5")`` over a function of (labels, width,
channels, size, *, its own options). Facts that a registration may state:

fixed : values of parameters that belong to the name and are no options (one function for a family)
draw : ``draw(net, generator)``, the initial weights of ``init="torch"`` where another library draws its own
read : ``read(net, name, weights)``, called with the option ``weights`` after the drawing
"""

from __future__ import annotations

import inspect
import re
from functools import partial
from typing import Any

import torch
from torch import nn

from filterwise.errors import ParameterError, check_choice, check_count, near_miss
from filterwise.models import initial
from filterwise.models.sizes import check_positive
from filterwise.registry import Registry

models = Registry("model", "filterwise.models.*")


def names() -> tuple[str, ...]:
    """The names that :func:`build` knows, sorted, numbers by their value.

    >>> "vgg16" in names(), "tree3" in names()
    (True, True)
    """

    def key(name: str) -> list[tuple[int, str]]:
        return [(int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"(\d+)", name)]

    return tuple(sorted(models.names(), key=key))


def options(name: str) -> dict[str, Any]:
    """A network's own options and their defaults; an unknown network is a ParameterError.

    >>> options("lenet5")["kernel"]
    5
    """
    entry = models.get(name)
    known = inspect.signature(entry.function).parameters.values()
    fixed = entry.facts.get("fixed", {})
    return {p.name: p.default for p in known if p.kind is p.KEYWORD_ONLY and p.name not in fixed}


def build(
    name: str,
    labels: int = 10,
    width: float = 1.0,
    channels: int = 3,
    size: int = 32,
    seed: int = 0,
    *,
    init: str = "torch",
    **chosen: Any,
) -> nn.Module:
    """A network with weights drawn from ``seed``; torch's global random state is neither read nor moved.

    Parameters
    ----------
    name : one of :func:`names`
    labels : outputs K, at least 2
    width : factor on all layers' numbers of filters
    channels, size : the images: (channels, size, size)
    seed : of the generator that draws the weights. Equal seeds give bit-equal weights in every pool plan
    init : "torch", PyTorch's own distributions (a torchvision network: torchvision's own), or "he", He normal
        with biases 0
    **chosen : the network's own options, see :func:`options`

    Returns a network on the CPU, float32, in training mode, with ``layer_names``.
    Raises ParameterError on an unknown name or option (with the near miss), or a value that gives no network;
    DataError if pretrained weights were asked for and cannot be had or do not fit; TorchvisionMissing if the
    network is torchvision's and there is none.

    >>> net = build("avgg8", labels=10, width=0.25, order="AP2-MP4")
    >>> net.features[4].pool[1].kernel_size
    4
    """
    known = [*options(name), "init"]
    for option, value in chosen.items():
        if option not in known:
            listed = ", ".join(map(repr, known)) + near_miss(option, known)
            raise ParameterError(f"{option}={value!r} is no option of {name!r}; its options are {listed}")
    entry = models.get(name)
    shape = (
        check_count("labels", labels, 2),
        check_positive("width", width),
        check_count("channels", channels),
    )
    fixed = entry.facts.get("fixed", {})
    make = partial(entry.function, *shape, check_count("size", size), **fixed, **chosen)
    check_choice("init", init, initial.INITS)
    if check_count("seed", seed, 0) >= 2**63:
        raise ParameterError(f"seed={seed!r} is too large; it must be below 2**63")
    net = initial.on_meta(make)
    if init == "torch" and "draw" in entry.facts:
        entry.facts["draw"](net, torch.Generator().manual_seed(int(seed)))
    else:
        initial.initialise(net, int(seed), init)
    if "read" in entry.facts:
        entry.facts["read"](net, name, chosen.get("weights"))
    return net
