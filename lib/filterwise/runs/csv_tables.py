"""CSV tables that come back as they were written."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pandas as pd

from filterwise.files import atomic

# From pandas 3.1 on every float is read back exactly, and asking for it is deprecated.
_NEW = tuple(int(part) for part in re.findall(r"\d+", pd.__version__)[:2]) >= (3, 1)
_EXACT: dict[str, Any] = {} if _NEW else {"float_precision": "round_trip"}


def read_csv(path: Path, **options: Any) -> pd.DataFrame:
    """A table with floats exactly as they were written."""
    return pd.read_csv(path, **_EXACT, **options)


def write_csv(table: pd.DataFrame, path: Path) -> None:
    """Write a table through a temporary name beside it."""
    with atomic(path) as temporary:
        table.to_csv(temporary, index=False)
