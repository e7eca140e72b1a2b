"""What chapter 7's pictures and tables show, as sentences that follow the numbers whichever way they go."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd

from filterwise.figures.tables import NothingToShow
from filterwise.measure.head_groups import own_groups, random_groups
from filterwise.measure.head_training import generator_for
from filterwise.measure.token_heads import Reading
from filterwise.papers.chapter import Sentence
from filterwise.papers.headline import worded
from filterwise.papers.vit_shp.arm_figures import CRITERIA, prunings
from filterwise.papers.vit_shp.digits_of_heads import digit_accuracies
from filterwise.papers.vit_shp.figures import long_table
from filterwise.papers.vit_shp.place_columns import runs_of

#: Differences of times up to this share are not told from none: the clocks of two measurements drift.
SAME_TIME = 0.02


def said_of_owners(own: np.ndarray, regrouped: np.ndarray) -> str:
    """How good the best head on a label is, and the best random group; both (heads, labels).

    >>> said_of_owners(np.array([[0.5, 0.1], [0.1, 0.3]]), np.array([[0.2, 0.4]])).split(", ")[1]
    'the best random group 0.30: brighter are heads.'
    """
    best, dealt = own.max(axis=0).mean(), regrouped.max(axis=0).mean()
    brighter = f"{best:.2f}" == f"{dealt:.2f}"
    who = (
        "neither is brighter" if brighter else f"brighter are {'heads' if best > dealt else 'random groups'}"
    )
    return (
        f"The best head on a label names {best:.2f} of its pictures alone, the best random group "
        f"{dealt:.2f}: {who}."
    )


def said_of_digits(readings: Mapping[str, Reading], heads: int, seed: int = 0) -> str:
    """The head that leans most to one of two digits, and the random group that does, as drawn by
    :func:`filterwise.papers.vit_shp.figures.digits_by_head`."""
    most = {"head": (-1.0, ""), "random group": (-1.0, "")}
    for part, one in readings.items():
        if not part.startswith("qkv/"):
            continue
        d, place = len(one.head.score), part.removeprefix("qkv/")
        for name, groups in (
            ("head", own_groups(d, heads)),
            ("random group", random_groups(d, heads, generator_for(seed, f"digits {part}"))),
        ):
            for left, right in digit_accuracies(one, groups).tolist():
                where = f"{left:.2f} of the left and {right:.2f} of the right digits right"
                most[name] = max(most[name], (abs(left - right), f"in encoder {place}, has {where}"))
    if most["head"][0] < 0:
        raise NothingToShow("heads have no rows")
    return _sentence([f"the {name} that leans most, {where}" for name, (_, where) in most.items()])


def said_of_reading(records: pd.DataFrame, data: str = "") -> str:
    """How much more, or less, a head reads behind the last encoder than from the tokens, before and after
    training; of one data set, means over seeds."""
    said = []
    for before, words in (("", "trained"), ("untrained_", "untrained")):
        change = np.array([top - first for first, top in _ends(records, f"{before}probe_accuracy", data)])
        if len(change) == 0:
            continue
        low, high = sorted((abs(change.min()), abs(change.max())))
        if change.min() > 0 or change.max() < 0:
            verb = "add" if change.min() > 0 else "take"
            span = f"{low:.2f}" if f"{low:.2f}" == f"{high:.2f}" else f"{low:.2f} to {high:.2f}"
            said.append(
                f"{words} encoders {verb} {span} {'to' if verb == 'add' else 'from'} what tokens tell"
            )
        else:
            span = f"{change.min():+.2f} to {change.max():+.2f}".replace("-", "−")
            said.append(f"{words} encoders change what tokens tell by {span}")
    return _sentence(said)


def said_of_nodes(records: pd.DataFrame, data: str = "") -> str:
    """Noise of a node and its ratio at the bottom and the top, by kind of network; means over networks."""
    said = []
    for kind, place, words in (("transformer", "ff", "transformers"), ("cnn", "layer", "CNNs")):
        both = [
            f"{told} {_moves([first for first, _ in ends], [top for _, top in ends], digits)}"
            for name, told, digits in (("n", "noise", 1), ("SNR_label", "SNR_label", 2))
            if (ends := _ends(records, name, data, place, kind))
        ]
        if both:
            said.append(f"in {words} {' and '.join(both)}")
    return f"From bottom to top: {'; '.join(said)}." if said else "Noise of a node and its ratio."


def _moves(first: list[float], top: list[float], digits: int) -> str:
    """
    >>> _moves([3.0, 1.0], [1.0, 1.0], 1)
    'falls from 2.0 to 1.0'
    """
    start, end = f"{np.mean(first):.{digits}f}", f"{np.mean(top):.{digits}f}"
    if start == end:
        return f"stays at {start}"
    return f"{'falls' if np.mean(top) < np.mean(first) else 'rises'} from {start} to {end}"


def _ends(
    records: pd.DataFrame, name: str, data: str, place: str = "ff", kind: str = "transformer"
) -> list[tuple[float, float]]:
    """Lowest and highest place of each network, means over seeds; of those with at least two places."""
    table = long_table(records, (name,), place, kind).dropna(subset=[name])
    table = table[table["data"].astype(str).str.startswith(data)]
    found = []
    for _, part in table.groupby("network", sort=False):
        means = part.groupby("number")[name].mean()
        if len(means) > 1:
            found.append((float(means.iloc[0]), float(means.iloc[-1])))
    return found


def said_of_matrices(records: pd.DataFrame) -> str:
    """In how many networks noise falls from the first encoder to the last and clusters of one label become
    more, for the heads and for random groups; means over seeds."""
    named = {
        "head_n": ("noise falls", -1),
        "head_unit_share": ("the share of clusters of one label rises", 1),
    }
    said = []
    for name, (words, sign) in named.items():
        counts = []
        for null in ("", "null_"):
            ends = [end for data in _sets(records) for end in _ends(records, f"{null}{name}", data, "qkv")]
            counts.append((sum(sign * (top - first) > 0 for first, top in ends), len(ends)))
        (heads, of), (dealt, _) = counts
        said.append(f"{words} in {heads} of {of} (random groups: {dealt})")
    return f"First to last encoder: {', '.join(said)}."


def _sets(records: pd.DataFrame) -> list[str]:
    return sorted(runs_of(records)["data"].astype(str).unique()) if len(runs_of(records)) else []


def said_of_dividing(table: pd.DataFrame, ledger: pd.DataFrame) -> str:
    """What the means of :func:`filterwise.papers.vit_shp.head_tables.labels_or_digits` suggest, and V11.

    Parameters
    ----------
    table : its rows; a cell begins with its mean.
    ledger : the chapter's, where the claim's verdict stands.
    """
    labels, digit = (
        table[name].str.split().str[0].astype(float).to_numpy() for name in ("labels", "one digit")
    )
    divide = (labels < 0) & (digit > 0)
    if divide.all():
        seen = "All networks have a negative left and a positive right column, which suggests that heads "
        seen += "divide the labour by digits and not by labels"
    elif divide.any():
        seen = f"{divide.sum()} of {len(table)} networks have a negative left and a positive right column"
    else:
        seen = "No network has a negative left and a positive right column"
    verdict = worded(Sentence("V11", "claim V11 {V11.verdict}", ("quick",)), ledger, "7-vit-shp")
    return f"{seen}; {verdict}." if verdict else f"{seen}."


def said_of_andc(records: pd.DataFrame, theta: float = 0.5) -> str:
    """Retrained accuracy at one threshold by what was kept, the best first, beside the dense network."""
    rows = prunings(records, "andc")
    masked = rows[(rows["theta"] == theta) & (rows["criterion"] != "dense")]
    own = masked.groupby("criterion")["accuracy"].mean().sort_values(ascending=False)
    if own.empty:
        return "Accuracy against the removed share of the masked weights."
    share = float(masked["removed_share"].mean())
    told = ", ".join(f"{CRITERIA[str(name)][0]} {value:.3f}" for name, value in own.items())
    dense = rows.loc[rows["criterion"] == "dense", "accuracy"].mean()
    beside = f"; not pruned {dense:.3f}" if np.isfinite(dense) else ""
    return f"Retrained without {100 * share:.0f} % of the masked weights: {told}{beside}."


def said_of_pruned_heads(records: pd.DataFrame) -> str:
    """Whether a network without half of its heads is faster than the whole one beside which it was timed, and
    what the choice of the heads is worth."""
    rows = prunings(records, "heads")
    pruned = rows[rows["criterion"] != "dense"]
    if pruned.empty:
        return "No network without heads is recorded."
    # a timing that another process disturbed is far off, so the median over seeds, where the table has means
    ratio = (pruned["ms@pruned"] / pruned["ms@dense"]).groupby(pruned["criterion"]).median()
    low, high = ratio.min(), ratio.max()
    if high < 1 - SAME_TIME:
        share = f"{low:.2f} to {high:.2f} of the time of all (medians over seeds)"
        time = f"Half of the heads take {share}, timed side by side"
    elif low > 1 - SAME_TIME:
        time = "Half of the heads save no time beside all"
    else:
        time = "Half of the heads save time for some choices only"
    kept = pruned.groupby("criterion")["accuracy"].mean().sort_values(ascending=False)
    best = " and ".join(f"{CRITERIA[str(name)][0]} {value:.3f}" for name, value in kept.iloc[[0, -1]].items())
    return f"{time}; best and last choice after retraining: {best}."


def said_of_course(curves: Mapping[str, np.ndarray]) -> str:
    """Held-out accuracy after the first and the last epoch with convolutions, minus without; mean over pairs.

    Parameters
    ----------
    curves : network -> accuracy (seeds, epochs), see :func:`filterwise.papers.vit_shp.arm_figures.histories`.
    """
    gains = []
    for name, runs in curves.items():
        base = name.partition(" conv")[0]
        if base != name and base in curves:
            gains.append(runs.mean(axis=0)[[0, -1]] - curves[base].mean(axis=0)[[0, -1]])
    if not gains:
        return "Held-out accuracy by epoch."
    early, late = np.mean(gains, axis=0)
    ends = [f"{abs(gain):.3f} {'ahead' if gain > 0 else 'behind'}" for gain in (early, late)]
    lead = "is an early one" if early > max(late, 0) else "is no early one: it stays" if late > early else ""
    words = f"With convolutions a network is {ends[0]} after the first epoch and {ends[1]} after the last"
    return f"{words}, so the lead {lead}." if lead and late > 0 else f"{words}."


def _sentence(parts: list[str]) -> str:
    words = "; ".join(parts)
    return f"{words[:1].upper()}{words[1:]}." if words else ""
