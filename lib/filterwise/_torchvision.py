"""torchvision, imported when it is first needed and only then; the library works without it.

The torchvision wheel of the package index is built for CUDA. Beside a torch without CUDA its compiled part
cannot be loaded, and ``import torchvision`` ends with "operator torchvision::nms does not exist". Its data
sets and networks need none of the compiled operators, so the two that stand in the way are declared, empty,
and the import is done again.
"""

from __future__ import annotations

import copyreg
import importlib
import sys
import warnings
from functools import cache
from types import ModuleType
from typing import Any

import torch
from torch import nn

from filterwise.errors import FilterwiseError

_OPERATORS = ("nms", "qnms")
_SCHEMA = "{}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"
_declared: list[torch.library.Library] = []  # an operator lives as long as the library that declared it


class TorchvisionMissing(FilterwiseError, ImportError):
    """torchvision is not installed, or does not fit the installed torch."""


@cache
def load() -> ModuleType:
    """The torchvision package, with ``.models``, ``.datasets`` and ``.transforms``.

    Raises TorchvisionMissing: says what to install.
    """
    try:
        return _import()
    except RuntimeError as error:
        if "torchvision::" not in str(error):
            raise _missing(f"torchvision does not work with torch {torch.__version__}") from error
    except ImportError as error:
        raise _missing("torchvision is not installed or cannot be imported") from error
    _declare()
    for name in [name for name in sys.modules if name.partition(".")[0] == "torchvision"]:
        del sys.modules[name]  # what the failed import left
    try:
        return _import()
    except (ImportError, RuntimeError) as error:
        raise _missing(f"torchvision does not work with torch {torch.__version__}") from error


def picklable(kind: type[nn.Module]) -> None:
    """Let networks of a torchvision class be sent to a process in which torchvision was not loaded yet.

    Unpickling imports the classes of all layers; before the first of them :func:`load` has to come.
    """
    copyreg.pickle(kind, _reduce)


def _reduce(net: nn.Module) -> tuple[Any, ...]:
    # What is called here is called before the state, and with it the layers, is unpickled.
    return _shell, (type(net).__module__, type(net).__qualname__), net.__dict__


def _shell(module: str, name: str) -> nn.Module:
    load()
    kind = getattr(importlib.import_module(module), name)
    return kind.__new__(kind)


def _import() -> ModuleType:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the compiled parts that this library does not use
        return importlib.import_module("torchvision")


def _declare() -> None:
    library = torch.library.Library("torchvision", "FRAGMENT")
    for name in _OPERATORS:
        if not hasattr(torch.ops.torchvision, name):
            library.define(_SCHEMA.format(name))
    _declared.append(library)


def _missing(what: str) -> TorchvisionMissing:
    return TorchvisionMissing(
        f"{what}; install the release that belongs to torch {torch.__version__.partition('+')[0]}, "
        "for instance with: pip install 'filterwise[torchvision]'"
    )
