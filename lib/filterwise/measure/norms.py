"""Batch norms fitted anew: their running statistics follow what the layers below now give."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn

from filterwise.data.augmentation import scale
from filterwise.data.imageset import ImageSet


def fit_norms(net: nn.Module, inputs: Tensor) -> nn.Module:
    """Fit batch norms to inputs, in one batch and in place; afterwards the network is in evaluation mode."""
    norms = [m for m in net.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]
    net.eval()
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # a plain mean instead of a running one
        norm.train()
    if norms:
        with torch.no_grad():
            net(inputs)
    return net.eval()


def refit_norms(net: nn.Module, train: ImageSet, images: int = 2000) -> nn.Module:
    """A copy of a network whose batch norms fit the images, all else being equal.

    After weights were removed, or before any were learned, running statistics are those of another network.

    Parameters
    ----------
    net
        Left as it was found.
    train
        Its first ``images`` are used, without augmentation.

    Returns the copy, on the CPU, in evaluation mode.

    >>> import filterwise as fw
    >>> net = fw.models.build("vgg", labels=3, channels=1, size=16, stages=((4, 1), (8, 1)))
    >>> fitted = refit_norms(net, fw.data.load("parts", labels=3, n=30))
    >>> bool((fitted.features[0].bn.running_mean != net.features[0].bn.running_mean).any())
    True
    """
    return fit_norms(copy.deepcopy(net).cpu(), scale(train.images[:images].cpu()))
