"""What is done wrong on purpose ends with one line of the library's own; ``faults.md`` lists it all."""

import io
import os
import re
import signal
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image
from torch import nn

import filterwise as fw
from filterwise import parameters
from filterwise.book.staging import pages
from filterwise.claims import claim_files
from filterwise.data.augmentation import augment
from filterwise.data.imageset import ImageSet
from filterwise.errors import (
    BookError,
    DataError,
    FilterwiseError,
    ParameterError,
    RunError,
    TrainingDiverged,
)
from filterwise.runs import records

TESTS = Path(__file__).parent
ROWS = [line.strip("| ").split(" | ") for line in (TESTS / "faults.md").read_text().splitlines()[8:]]


@pytest.fixture(autouse=True)
def nothing_hangs(tmp_path, monkeypatch):
    """Caches of its own; a pipe that is opened after all raises instead of waiting for ever."""

    def wake(*_):
        raise TimeoutError("it hangs")

    monkeypatch.setenv("FILTERWISE_CACHE", str(tmp_path / "cache"))
    before = signal.signal(signal.SIGALRM, wake)
    signal.alarm(60)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


@pytest.mark.parametrize("row", ROWS, ids=[row[0][:40] for row in ROWS])
def test_every_fault_of_the_table_has_its_test(row):
    _fault, _place, _outcome, where = row
    file, _, test = where.partition("::")
    assert re.search(rf"^def {test}\(", (TESTS / file).read_text(), re.MULTILINE)


def images(count=12, channels=1, labels=(0, 1)):
    drawn = torch.randint(0, 256, (count, channels, 6, 6), generator=torch.Generator().manual_seed(0))
    own = torch.tensor([labels[at % len(labels)] for at in range(count)])
    return ImageSet(drawn.to(torch.uint8), own, ("cat", "dog"), "animals")


def network(value=None):
    net = nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU(), nn.Flatten(), nn.Linear(32, 2))
    if value is not None:
        net[0].weight.data[0, 0, 0, 0] = value
    return net


class Answers(nn.Module):
    """Answers with whatever ``wrap`` makes of the logits."""

    def __init__(self, wrap):
        super().__init__()
        self.inner, self.wrap = network(), wrap

    def forward(self, x):
        return self.wrap(self.inner(x))


RECIPE = fw.training.Recipe(epochs=1, batch=6)
HEAD = fw.measure.HEAD_RECIPE.replace(epochs=1)
NAN, INF = float("nan"), float("inf")


def fit(net=None, test=None, recipe=RECIPE, **options):
    return fw.training.fit(net or network(), images(), test, recipe, device="cpu", progress=False, **options)


def evaluate(net=None, **options):
    return fw.training.evaluate(net or network(), images(), device="cpu", **options)


def means(net=None, ds=None, **options):
    return fw.measure.class_means(
        net or network(), "0", images() if ds is None else ds, device="cpu", **options
    )


def heads(net=None, train=None, **options):
    sets = train or images(), images()
    return fw.measure.probe_heads(net or network(), "0", *sets, HEAD, device="cpu", **options)


def power_law(**options):
    return fw.measure.power_law([1, 2, 3, 4], [1.0, 0.6, 0.4, 0.3], **options)


def parts(**options):
    return fw.data.load("parts", n=4, labels=2, **options)


