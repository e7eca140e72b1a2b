"""What comes in: image sets from parquet, cache, download or nothing at all, and batched augmentation.

``load`` finds a set by name, ``load_folder`` reads a folder of label folders, ``augment`` turns a batch of
uint8 images into mirrored, shifted, scaled floats on the device where it is.
"""

from filterwise.lazy import attach

__getattr__, __dir__, __all__ = attach(
    __name__,
    {
        "augmentation": ["augment", "draw", "scale"],
        "catalog": ["SetInfo", "describe", "names"],
        "folder": ["FolderSet", "load_folder"],
        "imageset": ["ImageSet"],
        "sources": ["fetch", "load"],
    },
)
