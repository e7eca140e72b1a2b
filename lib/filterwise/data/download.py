"""Fetching the published archives: streamed, checked against their MD5, complete or not there at all.

Addresses and checksums are those that torchvision uses (a test compares them with an installed torchvision).
The archives are read by `filterwise.data.originals`, so that nothing here needs torchvision itself.
"""

from __future__ import annotations

import hashlib
import http.client
import logging
import os
import tempfile
import urllib.error
import urllib.parse
import urllib.request
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock
from tqdm import tqdm

from filterwise.errors import DataError, ParameterError

log = logging.getLogger(__name__)

MIRROR_VARIABLE = "FILTERWISE_MIRROR"
TIMEOUT = 60.0  # seconds without a byte
BLOCK = 2**18  # bytes


@dataclass(frozen=True)
class Archive:
    """One file to fetch: ``base`` and ``file`` make its address."""

    file: str
    base: str
    md5: str


_TORONTO = "https://www.cs.toronto.edu/~kriz/"
_OXFORD = "https://www.robots.ox.ac.uk/~vgg/data/flowers/102/"

ARCHIVES: dict[str, tuple[Archive, ...]] = {
    "cifar10": (Archive("cifar-10-python.tar.gz", _TORONTO, "c58f30108f718f92721af3b95e74349a"),),
    "cifar100": (Archive("cifar-100-python.tar.gz", _TORONTO, "eb9058c3a382ffc7106e4002c42a8d85"),),
    "flowers102": (
        Archive("102flowers.tgz", _OXFORD, "52808999861908f626f3c1f4e79d11fa"),
        Archive("imagelabels.mat", _OXFORD, "e0620be6f572b9609742df49c70aed4d"),
        Archive("setid.mat", _OXFORD, "a5357ecc9cb78c4bef273ce3793fc85c"),
    ),
}


def fetch_archive(archive: Archive, folder: Path, mirror: str | None = None) -> Path:
    """The archive's path in ``folder``, fetched unless a copy with the right checksum is there.

    Parameters
    ----------
    mirror : address of a folder that has the same files; else the environment variable FILTERWISE_MIRROR,
        else where they were published

    Raises
    ------
    DataError
        The server cannot be reached, answers with an error, stops early or sends other bytes than expected;
        the message names the address. Nothing is left behind.
    ParameterError
        The mirror is not an http or https address.
    """
    base = mirror or os.environ.get(MIRROR_VARIABLE) or archive.base
    if urllib.parse.urlsplit(base).scheme not in ("http", "https"):
        raise ParameterError(f"mirror={base!r} is not an address; http://... or https://... is expected")
    url = f"{base.rstrip('/')}/{archive.file}"
    target = folder / archive.file
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = FileLock(folder / f"{archive.file}.lock")
        lock.acquire()
    except OSError as error:
        raise DataError(f"download folder {folder}: cannot be written ({error})") from None
    try:
        if target.is_file():
            with target.open("rb") as stream:
                if hashlib.file_digest(stream, _md5).hexdigest() == archive.md5:
                    return target
            log.warning("%s has another checksum than expected; it is fetched again", target)
        for stale in folder.glob(f".tmp-{archive.file}-*"):  # of a process that was killed
            stale.unlink(missing_ok=True)
        handle, name = tempfile.mkstemp(dir=folder, prefix=f".tmp-{archive.file}-")
        os.close(handle)
        temporary = Path(name)
        try:
            _stream(url, temporary, archive.md5)
            os.replace(temporary, target)
        finally:
            temporary.unlink(missing_ok=True)
    finally:
        lock.release()
    return target


def _md5() -> hashlib._Hash:
    return hashlib.md5(usedforsecurity=False)  # the only checksum that was published


def _stream(url: str, target: Path, md5: str) -> None:
    """Write what ``url`` sends to ``target``; raise unless its MD5 is ``md5``."""
    log.info("fetching %s", url)
    digest, received = _md5(), 0
    try:
        # the scheme was checked: http or https
        with urllib.request.urlopen(url, timeout=TIMEOUT) as answer, target.open("wb") as file:
            length = answer.headers.get("Content-Length")
            expected = int(length) if length and length.isdigit() else None
            with tqdm(total=expected, unit="B", unit_scale=True, desc=target.name, disable=None) as bar:
                while block := answer.read(BLOCK):
                    file.write(block)
                    digest.update(block)
                    received += len(block)
                    bar.update(len(block))
    except urllib.error.HTTPError as error:
        error.close()
        raise DataError(f"{url}: the server answers {error.code} {error.reason}") from None
    except (OSError, http.client.HTTPException) as error:
        reason = getattr(error, "reason", error)
        raise DataError(f"{url}: cannot be fetched after {received} bytes: {reason}") from None
    if expected is not None and received != expected:
        raise DataError(f"{url}: the connection ended after {received} of {expected} bytes")
    if digest.hexdigest() != md5:
        raise DataError(
            f"{url}: checksum mismatch: the {received} bytes have MD5 {digest.hexdigest()}; {md5} is expected"
        )