M, B = torch.ones(2, 3, 3), torch.eye(2, dtype=torch.bool)
INTEGER = r"is not allowed; it must be an integer of at least "
TAKES = r"the network does not take images of shape \(3, 6, 6\)"
FINITE = "activations of layer '0' are not finite"
# name: what is called, and what it says; then the error, where it is not a ParameterError
CALLS = {
    "fit, seed 0.5": (lambda: fit(seed=0.5), f"seed=0.5 {INTEGER}0"),
    "fit, seed text": (lambda: fit(seed="0"), f"seed='0' {INTEGER}0"),
    "fit, seed bool": (lambda: fit(seed=True), f"seed=True {INTEGER}0"),
    "fit, every 1.5": (lambda: fit(evaluate_every=1.5), f"evaluate_every=1.5 {INTEGER}1"),
    "fit_many, seed 0.5": (
        lambda: fw.training.fit_many([network()], images(), None, RECIPE, [0.5], "cpu"),
        f"seed=0.5 {INTEGER}0",
    ),
    "fit, recipe text": (lambda: fit(recipe="group"), "recipe='group' .* give a Recipe"),
    "fit, test tuple": (lambda: fit(test=(1, 2)), "test is a tuple; an ImageSet or a Folder"),
    "fit, tuple": (lambda: fit(Answers(lambda y: (y, 1))), "answers with a tuple, one tensor"),
    "fit, dict": (lambda: fit(Answers(lambda y: {"y": y})), "answers with a dict, one tensor"),
    "fit, file": (lambda: fit(checkpoint=__file__), "checkpoint=.* must be a folder, and .* is a"),
    "fit, below file": (lambda: fit(checkpoint=f"{__file__}/a"), "must be a folder, and"),
    "fit, path 3": (lambda: fit(checkpoint=3), "checkpoint=3 .* must be a folder"),
    "fit_many, file": (
        lambda: fw.training.fit_many([network()], images(), None, RECIPE, [0], "cpu", checkpoints=[__file__]),
        "must be a folder, and",
    ),
    "evaluate, tuple": (lambda: evaluate(Answers(lambda y: (y, 1))), "answers with a tuple"),
    "evaluate, map": (lambda: evaluate(nn.Conv2d(1, 2, 3)), r"shape \(12, 2, 4, 4\), one"),
    "evaluate, channels": (lambda: evaluate(nn.Conv2d(3, 2, 3)), "does not take images of shape"),
    "evaluate, batch": (lambda: evaluate(batch=2.5), f"batch=2.5 {INTEGER}1"),
    "evaluate, NaN": (lambda: evaluate(network(NAN)), "12 of 12 images of 'animals'", TrainingDiverged),
    "evaluate, inf": (lambda: evaluate(network(INF)), "with NaN or infinity, first image", TrainingDiverged),
    "class_means, NaN": (lambda: means(network(NAN)), FINITE),
    "class_means, inf": (lambda: means(network(INF)), FINITE),
    "class_means, channels": (lambda: means(ds=images(channels=3)), TAKES),
    "class_means, tensor": (lambda: means(ds=torch.zeros(2, 1, 6, 6)), "ds is a Tensor"),
    "class_means, batch": (lambda: means(batch="5"), f"batch='5' {INTEGER}1"),
    "class_means, pool": (lambda: means(pool=True), "pool=True must be a whole number"),
    "probe_heads, NaN": (lambda: heads(network(NAN)), FINITE),
    "frozen_features, NaN": (
        lambda: fw.measure.frozen_features(network(NAN), "0", images(), device="cpu"),
        "activations of layer '0' are not finite",
    ),
    "probe_heads, no images": (lambda: heads(train=images(labels=(0,))), r"no image: 1 \('dog'\)", DataError),
    "probe_heads, channels": (lambda: heads(train=images(channels=3)), "train has images of shape"),
    "probe_heads, seed": (lambda: heads(seed=0.5), f"seed=0.5 {INTEGER}0"),
    "probe_heads, recipe": (
        lambda: fw.measure.probe_heads(network(), "0", images(), images(), None), "recipe=None is not",
    ),
    "route_maps, NaN": (
        lambda: fw.measure.route_maps(network(NAN), images().images, "0", device="cpu"), FINITE,
    ),
    "power_law, seed": (lambda: power_law(seed=-1), f"seed=-1 {INTEGER}0"),
    "power_law, draws": (lambda: power_law(bootstraps="900"), f"bootstraps='900' {INTEGER}100"),
    "clip, text": (lambda: fw.measure.clip(M, "0.3"), r"threshold='0.3' .* number in \[0, 1\)"),
    "clip, none": (lambda: fw.measure.clip(M, None), "threshold=None is not allowed"),
    "clip, ragged": (lambda: fw.measure.clip([[1, 2], [3]]), "M is no tensor of numbers"),
    "layer_summary": (lambda: fw.measure.layer_summary(M, threshold="1"), "threshold='1' is not"),
    "clusters, order": (lambda: fw.measure.clusters(B, "ab"), "order must hold each of the 2"),
    "clusters, halves": (lambda: fw.measure.clusters(B, [0.5, 1]), "order must hold each of"),
    "head_fields, lists": (lambda: fw.measure.head_fields([[1.0]], [[1.0]]), "mu has shape list"),
    "noise inf": (lambda: parts(noise=INF), "noise=inf is not allowed; .* finite"),
    "noise nan": (lambda: parts(noise=NAN), "noise=nan is not allowed"),
    "seed -1": (lambda: parts(seed=-1), "seed=-1 is not allowed"),
    "mnist5k, seed -1": (lambda: fw.data.load("mnist5k", n=10, seed=-1), "seed=-1 is not"),
    "augment, 1.5": (
        lambda: augment(images().images, torch.Generator(), shift=1.5), f"shift=1.5 {INTEGER}0",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", CALLS)
def test_a_wrong_call_is_one_line(name):
    call, message, *error = CALLS[name]
    with pytest.raises(*error or [ParameterError], match=message) as said:
        call()
    assert "\n" not in str(said.value)


def test_the_same_calls_without_a_fault_answer():
    assert 0 <= evaluate().accuracy <= 1
    assert means().shape == (2, 2, 16)
    assert heads()["0"].weight.shape == (2, 2, 16)
    assert len(fit(test=images()).table) == 1


def parquet_file(folder, columns):
    picture = io.BytesIO()
    Image.new("RGB", (32, 32)).save(picture, "PNG")
    kind = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    made = {
        "img": pa.array([{"bytes": picture.getvalue(), "path": None}] * 2, kind),
        "label": pa.array([0, 1]),
    }
    file = folder / "cifar10" / "train.parquet"
    file.parent.mkdir(parents=True)
    pq.write_table(pa.Table.from_arrays([made[name] for name in columns], columns), file)


@pytest.mark.parametrize("twice", ["img", "label"])
def test_a_parquet_file_with_a_column_twice_is_one_line(tmp_path, twice):
    parquet_file(tmp_path, ["img", "label", twice])
    with pytest.raises(
        DataError, match=rf"train\.parquet: it has several columns '{twice}'; one is expected"
    ):
        fw.data.load("cifar10", root=tmp_path)


def set_in(folder: Path) -> Path:
    return folder / "cifar10" / "train.parquet"


SPEC = "0123456789ab"
NO_FILES = {
    "parquet": (set_in, lambda top: fw.data.load("cifar10", root=top), DataError),
    "picture": (
        lambda top: top / "imagenet" / "train" / "cat" / "1.png",
        lambda top: fw.data.load("imagenet", root=top, size=8), DataError,
    ),
    "arrays": (
        lambda top: top / "4-sfp" / f"quick-{SPEC}.npz",
        lambda top: records.arrays("4-sfp", "quick", SPEC, top), RunError,
    ),
    "records": (
        lambda top: top / "4-sfp" / "quick.csv",
        lambda top: records.load_records("4-sfp", "quick", top), RunError,
    ),
    "claims": (lambda top: top / "4-sfp.yml", lambda top: claim_files.load("4-sfp", top), ParameterError),
    "notebook": (lambda top: top / "a.ipynb", lambda top: parameters.read(top / "a.ipynb"), ParameterError),
}  # fmt: skip


@pytest.mark.parametrize("kind", ["folder", "pipe", "device"])
@pytest.mark.parametrize("name", NO_FILES)
def test_what_is_no_file_is_one_line_and_nothing_hangs(tmp_path, name, kind):
    where, read, error = NO_FILES[name]
    place = where(tmp_path)
    place.parent.mkdir(parents=True, exist_ok=True)
    if (name, kind) == ("picture", "folder"):
        place.symlink_to(tmp_path / "nowhere")  # folders below a label's are looked into
    elif kind == "device":
        place.symlink_to("/dev/zero")
    else:
        {"folder": os.mkdir, "pipe": os.mkfifo}[kind](place)
    with pytest.raises(error, match=re.escape(place.name)):
        read(tmp_path)


def test_damaged_arrays_of_a_record_are_one_line(tmp_path):
    file = tmp_path / "4-sfp" / f"quick-{SPEC}.npz"
    file.parent.mkdir()
    np.savez_compressed(file, a=np.arange(1_000.0))
    whole = file.read_bytes()
    assert records.arrays("4-sfp", "quick", SPEC, tmp_path)["a"].sum() == 499_500
    damaged = [b"", b"text", b"PK\x03\x04", b"\x93NUMPY\x01\x00", whole[: len(whole) // 2]]
    for place in (60, len(whole) // 2, len(whole) - 30, len(whole) - 5):
        damaged.append(whole[:place] + bytes([whole[place] ^ 0xFF]) + whole[place + 1 :])
    np.savez(file, a=np.array([{}], dtype=object))
    damaged.append(file.read_bytes())
    for content in damaged:
        file.write_bytes(content)
        with pytest.raises(RunError, match=rf"quick-{SPEC}\.npz is damaged, or holds no arrays"):
            records.arrays("4-sfp", "quick", SPEC, tmp_path)


@pytest.mark.parametrize("content", [b"root: \xe9\xff", b"root: ["])
def test_a_broken_table_of_contents_is_one_line(tmp_path, content):
    (tmp_path / "_toc.yml").write_bytes(content)
    with pytest.raises(BookError, match=r"_toc\.yml (cannot be read as UTF-8|is not YAML)"):
        pages(tmp_path)


@pytest.mark.parametrize("content", [b"chapter: \xe9\xff", b"a: \0", b"a: &a [*a]", b"[" * 3_000, b""])
def test_broken_claim_files_are_one_line(tmp_path, content):
    (tmp_path / "4-sfp.yml").write_bytes(content)
    with pytest.raises(FilterwiseError, match=r"4-sfp\.yml: "):
        claim_files.load("4-sfp", tmp_path)
