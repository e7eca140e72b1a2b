"""What comes in: image sets from parquet, cache, download or nothing at all, and batched augmentation.

``load`` finds a set by name, ``load_folder`` reads a folder of label folders, ``augment`` turns a batch of
uint8 images into mirrored, shifted, scaled floats on the device where it is.
"""

from filterwise.data.augmentation import augment, draw, flip_and_shift, scale
from filterwise.data.cache import cache_folder
from filterwise.data.catalog import SetInfo, describe, names
from filterwise.data.folder import FolderSet, load_folder
from filterwise.data.imageset import ImageSet
from filterwise.data.sources import fetch, load

__all__ = [
    "FolderSet",
    "ImageSet",
    "SetInfo",
    "augment",
    "cache_folder",
    "describe",
    "draw",
    "fetch",
    "flip_and_shift",
    "load",
    "load_folder",
    "names",
    "scale",
]
