"""Downloads from a server on this machine: checked, read without running anything in them, cached."""

from __future__ import annotations

import hashlib
import http.server
import io
import os
import pickle
import subprocess
import sys
import tarfile
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from picture_files import NAMES, encode, random_pixels
from scipy.io import savemat

from filterwise.data import catalog, fetch, load, originals
from filterwise.data.originals import ARCHIVES, Archive, fetch_archive
from filterwise.errors import DataError, ParameterError


class Server:
    """Serves ``files``; the first ``cut`` answers end half way, ``asked`` lists the requests."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.asked: list[str] = []
        self.cut = 0
        server = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                server.asked.append(self.path)
                content = server.files.get(self.path.lstrip("/"))
                if content is None:
                    self.send_error(404, "Not Found")
                    return
                self.send_response(200)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                server.cut -= 1
                self.wfile.write(content[: len(content) // 2] if server.cut >= 0 else content)

            def log_message(self, *_: object) -> None:
                pass

        self.http = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.thread = threading.Thread(target=self.http.serve_forever, kwargs={"poll_interval": 0.01})
        self.thread.start()
        self.address = f"http://127.0.0.1:{self.http.server_port}"

    def close(self) -> None:
        self.http.shutdown()
        self.http.server_close()
        self.thread.join()


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    made = Server()
    monkeypatch.setenv("FILTERWISE_MIRROR", made.address)
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.setattr(originals, "RETRIES", 0)
    yield made
    made.close()


def tar(members: dict[str, bytes]) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w:gz") as archive:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return stream.getvalue()


class OldPickler(pickle.Pickler):
    """Writes dtypes as CIFAR's files have them: 0 and 1 for flags, and numpy's old module names."""

    def reducer_override(self, value: object) -> Any:
        if isinstance(value, np.dtype):
            return np.dtype, (value.str[1:], 0, 1), value.__reduce__()[2]
        return NotImplemented


def old_pickle(value: object) -> bytes:
    stream = io.BytesIO()
    OldPickler(stream, protocol=2).dump(value)
    return stream.getvalue().replace(b"numpy._core.multiarray", b"numpy.core.multiarray")


def cifar10(images: np.ndarray, dump: Callable[[object], bytes] = old_pickle, **changes: Any) -> bytes:
    """An archive laid out like CIFAR-10's: five files to train and one to test, n images each."""
    members = {"cifar-10-batches-py/batches.meta": dump({"label_names": list(NAMES)})}
    files = [*(f"data_batch_{number}" for number in range(1, 6)), "test_batch"]
    for file, batch in zip(files, np.split(images, 6), strict=True):
        values = {"data": batch.reshape(len(batch), -1), "labels": list(range(len(batch))), **changes}
        members[f"cifar-10-batches-py/{file}"] = dump(values)
    return tar(members)


