"""The chapters' trainings and what each record of them holds.

>>> chapters()
('1-pooling', '3-power-law', '4-sfp')
>>> [job.name for job in jobs("4-sfp", "cifar")][:1]
['vgg6, cifar10, seed 0']
"""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import TYPE_CHECKING

from filterwise.errors import check_choice

if TYPE_CHECKING:
    from filterwise.runs.job import Job

#: Chapter -> the module of its experiments.
_MODULES = {"1-pooling": "pooling", "3-power-law": "power_law", "4-sfp": "sfp"}


def chapters() -> tuple[str, ...]:
    """The chapters that record something."""
    return tuple(_MODULES)


def jobs(chapter: str, profile: str, data_root: str | Path | None = None) -> list[Job]:
    """A chapter's jobs at a profile, the most wanted first.

    Raises
    ------
    ParameterError
        Unknown chapter or profile.
    """
    check_choice("chapter", chapter, _MODULES)
    module = importlib.import_module(f"filterwise.experiments.{_MODULES[chapter]}")
    return list(module.jobs(profile, data_root))


__all__ = ["chapters", "jobs"]
