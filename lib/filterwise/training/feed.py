"""Batches of an image set that lives on the device as bytes: order and augmentation of every epoch.

The images lie in memory one after the other, and behind them all of them mirrored. A row of a mirrored and
shifted image is then a run of consecutive bytes somewhere in there, so that a whole batch is picked, mirrored
and shifted by one ``index_select``. What a run reads beyond its image is 0 after scaling.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import Tensor

from filterwise.data.augmentation import Draw, augment_as_drawn, draw
from filterwise.training.mixing import mixer, rand_augment
from filterwise.training.recipe import Recipe

# Images whose places are worked out together; more saves little and costs memory.
_TOGETHER = 2000


def epoch_seed(seed: int, epoch: int, purpose: int = 0) -> int:
    """Seed of one epoch's draws, a function of run seed and epoch alone: any epoch can be begun anew.

    >>> epoch_seed(0, epoch=1) == epoch_seed(0, epoch=2)
    False
    """
    high, low = np.random.SeedSequence([seed, epoch, purpose]).generate_state(2, np.uint32)
    # 63 bits: the generators of all devices take them
    return int(high) << 31 | int(low) >> 1


class Feed:
    """Training batches in a new order every epoch, augmented on the device.

    The draws come from a generator on the CPU, so they are the same whatever the device. Held on the device:
    the images as bytes, twice if they are mirrored. RandAugment, mixup, cutmix and random erasing draw from
    torch's shared generators, which `train_epoch` seeds for every epoch.

    Parameters
    ----------
    images : uint8 (N, C, H, W)
    labels : int64 (N,), or float (N, K)
    seed : of the run; or those of several runs that are trained together, each with its own draws
    memory_format : of the batches
    outputs : K, the network's; mixup and cutmix need it
    reuse : give every batch in the same memory, overwritten by the next; for those who keep no batch

    >>> from filterwise.training.recipe import Recipe
    >>> images, labels = torch.zeros(5, 1, 4, 4, dtype=torch.uint8), torch.tensor([0, 1, 0, 1, 0])
    >>> feed = Feed(images, labels, Recipe(batch=2), seed=0)
    >>> [len(part) for _, part in feed.epoch(0)]
    [2, 2, 1]
    """

    def __init__(
        self,
        images: Tensor,
        labels: Tensor,
        recipe: Recipe,
        seed: int | Sequence[int],
        device: torch.device | None = None,
        memory_format: torch.memory_format = torch.contiguous_format,
        reuse: bool = False,
        outputs: int = 0,
    ) -> None:
        self.recipe, self.reuse = recipe, reuse
        self.seeds = (seed,) if isinstance(seed, int) else tuple(seed)
        self.device = device or torch.device("cpu")
        self.count, channels, self.height, self.width = images.shape
        self.channels = channels
        self.last = memory_format is torch.channels_last
        # a line lies side by side in memory: a row of one channel, or in channels_last memory of all
        self.step, self.planes = (channels, 1) if self.last else (1, channels)
        self.run = self.width * self.step
        # Metal has no view of overlapping windows; its memory is the processor's, where the batches are made
        self._home = torch.device("cpu") if self.device.type == "mps" else self.device
        self.labels = labels.to(self._home)
        images = images.to(self._home)
        self._mix = mixer(recipe, outputs)
        self._scratch: dict[str, Tensor] = {}
        if recipe.rand_augment:
            self._pixels = images.contiguous(memory_format=memory_format)
            return
        rows, column = (images.permute(0, 2, 3, 1), 2) if self.last else (images, 3)
        copies = [rows, rows.flip(column)] if recipe.flip else [rows]
        # the guards are for the runs that begin before the first image or end after the last
        guard, size = recipe.shift * self.step, images.numel()
        memory = torch.zeros(len(copies) * size + 2 * guard, dtype=torch.uint8, device=self._home)
        for place, pixels in enumerate(copies):
            memory.narrow(0, guard + place * size, size).view(pixels.shape).copy_(pixels)
        self._windows = memory.as_strided((memory.numel() - self.run + 1, self.run), (1, 1))
        # by shift + largest shift: where each line's source row begins, and what the shifted image covers
        # (1, else 0) of rows (., H) and of columns (., run)
        moves = torch.arange(-recipe.shift, recipe.shift + 1, device=self._home)[:, None]
        y, x = (torch.arange(side, device=self._home) - moves for side in (self.height, self.width))
        starts = y.clamp(0, self.height - 1) * self.run
        in_rows = ((y >= 0) & (y < self.height)).to(torch.float32)
        in_columns = ((x >= 0) & (x < self.width)).to(torch.float32).repeat_interleave(self.step, dim=1)
        # what is taken off a value that the image covers (1, else 0), and what it is divided by (127.5, else
        # infinity), each as a factor for the row (., H) and one for the column (., run)
        self._tables = starts, -in_rows, in_columns, 1 / in_rows, 127.5 / in_columns

    @property
    def steps(self) -> int:
        """Batches in an epoch, the last one smaller where the batch does not divide the images."""
        return -(-self.count // self.recipe.batch)

    def epoch(self, epoch: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Images float32 (batch, C, H, W) on [-1, 1] and labels, step by step: int64 (batch,), or float
        (batch, K) where the set has shares or the recipe mixes images. ``epoch`` is counted from 0.

        Without mixing, erasing and RandAugment the same as ``augment(images[order], generator)`` cut into
        batches, where ``order`` is the permutation that ``generator``, seeded by `epoch_seed`, gives first.
        With S seeds a batch has S times as many images: the first image of each run, then the second of each.
        """
        order, drawn = self._draw(epoch)
        batch = self.recipe.batch * len(self.seeds)
        together = max(1, _TOGETHER // batch) * batch
        for first in range(0, len(order), together):
            part = slice(first, first + together)
            chosen = order[part]
            flips, shifts = (None if values is None else values[..., part] for values in drawn)
            labels = self.labels.index_select(0, chosen)
            places = None
            if self.recipe.rand_augment:
                distorted = self._distorted(chosen, Draw(flips, shifts))
            else:
                places = self._places(chosen, Draw(flips, shifts))
            for start in range(0, len(chosen), batch):
                here = slice(start, start + batch)
                if places is None:
                    images = distorted[here]
                else:
                    images = self._images(places[0][here], [edge[here] for edge in places[1]])
                step = images.to(self.device), labels[here].to(self.device)
                yield step if self._mix is None else self._mix(*step)

    def _distorted(self, chosen: Tensor, drawn: Draw) -> Tensor:
        """RandAugment on bytes, then mirrored, shifted and scaled, float32 (n, C, H, W)."""
        pixels = rand_augment(self._pixels.index_select(0, chosen), self.recipe.rand_augment)
        layout = torch.channels_last if self.last else torch.contiguous_format
        return augment_as_drawn(pixels.contiguous(memory_format=layout), drawn, self.recipe.shift)

    def _draw(self, epoch: int) -> tuple[Tensor, Draw]:
        """Order int64 (n,), mirrorings bool (n,) and shifts int64 (2, n) of an epoch, on the device."""
        orders, draws = [], []
        for seed in self.seeds:
            generator = torch.Generator().manual_seed(epoch_seed(seed, epoch))
            orders.append(torch.randperm(self.count, generator=generator))
            draws.append(draw(self.count, generator, self.recipe.flip, self.recipe.shift))
        flips = [drawn.flips for drawn in draws if drawn.flips is not None]
        shifts = [drawn.shifts for drawn in draws if drawn.shifts is not None]
        drawn = Draw(self._merged(flips) if flips else None, self._merged(shifts) if shifts else None)
        return self._merged(orders), drawn

    def _merged(self, runs: list[Tensor]) -> Tensor:
        """The runs' values (..., N), image by image in turn, as one (..., S N) on the device."""
        return torch.stack(runs, -1).flatten(-2).to(self._home)

    def _places(self, chosen: Tensor, drawn: Draw) -> tuple[Tensor, list[Tensor]]:
        """Where the images' lines begin, int64 (n, planes * H); their factors of offset and divisor."""
        plane = self.height * self.run
        origin = chosen * (plane * self.planes) + self.recipe.shift * self.step
        if drawn.flips is not None:
            origin += drawn.flips * (self.count * plane * self.planes)
        lines, *factors = self._tables
        edges: list[Tensor] = []
        if drawn.shifts is not None:
            down, right = drawn.shifts + self.recipe.shift
            origin -= drawn.shifts[1] * self.step
            lines = lines.index_select(0, down)
            for rows, columns in (factors[:2], factors[2:]):
                edges += [rows.index_select(0, down)[:, None, :, None]]
                edges += [columns.index_select(0, right)[:, None, None]]
        planes = torch.arange(0, plane * self.planes, plane, device=self._home)
        begins = (origin[:, None] + planes)[:, :, None] + lines[:, None]
        return begins.view(len(chosen), -1), edges

    def _images(self, begins: Tensor, edges: list[Tensor]) -> Tensor:
        """One batch. Memory is used again wherever it can be: on the CPU fresh pages cost more than the
        arithmetic."""
        count = len(begins)
        lines = self._room("lines", count * begins.shape[1], self.run, torch.uint8)
        torch.index_select(self._windows, 0, begins.reshape(-1), out=lines)
        lines = lines.view(count, self.planes, self.height, self.run)
        if self.reuse:
            images = self._room("images", count, lines[0].numel()).view(lines.shape).copy_(lines)
        else:
            images = lines.to(torch.float32)
        if edges:
            offset = self._room("offset", count, self.height * self.run).view(count, 1, self.height, self.run)
            divisor = self._room("divisor", count, self.height * self.run).view_as(offset)
            torch.mul(edges[0], edges[1], out=offset)
            torch.mul(edges[2], edges[3], out=divisor)
            # scaling and fill in one pass: x / 127.5 - 1 where the image covers, x / infinity - 0 elsewhere
            torch.addcdiv(offset, images, divisor, out=images)
        else:
            images.div_(127.5).sub_(1)  # as in `scale`
        if self.last:
            return images.view(count, self.height, self.width, self.channels).permute(0, 3, 1, 2)
        return images

    def _room(self, name: str, rows: int, columns: int, dtype: torch.dtype = torch.float32) -> Tensor:
        """Scratch memory (rows, columns), kept from batch to batch."""
        held = self._scratch.get(name)
        if held is None or len(held) < rows:
            held = self._scratch[name] = torch.empty(rows, columns, dtype=dtype, device=self._home)
        return held[:rows]
