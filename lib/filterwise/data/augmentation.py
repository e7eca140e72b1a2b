"""Scaling, mirroring and shifting of whole batches, on the device where the images live.

The papers' augmentation: mirror with probability 1/2, shift by whole pixels drawn uniformly from
``[-shift, shift]`` in both directions, each image by its own draw; pixels that the shift uncovers are 0
*after* scaling to [-1, 1], which is mid-grey.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from filterwise.errors import ParameterError, check_count


class Draw(NamedTuple):
    """What was drawn for a batch: ``flips`` bool (N,), ``shifts`` int64 (2, N) down and right; or None."""

    flips: Tensor | None
    shifts: Tensor | None


def scale(images: Tensor) -> Tensor:
    """Pixels 0 to 255, uint8 of any shape, to [-1, 1] by x / 255 * 2 - 1, float32; no statistics per channel.

    >>> scale(torch.tensor([0, 255], dtype=torch.uint8))
    tensor([-1.,  1.])
    """
    if images.dtype != torch.uint8:
        raise ParameterError(f"images have type {images.dtype}; torch.uint8 pixels are expected")
    # x / 127.5 is x / 255 * 2 to the last bit, because doubling is exact
    return images.to(torch.float32).div_(127.5).sub_(1)


def draw(images_count: int, generator: torch.Generator, flip: bool = True, shift: int = 4) -> Draw:
    """Draw the mirrorings, then the shifts, of a batch; what is switched off uses up no random numbers.

    The numbers are drawn on the generator's own device, so a CPU generator gives the same augmentation
    whatever the device of the images.

    >>> drawn = draw(3, torch.Generator().manual_seed(0), shift=1)
    >>> drawn.flips.shape, drawn.shifts.shape, bool((drawn.shifts.abs() <= 1).all())
    (torch.Size([3]), torch.Size([2, 3]), True)
    """
    check_count("shift", shift, 0)
    device = generator.device
    flips = torch.randint(0, 2, (images_count,), generator=generator, device=device).bool() if flip else None
    size = (2, images_count)
    shifts = torch.randint(-shift, shift + 1, size, generator=generator, device=device) if shift > 0 else None
    return Draw(flips, shifts)


def augment(images: Tensor, generator: torch.Generator, flip: bool = True, shift: int = 4) -> Tensor:
    """Mirror, shift and scale every image of a batch by its own draw; uncovered pixels become 0.

    Parameters
    ----------
    images : uint8 (N, C, H, W), left as they were
    generator : the only source of randomness; on the CPU or on the images' device
    flip : mirror each image with probability 1/2
    shift : largest shift in pixels, both ways and in both directions; 0 for none

    Returns float32 of the same shape and memory format.
    Raises ParameterError: the images are not uint8 or not (N, C, H, W), or ``shift`` is negative.

    >>> image = torch.full((1, 3, 8, 8), 255, dtype=torch.uint8)
    >>> augment(image, torch.Generator().manual_seed(0), shift=0).unique()
    tensor([1.])
    """
    if images.ndim != 4:
        raise ParameterError(f"images have shape {tuple(images.shape)}; (N, C, H, W) is expected")
    return augment_as_drawn(images, draw(len(images), generator, flip, shift), shift)


def augment_as_drawn(images: Tensor, drawn: Draw, shift: int) -> Tensor:
    """Images uint8 (N, C, H, W) mirrored and shifted as was drawn, and scaled: float32, the same format."""
    moved, device, (height, width) = images, images.device, images.shape[2:]
    if drawn.flips is not None:  # on bytes, a quarter of the memory traffic
        moved = torch.where(drawn.flips.to(device)[:, None, None, None], moved.flip(3), moved)
    if drawn.shifts is None:
        return scale(moved)
    down, right = drawn.shifts.to(device)
    # all places that an image can have in its frame: (N, C, 2 shift + 1, 2 shift + 1, H, W)
    windows = functional.pad(moved, (shift,) * 4).unfold(2, height, 1).unfold(3, width, 1)
    moved = scale(windows[torch.arange(len(images), device=device), :, shift - down, shift - right])
    y = torch.arange(height, device=device) - down[:, None]
    x = torch.arange(width, device=device) - right[:, None]
    inside = ((y >= 0) & (y < height))[:, None, :, None] & ((x >= 0) & (x < width))[:, None, None]
    moved = moved.mul_(inside)
    last = images.shape[1] > 1 and images.is_contiguous(memory_format=torch.channels_last)
    return moved.contiguous(memory_format=torch.channels_last if last else torch.contiguous_format)
