"""Tables of chapter 6's arms, and their differences in words; a page's own runs and records alike."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from filterwise.figures.tables import mean_and_spread, need
from filterwise.papers.rodib.measure import COUNTS, DEPTHS, exact_part
from filterwise.papers.rodib.quantities import (
    ASYNCHRONOUS,
    COMPARED,
    SINGLE,
    TASKS,
    WIDE,
    expected_outputs,
    gaps,
    with_all_labels,
)
from filterwise.runs.layer_columns import values_of

_COLUMNS = ("arm", "M", "N", "matches", "task", "delayed", "purpose", "label_map", "labels")


def with_lines(table: pd.DataFrame) -> pd.DataFrame:
    """A row a run, with ``line``, what the run is called in a legend.

    >>> columns = ["arm", "M", "N", "matches", "task", "delayed", "purpose", "label_map", "labels"]
    >>> rows = [["single delay", 1, 4, "", "one", "both", "main", "spread", 10],
    ...         ["wide", 4, 4, "generic", "one", "both", "main", "spread", 10]]
    >>> with_lines(pd.DataFrame(rows, columns=columns))["line"].tolist()
    ['one delay', 'one delay, weights of generic M=4']
    """
    if table.empty:
        return table
    need(table, *_COLUMNS)
    table = table.reset_index(drop=True)
    delays = " M=" + table["M"].astype(int).astype(str)
    matches = table["matches"].astype(object).where(table["matches"].notna(), "")  # as a CSV file gives it
    named, wide = table["arm"] + delays, "one delay, weights of " + matches + delays
    named = named.where(table["arm"] != SINGLE, "one delay").where(table["arm"] != WIDE, wide)
    return table.assign(line=named.where(table["label_map"] == "spread", named + ", " + table["label_map"]))


def compared(table: pd.DataFrame, task: str = "one", delayed: str = "both") -> pd.DataFrame:
    """The runs of the comparison at equal N and of its wide control; all labels of each set."""
    if table.empty:
        return table
    found = with_lines(table)
    chosen = (found["task"] == task) & (found["delayed"] == delayed) & (found["label_map"] == "spread")
    found = found[chosen & found["purpose"].isin(COMPARED) & (found["arm"] != ASYNCHRONOUS)]
    return found[found["labels"] == found.groupby("data")["labels"].transform("max")]


def main_comparison(table: pd.DataFrame) -> pd.DataFrame:
    """Runs at equal N without the wide control, of sets with several N."""
    found = compared(table)
    if found.empty:
        return found
    found = found[found["arm"] != WIDE]
    return found[found.groupby("data")["N"].transform("nunique") > 1]


def comparison(table: pd.DataFrame, value: str = "accuracy") -> pd.DataFrame:
    """Mean and spread over seeds of every line at every N, with its number of parameters.

    Parameters
    ----------
    table : one row a run, as :func:`compared` gives it.
    """
    need(table, "line", "N", value, "parameters", "labels")
    keys = ["labels", "N", "line"]
    found = mean_and_spread(table, keys, value).rename(columns={"mean": value, "runs": "seeds"})
    found = found.drop(columns="spread") if found["seeds"].max() == 1 else found
    return found.join(table.groupby(keys)["parameters"].first(), on=keys).set_index(keys)


def gap_table(
    table: pd.DataFrame, value: str = "accuracy", task: str = "one", delayed: str = "both"
) -> pd.DataFrame:
    """Delays minus one delay at the same N, and minus one delay with as many weights, paired by seed.

    Runs on fewer labels than their set has are left out. ``at chance`` counts the networks of a row, those
    with one delay too, that have learned nothing; they are part of its means.

    Parameters
    ----------
    table : one row a run, with the columns that the quantities of this chapter read.
    """
    found = pd.DataFrame(with_all_labels(gaps(table, value, task, delayed)))
    if found.empty:
        return found
    found["arm"] = found["kind"] + " M=" + found["M"].astype(str)
    rows = []
    for (labels, n, arm), runs in found.groupby(["labels", "N", "arm"], sort=True):
        row = {"labels": labels, "N": n, "arm": arm, "seeds": runs["seed"].nunique()}
        for column, name in (("value", "same N"), ("control", "same weights")):
            known = runs[column].dropna()
            error = known.std(ddof=1) / np.sqrt(len(known)) if len(known) > 1 else np.nan
            row |= {f"minus one delay, {name}": known.mean(), f"error ({name})": error}
        pairs = int(runs["control"].notna().sum())
        rows.append({**row, "pairs (same weights)": pairs or "", "at chance": int(runs["chance"].sum())})
    made = pd.DataFrame(rows).dropna(axis="columns", how="all").set_index(["labels", "N", "arm"])
    return made.drop(columns=[name for name in ("pairs (same weights)", "at chance") if not made[name].any()])


def gaps_in_words(table: pd.DataFrame, value: str = "accuracy", task: str = "one") -> str:
    """The range of the gaps at the same N below and from the number of labels on, and at the same weights.

    >>> columns = ["arm", "M", "N", "task", "labels", "data", "seed", "accuracy"]
    >>> rows = [["single delay", 1, 4, "one", 10, "d", 0, 0.5], ["generic", 4, 4, "one", 10, "d", 0, 0.75]]
    >>> table = pd.DataFrame(rows, columns=columns)
    >>> gaps_in_words(table.assign(matches="", delayed="both", purpose="main", label_map="spread"))
    'delays gain 0.250 at the same N below the number of labels'
    """
    found = gap_table(table, value, task).reset_index()
    if found.empty:
        return "delays and one delay share no N and seed"
    low = found["N"] < found["labels"]
    same = "minus one delay, same N"
    outputs = "outputs" if task == "pair" else "labels"
    said = [
        f"{_range(found.loc[where, same])} at the same N {words} the number of {outputs}"
        for where, words in ((low, "below"), (~low, "from"))
        if where.any()
    ]
    if len(said) > 1:
        said[1] = said[1].replace(f" from the number of {outputs}", " from there on")
    weights = "minus one delay, same weights"
    if weights in found and found[weights].notna().any():
        said.append(f"{_range(found[weights].dropna())} at the same number of weights")
    return f"delays gain {' and '.join(said)}" if len(said) < 3 else f"delays gain {', '.join(said)}"


def _range(values: pd.Series) -> str:
    """The ends of some differences.

    >>> _range(pd.Series([-0.1, 0.25]))
    '−0.100 to 0.250'
    """
    ends = [f"{end:.3f}".replace("-", "−") for end in (values.min(), values.max())]
    return " to ".join(dict.fromkeys(ends))


def counts(seed: int = 0) -> pd.DataFrame:
    """Output times that the event simulator hears, beside the closed form; a row a kind, L and M."""
    row = exact_part(seed)
    rows = []
    for part, heard in values_of(pd.DataFrame([row]), "outputs")[0].items():
        kind, depth, delays = part.split("-")
        expected = expected_outputs(kind, int(depth), int(delays))
        rows.append(
            {"kind": kind, "L": int(depth), "M": int(delays), "heard": int(heard), "formula": expected}
        )
    return pd.DataFrame(rows)


def counts_table(found: pd.DataFrame) -> pd.DataFrame:
    """The counts with a column for every M, a star where the closed form says something else."""
    texts = [
        f"{heard:,}" + ("" if heard == formula else " *")
        for heard, formula in zip(found["heard"], found["formula"], strict=True)
    ]
    wide = found.assign(text=texts).pivot(index=["kind", "L"], columns="M", values="text")
    return wide.loc[list(dict.fromkeys(zip(found["kind"], found["L"], strict=True)))][list(COUNTS)]


def slopes_in_words(found: pd.DataFrame) -> str:
    """Slope of the counts in M on doubly logarithmic axes, between the two largest M, by kind at most L."""
    said = []
    for kind, part in found[found["L"] == max(DEPTHS)].groupby("kind", sort=False):
        last = part.sort_values("M").iloc[-2:]
        slope = np.diff(np.log(last["heard"])) / np.diff(np.log(last["M"]))
        said.append(f"{slope.item():.1f} ({kind})")
    return f"with {max(DEPTHS)} delayed layers the slopes are {', '.join(said)}"


def fixed_network(table: pd.DataFrame) -> pd.DataFrame:
    """Runs of one N and M on several numbers of labels of one set, and of their single delay."""
    if table.empty:
        return table
    found = with_lines(table)
    found = found[(found["task"] == "one") & (found["delayed"] == "both") & (found["label_map"] == "spread")]
    several = found[found["purpose"] == "more labels"]
    if several.empty:
        return several
    same = found["data"].isin(several["data"].unique()) & found["N"].isin(several["N"].unique())
    return found[same & found["line"].isin(several["line"].unique())]


def fixed_in_words(table: pd.DataFrame) -> str:
    """Accuracies of the fixed network and of one delay by number of labels."""
    found = table.groupby(["line", "labels"], sort=True)["accuracy"].mean()
    lines = sorted(set(found.index.get_level_values("line")), reverse=True)
    said = []
    for line in lines:
        values = ", ".join(f"{value:.3f} ({labels:.0f})" for labels, value in found[line].items())
        said.append(f"{line} {values}")
    return "; ".join(said)


def jitter_table(table: pd.DataFrame) -> pd.DataFrame:
    """Accuracy by share of lines at a wrong instant; 0 is the trained network. A row a run and share."""
    if table.empty:
        return table
    rows = []
    found = with_lines(table).reset_index(drop=True)
    for place, shares in enumerate(values_of(found, "jitter_accuracy")):
        if shares:
            run = found.loc[place]
            about = {name: run[name] for name in ("line", "arm", "N", "seed", "labels", "data")}
            rows.append({**about, "share": 0.0, "accuracy": run["accuracy"]})
            rows += [{**about, "share": float(share), "accuracy": value} for share, value in shares.items()]
    return pd.DataFrame(rows)


def said_of_jitter(table: pd.DataFrame, levels: Mapping[str, float]) -> str:
    """What a few wrong lines cost each kind of delays, and from which share on one delay is better.

    Parameters
    ----------
    table : see :func:`jitter_table`; of one set and N.
    levels : see :func:`references`.
    """
    said, single = [], levels.get("one delay", np.nan)
    for line, runs in table.groupby("line", sort=False):
        means = runs.groupby("share")["accuracy"].mean()
        few = means.index[1] if len(means) > 1 else 0.0
        loss = means.iloc[0] - means[few]
        words = f"{line} {'loses' if loss > 0 else 'gains'} {abs(loss):.3f} at a share of {few:g}"
        below = means.index[(means < single) & (means.index > 0)]
        if len(below):
            words += f" and is below one delay from {below[0]:g} on"
        said.append(words)
    return "; ".join(said)


def references(table: pd.DataFrame, n: int) -> dict[str, float]:
    """Mean accuracy of one delay, and of single lines with random delays, at N, on the sets of both."""
    found = compared(table) if len(table) else table
    if len(found) == 0:
        return {}
    lone = with_lines(table)
    lone = lone[(lone["arm"] == ASYNCHRONOUS) & (lone["N"] == n)]
    sets = set(lone["data"]) or set(found["data"])
    single = found[(found["arm"] == SINGLE) & (found["N"] == n) & found["data"].isin(sets)]
    pairs = {"one delay": single, "one line a connection, random delays": lone}
    return {name: float(part["accuracy"].mean()) for name, part in pairs.items() if len(part)}


def both_readings(table: pd.DataFrame) -> pd.DataFrame:
    """The runs on pictures of two labels, answered as the two largest instants and as one instant a pair."""
    if table.empty or "exact_match" not in table:
        return table.iloc[:0]
    return pd.concat([compared(table, task) for task in TASKS[1:]], ignore_index=True)


def both_in_words(table: pd.DataFrame) -> str:
    """The gaps of both readings in words."""
    names = {"both": "as the two largest instants", "pair": "as one instant a pair"}
    return "; ".join(f"{name}, {gaps_in_words(table, 'exact_match', task)}" for task, name in names.items())


def map_table(table: pd.DataFrame) -> pd.DataFrame:
    """Accuracy with labels spread over the banks or filling the first, and with one delay."""
    need(table, *_COLUMNS)
    found = with_lines(table)
    filled = found[found["label_map"] == "fill"]
    same = found["data"].isin(filled["data"]) & found["N"].isin(filled["N"]) & (found["task"] == "one")
    same &= (found["arm"] == SINGLE) | ((found["arm"] == "generic") & found["M"].isin(filled["M"]))
    chosen = found[same & (found["delayed"] == "both")]
    return comparison(chosen)


def sizes(
    table: pd.DataFrame, columns: Sequence[str] = ("outputs_used", "outputs_available")
) -> pd.DataFrame:
    """Used and available output times by line and number of labels."""
    found = with_lines(table)
    found = found[~found["arm"].isin([SINGLE, WIDE, ASYNCHRONOUS])]
    made = found.groupby(["line", "labels"], sort=True)[list(columns)].first()
    made["share"] = made["outputs_used"] / made["outputs_available"]
    return made.rename(columns={"outputs_used": "used", "outputs_available": "available"})
