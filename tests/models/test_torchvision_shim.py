"""torchvision is imported late, also beside a torch it was not built for; its absence is said plainly."""

import importlib.util
import subprocess
import sys

import pytest

import filterwise
from filterwise import _torchvision

# One process for all: what is imported cannot be taken back in this one.
SCRIPT = """
import sys
import torch
import filterwise.models as models
models.build("lenet5")
assert "torchvision" not in sys.modules, "torchvision was imported before it was needed"
try:
    import torchvision
except RuntimeError:
    pass
import filterwise as fw
assert "torchvision" in dir(fw)
from filterwise import _torchvision
found = fw.torchvision
from filterwise import torchvision
assert torchvision is found
assert found is _torchvision.load() is sys.modules["torchvision"]
assert found.transforms.functional.hflip(torch.tensor([[[1, 2]]])).tolist() == [[[2, 1]]]
assert issubclass(found.datasets.CIFAR10, torch.utils.data.Dataset)
print("fine")
"""


@pytest.mark.skipif(importlib.util.find_spec("torchvision") is None, reason="torchvision is not installed")
def test_import_is_late_and_survives_a_failed_one():
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", SCRIPT], capture_output=True, text=True, timeout=120
    )
    assert done.stdout.strip() == "fine", done.stderr


def test_absence_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "torchvision", None)  # the import system's word for "there is none"
    with pytest.raises(_torchvision.TorchvisionMissing, match=r"not installed.*pip install"):
        _torchvision.load.__wrapped__()
    monkeypatch.setattr(_torchvision, "load", _torchvision.load.__wrapped__)
    with pytest.raises(ImportError, match=r"pip install 'filterwise\[torchvision\]'"):
        _ = filterwise.torchvision


def test_another_failure_is_not_taken_for_the_known_one(monkeypatch):
    def fail():
        raise RuntimeError("something else")

    monkeypatch.setattr(_torchvision, "_import", fail)
    with pytest.raises(_torchvision.TorchvisionMissing, match="does not work with torch"):
        _torchvision.load.__wrapped__()
