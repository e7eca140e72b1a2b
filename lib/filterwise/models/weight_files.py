"""Public weights, and how a weight file is read into a network."""

from __future__ import annotations

import os
from pathlib import Path

import torch
from torch import Tensor, nn

from filterwise import _torchvision
from filterwise.errors import DataError, ParameterError, near_miss, refused

#: "random", "imagenet" or the path of a file.
Weights = str | os.PathLike[str] | None

_FILES = (".safetensors", ".pth", ".pt")


def check_weights(weights: Weights, words: tuple[str, ...]) -> None:
    """Raise a ParameterError unless ``weights`` is one of ``words`` or an existing file of a known kind."""
    if isinstance(weights, str) and weights in words:
        return
    listed = ", ".join(map(repr, words)) + " or the path of a .safetensors, .pth or .pt file"
    allowed = f"choose from {listed}{near_miss(weights, words)}"
    if not isinstance(weights, (str, os.PathLike)) or Path(weights).suffix not in _FILES:
        raise refused("weights", weights, allowed)
    if not Path(weights).is_file():
        raise ParameterError(f"weights={os.fspath(weights)!r} does not exist; {allowed}")


def read(net: nn.Module, name: str, weights: Weights, published: str) -> None:
    """Fill ``net`` with the weights of a file; "random" leaves it as it is.

    "imagenet" takes the file that torchvision's enumeration ``published`` names. The last linear layer stays
    as it is if the file's has another number of outputs. All else must fit.

    Raises DataError if the file cannot be had or read, or a weight is missing, superfluous or of another
    shape. The network is then left as it was.
    """
    if weights in (None, "random"):
        return
    given = _download(published) if weights == "imagenet" else _read_file(Path(os.fspath(weights)))
    own = net.state_dict()
    head = [key for key, module in net.named_modules() if isinstance(module, nn.Linear)][-1]
    if f"{head}.weight" in given and len(given[f"{head}.weight"]) != len(own[f"{head}.weight"]):
        given.update({key: own[key] for key in (f"{head}.weight", f"{head}.bias")})
    wrong = [f"{key} is missing" for key in own if key not in given]
    wrong += [f"{key} is not a weight of this network" for key in given if key not in own]
    wrong += [
        f"{key} is {tuple(given[key].shape)}, expected {tuple(own[key].shape)}"
        for key in own
        if key in given and given[key].shape != own[key].shape
    ]
    if wrong:
        more = f" and {len(wrong) - 3} more" if len(wrong) > 3 else ""
        raise DataError(f"weights={str(weights)!r} do not fit {name!r}: {'; '.join(wrong[:3])}{more}")
    net.load_state_dict(given)


def _read_file(path: Path) -> dict[str, Tensor]:
    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            return dict(load_file(path))
        content = torch.load(path, map_location="cpu", weights_only=True)  # never runs code of the file
    except Exception as error:
        raise DataError(f"weights file {str(path)!r} cannot be read: {error}") from error
    if not isinstance(content, dict) or not all(isinstance(value, Tensor) for value in content.values()):
        raise DataError(f"weights file {str(path)!r} holds no weights by name, as net.state_dict() does")
    return dict(content)


def _download(published: str) -> dict[str, Tensor]:
    source = getattr(_torchvision.load().models, published).IMAGENET1K_V1
    try:
        return dict(source.get_state_dict(progress=False, check_hash=True))
    except (OSError, RuntimeError) as error:
        raise DataError(
            f"weights='imagenet' could not be fetched from {source.url}: {error}; "
            "fetch the file where there is a network and give its path"
        ) from error
