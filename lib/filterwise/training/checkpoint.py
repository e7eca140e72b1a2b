"""The state of a training between two epochs, in one file that is either whole or not there.

Tensors are safetensors; everything else is JSON in the same file's header, so that the two cannot part.
"""

from __future__ import annotations

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

from filterwise.errors import RunError

FILE = "checkpoint.safetensors"
_FORMAT = 1


@dataclass(frozen=True)
class Checkpoint:
    """What `fit` needs to go on after ``epoch`` epochs.

    Attributes
    ----------
    identity : what the training is: network, recipe, seed, data; a checkpoint of another one is refused
    began : digest of the weights that the training began with
    epoch : epochs that are done
    rows : the history's rows so far
    policy : as `Policy.to_dict` gives it
    weights : the network's state by name
    momentum : the optimiser's momentum by place among the trained weights
    """

    identity: Mapping[str, Any]
    began: str
    epoch: int
    rows: list[dict[str, Any]]
    policy: dict[str, str]
    weights: dict[str, Tensor]
    momentum: dict[str, Tensor]


def take(
    net: nn.Module,
    momentum: Mapping[str, Tensor],
    identity: Mapping[str, Any],
    began: str,
    rows: list[dict[str, Any]],
    policy: dict[str, str],
) -> Checkpoint:
    """A copy of the state as it is now; later steps do not change it."""
    weights = {name: _copy(value) for name, value in net.state_dict().items()}
    moving = {place: _copy(buffer) for place, buffer in momentum.items()}
    return Checkpoint(identity, began, len(rows), list(rows), policy, weights, moving)


def momentum_of(optimiser: torch.optim.SGD) -> dict[str, Tensor]:
    """The optimiser's momentum by place among the trained weights; empty before the first step."""
    states = (optimiser.state.get(weight, {}) for weight in optimiser.param_groups[0]["params"])
    buffers = ((str(place), state.get("momentum_buffer")) for place, state in enumerate(states))
    return {place: buffer for place, buffer in buffers if buffer is not None}


def restore(net: nn.Module, optimiser: torch.optim.SGD, checkpoint: Checkpoint) -> None:
    """Put a checkpoint's weights and momentum into network and optimiser, in the memory format they have."""
    net.load_state_dict(checkpoint.weights)
    optimiser.state.clear()
    for place, weight in enumerate(optimiser.param_groups[0]["params"]):
        if str(place) in checkpoint.momentum:
            buffer = torch.empty_like(weight, requires_grad=False)
            optimiser.state[weight]["momentum_buffer"] = buffer.copy_(checkpoint.momentum[str(place)])


def save(folder: str | Path, checkpoint: Checkpoint) -> Path:
    """Write ``checkpoint.safetensors`` into ``folder``, by way of a temporary name."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    tensors = {name: value.cpu() for name, value in _flat(checkpoint).items()}
    header = {
        "format": _FORMAT,
        "identity": dict(checkpoint.identity),
        "began": checkpoint.began,
        "epoch": checkpoint.epoch,
        "rows": checkpoint.rows,
        "policy": checkpoint.policy,
        "digest": _digest(tensors),
    }
    temporary = folder / f".{FILE}.{os.getpid()}.tmp"
    try:
        save_file(tensors, temporary, metadata={"filterwise": json.dumps(header)})
        os.replace(temporary, folder / FILE)
    finally:
        temporary.unlink(missing_ok=True)
    return folder / FILE


def load(folder: str | Path, identity: Mapping[str, Any], weights: str) -> Checkpoint | None:
    """The checkpoint in ``folder``, or None where there is none.

    ``weights`` is the digest of the network's state now. It must be that which the training began with, or
    the checkpoint's own, as it is after a training was broken off in this process.

    A file that is broken (cut short, bytes changed) is set aside as ``checkpoint.broken`` with a warning, and
    counts as none: the training begins anew, which costs time but never a wrong number.

    Raises
    ------
    RunError
        The checkpoint is that of another training; the first difference is named.
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
    for name in {**checkpoint.identity, **identity}:
        stored, wanted = checkpoint.identity.get(name), identity.get(name)
        if stored != wanted:
            raise RunError(
                f"the checkpoint {path} is of another training: {name} is {stored!r} there and "
                f"{wanted!r} here; give another folder, or resume=False to begin anew"
            )
    if weights not in (checkpoint.began, _digest(checkpoint.weights)):
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
    if header["digest"] != _digest(tensors):
        raise ValueError("its content does not have the digest it was written with")
    parts: dict[str, dict[str, Tensor]] = {"weights": {}, "momentum": {}}
    for name, value in tensors.items():
        part, _, rest = name.partition("/")
        parts[part][rest] = value
    return Checkpoint(
        header["identity"], header["began"], header["epoch"], header["rows"], header["policy"], **parts
    )


def weights_digest(state: Mapping[str, Tensor]) -> str:
    """Digest of a network's state: names and values.

    >>> weights_digest({"a": torch.zeros(2)}) == weights_digest({"a": torch.zeros(2)})
    True
    """
    return _digest(state)


def _flat(checkpoint: Checkpoint) -> dict[str, Tensor]:
    weights = {f"weights/{name}": value for name, value in checkpoint.weights.items()}
    return weights | {f"momentum/{place}": value for place, value in checkpoint.momentum.items()}


def _copy(value: Tensor) -> Tensor:
    return value.detach().clone(memory_format=torch.contiguous_format)


def _digest(tensors: Mapping[str, Tensor]) -> str:
    sha = hashlib.sha256()
    for name in sorted(tensors):
        value = tensors[name].detach().cpu().contiguous()
        sha.update(f"{name} {value.dtype} {tuple(value.shape)}\n".encode())
        # as bytes, because numpy has no bfloat16; 0-dimensional tensors have no other view
        sha.update(value.reshape(-1).view(torch.uint8).numpy().data)
    return sha.hexdigest()
