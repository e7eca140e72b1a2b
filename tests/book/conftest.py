"""The book, built once for all tests of it; executed chapters that `make book` kept are used again."""

from __future__ import annotations

from pathlib import Path

import pytest

from filterwise.book.assembly import Built, build


@pytest.fixture(scope="session")
def book(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Built:
    """The whole book in a temporary folder, warnings counting as errors."""
    folder = tmp_path_factory.mktemp("book")
    return build(root, out=folder / "html", work=folder / "work")
