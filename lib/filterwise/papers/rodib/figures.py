"""Figures on delays: instants, counts, time series, accuracy by neurons, labels and weights, wrong delays."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from torch import Tensor

from filterwise.errors import ParameterError
from filterwise.figures import style
from filterwise.figures.book_figure import BookFigure, drawn, panels, points
from filterwise.figures.pictures import as_picture
from filterwise.figures.tables import counted, mean_and_spread, need
from filterwise.models.delays import arrivals, output_times
from filterwise.papers.rodib.quantities import ASYNCHRONOUS, SINGLE, WIDE

if TYPE_CHECKING:
    from matplotlib.axes import Axes

LOOKS = {
    SINGLE: style.Look(style.BLUE, "o"),
    WIDE: style.Look(style.TEAL, "D"),
    "generic": style.Look(style.OCHRE, "^"),
    "shared": style.Look(style.GREEN, "p"),
    "equal": style.Look(style.MAGENTA, "s"),
    ASYNCHRONOUS: style.Look(style.RED, "X"),
}


@drawn
def instants(sets: Mapping[str, Sequence[Sequence[float]]]) -> BookFigure:
    """From one instant to many: when each layer emits, and which lines arrive together.

    Parameters
    ----------
    sets : kind -> delays, one list a layer, of two layers.
    """
    if not sets or any(len(delays) != 2 for delays in sets.values()):
        raise ParameterError("sets must hold at least one delay set of two layers")
    figure, axes = panels(len(sets), columns=len(sets), height=2.7)
    for ax, (kind, delays) in zip(axes, sets.items(), strict=True):
        banks, _ = arrivals([0.0], delays[0])
        times, table = arrivals(banks, delays[1])
        colors = style.steps(len(banks))
        ax.plot([0], [0], "o", color=style.INK, markersize=7)
        for bank, color in zip(banks, colors, strict=True):
            ax.plot([0, bank], [0, 1], color=color, linewidth=1)
            ax.plot([bank], [1], "o", color=color, markersize=7)
        for time, places in zip(times, table, strict=True):
            for place in places:
                bank = place // len(delays[1])
                ax.plot([banks[bank], time], [1, 2], color=colors[bank], linewidth=1)
            own = colors[places[0] // len(delays[1])] if len(places) == 1 else style.INK
            ax.plot([time], [2], "o", color=own, markersize=4 + 2 * len(places))
        ax.set(yticks=[0, 1, 2], yticklabels=["input", "hidden", "output"], ylim=(-0.3, 2.4), xlabel="time")
        ax.set_title(f"{kind}: {counted(len(times), 'output time')}", fontsize=9.5)
        ax.grid(axis="y", visible=False)
    for ax in axes[1:]:
        ax.set_yticklabels([])
    words = [f"{kind} {len(output_times(delays))}" for kind, delays in sets.items()]
    figure.alt = f"Instants of input, hidden layer and output; output times: {', '.join(words)}."
    return figure


@drawn
def output_counts(table: pd.DataFrame) -> BookFigure:
    """Output times against M on doubly logarithmic axes, a panel a kind; marks are heard, lines the formula.

    Parameters
    ----------
    table : one row a case; columns ``kind``, ``L``, ``M``, ``heard`` and ``formula``.
    """
    need(table, "kind", "L", "M", "heard", "formula")
    kinds = list(dict.fromkeys(table["kind"]))
    figure, axes = panels(len(kinds), columns=len(kinds), height=2.9, sharey=True)
    depths = sorted(table["L"].unique())
    for ax, kind in zip(axes, kinds, strict=True):
        for depth, look in zip(depths, style.marked(len(depths)), strict=True):
            part = table[(table["kind"] == kind) & (table["L"] == depth)].sort_values("M")
            ax.plot(part["M"], part["formula"], color=look.color, linewidth=1.2)
            name = counted(int(depth), "delayed layer")
            ax.plot(part["M"], part["heard"], look.marker, color=look.color, label=name)
        ax.set(xscale="log", yscale="log", xlabel="delays $M$")
        ax.set_xticks(sorted(table["M"].unique()))
        ax.xaxis.set_major_formatter("{x:g}")
        ax.xaxis.set_minor_formatter("")
        ax.yaxis.set_major_formatter("{x:g}")
        ax.set_title(kind, fontsize=9.5)
    axes[0].set_ylabel("output times")
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside upper left", ncols=3)
    figure.alt = f"Output times against the number of delays for {', '.join(kinds)} delays."
    return figure


@drawn
def time_series(
    z: Tensor, times: Sequence[float], places: Sequence[int], truth: Sequence[int], names: Sequence[str],
    images: Tensor | None = None,
) -> BookFigure:  # fmt: skip
    """What the one output unit emits: a panel an image, its label's instant filled, the largest one ringed.

    Instants stand in their order and not to scale, because random delays put some of them close together.

    Parameters
    ----------
    z : (n, instants).
    times : the instants, ascending.
    places : K, the place among them of each label's instant; the other instants are drawn grey.
    truth : n labels.
    names : K names of labels.
    images : uint8 (n, C, H, W), shown beside; none are if not given.

    Raises ParameterError: no image, or numbers that do not fit.
    """
    if z.ndim != 2 or z.shape != (len(truth), len(times)) or len(truth) == 0 or len(places) != len(names):
        raise ParameterError(
            f"z of shape {tuple(z.shape)} with {len(times)} times, {len(truth)} images, {len(places)} places "
            f"and {len(names)} names does not fit"
        )
    figure, axes = panels(len(truth), columns=1, height=1.75, extra=0.3, sharex=True)
    at = np.arange(len(times))
    for row, (ax, label) in enumerate(zip(axes, truth, strict=True)):
        values = z[row].detach().double().numpy()
        ax.vlines(at, 0, values, color=style.INK, alpha=0.35, linewidth=1)
        ax.vlines(at[list(places)], 0, values[list(places)], color=style.OCHRE, linewidth=1.6)
        ax.plot(at[list(places)], values[list(places)], "o", color=style.OCHRE, markersize=4)
        ax.plot(at[places[label]], values[places[label]], "o", color=style.BLUE, markersize=7)
        answer = int(np.argmax(values[list(places)]))
        top = places[answer]
        ax.plot(at[top], values[top], "o", mfc="none", color=style.RED, markersize=12, markeredgewidth=1.6)
        for name, place in zip(names, places, strict=True):
            if len(names) <= 12:
                word = str(name) if len(str(name)) < 4 else str(name)[:3]
                above = values[place] >= 0
                ax.annotate(
                    word, (at[place], values[place]), (0, 6 if above else -6), textcoords="offset points",
                    ha="center", va="bottom" if above else "top", fontsize=7.5,
                )  # fmt: skip
        ax.axhline(0, color=style.INK, linewidth=0.8)
        ax.margins(y=0.25)
        ax.set_title(f"{names[label]} comes in, the answer is {names[answer]}", fontsize=9)
        ax.set_ylabel("$z(t)$")
        if images is not None:
            inset = ax.inset_axes((1.01, 0.1, 0.12, 0.8))
            inset.imshow(as_picture(images[row]), cmap="gray", interpolation="nearest")
            inset.set(xticks=[], yticks=[])
            inset.grid(visible=False)
    axes[-1].set_xlabel("output times $t$, in their order")
    figure.alt = f"Time series of the output unit for {', '.join(str(names[label]) for label in truth)}."
    return figure


@drawn
def accuracy_against_inputs(
    table: pd.DataFrame, value: str = "accuracy", ylabel: str = "test accuracy"
) -> BookFigure:
    """Accuracy against N, a line an arm and a panel a number of labels K; the dotted line is N = K.

    Parameters
    ----------
    table : one row a run; columns ``line``, ``arm``, ``N``, ``labels`` and ``value``.
    """
    need(table, "line", "arm", "N", "labels", value)
    counts = sorted(table["labels"].unique())
    figure, axes = panels(len(counts), columns=2, height=3.5)
    for ax, labels in zip(axes, counts, strict=True):
        part = table[table["labels"] == labels]
        _lines(ax, table, part, "N", value)
        ax.axvline(labels, color=style.INK, linestyle=":", linewidth=1.3)
        ax.set_xscale("log", base=2)
        ax.set_xticks(sorted(part["N"].unique()))
        ax.xaxis.set_major_formatter("{x:g}")
        ax.set(xlabel="neurons before the output, $N$")
        ax.set_title(f"{int(labels)} outputs", fontsize=9.5)
    axes[0].set_ylabel(ylabel)
    _legend(figure, axes)
    figure.alt = f"{ylabel.capitalize()} against the number of neurons before the output, one line an arm."
    return figure


def _lines(ax: Axes, whole: pd.DataFrame, part: pd.DataFrame, by: str, value: str) -> None:
    """The lines of a panel; those of one arm differ by their marks in the whole figure, and where a panel has
    one place only its points stand side by side."""
    places = whole.groupby("arm", sort=False)["line"].unique().map(list)
    alone = part[by].nunique() == 1 and part["line"].nunique() > 1
    for number, (line, runs) in enumerate(part.groupby("line", sort=False)):
        arm = str(runs["arm"].iloc[0])
        place = places[arm].index(line)
        look = LOOKS[arm]._replace(marker=(*2 * (LOOKS[arm].marker,), "*", "*")[place % 4])
        found = mean_and_spread(runs, [by], value)
        filled = {"mfc": "none"} if place % 2 else {}
        filled |= {"mfc": "none", "linestyle": "--"} if "fill" in str(line) else {}
        aside = 2 ** (0.15 * (number - (part["line"].nunique() - 1) / 2)) if alone else 1.0
        points(ax, found[by] * aside, found, look, str(line), linewidth=1.4, **filled)


def _legend(figure: BookFigure, axes: Sequence[Any]) -> None:
    named: dict[str, Any] = {}
    for ax in axes:
        handles, labels = ax.get_legend_handles_labels()
        named |= {label: handle for label, handle in zip(labels, handles, strict=True) if label not in named}
    columns = 2 if max(map(len, named), default=0) > 24 else 3  # or a third column is cut off
    figure.legend(list(named.values()), list(named), loc="outside upper left", ncols=columns)


@drawn
def accuracy_against_labels(table: pd.DataFrame) -> BookFigure:
    """Accuracy of one network of fixed size against its number of labels, one delay beside it, and chance.

    Parameters
    ----------
    table : one row a run; columns ``line``, ``arm``, ``labels`` and ``accuracy``.
    """
    from matplotlib.ticker import LogLocator

    need(table, "line", "arm", "labels", "accuracy")
    figure, (ax,) = panels(height=3.2)
    _lines(ax, table, table, "labels", "accuracy")
    labels = np.array(sorted(table["labels"].unique()), dtype=float)
    ax.plot(labels, 1 / labels, color=style.INK, linestyle=":", label="chance")
    ax.set(xscale="log", yscale="log", xlabel="labels $K$", ylabel="test accuracy")
    ax.set_xticks(labels)
    ax.xaxis.set_major_formatter("{x:g}")
    ax.xaxis.set_minor_formatter("")
    ax.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    ax.yaxis.set_major_formatter("{x:g}")
    ax.yaxis.set_minor_formatter("")
    figure.legend(loc="outside upper left", ncols=3)
    figure.alt = "Accuracy against the number of labels at a fixed number of weights."
    return figure


@drawn
def accuracy_against_weights(table: pd.DataFrame) -> BookFigure:
    """Accuracy against the number of parameters, a line an arm and a panel a number of labels.

    Parameters
    ----------
    table : one row a run; columns ``line``, ``arm``, ``labels``, ``parameters`` and ``accuracy``.
    """
    from matplotlib.ticker import LogLocator, MaxNLocator

    need(table, "line", "arm", "labels", "parameters", "accuracy")
    counts = sorted(table["labels"].unique())
    figure, axes = panels(len(counts), columns=2, height=3.5)
    for ax, labels in zip(axes, counts, strict=True):
        part = table[table["labels"] == labels]
        thousand = part["parameters"] / 1e3
        _lines(ax, table, part.assign(thousand=thousand), "thousand", "accuracy")
        ax.set(xscale="log", xlabel="parameters (thousand)")
        near = thousand.max() < 5 * thousand.min()
        ax.xaxis.set_major_locator(MaxNLocator(4) if near else LogLocator(subs=(1.0, 2.0, 5.0)))
        ax.xaxis.set_major_formatter("{x:g}")
        ax.xaxis.set_minor_formatter("")
        ax.set_title(f"{int(labels)} labels", fontsize=9.5)
    axes[0].set_ylabel("test accuracy")
    _legend(figure, axes)
    figure.alt = "Accuracy against the number of parameters, delays beside wider networks of one delay."
    return figure


@drawn
def wrong_delays(table: pd.DataFrame, references: Mapping[str, float] | None = None) -> BookFigure:
    """Accuracy after training when a share of the single lines gets a wrong delay.

    Parameters
    ----------
    table : one row a run and share; columns ``line``, ``arm``, ``share`` and ``accuracy``.
    references : name -> accuracy, horizontal lines.
    """
    need(table, "line", "arm", "share", "accuracy")
    figure, (ax,) = panels(height=3.1)
    _lines(ax, table, table, "share", "accuracy")
    for (name, level), dashes in zip((references or {}).items(), ("--", ":", "-."), strict=False):
        color = LOOKS[SINGLE if name == "one delay" else ASYNCHRONOUS].color
        ax.axhline(level, color=color, linestyle=dashes, linewidth=1.4, label=name)
    ax.set_xscale("symlog", linthresh=0.01)
    ax.set_xticks(sorted(table["share"].unique()))
    ax.xaxis.set_major_formatter("{x:g}")
    ax.set(xlabel="share of the lines with a wrong delay", ylabel="test accuracy")
    ax.set(xlim=(-0.002, None), ylim=(0, None))
    figure.legend(loc="outside upper left", ncols=2)
    figure.alt = "Accuracy against the share of lines whose delay is wrong."
    return figure
