"""The Python blocks of the pages for users run as they stand there; the errors that they quote are said."""

from __future__ import annotations

import os
import re
import stat
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

import filterwise as fw
from filterwise import _torchvision
from filterwise.errors import DataError, ParameterError

NAMES = ("cat", "dog", "ship")


def blocks(root: Path, page: str) -> list[str]:
    """The Python blocks of a page, in order."""
    text = (root / "book" / f"{page}.md").read_text(encoding="utf-8")
    return re.findall(r"```python\n(.*?)```", text, flags=re.DOTALL)


@pytest.fixture
def pictures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with ``pictures``: twelve files of noise in a folder for each label."""
    draws = np.random.default_rng(0)
    for name in NAMES:
        (tmp_path / "pictures" / name).mkdir(parents=True)
        for number in range(12):
            pixels = draws.integers(0, 256, (40, 40, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(tmp_path / "pictures" / name / f"{number}.png")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.slow
def test_the_page_on_measuring(root: Path, pictures: Path) -> None:
    torch.manual_seed(0)
    net = _torchvision.load().models.resnet18(num_classes=3)
    torch.save(net.state_dict(), "mine.pt")
    names: dict[str, Any] = {}
    lines = blocks(root, "measure-your-network")
    statements = [line for line in lines[0].splitlines() if line and not line.startswith(("import", "from"))]
    assert len(statements) <= 11
    for block in lines:
        exec(block, names)
    assert names["M"].shape == (512, 3, 3)
    assert names["figure"].alt
    assert list(names["table"].index) == ["layer1", "layer2", "layer3", "layer4"]
    assert "fw-explorer" in names["explorer"].html()
    # what the page says of the scale: the fields are those of the inputs as the network had them
    images, labels = next(iter(fw.data.load_folder("pictures", size=32).batches(36)))
    means, net = {}, net.eval()
    net.avgpool.register_forward_hook(lambda module, given, out: means.setdefault("out", out.flatten(1)))
    with torch.no_grad():
        net((images / 255 - names["mean"]) / names["spread"])
    mean = torch.stack([means["out"][labels == label].mean(0) for label in range(3)])
    expected = torch.einsum("if,jf->fij", mean, net.fc.weight.detach())
    torch.testing.assert_close(names["M"], expected, rtol=1e-4, atol=1e-5)


def test_the_page_on_measuring_has_what_its_benchmark_measured(root: Path) -> None:
    text = (root / "book" / "measure-your-network.md").read_text(encoding="utf-8")
    tables = re.findall(r"<!-- measured: (.*?) -->\n(.*?)<!-- end -->", text, flags=re.DOTALL)
    assert [name for name, _ in tables] == ["resnet18 summary", "resnet18 layers"]
    assert all(re.search(r"\| \d+\.\d+ \|", table) for _, table in tables)
    assert (root / "book" / "measured" / "resnet18-digits.html").is_file()


def test_the_page_on_data(root: Path, pictures: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as parquet

    files = sorted((pictures / "pictures").rglob("*.png"))
    rows = [{"bytes": file.read_bytes(), "path": file.name} for file in files]
    labels = [NAMES.index(file.parent.name) for file in files]
    parquet.write_table(pa.table({"image": rows, "label": labels}), "mine.parquet")
    names: dict[str, Any] = {}
    for block in blocks(root, "your-data"):
        exec(block, names)
    assert (len(names["train"]), len(names["test"])) == (180, 60)
    assert names["study"].layers == ["features.1", "features.2"]
    assert names["M"].shape == (16, 3, 3)
    assert names["whole"].shape == names["stored"].shape == (3, 16, 16)
    assert names["stored"].labels.tolist() == labels


def quoted(root: Path, page: str) -> list[str]:
    """What the page's tables say that messages say; three dots stand for anything."""
    text = (root / "book" / f"{page}.md").read_text(encoding="utf-8")
    table = text.split("| the message says |")[1]
    return re.findall(r"^\| `(.*?)` \|", table, flags=re.MULTILINE)


