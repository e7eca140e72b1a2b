"""What the page draws of SET and its relatives: degrees of the inputs, removal curves, pixels, one table."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from filterwise.errors import ParameterError, check_choice
from filterwise.figures import style
from filterwise.figures.book_figure import BookFigure, drawn, panels
from filterwise.figures.tables import NothingToShow, counted
from filterwise.papers.afcc.set_arms import ARMS, BUNDLE
from filterwise.runs.records import arrays

#: How the arms are drawn; the two dense networks share a colour, as their inputs have equal degrees.
LOOKS = {
    arm: style.Look(color, marker)
    for arm, color, marker in zip(
        ARMS,
        (
            style.GREEN, style.BLUE, style.MAGENTA, style.OCHRE, style.TEAL, style.ORANGE, style.INK,
            style.RED, style.INK,
        ),
        "osD^vPX<>",
        strict=True,
    )
}  # fmt: skip
#: Most connected inputs that a bar chart shows.
SHOWN = 60


def chosen(table: pd.DataFrame, data: str = "") -> pd.DataFrame:
    """The rows of this comparison, in the order of the arms; of one data set if it is named."""
    if "family" not in table or "algorithm" not in table:
        return table.iloc[:0]
    rows = table[(table["family"] == BUNDLE) & table["algorithm"].isin(ARMS)]
    rows = rows[rows["data"] == data] if data else rows
    return rows.sort_values("algorithm", key=lambda names: names.map(ARMS.index), kind="stable")


def kept(records: pd.DataFrame, chapter: str, profile: str, data: str = "madelon") -> dict[str, Any]:
    """Algorithm -> array's name -> values of all seeds, stacked; empty without records.

    The names are those of the measurement ``afcc.connectivity``.
    """
    found: dict[str, dict[str, list[np.ndarray]]] = {}
    for _, row in chosen(records, data).iterrows():
        own = arrays(chapter, profile, str(row["spec_key"]))
        for name in ("degrees", "removed", "curves"):
            found.setdefault(str(row["algorithm"]), {}).setdefault(name, []).append(own[name])
    return {arm: {name: np.stack(each) for name, each in own.items()} for arm, own in found.items()}


def results_table(table: pd.DataFrame, data: str = "madelon") -> pd.DataFrame:
    """Every arm on one data set: means, standard deviations over seeds, and what the connections found.

    ``accuracy`` is that of the last epoch, the rule for all arms. Empty without rows.
    """
    rows = chosen(table, data)
    if rows.empty:
        return pd.DataFrame()
    grouped = rows.groupby("algorithm", sort=False)
    columns = {
        "weights": "weights",
        "input_hits": "relevant among most connected",
        "degree_relevant": "degree, relevant",
        "degree_noise": "degree, noise",
        "turnover": "replaced an update",
    }
    spread = grouped["accuracy"].std()
    found = pd.DataFrame(
        {
            "seeds": grouped["seed"].nunique(),
            "accuracy": [
                f"{one:.3f}" + ("" if np.isnan(sd) else f" ± {sd:.3f}")
                for one, sd in zip(grouped["accuracy"].mean(), spread, strict=True)
            ],
        }
    )
    for column, name in columns.items():
        if column in rows and rows[column].notna().any():
            mean = grouped[column].mean()
            found[name] = mean.round() if column == "weights" else mean
    return found


@drawn
def degree_bars(degrees: Mapping[str, np.ndarray], relevant: int) -> BookFigure:
    """The most connected inputs, from the left: blue ones say something of the label, grey ones are noise.

    Parameters
    ----------
    degrees : algorithm -> connections of each input, int (inputs,), the relevant inputs first.
    relevant : how many are.

    Raises NothingToShow: there are no degrees; ParameterError: more inputs are relevant than there are.
    """
    if not degrees:
        raise NothingToShow("degrees of the inputs have no rows")
    figure, axes = panels(len(degrees), columns=2, height=2.3, sharey=True)
    found = []
    for ax, (name, values) in zip(axes, degrees.items(), strict=True):
        if not 0 < relevant <= len(values):
            raise ParameterError(f"relevant={relevant!r} is not allowed; there are {len(values)} inputs")
        # equal degrees in an order that is drawn: in that of the columns the relevant ones would lead
        drawn_order = np.random.default_rng(0).permutation(len(values))
        order = drawn_order[np.argsort(-values[drawn_order], kind="stable")][:SHOWN]
        for says, color in ((True, style.BLUE), (False, style.INK)):
            places = np.flatnonzero((order < relevant) == says)
            label = "relevant" if says else "noise"
            ax.bar(places, values[order[places]], width=0.9, color=color, label=label)
        front = int((order[:relevant] < relevant).sum())
        ax.set_title(f"{name}: {front} of the first {relevant}")
        ax.grid(False, axis="x")
        ax.set(xlabel="inputs, most connected first")
        found.append(f"{name} {front}")
    for ax in axes[:: min(2, len(axes))]:
        ax.set_ylabel("connections")
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside upper left", ncols=2)
    figure.alt = (
        f"The {SHOWN} most connected inputs. Relevant ones among the first {relevant}: {', '.join(found)}."
    )
    return figure


@drawn
def removal_curves(curves: Mapping[str, np.ndarray], removed: np.ndarray, labels: int = 2) -> BookFigure:
    """Accuracy against the number of removed inputs; solid, least connected first, dashed, most connected.

    Parameters
    ----------
    curves : algorithm -> accuracies (seeds, 2, points); bands are one standard deviation over seeds.
    removed : int (points,).
    labels : K; the dotted line is guessing.

    Raises NothingToShow: there are no curves.
    """
    if not curves:
        raise NothingToShow("removal curves have no rows")
    figure, (ax,) = panels(height=3.6)
    for name, values in curves.items():
        check_choice("algorithm", name, LOOKS)
        look, mean = LOOKS[name], values.mean(0)
        for place, line in enumerate(("-", "--")):
            label = f"{name}, {counted(len(values), 'seed')}" if place == 0 else None
            ax.plot(
                removed, mean[place], line, color=look.color, marker=look.marker, markevery=5, label=label
            )
            if len(values) > 1:
                spread = values[:, place].std(0, ddof=1)
                low, high = mean[place] - spread, mean[place] + spread
                ax.fill_between(removed, low, high, color=look.color, alpha=0.12, linewidth=0)
    ax.axhline(1 / labels, color=style.INK, linestyle=":", linewidth=1.2)
    ax.set(xlabel="inputs removed", ylabel="test accuracy")
    figure.legend(loc="outside upper left", ncols=3)
    figure.alt = (
        "Test accuracy against the number of removed inputs, a colour an algorithm; solid lines remove the "
        "least connected inputs first, dashed lines the most connected."
    )
    return figure


def said_of_degrees(degrees: Mapping[str, np.ndarray], relevant: int) -> str:
    """How many connections a relevant input has, and how many a noise input, algorithm by algorithm."""
    parts = [
        f"{name} {values[:relevant].mean():.0f} and {values[relevant:].mean():.0f}"
        for name, values in degrees.items()
    ]
    return f"*Connections of a relevant input and of one that is noise, on average:* {', '.join(parts)}."
