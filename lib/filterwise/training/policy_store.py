"""Where the choice of precision and memory format is kept, one small JSON file each."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import platform
import warnings
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import filelock
import torch
from torch import nn

Form = tuple[str, str]  # precision, memory format


def folder() -> Path:
    """``policy`` in the cache folder: ``FILTERWISE_CACHE``, else ``~/.cache/filterwise``."""
    cache = os.environ.get("FILTERWISE_CACHE")
    return (Path(cache).expanduser() if cache else Path.home() / ".cache" / "filterwise") / "policy"


@lru_cache(maxsize=1)
def machine() -> str:
    """The processor's name; machines that are alike share their choices."""
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def signature(net: nn.Module) -> str:
    """Digest of a network's modules, their options and the shapes of its state; not of its values."""
    shapes = [(name, tuple(value.shape), str(value.dtype)) for name, value in net.state_dict().items()]
    text = f"{type(net).__module__}.{type(net).__qualname__}\n{net!r}\n{shapes}"
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def key(net: nn.Module, shape: Sequence[int], device: torch.device, forms: Sequence[Form]) -> dict[str, Any]:
    """What the choice depends on. The thread count is left out: a sweep that divides the cores must compute
    in the same form as a run alone."""
    return {
        "machine": machine(),
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else device.type,
        "torch": torch.__version__,
        "network": signature(net),
        "shape": list(shape),
        "forms": ["/".join(form) for form in forms],
    }


def _path(key: Mapping[str, Any]) -> Path:
    text = json.dumps(key, sort_keys=True)
    return folder() / f"{hashlib.sha256(text.encode()).hexdigest()[:24]}.json"


def read(key: Mapping[str, Any], forms: Sequence[Form]) -> Form | None:
    """The choice on file, or None; a file that cannot be understood counts as none."""
    try:
        entry = json.loads(_path(key).read_text(encoding="utf-8"))
        precision, layout = entry["choice"].split("/")
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
    return (precision, layout) if (precision, layout) in forms else None


def write(key: Mapping[str, Any], choice: Form, seconds: Mapping[Form, float]) -> None:
    """Keep a choice; warn where the folder cannot be written to."""
    path = _path(key)
    milliseconds = {"/".join(form): round(1e3 * value, 4) for form, value in seconds.items()}
    entry = {**key, "choice": "/".join(choice), "milliseconds": milliseconds}
    temporary = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            temporary.write_text(json.dumps(entry, indent=1) + "\n", encoding="utf-8")
            os.replace(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)
    except OSError as error:
        warnings.warn(
            f"the choice of precision and memory format is not kept, the next run may differ: {error}",
            RuntimeWarning,
            stacklevel=3,
        )


@contextlib.contextmanager
def locked(key: Mapping[str, Any]) -> Iterator[None]:
    """One process at a time times a network, so that all of them take the first one's choice."""
    path = _path(key)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lock = filelock.FileLock(path.with_suffix(".lock"))
        lock.acquire()
    except OSError:
        yield  # nothing can be kept there; `write` warns
        return
    try:
        yield
    finally:
        lock.release()
