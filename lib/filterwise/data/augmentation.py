"""Scaling, mirroring and shifting of whole batches, on the device where the images live.

The papers' augmentation: mirror with probability 1/2, shift by whole pixels drawn uniformly from
``[-shift, shift]`` in both directions, each image by its own draw; pixels that the shift uncovers are 0
*after* scaling to [-1, 1], which is mid-grey.

How it is fast: a row of a shifted image is a run of consecutive bytes of the unshifted one, so the shift of a
whole batch is one ``index_select`` over the rows of an overlapping view. What such a run reads beyond its own
row is overwritten by the fill. Nothing loops over images and nothing leaves the device.
"""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import torch
from torch import Tensor

from filterwise.errors import ParameterError, check_at_least


class Draw(NamedTuple):
    """What was drawn for a batch: ``flips`` bool (N,), ``shifts`` int64 (2, N) down and right; or None."""

    flips: Tensor | None
    shifts: Tensor | None


def scale(images: Tensor, dtype: torch.dtype = torch.float32) -> Tensor:
    """Pixels 0 to 255 to [-1, 1] by x / 255 * 2 - 1; no statistics per channel.

    Parameters
    ----------
    images : uint8, any shape
    dtype : floating type of the result; the arithmetic is done in float32

    >>> scale(torch.tensor([0, 255], dtype=torch.uint8))
    tensor([-1.,  1.])
    """
    _check_uint8(images)
    # x / 127.5 is x / 255 * 2 to the last bit, because doubling is exact
    scaled = images.to(torch.float32).div_(127.5).sub_(1)
    return scaled if dtype == torch.float32 else scaled.to(dtype)


def draw(images_count: int, generator: torch.Generator, flip: bool = True, shift: int = 4) -> Draw:
    """Draw the mirrorings, then the shifts, of a batch; what is switched off uses up no random numbers.

    The numbers are drawn on the generator's own device, so a CPU generator gives the same augmentation
    whatever the device of the images.
    """
    check_at_least("shift", shift, 0)
    device = generator.device
    flips = torch.randint(0, 2, (images_count,), generator=generator, device=device).bool() if flip else None
    size = (2, images_count)
    shifts = torch.randint(-shift, shift + 1, size, generator=generator, device=device) if shift > 0 else None
    return Draw(flips, shifts)


def flip_and_shift(images: Tensor, generator: torch.Generator, flip: bool = True, shift: int = 4) -> Tensor:
    """Mirror and shift every image of a batch by its own draw; uncovered pixels become 0.

    Parameters
    ----------
    images : floating (N, C, H, W), already scaled
    generator : the only source of randomness; on the CPU or on the images' device
    flip : mirror each image with probability 1/2
    shift : largest shift in pixels, both ways and in both directions; 0 for none

    Returns tensor of the same shape, type and memory format. The input is left as it was.

    Raises ParameterError: the images are not floating or not (N, C, H, W), or ``shift`` is negative.

    >>> image = torch.ones(1, 1, 2, 2)
    >>> flip_and_shift(image, torch.Generator().manual_seed(0), shift=0).equal(image)
    True
    """
    if not images.is_floating_point():
        raise ParameterError(
            f"images have type {images.dtype}; scaled floating images are expected, augment takes uint8"
        )
    _check_batch(images)
    lines, weight = _move(images, draw(len(images), generator, flip, shift), shift)
    return _as_images(lines if weight is None else lines.mul_(weight), images)


def augment(
    images: Tensor,
    generator: torch.Generator,
    flip: bool = True,
    shift: int = 4,
    dtype: torch.dtype = torch.float32,
    memory_format: torch.memory_format = torch.preserve_format,
) -> Tensor:
    """``flip_and_shift(scale(images))`` in fewer passes: uint8 in, floating out, the same values and draws.

    Mirroring and shifting are done on bytes, a quarter of the memory traffic. It is fastest when ``images``
    already have the memory format that is asked for.

    Parameters
    ----------
    images : uint8 (N, C, H, W)
    generator, flip, shift : as in `flip_and_shift`
    dtype : floating type of the result
    memory_format : of the result; by default that of ``images``

    >>> image = torch.full((1, 3, 8, 8), 255, dtype=torch.uint8)
    >>> augment(image, torch.Generator().manual_seed(0), shift=0).unique()
    tensor([1.])
    """
    _check_uint8(images)
    _check_batch(images)
    result = augment_as_drawn(images, draw(len(images), generator, flip, shift), shift)
    if memory_format is torch.preserve_format:
        return result.to(dtype)
    return result.to(dtype, memory_format=memory_format)


