"""Precision, memory format and threads, by a written rule of device and processor.

The forms of one training differ in speed and, by rounding, in their numbers. Nothing is timed here: a rule
that does not look at the network gives all arms of a comparison the same form, today and tomorrow.

| device                                         | precision | memory format |
| ---------------------------------------------- | --------- | ------------- |
| processor with bfloat16 (AVX512_BF16, AMX)     | bfloat16  | channels_last |
| any other processor                            | float32   | channels_last |
| CUDA, compute capability 8 and above           | bfloat16  | channels_last |
| CUDA, below                                    | float32   | channels_last |
| MPS                                            | float32   | contiguous    |
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from filterwise.errors import ParameterError
from filterwise.training.device import pick_device
from filterwise.training.recipe import Recipe

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}
LAYOUTS = {"contiguous": torch.contiguous_format, "channels_last": torch.channels_last}


@dataclass(frozen=True)
class Numerics:
    """The form that a training is computed in, and evaluated within; see the module for the rule.

    Attributes
    ----------
    precision : of the forward pass, ``"float32"`` or ``"bfloat16"``
    memory_format : of images and weights, ``"contiguous"`` or ``"channels_last"``
    engine : ``"single"``, or ``"stacked-S"`` for S networks as one, whose sums are rounded otherwise
    threads : of the processor; sums are split by threads, so that their number shows in the result
    """

    device: torch.device
    precision: str = "float32"
    memory_format: str = "contiguous"
    engine: str = "single"
    threads: int = 1

    @property
    def dtype(self) -> torch.dtype:
        """The precision as torch names it."""
        return DTYPES[self.precision]

    @property
    def layout(self) -> torch.memory_format:
        """The memory format as torch names it."""
        return LAYOUTS[self.memory_format]

    def to_dict(self) -> dict[str, str | int]:
        """The columns of a record: what decides the numbers, on a device of one kind."""
        return {
            "precision": self.precision,
            "memory_format": self.memory_format,
            "engine": self.engine,
            "threads": self.threads,
        }


def resolve(
    recipe: Recipe | None = None, device: str | torch.device = "auto", engine: str = "single"
) -> Numerics:
    """The numerics of a training: what the recipe fixes, else the rule.

    The engine is ``"single"``, or ``"stacked-S"``, which has no memory format but ``"contiguous"``.
    Raises ParameterError: the device is unknown or absent, or the engine does not do what the recipe fixes.

    >>> resolve(Recipe(precision="float32"), "cpu").to_dict()
    {'precision': 'float32', 'memory_format': 'channels_last', 'engine': 'single', 'threads': 1}
    """
    recipe, where = recipe or Recipe(), pick_device(device)
    precision, layout = recipe.precision, recipe.memory_format
    if precision == "auto":
        precision = "bfloat16" if _has_bfloat16(where) else "float32"
    if engine != "single":
        if layout == "channels_last":
            raise ParameterError(
                f"memory_format='channels_last' is not for engine={engine!r}: stacked weights are contiguous"
            )
        layout = "contiguous"
    elif layout == "auto":
        layout = "contiguous" if where.type == "mps" else "channels_last"
    return Numerics(where, precision, layout, engine)


def _has_bfloat16(device: torch.device) -> bool:
    """Whether the device multiplies in bfloat16 by itself, and training in it is to be trusted."""
    if device.type == "cuda":
        return torch.cuda.get_device_capability(device)[0] >= 8
    if device.type == "mps":  # its autocast covers too few operations to be trusted unseen
        return False
    return torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
