"""Fetching the published archives by pooch: checked against their MD5, complete or not there at all.

Addresses and checksums are those that torchvision uses (a test compares them with an installed torchvision).
The archives are read by `filterwise.data.originals`, so that nothing here needs torchvision itself.
"""

from __future__ import annotations

import os
import sys
import urllib.parse
from dataclasses import dataclass
from pathlib import Path

from filterwise.errors import DataError, ParameterError
from filterwise.files import lock

MIRROR_VARIABLE = "FILTERWISE_MIRROR"
TIMEOUT = 60.0  # seconds without a byte
RETRIES = 2  # after a connection that failed or bytes that were wrong


@dataclass(frozen=True)
class Archive:
    """One file to fetch: ``base`` and ``file`` make its address."""

    file: str
    base: str
    md5: str  # the only checksum that was published


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

    ``mirror``: address of a folder that has the same files; else the environment variable FILTERWISE_MIRROR,
    else where they were published.
    Raises ParameterError: the mirror is not an http or https address; DataError: pooch is missing, or the
    server cannot be reached, answers with an error, stops early or sends other bytes than expected; the
    message names the address and what else can be done. Nothing is left behind.
    """
    base = (mirror or os.environ.get(MIRROR_VARIABLE) or archive.base).rstrip("/") + "/"
    if urllib.parse.urlsplit(base).scheme not in ("http", "https"):
        raise ParameterError(f"mirror={base!r} is not an address; http://... or https://... is expected")
    try:
        import pooch
    except ImportError:
        raise DataError(f"to fetch {base}{archive.file} takes the package pooch: pip install pooch") from None
    source = pooch.create(
        folder, base, registry={archive.file: f"md5:{archive.md5}"}, retry_if_failed=RETRIES
    )
    downloader = pooch.HTTPDownloader(timeout=TIMEOUT, progressbar=sys.stderr.isatty())
    try:
        with lock(folder / f"{archive.file}.lock"):
            return Path(source.fetch(archive.file, downloader=downloader))
    except OSError as error:  # of the network as well as of the disk
        answer = getattr(error, "response", None)
        said = (
            f"the server answers {answer.status_code} {answer.reason}" if answer is not None else str(error)
        )
        reason = f"cannot be fetched: {said}"
    except ValueError as error:
        reason = f"checksum mismatch: {error}"
    raise DataError(
        f"{base}{archive.file}: {reason}; give another address by mirror= or {MIRROR_VARIABLE}, "
        f"or put the file there yourself: {folder / archive.file}"
    )
