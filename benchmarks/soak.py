"""Random faults against sweeps, records, claims and the book: nothing may be lost, nothing silently wrong.

    python benchmarks/soak.py [--minutes 10] [--seed 0] [--books 10]

In a scratch folder runs are trained (one by one, stacked, on a Dask cluster), recorded and judged, and a
small book is built, each in a process of its own that is killed at a random moment, has a disk that is nearly
full, or finds a file damaged. Afterwards the same is done undisturbed, and its table compared with one that
nothing ever disturbed. What came of it:

- ``survived``: the table is the undisturbed one (of a book: the pages are whole, old or new);
- ``named``: the library's own error or warning says what is broken, and nothing of it is used;
- ``lost``: rows are missing without a word; ``wrong``: values differ without a word;
- ``foreign``: an error that is not the library's own, or a process that hangs.

Exit status 1 if any fault ended in one of the last three.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import pickle
import random
import resource
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import distributed
import pandas as pd
import torch
from joblib import parallel_config

from filterwise import claims
from filterwise.book.assembly import build
from filterwise.errors import FilterwiseError
from filterwise.runs import sweep
from filterwise.runs.jobs import Job
from filterwise.runs.recording import record
from filterwise.runs.records import load_records
from filterwise.runs.specification import Run
from filterwise.training.recipe import Recipe

CHAPTER, PROFILE = "3-power-law", "quick"
RECIPE = Recipe(epochs=2, batch=20, lr=0.05, precision="float32", memory_format="contiguous")
DATA = {"n": 60, "n_test": 40, "labels": 3}
RUNS = [
    Run("lenet5", "parts", RECIPE, seed, None, {"d1": d1, "fc": (8, 8)}, DATA)
    for d1 in (2, 3)
    for seed in (0, 1)
]
ABOUT = {"family": "lenet", "variant": "main", "variant_kind": "main", "held_out": 0, "ratio": 2.0}
JOBS = [
    Job(
        f"d1={run.model_kwargs['d1']} seed {run.seed}",
        run,
        "power_law.point",
        (),
        {**ABOUT, **run.model_kwargs},
    )
    for run in RUNS
]
#: Seconds after which a process counts as hanging.
PATIENCE = 120.0
BAD = ("lost", "wrong", "foreign")
#: Columns of the clock and the calendar.
TIMES = ("seconds", "measure_seconds", "recorded")


def swept(place: Path, together: int = 1, jobs: int | None = 1) -> pd.DataFrame:
    """All runs, trained one by one or as stacks."""
    found = sweep(
        RUNS, jobs, root=place / "runs", device="cpu", together=together, checkpoint_every=1, progress=False
    )
    return found.table


def stacked(place: Path) -> pd.DataFrame:
    """All runs, trained as stacks of two."""
    return swept(place, together=2)


def clustered(place: Path) -> pd.DataFrame:
    """All runs, trained by the two workers of a Dask cluster."""
    with distributed.Client(os.environ["SOAK_SCHEDULER"]) as client:
        client.wait_for_workers(2)
        with parallel_config(backend="dask", client=client):
            return swept(place, jobs=None)


@contextlib.contextmanager
def cluster(place: Path) -> Iterator[None]:
    """A scheduler and two workers beside this process, whose address is in the environment."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = str(free.getsockname()[1])
    os.environ["SOAK_SCHEDULER"] = f"tcp://127.0.0.1:{port}"
    dask, quiet = (sys.executable, "-m", "dask"), {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    of_worker = ("--nworkers", "2", "--nthreads", "1", "--no-dashboard", "--local-directory", str(place))
    with (
        subprocess.Popen((*dask, "scheduler", "--port", port, "--no-dashboard"), **quiet) as scheduler,
        subprocess.Popen((*dask, "worker", os.environ["SOAK_SCHEDULER"], *of_worker), **quiet) as workers,
    ):
        try:
            yield
        finally:
            workers.terminate()
            scheduler.terminate()


def recorded(place: Path) -> pd.DataFrame:
    """All runs, measured and recorded."""
    report = record(CHAPTER, PROFILE, JOBS, "5m", device="cpu", root=place / "runs", out=place / "records")
    if report.failed:
        raise FilterwiseError("; ".join(report.failed.values()))
    return load_records(CHAPTER, PROFILE, root=place / "records").sort_values("name", ignore_index=True)


def judged(place: Path) -> pd.DataFrame:
    """The ledger of what is recorded."""
    return claims.ledger(CHAPTER, PROFILE, records_folder=place / "records")


def built(place: Path) -> pd.DataFrame:
    """A book of one page; the table is that of its pages."""
    build(place / "book", out=place / "html", force=True)
    return pages(place)


def pages(place: Path) -> pd.DataFrame:
    """The published pages and their sizes."""
    found = sorted((place / "html").rglob("*.html"))
    return pd.DataFrame(
        {"page": [p.name for p in found], "whole": ["</html>" in p.read_text() for p in found]}
    )


OPERATIONS: dict[str, Callable[[Path], pd.DataFrame]] = {
    "sweep": swept, "stack": stacked, "cluster": clustered, "record": recorded, "claims": judged,
    "book": built,
}  # fmt: skip
#: What an operation reads, and so what is damaged under it.
READS = {
    "sweep": ("cache", "runs"),
    "stack": ("cache", "runs"),
    "record": ("runs", "records"),
    "claims": ("records",),
}
#: What an operation makes, and what is taken away so that it has something to do.
MAKES = {
    "sweep": ("runs",), "stack": ("runs",), "cluster": ("runs",), "record": ("runs", "records"), "claims": (),
    "book": (),
}  # fmt: skip


@dataclass
class Answer:
    """What a process said: ``ok`` with a table, ``own`` or ``foreign`` with an error's text, ``killed``."""

    kind: str
    table: pd.DataFrame | None = None
    said: str = ""


def in_child(name: str, place: Path, kill_after: float | None = None, room: int | None = None) -> Answer:
    """An operation in a process group of its own, killed after some seconds or without room for its files."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.setpgid(0, 0)
        os.close(reading)
        _child(name, place, writing, room)
    with contextlib.suppress(PermissionError, ProcessLookupError):
        os.setpgid(child, child)  # here as well, as it may be killed before it came to that
    os.close(writing)
    end = time.monotonic() + (PATIENCE if kill_after is None else kill_after)
    parts = []
    while (left := end - time.monotonic()) > 0 and select.select([reading], [], [], left)[0]:
        part = os.read(reading, 1 << 16)
        if not part:
            break
        parts.append(part)
    hangs = time.monotonic() >= end
    if hangs:
        os.killpg(child, signal.SIGKILL)
    os.waitpid(child, 0)
    os.close(reading)
    if hangs:
        return Answer("killed" if kill_after is not None else "foreign", said="it hangs")
    return (
        pickle.loads(b"".join(parts)) if parts else Answer("foreign", said="the process ended without a word")
    )


def _child(name: str, place: Path, writing: int, room: int | None) -> None:
    """Do it and answer; never returns."""
    with open(os.devnull, "w") as nowhere:
        os.dup2(nowhere.fileno(), 1)
        os.dup2(nowhere.fileno(), 2)
    if room is not None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (room, room))
    try:
        with warnings.catch_warnings(record=True) as heard:
            warnings.simplefilter("always")
            table = OPERATIONS[name](place)
        answer = Answer(
            "ok", table, "\n".join(m for m in (str(each.message) for each in heard) if str(place) in m)
        )
    except FilterwiseError as error:
        answer = Answer("own", said=str(error))
    except BaseException:
        answer = Answer("foreign", said=traceback.format_exc())
    with open(writing, "wb") as pipe:
        pickle.dump(answer, pipe)
    os._exit(0)


@dataclass
class Soak:
    """A scratch folder, what is true in it, and what came of the faults so far."""

    place: Path
    draw: random.Random
    true: dict[str, pd.DataFrame] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)
    outcomes: Counter[tuple[str, str, str]] = field(default_factory=Counter)

    def prepare(self) -> None:
        """Everything undisturbed, twice from nothing and once again: what differs then (times, what was found
        and what was made) is not compared."""
        small_book(self.place / "book")
        for name in OPERATIONS:  # what they import is imported once, not in each of some hundred processes
            if name != "cluster":  # whose threads would not survive a fork
                OPERATIONS[name](self.place)
                self.forget(name)
        for turn in range(3):
            for name in OPERATIONS:
                if turn < 2:
                    self.forget(name)
                begun = time.monotonic()
                answer = in_child(name, self.place)
                self.seconds[name] = time.monotonic() - begun if turn < 2 else self.seconds[name]
                if answer.table is None:
                    raise SystemExit(f"{name} fails undisturbed: {answer.said}")
                before = self.true.get(name, answer.table) if turn else answer.table
                both = [c for c in answer.table if c in before and c not in TIMES]
                same = [c for c in both if answer.table[c].astype(str).equals(before[c].astype(str))]
                self.true[name] = answer.table[same]
        shutil.copytree(self.place, f"{self.place}.whole")

    def forget(self, name: str) -> None:
        """Take away what an operation makes."""
        for folder in MAKES[name]:
            shutil.rmtree(self.place / folder, ignore_errors=True)

    def restore(self) -> None:
        """The scratch folder, but for the book, as it was after the undisturbed operations."""
        for folder in ("cache", "runs", "records"):
            shutil.rmtree(self.place / folder, ignore_errors=True)
            shutil.copytree(Path(f"{self.place}.whole") / folder, self.place / folder)

    def compare(self, name: str, answer: Answer) -> str:
        """What came of a fault, by the answer of an undisturbed operation after it."""
        if answer.table is None:
            return "named" if answer.kind == "own" else "foreign"
        true = self.true[name]
        if set(true) <= set(answer.table) and answer.table[list(true)].astype(str).equals(true.astype(str)):
            return "survived"
        if answer.said:
            return "named"
        return "lost" if len(answer.table) < len(true) else "wrong"

    def killed(self, name: str) -> tuple[str, str]:
        """Killed at a random moment, then done undisturbed; of a book the pages must be whole before, too."""
        self.forget(name)
        after = self.draw.uniform(0, 1.1 * self.seconds[name])
        first = in_child(name, self.place, kill_after=after)
        if first.kind == "foreign":
            return "foreign", first.said
        if name == "book" and not pages(self.place).equals(self.true[name]):
            return "wrong", f"half a book after {after:.2f} s"
        again = in_child(name, self.place)
        return self.compare(name, again), f"killed after {after:.2f} s\n{again.said}"

    def full(self, name: str) -> tuple[str, str]:
        """No file may grow beyond some kilobytes; then done with room."""
        self.forget(name)
        room = int(10 ** self.draw.uniform(1, 5.5))
        first = in_child(name, self.place, room=room)
        if first.kind == "foreign" or (
            first.kind == "ok" and not first.said and self.compare(name, first) in BAD
        ):
            return "foreign", f"room for {room} bytes: {first.said}"
        again = in_child(name, self.place)
        return self.compare(name, again), f"room for {room} bytes\n{again.said}"

    def damaged(self, name: str) -> tuple[str, str]:
        """One file of those that are read is damaged."""
        files = sorted(p for folder in READS[name] for p in (self.place / folder).rglob("*") if p.is_file())
        path = self.draw.choice([p for p in files if p.suffix != ".lock" and p.stat().st_size])
        data = bytearray(path.read_bytes())
        kind = self.draw.choice(("flipped", "cut", "zeroed", "emptied", "deleted"))
        at = self.draw.randrange(len(data))
        if kind == "deleted":
            path.unlink()
        else:
            data[at] ^= 1 << self.draw.randrange(8)
            zeros = data[:at] + bytes(min(64, len(data) - at)) + data[at + 64 :]
            path.write_bytes({"flipped": data, "cut": data[:at], "zeroed": zeros, "emptied": b""}[kind])
        answer = in_child(name, self.place)
        return self.compare(name, answer), f"{path.relative_to(self.place)} {kind} at {at}\n{answer.said}"


def small_book(root: Path) -> None:
    """A book of one page with the settings of ours."""
    ours = Path(__file__).resolve().parents[1]
    (root / "book" / "_static").mkdir(parents=True)
    (root / "lib").mkdir()
    shutil.copy(ours / "_config.yml", root)
    shutil.copy(ours / "book" / "references.bib", root / "book")
    shutil.copy(ours / "book" / "_static" / "filterwise.css", root / "book" / "_static")
    (root / "_toc.yml").write_text("format: jb-book\nroot: book/intro\n")
    (root / "book" / "intro.md").write_text(
        "# Intro\n\nRead {cite:p}`meir-2023-tree`.\n\n```{bibliography}\n```\n"
    )


def main() -> int:
    """Soak until the time is over; print what came of each kind of fault."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--books", type=int, default=10, help="builds to kill, of some seconds each")
    given = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder, cluster(Path(folder)):
        soak = Soak(Path(folder) / "soak", random.Random(given.seed))
        soak.place.mkdir()
        os.environ["FILTERWISE_CACHE"] = str(soak.place / "cache")
        soak.prepare()
        print("undisturbed: " + ", ".join(f"{name} {took:.1f} s" for name, took in soak.seconds.items()))
        end = time.monotonic() + 60 * given.minutes
        books = given.books
        while time.monotonic() < end:
            name = soak.draw.choice([each for each in OPERATIONS if each != "book" or books])
            books -= name == "book"
            # of a cluster and a book, what reads and writes is other processes
            kind = soak.draw.choice(("killed", "full", "damaged")) if name in READS else "killed"
            outcome, story = getattr(soak, kind)(name)
            soak.outcomes[name, kind, outcome] += 1
            if outcome in BAD:
                print(f"{outcome}: {name}, {kind}: {story}", flush=True)
            soak.restore()
    for (name, kind, outcome), count in sorted(soak.outcomes.items()):
        print(f"{name:7} {kind:8} {outcome:9} {count}")
    ends = Counter({outcome: 0 for outcome in ("survived", "named", *BAD)})
    for (_, _, outcome), count in soak.outcomes.items():
        ends[outcome] += count
    print(
        f"{ends.total()} faults tried: " + ", ".join(f"{count} {outcome}" for outcome, count in ends.items())
    )
    return int(any(ends[outcome] for outcome in BAD))


if __name__ == "__main__":
    sys.exit(main())
