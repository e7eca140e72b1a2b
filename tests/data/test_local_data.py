"""The real files under FILTERWISE_DATA: counts, speed and memory of a load from the cache."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from filterwise.data import describe, load

ROOT = os.environ.get("FILTERWISE_DATA", "")

pytestmark = [
    pytest.mark.local_data,
    pytest.mark.skipif(not ROOT, reason="FILTERWISE_DATA is not set"),
]

MEASURE = """
import json, sys, time, torch
from filterwise.data import load
resident = lambda: int(open("/proc/self/statm").read().split()[1]) * 4096 / 1e6
load("parts", n=10)
before, start = resident(), time.perf_counter()
ds = load("cifar10", root=sys.argv[1])
seconds, loaded = time.perf_counter() - start, resident() - before
brightest = max(int(images.numpy().max()) for images, _ in ds.batches(500))
seen = {"seconds": seconds, "loaded": loaded, "read": resident() - before, "whole": resident()}
print(json.dumps({**seen, "brightest": brightest}))
"""


@pytest.mark.parametrize("name", ["cifar10", "tiny-imagenet-100"])
@pytest.mark.parametrize("split", ["train", "test"])
def test_counts_are_the_published_ones(name: str, split: str) -> None:
    if not (Path(ROOT) / name).is_dir():
        pytest.skip(f"{name} is not under FILTERWISE_DATA")
    info, ds = describe(name), load(name, split=split)
    assert len(ds) == info.counts[split]
    assert ds.shape == info.shape
    assert ds.labels.bincount().tolist() == [info.counts[split] // info.labels] * info.labels
    assert len(set(ds.label_names)) == info.labels
    assert ds.source.startswith("parquet")


def test_the_jpeg_copy_is_called_one() -> None:
    import pyarrow.parquet as pq

    first = next(pq.ParquetFile(next((Path(ROOT) / "cifar10").glob("test*.parquet"))).iter_batches(1))
    is_jpeg = first.column(0).to_pylist()[0]["bytes"][:2] == b"\xff\xd8"
    ds = load("cifar10", split="test")
    assert ds.title == ("cifar10 (jpeg)" if is_jpeg else "cifar10")
    assert ds.name == "cifar10"


def test_a_second_load_is_fast_and_small() -> None:
    """Under 0.2 s; at most 200 MB resident even after every pixel was read (154 MB of them)."""
    load("cifar10")
    best = None
    for _ in range(3):  # the machine may be busy; the best of three is what the code can do
        done = subprocess.run(
            [sys.executable, "-c", MEASURE, ROOT], capture_output=True, text=True, check=True
        )
        seen = json.loads(done.stdout)
        assert seen["brightest"] == 255
        assert seen["loaded"] < 50
        assert seen["read"] < 200
        best = min(seen["seconds"], best or seen["seconds"])
    assert best is not None
    assert best < 0.2
