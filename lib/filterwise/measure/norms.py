"""Batch norms fitted anew: their running statistics follow what the layers below now give."""

from __future__ import annotations

import copy

import torch
from torch import nn

from filterwise.data.augmentation import scale
from filterwise.data.imageset import ImageSet
from filterwise.models.modes import evaluation_mode


def refit_norms(net: nn.Module, train: ImageSet, images: int = 2000, batch: int = 0) -> nn.Module:
    """A copy of a network whose batch norms fit the images, all else being equal.

    After weights were removed, or before any were learned, running statistics are those of another network.

    Parameters
    ----------
    net
        Left as it was found.
    train
        Its first ``images`` are used, without augmentation.
    batch
        Images at a time, 0 for all; statistics are the mean of the batches'.

    Returns the copy, on the CPU, in evaluation mode.
    """
    control = copy.deepcopy(net).cpu()
    norms = [m for m in control.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # a plain mean instead of a running one
    seen = train.images[:images].cpu()
    with evaluation_mode(control), torch.no_grad():
        for norm in norms:
            norm.train()
        for part in seen.split(batch or len(seen)):
            control(scale(part))
    return control.eval()
