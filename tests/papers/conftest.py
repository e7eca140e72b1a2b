"""The speeds of tiny trainings are no estimates of the user's: these tests have a cache of their own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def cache_of_papers(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One for all files, so that embedded sets are decoded once."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module", autouse=True)
def own_cache(cache_of_papers: Path) -> Iterator[None]:
    """Before the fixtures of a file that train."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FILTERWISE_CACHE", str(cache_of_papers))
        yield
