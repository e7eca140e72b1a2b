"""Batches of an image set that lives on the device as bytes: order and augmentation of every epoch."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from filterwise.data.augmentation import augment
from filterwise.training.recipe import Recipe


def epoch_seed(seed: int, epoch: int, purpose: int = 0) -> int:
    """Seed of one epoch's draws, a function of run seed and epoch alone, so that any epoch can be begun anew.

    >>> epoch_seed(0, 1) == epoch_seed(0, 1), epoch_seed(0, 1) == epoch_seed(1, 0)
    (True, False)
    """
    words = np.random.SeedSequence([seed, epoch, purpose]).generate_state(2, np.uint32)
    # 63 bits: the generators of all devices take them
    return int(words[0]) << 31 | int(words[1]) >> 1


class Feed:
    """Training batches in a new order every epoch, augmented on the device.

    The draws come from a generator on the CPU, so they are the same whatever the device.

    Parameters
    ----------
    images : uint8 (N, C, H, W)
    labels : int64 (N,)
    """

    def __init__(
        self,
        images: Tensor,
        labels: Tensor,
        recipe: Recipe,
        seed: int,
        device: torch.device,
        memory_format: torch.memory_format = torch.contiguous_format,
    ) -> None:
        self.recipe, self.seed, self.device = recipe, seed, device
        self.count = len(labels)
        self.labels = labels.to(device)
        images = images.to(device)
        # channels_last is kept as (N, H, W, C), since picking images out of it then copies whole images
        self.last = memory_format is torch.channels_last
        self.images = images.permute(0, 2, 3, 1).contiguous() if self.last else images.contiguous()

    @property
    def steps(self) -> int:
        """Batches in an epoch, the last one smaller where the batch does not divide the images."""
        return -(-self.count // self.recipe.batch)

    def epoch(self, epoch: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Images float32 (batch, C, H, W) on [-1, 1] and labels int64 (batch,), step by step.

        Parameters
        ----------
        epoch : counted from 0
        """
        generator = torch.Generator().manual_seed(epoch_seed(self.seed, epoch))
        order = torch.randperm(self.count, generator=generator).to(self.device)
        labels = self.labels.index_select(0, order)
        batch, flip, shift = self.recipe.batch, self.recipe.flip, self.recipe.shift
        for start in range(0, self.count, batch):
            images = self.images.index_select(0, order[start : start + batch])
            if self.last:
                images = images.permute(0, 3, 1, 2)
            yield augment(images, generator, flip, shift), labels[start : start + batch]
