"""Networks of many labels seen at both ends: for few of their labels, and for all of them."""

from __future__ import annotations

import pandas as pd

from filterwise.claims.record_rows import has

#: Networks on one data set that a comparison of label numbers needs.
ARCHITECTURES_NEEDED = 2
_FEW = "few_"


def at_both_ends(records: pd.DataFrame) -> pd.DataFrame:
    """Two rows for each run that was measured on few labels as well: as it is, and with the values on few.

    What is called ``few_<name>`` in the records is then ``<name>``, also ``labels`` and ``accuracy``. Only
    data sets on which two architectures were measured so are kept: with one, what the number of labels does
    could be that network's.

    >>> runs = {"network": ["a", "b"], "data": "d", "labels": 9, "accuracy": 0.5, "n@f": [7.0, 8.0]}
    >>> few = {"few_labels": 3, "few_accuracy": 0.9, "few_n@f": [1.0, 2.0]}
    >>> at_both_ends(pd.DataFrame(runs | few))[["labels", "n@f"]].to_dict("list")
    {'labels': [9, 9, 3, 3], 'n@f': [7.0, 8.0, 1.0, 2.0]}
    """
    if not has(records, "network", "data", f"{_FEW}labels"):
        return records.iloc[:0]
    chosen = records[records[f"{_FEW}labels"].notna()]
    networks = chosen.groupby("data")["network"].transform("nunique")
    chosen = chosen[networks >= ARCHITECTURES_NEEDED]
    names = [str(column) for column in chosen.columns]
    measured = [name for name in names if name.startswith(_FEW)]
    replaced = {"right", *measured, *(name.removeprefix(_FEW) for name in measured)}
    about = [name for name in names if "@" not in name and name not in replaced]
    few = chosen[[*about, *measured]].rename(columns=lambda name: name.removeprefix(_FEW))
    return pd.concat([chosen.drop(columns=measured), few], ignore_index=True)