def refused() -> dict[str, list[tuple[type[Exception], Callable[[], object]]]]:
    """For each page, what its table of messages is about, in the order of the table."""
    net = fw.models.build("vgg", labels=4, size=32, stages=((4, 1), (6, 1)))
    layer, x, y = "features.2", torch.rand(8, 3, 32, 32), torch.arange(8) % 4
    grey = fw.data.ImageSet((x[:, :1] * 255).byte(), y, tuple("abcd"))
    three = fw.data.ImageSet((x * 255).byte(), y.clamp(max=2), tuple("abcd"))
    mine = fw.data.ImageSet(three.images, three.labels, three.label_names, name="mine")
    plain = nn.Sequential()
    plain.layer1, plain.layer2 = nn.Conv2d(3, 4, 3), nn.Conv2d(4, 4, 3)
    plain.relu, plain.pool, plain.flat = nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()
    plain.fc = nn.Linear(4, 4)

    def fields(data: Any, of: nn.Module = net, at: str = layer, head: str | None = "probe") -> object:
        return fw.measure.label_fields_of(of, at, data, head=head)

    return {
        "measure-your-network": [
            (ParameterError, lambda: fields(x)),
            (ParameterError, lambda: fw.measure.class_means(net, layer, x)),
            (ParameterError, lambda: fields((x.numpy(), y.numpy()))),
            (ParameterError, lambda: fields([{"image": x, "label": y}])),
            (RuntimeError, lambda: fields((x[:, :1], y))),
            (DataError, lambda: fields((x, y.clamp(min=1)))),
            (DataError, lambda: fields((x, y.clamp(min=1)), plain, "pool", None)),
            (DataError, lambda: fw.measure.class_means(net, layer, three)),
            (ParameterError, lambda: fields((x, y), plain, "layr4")),
            (ParameterError, lambda: fields((x, y), plain, "layer2", None)),
        ],
        "your-data": [
            (ParameterError, lambda: fw.data.ImageSet(x, y, tuple("abcd"))),
            (ParameterError, lambda: fw.data.ImageSet((x * 255).byte(), y, tuple("abc"))),
            (ParameterError, lambda: fw.training.fit(net, (x, y), progress=False)),  # type: ignore[arg-type]
            (ParameterError, lambda: fw.measure.class_means(net, layer, grey)),
            (DataError, lambda: fw.measure.class_means(net, layer, mine)),
            (ParameterError, lambda: fw.data.load("mypics")),
        ],
    }


@pytest.mark.parametrize("page", ["measure-your-network", "your-data"])
def test_messages_are_said_as_the_page_quotes_them(root: Path, page: str) -> None:
    calls, words = refused()[page], quoted(root, page)
    assert len(calls) == len(words)
    for (kind, call), said in zip(calls, words, strict=True):
        with pytest.raises(kind, match=re.escape(said).replace(r"\.\.\.", ".*")):
            call()


FAKE_SBATCH = """#!{python}
# What a queue does with a job: give it a number, and run it.
import subprocess, sys
script = open(sys.argv[-1]).read() if len(sys.argv) > 1 else sys.stdin.read()
held = open({log!r}, "a")
subprocess.Popen(["bash", "-c", script], stdout=held, stderr=held, start_new_session=True)
print("Submitted batch job 1")
"""


def install(folder: Path, name: str, text: str) -> None:
    folder.mkdir(exist_ok=True)
    (folder / name).write_text(text)
    (folder / name).chmod(stat.S_IRWXU)


@pytest.mark.slow
# distributed speaks to its processes over loopback; what it warns of there is no concern of ours
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning", "ignore::UserWarning")
@pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::RuntimeWarning")
def test_the_page_on_clusters(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On processes, on Dask, and through dask-jobqueue on a queue that runs its one job at once."""
    pytest.importorskip("dask_jobqueue", reason="needs the extra 'cluster'")
    install(tmp_path / "bin", "sbatch", FAKE_SBATCH.format(python=sys.executable, log=str(tmp_path / "log")))
    install(tmp_path / "bin", "scancel", "#!/bin/sh\n")
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("FILTERWISE_RUNS", str(tmp_path / "runs"))
    monkeypatch.chdir(tmp_path)
    plain, dask, asked, scaled, records = blocks(root, "on-a-cluster")
    names: dict[str, Any] = {}
    exec(plain, names)
    alone = names["answer"].table
    assert alone["status"].tolist() == ["run"] * 4
    exec(dask, names)
    assert len(names["answer"].table) == 4
    exec(asked, names)
    assert "export FILTERWISE_RUNS=/shared/runs" in names["cluster"].job_script()
    names["cluster"].close()
    place = f"export FILTERWISE_RUNS={tmp_path / 'runs'}"
    here = re.sub(r'"export FILTERWISE_RUNS=[^"]*"', repr(place), asked)
    assert here != asked
    exec(here + "\n" + scaled, names)
    table = names["answer"].table
    assert table["status"].tolist() == ["stored"] * 2 or table["status"].tolist() == ["run"] * 2
    copy_of_records(root, records, names)


def copy_of_records(root: Path, block: str, names: dict[str, Any]) -> None:
    """The block adds another machine's rows; what is there before stays."""
    import shutil

    chapter = "4-sfp"

    shutil.copytree(root / "data" / "records" / chapter, f"theirs/{chapter}")
    exec(block, names)
    theirs, ours = (fw.runs.load_records(chapter, "quick", root=one) for one in ("theirs", "ours"))
    assert len(theirs) > 0
    assert ours.astype("string").equals(theirs.astype("string"))
