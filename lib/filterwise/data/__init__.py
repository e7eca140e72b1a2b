"""What comes in: image sets from parquet, cache, download or nothing at all, and batched augmentation."""

from filterwise.data.augmentation import augment, draw, flip_and_shift, scale
from filterwise.data.catalog import SetInfo, describe, names
from filterwise.data.imageset import ImageSet
from filterwise.data.sources import load

__all__ = ["ImageSet", "SetInfo", "augment", "describe", "draw", "flip_and_shift", "load", "names", "scale"]
