"""CSV tables that come back as they were written."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, TextIO

import pandas as pd

# From pandas 3.1 on every float is read back exactly, and asking for it is deprecated.
_NEW = tuple(int(part) for part in re.findall(r"\d+", pd.__version__)[:2]) >= (3, 1)
_EXACT: dict[str, Any] = {} if _NEW else {"float_precision": "round_trip"}


def read_csv(path: Path | TextIO, **options: Any) -> pd.DataFrame:
    """A table with floats exactly as they were written."""
    return pd.read_csv(path, **_EXACT, **options)
