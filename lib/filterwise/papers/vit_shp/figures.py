"""What only chapter 7's page draws of nodes and heads: places of encoders, heads beside random groups."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from filterwise.claims.record_rows import rows_of
from filterwise.figures import style
from filterwise.figures.book_figure import BookFigure, drawn, panels, points
from filterwise.figures.style import Look
from filterwise.figures.tables import NothingToShow, counted, mean_and_spread, need
from filterwise.measure.head_groups import own_groups, random_groups
from filterwise.measure.head_training import generator_for
from filterwise.measure.token_heads import Reading
from filterwise.papers.vit_shp.digits_of_heads import digit_accuracies
from filterwise.papers.vit_shp.place_columns import by_place, runs_of
from filterwise.runs.records import arrays

#: Networks by the last words of their names: few heads, many small ones, many and wide.
LOOKS = {
    "H4": Look(style.BLUE, "o"),
    "H16": Look(style.RED, "s"),
    "W16": Look(style.GREEN, "^"),
    "W24": Look(style.GREEN, "^"),
    "W32": Look(style.GREEN, "^"),
    "L32": Look(style.RED, "s"),
    "L64": Look(style.OCHRE, "D"),
    "W100": Look(style.GREEN, "^"),
    "cnn-a": Look(style.ORANGE, "v"),
    "cnn-b": Look(style.MAGENTA, "P"),
    "cnn-c": Look(style.TEAL, "X"),
}
PLACES = {"qkv": "heads' outputs", "ff": "behind the encoder", "layer": "layer"}
_SPARE = Look(style.INK, "x")


def look_of(network: str) -> Look:
    """How a network is drawn: by its heads, whatever stands in front of them."""
    words = network.split(" conv")[0].split(" ")[-1]
    return LOOKS.get(words, _SPARE)


def long_table(
    records: pd.DataFrame, names: tuple[str, ...], place: str, kind: str = "transformer"
) -> pd.DataFrame:
    """One row a network, seed and encoder: ``number`` (0 for the tokens) and the quantities asked for."""
    rows = runs_of(records, kind)
    found = []
    values = {name: by_place(rows, name, place) for name in names}
    for at, run in enumerate(rows_of(rows, "network", "data", "labels", "seed")):
        for m in values[names[0]][at]:
            own = {name: values[name][at].get(m, np.nan) for name in names}
            found.append({**run._asdict(), "number": int(m), **own})
    table = pd.DataFrame(found, columns=["network", "data", "labels", "seed", "number", *names])
    table.attrs.update(records.attrs)
    return table


@drawn
def read_along_encoders(records: pd.DataFrame, data: str = "") -> BookFigure:
    """Accuracy of a token head at every encoder, after attention and behind the encoder; bands are one
    standard deviation over seeds, dashed lines the same networks before training.

    Parameters
    ----------
    records : rows of records; ``data``: of one data set.
    """
    figure, axes = panels(2, columns=2, height=3.1, extra=0.4, sharey=True)
    some = False
    for ax, place in zip(axes, ("qkv", "ff"), strict=True):
        for before, dashes in (("", "-"), ("untrained_", "--")):
            table = long_table(records, (f"{before}probe_accuracy",), place)
            table = table[table["data"].astype(str).str.startswith(data)]
            some |= len(table) > 0
            _lines(ax, table, f"{before}probe_accuracy", dashes)
        ax.set(xlabel="encoder $m$ (0: tokens)" if place == "ff" else "encoder $m$", title=PLACES[place])
    if not some:
        raise NothingToShow("read-outs have no rows")
    axes[0].set_ylabel("test accuracy of the head")
    _legend(figure, axes[0])
    figure.alt = "Accuracy read at the heads' outputs and behind each encoder, trained and untrained."
    return figure


@drawn
def nodes_along_depth(records: pd.DataFrame, data: str = "") -> BookFigure:
    """Noise of a node and SNR_label along the depth: encoders of transformers to the left, layers of
    convolutional networks, measured with the same heads, to the right.

    Parameters
    ----------
    records : rows of records; ``data``: of one data set.
    """
    figure, axes = panels(4, columns=2, height=2.5, extra=0.4)
    some = False
    kinds = (("transformer", "ff", "encoder $m$ (0: tokens)"), ("cnn", "layer", "layer $m$"))
    for column, (kind, place, said) in enumerate(kinds):
        for row, (name, title) in enumerate((("n", "noise ones a node"), ("SNR_label", "SNR$_{label}$"))):
            ax = axes[2 * row + column]
            table = long_table(records, (name,), place, kind)
            table = table[table["data"].astype(str).str.startswith(data)]
            some |= len(table) > 0
            _lines(ax, table, name, "-")
            ax.set(xlabel=said, title=f"{title}, {'transformers' if column == 0 else 'CNNs'}")
            ax.set_ylim(bottom=0)
    if not some:
        raise NothingToShow("nodes have no rows")
    _legend(figure, *axes[:2])
    figure.alt = "Noise and signal-to-noise ratio of nodes along transformers and convolutional networks."
    return figure


@drawn
def heads_beside_random(records: pd.DataFrame, data: str = "") -> BookFigure:
    """The gap of single-head accuracies of every encoder beside that of random groups of its nodes.

    gap = accuracy of the best head on a label minus that of the mean head, mean over labels. Filled: heads;
    open: random groups; bars are one standard deviation, over seeds, and of the random groups. To the right
    the difference in deviations of the random groups.

    Parameters
    ----------
    records : rows of records; ``data``: of one data set.
    """
    table = long_table(records, ("gap", "null_gap", "sd_gap", "z_gap"), "qkv")
    table = table[table["data"].astype(str).str.startswith(data)]
    if table.empty:
        raise NothingToShow("heads have no rows")
    figure, (left, right) = panels(2, columns=2, height=3.3, extra=0.4)
    networks = list(dict.fromkeys(table["network"]))
    for place, network in enumerate(networks):
        own, look = table[table["network"] == network], look_of(network)
        shift = 0.12 * (place - (len(networks) - 1) / 2)
        heads = mean_and_spread(own, ["number"], "gap")
        points(left, heads["number"] + shift, heads, look, network, linestyle="none")
        null = mean_and_spread(own, ["number"], "null_gap")
        null["spread"] = own.groupby("number")["sd_gap"].mean().to_numpy()
        points(left, null["number"] + shift + 0.05, null, look, linestyle="none", markerfacecolor="none")
        z = mean_and_spread(own, ["number"], "z_gap")
        points(right, z["number"] + shift, z, look, linestyle="none")
    right.axhline(0, color=style.INK, linewidth=1)
    right.axhline(3, color=style.INK, linestyle="--", linewidth=1)
    left.set(
        xlabel="encoder $m$", ylabel="best head minus mean head", title="filled: heads, open: random groups"
    )
    right.set(xlabel="encoder $m$", ylabel="deviations", title="heads above random groups")
    for ax in (left, right):
        ax.set_xticks(sorted(table["number"].unique()))
    _legend(figure, left)
    figure.alt = "Gap of single-head accuracies by encoder, of heads and of random groups of their nodes."
    return figure


@drawn
def sorted_by_owner(own: np.ndarray, regrouped: np.ndarray) -> BookFigure:
    """A_h(l), accuracy of a head alone on a label, labels sorted by owner; beside it one random regrouping.

    Parameters
    ----------
    own, regrouped : (heads, labels).
    """
    figure, axes = panels(2, columns=2, height=2.6, extra=0.3)
    top = max(float(own.max()), float(regrouped.max()))
    for ax, values, title in zip(axes, (own, regrouped), ("heads", "random groups"), strict=True):
        owner = values.argmax(axis=0)
        order = np.lexsort((-values.max(axis=0), owner))
        image = ax.imshow(
            values[:, order], aspect="auto", vmin=0, vmax=top, cmap="cividis", interpolation="nearest"
        )
        ax.grid(visible=False)
        ax.set(xlabel="label, by owner", title=title, xticks=[])
    axes[0].set_ylabel("head")
    for ax in axes:
        ax.yaxis.get_major_locator().set_params(integer=True)
    figure.colorbar(image, ax=axes, shrink=0.8, pad=0.02).outline.set_visible(False)
    figure.alt = "Accuracy of single heads by label, sorted by the owning head, beside a random regrouping."
    return figure


@drawn
def digits_by_head(readings: Mapping[str, Reading], heads: int, seed: int = 0) -> BookFigure:
    """Accuracy on the left digit against that on the right, a point a head; open: one random regrouping.

    Parameters
    ----------
    readings : of a network on digit-pairs, by part; ``heads``: H.
    """
    parts = [part for part in readings if part.startswith("qkv/")]
    if not parts or any(len(readings[part].weight) != 100 for part in parts):
        raise NothingToShow("digits of heads need the hundred labels of digit-pairs")
    figure, axes = panels(len(parts), columns=4, height=2.3, extra=0.3, phone=2, sharex=True, sharey=True)
    for ax, part in zip(axes, parts, strict=True):
        one = readings[part]
        d = len(one.head.score)
        for groups, face, said in (
            (own_groups(d, heads), style.RED, "heads"),
            (random_groups(d, heads, generator_for(seed, f"digits {part}")), "none", "random groups"),
        ):
            left, right = digit_accuracies(one, groups).T.numpy()
            color = style.RED if said == "heads" else style.INK
            ax.plot(left, right, "o", color=color, markerfacecolor=face, label=said)
        ax.plot([0, 1], [0, 1], color=style.INK, linewidth=0.8, linestyle=":")
        ax.set(title=f"encoder {part.removeprefix('qkv/')}", xlim=(0, 1), ylim=(0, 1), xlabel="left digit")
    axes[0].set_ylabel("right digit")
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside upper left", ncols=2)
    figure.alt = "Accuracy of single heads on the left and right digit, beside random groups of their nodes."
    return figure


def recorded_matrices(records: pd.DataFrame, network: str, data: str) -> dict[str, np.ndarray]:
    """Matrices that a record kept of the last encoder's heads, and of the same places of a random regrouping.

    Rows "head" and "random group" -> (heads, K, K), for ``head_explorer.shown_heads``; empty without one.
    """
    rows = runs_of(records, data=data)
    rows = rows[(rows["network"] == network) & (rows["seed"] == 0)] if len(rows) else rows
    if rows.empty:
        return {}
    one = rows.iloc[0]
    kept = arrays("7-vit-shp", str(records.attrs["profile"]), str(one["spec_key"]))
    last = [part for part in str(one["parts"]).split() if part.startswith("qkv/")][-1]
    return {"head": kept[f"heads@{last}"], "random group": kept[f"regrouped@{last}"]}


def _lines(ax: Any, table: pd.DataFrame, value: str, dashes: str) -> None:
    if table.empty:
        return
    need(table, "network", value)
    for network, part in mean_and_spread(table, ["network", "number"], value).groupby("network", sort=False):
        look, runs = look_of(str(network)), int(part["runs"].max())
        label = f"{network}, {counted(runs, 'seed')}" if dashes == "-" else ""
        face = look.color if dashes == "-" else "none"
        ax.plot(
            part["number"], part["mean"], dashes, color=look.color, marker=look.marker, label=label,
            markerfacecolor=face,
        )  # fmt: skip
        if runs > 1:
            low, high = part["mean"] - part["spread"], part["mean"] + part["spread"]
            ax.fill_between(part["number"], low, high, color=look.color, alpha=0.18, linewidth=0)
    ax.xaxis.get_major_locator().set_params(integer=True)


def _legend(figure: BookFigure, *axes: Any) -> None:
    both = [ax.get_legend_handles_labels() for ax in axes]
    handles, names = [one for each, _ in both for one in each], [one for _, each in both for one in each]
    figure.legend(handles, names, loc="outside upper left", ncols=3)
