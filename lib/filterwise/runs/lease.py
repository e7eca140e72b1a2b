"""Leases of accelerators: each worker process sees one device only, and no device has more workers than
allowed."""

from __future__ import annotations

import getpass
import os
import re
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from filelock import FileLock, Timeout

from filterwise.errors import RunError

# Held until the process ends: a process that has opened CUDA cannot change to another device. The system
# frees the lock of a process that dies.
_held: tuple[str, FileLock] | None = None


def cuda_devices() -> tuple[str, ...]:
    """The CUDA devices that this process may use, as ``CUDA_VISIBLE_DEVICES`` names them; empty without
    CUDA."""
    import torch

    listed = os.environ.get("CUDA_VISIBLE_DEVICES")
    count = torch.cuda.device_count()  # asks the driver's monitor and leaves CUDA closed
    if listed is None:
        return tuple(str(index) for index in range(count))
    return tuple(name.strip() for name in listed.split(",") if name.strip())[:count]


def leases_folder() -> Path:
    """Where a machine keeps the locks of its devices, one folder a user."""
    return Path(tempfile.gettempdir()) / f"filterwise-leases-{getpass.getuser()}"


def take(devices: Sequence[str], per_device: int, folder: Path | None = None, timeout: float = 600) -> str:
    """Bind this process to one of ``devices`` that has a free place, and hide the others from it.

    The device with the most free places is not searched for: places are tried first on every device, then
    second places, so that workers spread evenly. A second call gives the same device again.

    Raises RunError if every place stays taken for ``timeout`` seconds.
    """
    global _held
    if _held is None:
        _held = _wait(devices, per_device, folder or leases_folder(), timeout)
        os.environ["CUDA_VISIBLE_DEVICES"] = _held[0]
    return _held[0]


def _wait(devices: Sequence[str], per_device: int, folder: Path, timeout: float) -> tuple[str, FileLock]:
    folder.mkdir(parents=True, exist_ok=True)
    started = time.monotonic()
    while True:
        for place in range(per_device):
            for device in devices:
                name = re.sub(r"[^\w-]", "_", device)
                lock = FileLock(folder / f"{name}.{place}.lock")
                try:
                    lock.acquire(timeout=0)
                except Timeout:
                    continue
                return device, lock
        if time.monotonic() - started >= timeout:
            raise RunError(
                f"no free place on the devices {', '.join(devices)} ({per_device} each) for {timeout:g} s; "
                f"places are the locks in {folder}"
            )
        time.sleep(0.2)
