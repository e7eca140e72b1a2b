"""The state of a training between two epochs, in one file that is either whole or not there.

Tensors are safetensors; everything else is JSON in the same file's header, so that the two cannot part.
"""

from __future__ import annotations

import copy
import hashlib
import json
import os
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from filterwise.errors import RunError, refused
from filterwise.files import atomic

FILE = "checkpoint.safetensors"
_FORMAT = 2


@dataclass(frozen=True)
class Checkpoint:
    """What `fit` needs to go on after ``epoch`` epochs.

    Attributes
    ----------
    identity : what the training is: network, recipe, seed, data, numerics; another one's is refused
    began : digest of the weights that the training began with
    rows : the history's rows so far
    weights : the network's state by name
    optimiser : the optimiser's state, ``<place among the trained weights>/<name>``
    step : what the training step remembers, by name
    """

    identity: Mapping[str, Any]
    began: str
    epoch: int
    rows: list[dict[str, Any]]
    weights: dict[str, Tensor]
    optimiser: dict[str, Any]
    step: dict[str, Any]


_PARTS = ("weights", "optimiser", "step")


def take(
    net: nn.Module,
    optimiser: Mapping[str, Any],
    identity: Mapping[str, Any],
    began: str,
    rows: list[dict[str, Any]],
    step: Mapping[str, Any] | None = None,
) -> Checkpoint:
    """A copy of the state as it is now; later steps do not change it.

    Raises RunError: optimiser or step remember something that is neither a tensor nor a plain value.
    """
    parts = [
        {name: _copy(part, name, value) for name, value in state.items()}
        for part, state in zip(_PARTS, (net.state_dict(), optimiser, step or {}), strict=True)
    ]
    return Checkpoint(identity, began, len(rows), list(rows), *parts)


def optimiser_state(optimiser: torch.optim.Optimizer) -> dict[str, Any]:
    """All that an optimiser remembers, as in `Checkpoint`; empty before the first step."""
    states = optimiser.state_dict()["state"]
    return {
        f"{place}/{name}": value
        for place, state in states.items()
        for name, value in state.items()
        if value is not None
    }


def restore(net: nn.Module, optimiser: torch.optim.Optimizer, step: Any, checkpoint: Checkpoint) -> None:
    """Put a checkpoint's state into network, optimiser and step, in the weights' memory format."""
    net.load_state_dict(checkpoint.weights)
    weights = [weight for group in optimiser.param_groups for weight in group["params"]]
    states: dict[int, dict[str, Any]] = {}
    for name, value in checkpoint.optimiser.items():
        place, _, key = name.partition("/")
        weight = weights[int(place)]
        if isinstance(value, Tensor) and value.shape == weight.shape:
            value = torch.empty_like(weight, dtype=value.dtype, requires_grad=False).copy_(value)
        elif isinstance(value, Tensor):
            value = value.clone()
        states.setdefault(int(place), {})[key] = value
    optimiser.load_state_dict({"state": states, "param_groups": optimiser.state_dict()["param_groups"]})
    if checkpoint.step or hasattr(step, "load_state_dict"):
        step.load_state_dict({name: copy.deepcopy(value) for name, value in checkpoint.step.items()})


def check_folder(folder: str | Path) -> None:
    """Before anything is trained: a ParameterError for what is no folder and cannot become one."""
    if not isinstance(folder, str | os.PathLike):
        raise refused("checkpoint", folder, "it must be a folder")
    path = Path(folder).absolute()
    above = next(each for each in (path, *path.parents) if each.exists())
    if not above.is_dir():
        raise refused("checkpoint", str(folder), f"it must be a folder, and {above} is a file")


