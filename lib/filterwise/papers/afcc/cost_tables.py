"""Tables of chapter 5 on the output layer alone, and on what pruning saves."""

from __future__ import annotations

from typing import Any

import pandas as pd

from filterwise.papers.afcc.figures import NAMES, main_rows


def output_table(table: pd.DataFrame) -> pd.DataFrame:
    """The output layer alone: accuracy before -> after retraining on frozen features, means over seeds."""
    rows = table[table["measure"] == "afcc.output"] if "measure" in table else table.iloc[:0]
    if rows.empty:
        return pd.DataFrame()
    names = map(str, rows.columns)
    thetas = [name.partition("@")[2] for name in names if name.startswith("output_dilution@")]
    found: dict[str, dict[str, Any]] = {}
    for theta in thetas:
        column = f"{theta}: {100 * rows[f'output_dilution@{theta}'].mean():.0f} % removed"
        for name in NAMES:
            before, after, fresh = (f"{kind}@{name}/{theta}" for kind in ("before", "after", "fresh"))
            if after in rows and rows[after].notna().any():
                found.setdefault(NAMES[name], {})[column] = (
                    f"{rows[before].mean():.3f} → {rows[after].mean():.3f}"
                )
            if fresh in rows and rows[fresh].notna().any():
                found.setdefault(f"{NAMES[name]}, from fresh weights", {})[column] = (
                    f"{rows[fresh].mean():.3f}"
                )
    return pd.DataFrame(found).T.fillna("").rename_axis("kept by")


def rewired_table(table: pd.DataFrame) -> pd.DataFrame:
    """The output layer sparse from its first step, beside AFCC's and random masks; means over seeds."""
    kinds = (("rewired@", "{}"), ("fresh@", "{} mask, from fresh weights"), ("after@", "{} mask, retrained"))
    found: dict[str, dict[str, float]] = {}
    thetas = {str(name).partition("/")[2] for name in table if str(name).startswith("rewired@")}
    for prefix, words in kinds:
        for column in [str(name) for name in table if str(name).startswith(prefix)]:
            name, _, theta = column.removeprefix(prefix).partition("/")
            if theta in thetas and (prefix != "after@" or name == "afcc"):
                label = words.format(NAMES.get(name, name))
                found.setdefault(label, {})[f"threshold {theta}"] = table[column].mean()
    return pd.DataFrame(found).T.rename_axis("connections")


def saved_table(table: pd.DataFrame) -> pd.DataFrame:
    """What AFCC's masks leave: parameters and multiply-accumulates of the whole network; means over seeds."""
    rows = main_rows(table)
    rows = rows[rows["criterion"] == "afcc"]
    if rows.empty:
        return pd.DataFrame()
    columns = {
        "network_dilution": "weights removed",
        "parameters_left": "parameters left",
        "macs_left": "operations left",
        "accuracy": "accuracy",
    }
    return rows.groupby("theta")[list(columns)].mean().rename(columns=columns).rename_axis("threshold")


def latency_table(table: pd.DataFrame) -> pd.DataFrame:
    """Milliseconds for a batch and parameters held, a row a threshold and network; means over seeds."""
    rows = table[table["measure"] == "afcc.latency"] if "measure" in table else table.iloc[:0]
    found = {}
    for theta, runs in rows.groupby("theta"):
        for name in ("dense", "masked", "removed", "structured"):
            low, high = runs[f"ms_lower@{name}"].mean(), runs[f"ms_upper@{name}"].mean()
            found[theta, name] = {
                "ms": runs[f"ms@{name}"].mean(),
                "quartiles": f"{low:.1f} to {high:.1f}",
                "parameters, not 0": round(runs[f"parameters@{name}"].mean()),
                "networks": len(runs),
            }
    made = pd.DataFrame(found).T
    return made.rename_axis(["threshold", "network"]) if found else made
