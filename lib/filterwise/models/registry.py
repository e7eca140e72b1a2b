"""Networks by name: ``build("avgg8", labels=10, order="AP2-MP4")``."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

from torch import nn

from filterwise.errors import ParameterError, check_choice, near_miss
from filterwise.models import checks, efficientnet, lenet, pretrained, vgg, weights


class _Network(NamedTuple):
    """How a network is made and, if torchvision's, how init="torch" draws its weights."""

    make: Callable[..., nn.Module]
    draw: Callable[[nn.Module, int], None] | None = None


_NETWORKS: dict[str, _Network] = {
    **{f"vgg{m}": _Network(partial(vgg.named, m, False)) for m in vgg.LAYOUTS},
    **{f"avgg{m}": _Network(partial(vgg.named, m, True)) for m in vgg.LAYOUTS if m != 11},
    "vgg": _Network(vgg.free),
    "lenet5": _Network(lenet.lenet),
    "efficientnet_b0": _Network(efficientnet.efficientnet_b0, efficientnet.draw),
    "vgg16_bn_imagenet": _Network(pretrained.vgg16_bn, pretrained.draw),
}


def names() -> tuple[str, ...]:
    """The names that :func:`build` knows.

    >>> names()[:6]
    ('vgg6', 'vgg8', 'vgg11', 'vgg13', 'vgg14', 'vgg16')
    """
    return tuple(_NETWORKS)


def options(name: str) -> dict[str, Any]:
    """A network's own options and their defaults.

    Raises
    ------
    ParameterError
        If there is no such network.

    >>> options("lenet5")["kernel"]
    5
    """
    check_choice("name", name, _NETWORKS)
    known = inspect.signature(_NETWORKS[name].make).parameters.values()
    return {p.name: p.default for p in known if p.kind is p.KEYWORD_ONLY}


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
    name : str
        One of :func:`names`.
    labels : int
        Outputs K, at least 2.
    width : float
        Factor on all layers' numbers of filters.
    channels, size : int
        The images: (channels, size, size).
    seed : int
        Of the generator that draws the weights. Equal seeds give bit-equal weights in every pool plan.
    init : {"torch", "he"}
        PyTorch's own distributions (a torchvision network: torchvision's own), or He normal with biases 0.
    **chosen
        The network's own options, see :func:`options`.

    Returns
    -------
    nn.Module
        On the CPU, float32, in training mode, with ``layer_names``.

    Raises
    ------
    ParameterError
        On an unknown name or option (with the near miss), or a value that gives no network.
    DataError
        If pretrained weights were asked for and cannot be had or do not fit.
    TorchvisionMissing
        If the network is torchvision's and there is none.

    >>> net = build("avgg8", labels=10, width=0.25, order="AP2-MP4")
    >>> net.features[4].pool[1].kernel_size
    4
    >>> build("vgg16", ordr="MP8")
    Traceback (most recent call last):
    filterwise.errors.ParameterError: ordr='MP8' is no option of 'vgg16'; its options are 'plan', 'order', \
'inner', 'd1', 'fc_width', 'fc_activation', 'batch_norm', 'init'; did you mean 'order'?
    """
    known = [*options(name), "init"]
    for option, value in chosen.items():
        if option not in known:
            listed = ", ".join(map(repr, known)) + near_miss(option, known)
            raise ParameterError(f"{option}={value!r} is no option of {name!r}; its options are {listed}")
    count = checks.check_count
    shape = (count("labels", labels, 2), checks.check_positive("width", width), count("channels", channels))
    make = partial(_NETWORKS[name].make, *shape, count("size", size), **chosen)
    check_choice("init", init, weights.INITS)
    if count("seed", seed, 0) >= 2**63:
        raise ParameterError(f"seed={seed!r} is too large; it must be below 2**63")
    net = weights.on_meta(make)
    draw = _NETWORKS[name].draw
    if draw is not None and init == "torch":
        draw(net, int(seed))
    else:
        weights.initialise(net, int(seed), init)
    pretrained.read(net, name, chosen.get("weights"))
    return net
