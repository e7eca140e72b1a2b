"""Random pictures and their encoded files, for tests."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image

NAMES = ("ant", "bee", "cat", "dog", "eel", "fox", "gnu", "hen", "ibis", "jay")


def encode(pixels: np.ndarray, encoding: str = "PNG") -> bytes:
    """uint8 (C, H, W) as the bytes of a picture."""
    array = pixels[0] if len(pixels) == 1 else pixels.transpose(1, 2, 0)
    stream = io.BytesIO()
    Image.fromarray(array).save(stream, format=encoding)
    return stream.getvalue()


def random_pixels(count: int, side: int = 32, channels: int = 3, seed: int = 0) -> np.ndarray:
    """uint8 (count, channels, side, side)."""
    return np.random.default_rng(seed).integers(0, 256, (count, channels, side, side), dtype=np.uint8)


def random_pngs(count: int, side: int = 32, seed: int = 0) -> list[bytes]:
    return [encode(pixels) for pixels in random_pixels(count, side, seed=seed)]
