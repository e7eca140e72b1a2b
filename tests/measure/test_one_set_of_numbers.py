"""One call gives one set of numbers to the bit, however many threads torch has; light imports stay light."""

from __future__ import annotations

import subprocess
import sys

import pandas as pd
import pytest
import torch
from torch import Tensor, nn

import filterwise as fw
from filterwise import measure
from filterwise.data import ImageSet

LAYERS = ["features.1", "features.2"]
# matrix products of ten rows are those whose sums torch shares out among threads
HEADS = measure.HEAD_RECIPE.replace(epochs=1, batch=10, flip=False, shift=0)
MOVING = measure.HEAD_RECIPE.replace(epochs=1, batch=10)


@pytest.fixture(scope="module")
def sets() -> list[ImageSet]:
    return [fw.data.load("digit-pairs", split=split, n=300) for split in ("train", "test")]


@pytest.fixture(scope="module")
def net() -> nn.Module:
    return fw.models.build("lenet5", labels=100, channels=1, size=32)


def numbers(net: nn.Module, train: ImageSet, test: ImageSet) -> dict[str, Tensor | pd.DataFrame]:
    """Everything that is trained or measured, on the CPU."""
    found: dict[str, Tensor | pd.DataFrame] = {}
    means = measure.class_means(net, LAYERS, test, device="cpu")
    for name, recipe in (("still", HEADS), ("moving", MOVING)):
        heads = measure.probe_heads(net, LAYERS, train, test, recipe, device="cpu", cache=name == "still")
        for layer, head in heads.items():
            found[f"head {name} {layer}"] = head.weight
            found[f"history {name} {layer}"] = head.history.drop(columns="seconds")
    found |= {f"means {layer}": mean for layer, mean in means.items()}
    study = measure.study(net, train, test, LAYERS, recipe=HEADS, device="cpu", shuffles=2)
    found |= {"study": study.table, "thresholds": study.thresholds}
    found |= {f"matrices {layer}": fields for layer, fields in study.matrices.items()}
    found["own head"] = measure.label_fields_of(net, "classifier.relu2", test, device="cpu")
    found["errors"] = measure.error_against_labels(net, LAYERS[1], train, test, (5,), 1, HEADS, device="cpu")
    return found


def test_one_thread_or_two(net: nn.Module, sets: list[ImageSet]) -> None:
    found = []
    for count in (1, 2):
        torch.set_num_threads(count)
        found.append(numbers(net, *sets))
        assert torch.get_num_threads() == count
    one, two = found
    for name, value in one.items():
        if isinstance(value, pd.DataFrame):
            pd.testing.assert_frame_equal(value, two[name], check_exact=True, obj=name)
        else:
            assert torch.equal(value, two[name]), name


def test_the_fit_of_a_power_law_needs_neither_torch_nor_pandas() -> None:
    program = (
        "import sys; import filterwise.measure.fitting; from filterwise.measure import power_law; "
        "print([name for name in ('torch', 'pandas', 'matplotlib') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_every_public_name_is_there() -> None:
    for package in (measure, fw.prune):
        for name in package.__all__:
            assert getattr(package, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'clusterz'"):
        _ = measure.clusterz