def augment_as_drawn(images: Tensor, drawn: Draw, shift: int) -> Tensor:
    """Images uint8 (N, C, H, W) mirrored and shifted as was drawn, and scaled: float32, the same format."""
    lines, weight = _move(images, drawn, shift)
    scaled = scale(lines)
    return _as_images(scaled if weight is None else scaled.mul_(weight), images)


def _channels_last(images: Tensor) -> bool:
    return images.shape[1] > 1 and images.is_contiguous(memory_format=torch.channels_last)


def _as_images(lines: Tensor, images: Tensor) -> Tensor:
    """Lines (N, planes, H, run) as (N, C, H, W) in the memory format of ``images``."""
    count, channels, height, width = images.shape
    if _channels_last(images):
        return lines.view(count, height, width, channels).permute(0, 3, 1, 2)
    return lines.view(images.shape)


@lru_cache(maxsize=32)
def shift_tables(height: int, width: int, step: int, shift: int, device: torch.device) -> tuple[Tensor, ...]:
    """By shift + largest shift, one row each, of lines with ``step`` values a pixel.

    Returns where each line's source row begins, int64 (., H); and what the shifted image covers, 1 or else 0,
    as a factor for the row, float (., H), and one for the column, float (., W * step).
    """
    moves = torch.arange(-shift, shift + 1, device=device)[:, None]
    y = torch.arange(height, device=device) - moves
    x = torch.arange(width, device=device) - moves
    in_rows = ((y >= 0) & (y < height)).to(torch.float32)
    in_columns = ((x >= 0) & (x < width)).to(torch.float32).repeat_interleave(step, dim=1)
    return y.clamp(0, height - 1) * (width * step), in_rows, in_columns


def _move(images: Tensor, drawn: Draw, shift: int) -> tuple[Tensor, Tensor | None]:
    """Mirror and shift.

    Returns lines (N, planes, H, run), a line being what lies side by side in memory: W values of one channel,
    or W * C values in channels_last memory; and 1 where the shifted image covers the line, else 0, as
    float (N, 1, H, run), or None when nothing was shifted.
    """
    count, channels, height, width = images.shape
    last = _channels_last(images)
    rows = images.permute(0, 2, 3, 1) if last else images
    column, step, planes = (2, channels, 1) if last else (3, 1, channels)  # a step to the right in memory
    device, run, size = images.device, width * step, images.numel()
    starts, in_rows, in_columns = shift_tables(height, width, step, shift, device)

    # The batch, and behind it the mirrored batch, so that mirroring is only another place to read from. The
    # guards are for the runs that begin before the first image or end after the last.
    guard = images.new_zeros(shift * step)
    parts = [guard, rows.reshape(-1), guard]
    if drawn.flips is not None:
        parts.insert(2, rows.flip(column).view(-1))
    memory = torch.cat(parts)
    image = height * run * planes
    origin = torch.arange(shift * step, shift * step + size, image, device=device)
    if drawn.flips is not None:
        origin += drawn.flips.to(device) * size

    weight = None
    if drawn.shifts is None:
        lines = starts.expand(count, height)
    else:
        shifts = drawn.shifts.to(device)
        down, right = shifts + shift
        lines = starts.index_select(0, down)  # (N, H)
        weight = (
            in_rows.index_select(0, down)[:, None, :, None] * in_columns.index_select(0, right)[:, None, None]
        )
        origin -= shifts[1] * step
    plane = torch.arange(0, image, height * run, device=device)
    begin = (origin[:, None] + plane)[:, :, None] + lines[:, None]  # (N, planes, H)
    windows = memory.as_strided((memory.numel() - run + 1, run), (1, 1))
    return torch.index_select(windows, 0, begin.view(-1)).view(count, planes, height, run), weight


def _check_uint8(images: Tensor) -> None:
    if images.dtype != torch.uint8:
        raise ParameterError(f"images have type {images.dtype}; torch.uint8 pixels are expected")


def _check_batch(images: Tensor) -> None:
    if images.ndim != 4:
        raise ParameterError(f"images have shape {tuple(images.shape)}; (N, C, H, W) is expected")
