"""filterwise: how deep networks learn, one filter at a time.

Subpackages are imported when first used, so that ``import filterwise`` costs little:

``data`` image sets, ``models`` networks, ``training`` the loop, ``measure`` what a network learned,
``prune`` what can go, ``runs`` stored results and sweeps, ``claims`` verdicts, ``figures`` pictures,
``papers`` what each chapter does.

``fw.torchvision`` is the package torchvision, imported when it is first used, also beside a torch without
CUDA, where ``import torchvision`` by itself ends with an error. Without the package the use raises
:class:`filterwise._torchvision.TorchvisionMissing`, an ImportError that says what to install.

>>> import filterwise as fw
>>> fw.__version__
'0.1.0'
"""

from __future__ import annotations

import importlib
from types import ModuleType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torchvision  # noqa: F401

    from filterwise import claims, data, figures, measure, models, papers, prune, runs, training

__version__ = "0.1.0"

# In the order in which they may import one another: each only from those before it.
_SUBPACKAGES = ("data", "models", "training", "measure", "prune", "runs", "claims", "figures", "papers")

__all__ = ["claims", "data", "figures", "measure", "models", "papers", "prune", "runs", "training"]


def __getattr__(name: str) -> ModuleType:
    if name in _SUBPACKAGES:
        return importlib.import_module(f"filterwise.{name}")
    if name == "torchvision":
        package: ModuleType = importlib.import_module("filterwise._torchvision").load()
        return package
    raise AttributeError(f"module 'filterwise' has no attribute {name!r}; it has {', '.join(_SUBPACKAGES)}")


def __dir__() -> list[str]:
    return sorted([*globals(), *_SUBPACKAGES, "torchvision"])