@pytest.fixture
def offer(server: Server, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Put files on the server and expect their checksums."""

    def put(name: str, *contents: bytes) -> None:
        expected = []
        for archive, content in zip(ARCHIVES[name], contents, strict=True):
            server.files[archive.file] = content
            md5 = hashlib.md5(content, usedforsecurity=False).hexdigest()
            expected.append(replace(archive, md5=md5))
        monkeypatch.setitem(ARCHIVES, name, tuple(expected))

    return put


def left_in(cache: Path) -> list[str]:
    return sorted(path.name for path in cache.rglob("*") if path.is_file() and path.suffix != ".lock")


def test_cifar10_is_fetched_once_and_read(
    server: Server, offer: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    counts = {"train": 20, "test": 4}
    monkeypatch.setitem(catalog.CATALOG, "cifar10", replace(catalog.CATALOG["cifar10"], counts=counts))
    images = random_pixels(24)
    offer("cifar10", cifar10(images))
    with pytest.raises(DataError, match="not found"):
        load("cifar10")
    assert server.asked == []  # nothing is fetched that was not asked for
    train = load("cifar10", download=True)
    assert np.array_equal(train.images.numpy(), images[:20])
    assert train.labels.tolist() == [0, 1, 2, 3] * 5
    assert train.label_names == NAMES
    assert (train.title, train.source) == ("cifar10", "download cifar-10-python.tar.gz")
    test = load("cifar10", split="test", download=True)
    assert np.array_equal(test.images.numpy(), images[20:])
    assert server.asked == ["/cifar-10-python.tar.gz"]
    again = load("cifar10")
    assert (again.digest, again.source) == (train.digest, "cache (download cifar-10-python.tar.gz)")


def test_cifar100_has_its_fine_labels(offer: Callable[..., None]) -> None:
    images = random_pixels(5)
    values = {"data": images.reshape(5, -1), "fine_labels": [0, 9, 2, 3, 1], "coarse_labels": [1] * 5}
    meta = {"fine_label_names": list(NAMES), "coarse_label_names": ["all"]}
    members = {
        "train": pickle.dumps(values, 2),
        "test": pickle.dumps(values, 2),
        "meta": pickle.dumps(meta, 2),
    }
    offer("cifar100", tar({f"cifar-100-python/{name}": content for name, content in members.items()}))
    train, test = fetch("cifar100")
    assert train.labels.tolist() == [0, 9, 2, 3, 1]
    assert np.array_equal(test.images.numpy(), images)


def test_flowers_are_put_in_the_order_of_their_split(offer: Callable[..., None]) -> None:
    pictures = {
        f"jpg/image_{k:05d}.jpg": encode(np.full((3, 30, 40), 20 * k, np.uint8), "JPEG") for k in range(1, 8)
    }
    labels, splits = io.BytesIO(), io.BytesIO()
    savemat(labels, {"labels": np.array([[5, 6, 7, 8, 9, 10, 102]], dtype=np.uint8)})
    savemat(splits, {"trnid": [[6, 2]], "valid": [[7, 1, 3]], "tstid": [[4, 5]]})
    offer("flowers102", tar(pictures), labels.getvalue(), splits.getvalue())
    train, val, test = fetch("flowers102")
    assert [len(train), len(val), len(test)] == [2, 3, 2]
    assert train.labels.tolist() == [9, 5]
    assert val.labels.tolist() == [101, 4, 6]
    assert train.shape == (3, 224, 224)
    assert [round(float(image.float().mean()) / 20) for image in val.images] == [7, 1, 3]
    small = load("flowers102", split="test", download=True, size=32)
    assert small.shape == (3, 32, 32)


def test_a_wrong_checksum_is_one_clear_error_and_leaves_nothing(server: Server, own_cache: Path) -> None:
    server.files["cifar-10-python.tar.gz"] = b"something else"
    with pytest.raises(DataError) as caught:
        load("cifar10", download=True)
    message = str(caught.value)
    assert message.startswith(f"{server.address}/cifar-10-python.tar.gz: checksum mismatch: ")
    assert hashlib.md5(b"something else", usedforsecurity=False).hexdigest() in message
    assert "c58f30108f718f92721af3b95e74349a" in message
    assert message.endswith(
        "give another address by mirror= or FILTERWISE_MIRROR, or put the file there yourself: "
        f"{own_cache / 'downloads' / 'cifar-10-python.tar.gz'}"
    )
    assert left_in(own_cache) == []


def test_a_connection_that_ends_early_a_missing_file_and_no_server(
    server: Server, offer: Callable[..., None], own_cache: Path
) -> None:
    offer("cifar10", cifar10(random_pixels(6)))
    server.cut = 1
    with pytest.raises(DataError, match=r"python\.tar\.gz: (cannot be fetched|checksum mismatch): "):
        load("cifar10", download=True)
    server.files.clear()
    with pytest.raises(
        DataError, match=r"python\.tar\.gz: cannot be fetched: the server answers 404 Not Found"
    ):
        load("cifar10", download=True)
    with pytest.raises(
        DataError, match=r"127\.0\.0\.1:9/cifar-10-python\.tar\.gz: cannot be fetched: .*refused"
    ):
        load("cifar10", download=True, mirror="http://127.0.0.1:9")
    with pytest.raises(ParameterError, match="mirror='file:///etc/' is not an address"):
        load("cifar10", download=True, mirror="file:///etc")
    assert left_in(own_cache) == []


def test_a_failed_download_is_tried_again(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(originals, "RETRIES", 1)
    content = np.random.default_rng(0).bytes(2**20 + 5)
    server.files["large.bin"], server.cut = content, 1
    archive = Archive("large.bin", server.address, hashlib.md5(content).hexdigest())
    assert fetch_archive(archive, tmp_path).read_bytes() == content
    assert len(server.asked) == 2


def test_a_damaged_copy_is_fetched_again_and_a_good_one_is_not(server: Server, tmp_path: Path) -> None:
    server.files["some.bin"] = b"content"
    archive = Archive("some.bin", "http://nowhere.invalid", hashlib.md5(b"content").hexdigest())
    for _ in range(2):
        assert fetch_archive(archive, tmp_path).read_bytes() == b"content"
    assert len(server.asked) == 1
    (tmp_path / "some.bin").write_bytes(b"conten")
    assert fetch_archive(archive, tmp_path).read_bytes() == b"content"
    assert left_in(tmp_path) == ["some.bin"]
    assert len(server.asked) == 2


def test_pooch_is_imported_for_a_download_alone_and_its_absence_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = (
        "import sys; from filterwise import data; data.load('parts', n=10); print('pooch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
    monkeypatch.setitem(sys.modules, "pooch", None)  # the import system's word for "there is none"
    with pytest.raises(
        DataError, match=r"cifar-10-python\.tar\.gz takes the package pooch: pip install pooch"
    ):
        load("cifar10", download=True, cache=tmp_path)


class Harmful:
    def __reduce__(self) -> tuple[Any, ...]:
        return os.putenv, ("FILTERWISE_HARMED", "yes")


BROKEN: dict[str, tuple[Callable[[], bytes], str]] = {
    "no archive": (lambda: b"no archive", "not a readable archive of cifar10"),
    "cut": (lambda: cifar10(random_pixels(6))[:-3000], "not a readable archive of cifar10"),
    "other members": (lambda: tar({"readme": b""}), "not a readable archive of cifar10"),
    "code": (lambda: cifar10(random_pixels(6), pickle.dumps, data=Harmful()), r"putenv is not allowed"),
    "no labels": (lambda: cifar10(random_pixels(6), labels=None), "not a readable archive of cifar10"),
    "few labels": (lambda: cifar10(random_pixels(12), labels=[1]), r"\(10, 3072\) for 5 labels; a row"),
    "short rows": (lambda: cifar10(random_pixels(6, 16)), r"train is uint8 \(5, 768\) for 5 labels"),
    "label": (lambda: cifar10(random_pixels(6), labels=[10]), "labels 10 to 10; 0 to 9 is expected"),
}  # fmt: skip


@pytest.mark.parametrize("kind", BROKEN)
def test_an_archive_that_is_not_what_it_should_be(
    kind: str, offer: Callable[..., None], own_cache: Path
) -> None:
    make, message = BROKEN[kind]
    offer("cifar10", make())
    with pytest.raises(DataError, match=message) as caught:
        load("cifar10", download=True)
    assert "cifar-10-python.tar.gz" in str(caught.value)
    assert not list((own_cache / "sets").glob("[!.]*[!k]"))  # lock files only
    assert "FILTERWISE_HARMED" not in os.environ


def test_what_cannot_be_downloaded_is_refused() -> None:
    with pytest.raises(
        ParameterError, match="download=True: tiny-imagenet-100 cannot be downloaded; give root="
    ):
        load("tiny-imagenet-100", download=True)
    with pytest.raises(
        ParameterError, match=r"name='parts' is not known; choose from 'cifar10', 'cifar100', 'flow"
    ):
        fetch("parts")


def test_addresses_and_checksums_are_torchvisions() -> None:
    shim = pytest.importorskip("filterwise._torchvision", reason="the torchvision shim is missing")
    try:
        datasets = shim.load().datasets
    except Exception as error:
        pytest.skip(f"torchvision cannot be imported: {error}")
    for name, theirs in (("cifar10", datasets.CIFAR10), ("cifar100", datasets.CIFAR100)):
        (ours,) = ARCHIVES[name]
        assert (ours.base + ours.file, ours.file, ours.md5) == (theirs.url, theirs.filename, theirs.tgz_md5)
        folder, files, names_file, names_key, _ = originals._CIFAR[name]
        assert folder == theirs.base_folder
        assert list(files["train"]) == [file for file, _ in theirs.train_list]
        assert list(files["test"]) == [file for file, _ in theirs.test_list]
        assert (names_file, names_key) == (theirs.meta["filename"], theirs.meta["key"])
    flowers = datasets.Flowers102
    assert {(ours.file, ours.md5) for ours in ARCHIVES["flowers102"]} == set(flowers._file_dict.values())
    assert all(ours.base == flowers._download_url_prefix for ours in ARCHIVES["flowers102"])