def save(folder: str | Path, checkpoint: Checkpoint) -> Path:
    """Write ``checkpoint.safetensors`` into ``folder``, by way of a temporary name."""
    values = {f"{part}/{name}": value for part in _PARTS for name, value in getattr(checkpoint, part).items()}
    tensors = {name: value.cpu() for name, value in values.items() if isinstance(value, Tensor)}
    header = {
        "format": _FORMAT,
        "identity": dict(checkpoint.identity),
        "began": checkpoint.began,
        "epoch": checkpoint.epoch,
        "rows": checkpoint.rows,
        "plain": {name: value for name, value in values.items() if name not in tensors},
        "digest": weights_digest(tensors),
    }
    path = Path(folder) / FILE
    with atomic(path) as temporary:
        save_file(tensors, temporary, metadata={"filterwise": json.dumps(header)})
    return path


def load(folder: str | Path, identity: Mapping[str, Any], weights: str) -> Checkpoint | None:
    """The checkpoint in ``folder``, or None where there is none.

    ``weights`` is the digest of the network's state now. It must be that which the training began with, or
    the checkpoint's own, as it is after a training was broken off in this process. A file that is broken (cut
    short, bytes changed) is set aside as ``checkpoint.broken`` with a warning, and counts as none: the
    training begins anew, which costs time but never a wrong number.
    Raises RunError: the checkpoint is that of another training; the first difference is named.
    """
    path = Path(folder) / FILE
    if not path.exists():
        return None
    try:
        checkpoint = _read(path)
    except (SafetensorError, OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        aside = path.with_name("checkpoint.broken")
        os.replace(path, aside)
        warnings.warn(
            f"the checkpoint {path} is broken ({error}); it is set aside as {aside.name} "
            "and the training begins anew",
            RuntimeWarning,
            stacklevel=3,
        )
        return None
    identity = json.loads(json.dumps(identity))  # as it comes back from a file
    for name in {**checkpoint.identity, **identity}:
        stored, wanted = checkpoint.identity.get(name), identity.get(name)
        if stored != wanted:
            raise RunError(
                f"the checkpoint {path} is of another training: {name} is {stored!r} there and "
                f"{wanted!r} here; give another folder, or resume=False to begin anew"
            )
    if weights not in (checkpoint.began, weights_digest(checkpoint.weights)):
        raise RunError(
            f"the checkpoint {path} is of another training: the network's weights are neither those that it "
            "began with nor its own; give another folder, or resume=False to begin anew"
        )
    return checkpoint


def _read(path: Path) -> Checkpoint:
    with safe_open(path, framework="pt") as file:
        header = json.loads(file.metadata()["filterwise"])
        # clone: the file may be replaced while a mapped tensor still looks into it
        tensors = {name: file.get_tensor(name).clone() for name in file.keys()}  # noqa: SIM118
    if header["format"] != _FORMAT:
        raise ValueError(f"format {header['format']!r} where {_FORMAT} is expected")
    if header["digest"] != weights_digest(tensors):
        raise ValueError("its content does not have the digest it was written with")
    parts: dict[str, dict[str, Any]] = {part: {} for part in _PARTS}
    for name, value in {**tensors, **header["plain"]}.items():
        part, _, rest = name.partition("/")
        parts[part][rest] = value
    return Checkpoint(header["identity"], header["began"], header["epoch"], header["rows"], **parts)


def _copy(part: str, name: str, value: Any) -> Any:
    if isinstance(value, Tensor):
        return value.detach().clone(memory_format=torch.contiguous_format)
    try:
        return json.loads(json.dumps(value))
    except TypeError:
        raise RunError(
            f"{part} state {name!r} is a {type(value).__name__}; checkpoints hold tensors and plain values"
        ) from None


def weights_digest(tensors: Mapping[str, Tensor]) -> str:
    """Digest of a network's state: names and values."""
    sha = hashlib.sha256()
    for name in sorted(tensors):
        value = tensors[name].detach().cpu().contiguous()
        sha.update(f"{name} {value.dtype} {tuple(value.shape)}\n".encode())
        # as bytes, because numpy has no bfloat16; 0-dimensional tensors have no other view
        sha.update(value.reshape(-1).view(torch.uint8).numpy().data)
    return sha.hexdigest()
