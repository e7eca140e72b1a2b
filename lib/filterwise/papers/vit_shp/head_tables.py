"""Tables of chapter 7 on nodes and heads, of the page's own networks and of records."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd

from filterwise.measure.head_groups import summary_against_random
from filterwise.measure.summary import layer_summary_of
from filterwise.measure.token_heads import Reading
from filterwise.papers.vit_shp.place_columns import by_place, runs_of
from filterwise.runs.layer_columns import columns_of


def nodes_table(readings: Mapping[str, Reading], threshold: float = 0.3) -> pd.DataFrame:
    """Single-nodal performance place by place: accuracy, clusters, noise and its ratio, means over nodes."""
    rows = {}
    for part, one in readings.items():
        summary, _, _ = layer_summary_of(one.mu[:, :, None], one.weight, threshold)
        kind, _, m = part.partition("/")
        place = "tokens" if part == "ff/0" else f"{'heads' if kind == 'qkv' else kind} {m}"
        kept = summary[["N_c", "C_s", "D", "n", "n_in", "SNR_label", "share_without_cluster"]]
        rows[place] = {
            "accuracy": one.accuracy,
            **kept.rename({"D": "labels", "share_without_cluster": "empty"}),
        }
    return pd.DataFrame(rows).T.rename_axis("place")


def heads_table(
    reading: Reading, heads: int, thresholds: tuple[float, ...] = (0.3, 0.5, 0.7)
) -> pd.DataFrame:
    """Matrices of the heads of one encoder beside random groups, by threshold: value (mean of the groups)."""
    names = {
        "N_c": "clusters",
        "unit_share": "of one label",
        "n": "noise",
        "coverage": "heads a label",
        "least_coverage": "fewest heads",
        "SNR_label": "SNR label",
    }
    found = {}
    for theta in thresholds:
        table = summary_against_random(reading, heads, theta)
        rows = {said: table.loc[name].to_dict() for name, said in names.items()}
        found[f"{theta:g}"] = {
            said: f"{row['value']:.2f} ({row['null']:.2f} ± {row['null_sd']:.2f})"
            for said, row in rows.items()
        }
    return pd.DataFrame(found).T.rename_axis("threshold")


def recorded_heads_table(records: pd.DataFrame, only: str = "") -> pd.DataFrame:
    """Matrices of heads, first and last encoder: value | random groups; means over seeds."""
    rows = runs_of(records, data=only)
    if rows.empty:
        return pd.DataFrame()
    names = {"N_c": "clusters", "unit_share": "of one label", "n": "noise", "coverage": "heads a label",
             "SNR_label": "SNR label"}  # fmt: skip
    found = {}
    for (network, data), runs in rows.groupby(["network", "data"], sort=False):
        places = list(by_place(runs, "head_N_c", "qkv")[0])
        for m in (places[0], places[-1]):
            found[str(network), str(data), f"encoder {m}"] = {
                said: " | ".join(
                    f"{runs[f'{group}head_{name}@qkv/{m}'].mean():.2f}" for group in ("", "null_")
                )
                for name, said in names.items()
            }
    return pd.DataFrame(found).T.rename_axis(["network", "pictures", ""])


def owners_table(records: pd.DataFrame) -> pd.DataFrame:
    """Last encoder: z of the heads' gap by three quantities, expertise of heads and of random groups."""
    rows = runs_of(records)
    if rows.empty:
        return pd.DataFrame()
    found = {}
    for (network, data), runs in rows.groupby(["network", "data"], sort=False):
        m = list(by_place(runs, "gap", "qkv")[0])[-1]

        def mean(name: str, runs: pd.DataFrame = runs, m: str = m) -> float:
            return float(runs[f"{name}@qkv/{m}"].mean())

        found[network, data] = {
            "z, accuracy": mean("z_gap"),
            "z, votes": mean("z_gap_votes"),
            "z, field": mean("z_gap_field"),
            "on own labels": mean("own_accuracy"),
            "random groups": mean("null_own_accuracy"),
            "best node": mean("best_node"),
            "seeds": len(runs),
        }
    return pd.DataFrame(found).T.rename_axis(["network", "pictures"])


def threshold_table(records: pd.DataFrame, data: str = "") -> pd.DataFrame:
    """Heads of the last encoder against theta: heads a label and noise, networks with many heads; means."""
    rows = runs_of(records, data=data)
    found = {}
    for (network, of), runs in rows.groupby(["network", "data"], sort=False) if len(rows) else ():
        m = list(by_place(runs, "gap", "qkv")[0])[-1]
        for theta in ("", "/0.5", "/0.7"):
            column = f"head_coverage@qkv/{m}{theta}"
            if column in columns_of(runs, "head_coverage").values():
                found[network, of, theta.strip("/") or "0.3"] = {
                    "heads a label": runs[column].mean(),
                    "fewest": runs[f"head_least_coverage@qkv/{m}{theta}"].mean(),
                    "clusters": runs[f"head_N_c@qkv/{m}{theta}"].mean(),
                    "of one label": runs[f"head_unit_share@qkv/{m}{theta}"].mean(),
                    "noise": runs[f"head_n@qkv/{m}{theta}"].mean(),
                }
    return (
        pd.DataFrame(found).T.rename_axis(["network", "pictures", "threshold"]) if found else pd.DataFrame()
    )


def labels_or_digits(records: pd.DataFrame) -> pd.DataFrame:
    """Heads of the last encoder on pairs of digits, beside random groups: z as experts of labels, and z of
    their leaning to one digit; mean and range over seeds."""
    rows = runs_of(records, data="digit-pairs")
    found = {}
    for network, runs in rows.groupby("network", sort=False) if len(rows) else ():
        m = list(by_place(runs, "gap", "qkv")[0])[-1]
        found[network] = {
            said: f"{runs[column].mean():.1f} ({runs[column].min():.1f} to {runs[column].max():.1f})"
            for said, column in (("labels", f"z_gap@qkv/{m}"), ("one digit", f"z_lean@qkv/{m}"))
        } | {"seeds": len(runs)}
    return pd.DataFrame(found).T.rename_axis("network") if found else pd.DataFrame()
