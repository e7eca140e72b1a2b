"""Encoded pictures to uint8 arrays, with one clear error for whatever is wrong with one of them."""

from __future__ import annotations

import io
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError

from filterwise.errors import DataError

# Formats of data sets; Pillow knows others, some of which start programs of their own.
FORMATS = ("JPEG", "PNG", "PPM", "BMP", "GIF", "WEBP", "TIFF")

# A set of fixed size has small pictures; photographs that are resized may be large, but not a bomb.
LARGEST_FIXED_SIDE = 1_024
LARGEST_PHOTO_SIDE = 9_999


@contextmanager
def bombs_are_errors() -> Iterator[None]:
    """Let Pillow refuse decompression bombs instead of warning of them; once around a whole file."""
    with warnings.catch_warnings():
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        # harmless remarks about metadata must not stop a set from being read
        warnings.filterwarnings("ignore", module=r"PIL\.", category=UserWarning)
        yield


def decode(
    encoded: bytes | Path,
    where: str,
    channels: int = 3,
    largest_side: int = LARGEST_FIXED_SIDE,
    resize: tuple[int, int] | None = None,
) -> tuple[np.ndarray, str]:
    """One picture as uint8 (C, H, W), and the name of its encoding, e.g. "JPEG".

    Parameters
    ----------
    encoded : the file's bytes, or its path
    where : what to call it in an error: file and row
    channels : 3 for RGB, 1 for grey; pictures of another kind are converted
    largest_side : in pixels; checked before the pixels are decoded
    resize : (shorter side, size): resize to that shorter side, then crop the centre to size x size

    Raises DataError: the picture is empty, cannot be decoded or is too large.
    """
    if isinstance(encoded, bytes) and not encoded:
        raise DataError(f"{where}: the image has no bytes; an encoded picture (PNG, JPEG) is expected")
    source = io.BytesIO(encoded) if isinstance(encoded, bytes) else encoded
    try:
        with Image.open(source, formats=FORMATS) as picture:
            width, height = picture.size
            if max(width, height) > largest_side:
                found = f"{width}x{height} pixels; at most {largest_side} a side are expected"
                raise DataError(f"{where}: the image is {found}")
            encoding = picture.format or "unknown"
            mode = "RGB" if channels == 3 else "L"
            picture.load()
            pixels: Image.Image = picture if picture.mode == mode else picture.convert(mode)
    except DataError:
        raise
    except Exception as error:  # Pillow raises almost anything, by format and by place of the damage
        unknown = isinstance(error, UnidentifiedImageError)
        reason = f"not one of {', '.join(FORMATS)}" if unknown else str(error) or type(error).__name__
        raise DataError(f"{where}: the image cannot be decoded: {reason}") from None
    if resize is not None:
        pixels = resize_and_crop(pixels, *resize)
    array = np.asarray(pixels)
    return (array.transpose(2, 0, 1) if channels == 3 else array[None]), encoding


def shorter_side_for(size: int) -> int:
    """The usual shorter side before the crop: 256 for 224, and in that proportion."""
    return round(size * 256 / 224)


def resize_and_crop(picture: Image.Image, shorter_side: int, size: int) -> Image.Image:
    """Bilinear resize to that shorter side, then the centre ``size`` x ``size``; torchvision's arithmetic."""
    width, height = picture.size
    if width <= height:
        new = (shorter_side, int(shorter_side * height / width))
    else:
        new = (int(shorter_side * width / height), shorter_side)
    if new != picture.size:
        picture = picture.resize(new, Image.Resampling.BILINEAR)
    top, left = round((new[1] - size) / 2), round((new[0] - size) / 2)
    return picture.crop((left, top, left + size, top + size))
