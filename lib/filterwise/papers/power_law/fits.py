"""Fits of chapter 3's curves, and the tables and words in which its page tells of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import pandas as pd

from filterwise.errors import ParameterError
from filterwise.figures.curves import curves_table
from filterwise.measure.fitting import PowerLaw, power_law
from filterwise.papers.power_law.cost_of_widths import (
    CONSERVED_RATIO,
    LENET_RATIO,
    lenet_macs,
    second_layer,
    vgg16_macs,
)
from filterwise.runs.records import arrays
from filterwise.runs.rows import HISTORY

FAMILIES = {"lenet": "LeNet", "vgg16": "VGG-16"}
#: Beyond this width a line is so far from any measurement that a number would say nothing.
LARGEST_WIDTH = 1e6
_COLUMNS = (
    "family", "variant", "variant_kind", "d1", "held_out", "accuracy", "train_accuracy", "error",
    "train_error", "curve",
)  # fmt: skip


Costs = dict[str, Callable[[int], int]]


def operations(ratio: float = LENET_RATIO, channels: int = 3, size: int = 32) -> Costs:
    """Multiply-accumulates of a forward pass at any width; VGG-16's are those of its convolutions.

    >>> operations()["LeNet"](6)
    651720
    """
    return {"LeNet": lambda d1: lenet_macs(d1, second_layer(d1, ratio), channels, size), "VGG-16": vgg16_macs}


def with_errors(records: pd.DataFrame, *kinds: str) -> pd.DataFrame:
    """Records of all or some ``kinds``, with ``error``, ``train_error`` and ``curve``, what a row belongs to.

    >>> columns = ["family", "variant", "accuracy", "train_accuracy"]
    >>> records = pd.DataFrame([["lenet", "main", 0.75, 0.875]], columns=columns)
    >>> with_errors(records)[["curve", "error"]].values.tolist()
    [['LeNet', 0.25]]
    """
    table = records.reindex(columns=list(dict.fromkeys([*records.columns, *_COLUMNS])))
    table = table[table["variant_kind"].isin(kinds)] if kinds else table
    if table.empty:
        return table
    names, variants = table["family"].map(lambda name: FAMILIES.get(name, name)), table["variant"]
    return table.assign(
        error=1 - table["accuracy"],
        train_error=1 - table["train_accuracy"],
        curve=names.where(variants == "main", names + ", " + variants.astype(str)),
    )


def fit_all(table: pd.DataFrame, seed: int = 0) -> dict[str, PowerLaw]:
    """A power law for every curve with at least three widths; widths that are ``held_out`` are not used.

    Single runs are given to :func:`filterwise.measure.power_law`, so that intervals come from seeds where a
    curve has several, and from the scatter about the line where it has not.
    """
    seen = table[table["held_out"] == 0]
    return {
        str(curve): power_law(part["d1"], part["error"], seed=seed)
        for curve, part in seen.groupby("curve", sort=False)
        if part["d1"].nunique() >= 3
    }


def fits_in_words(found: Mapping[str, PowerLaw]) -> str:
    """Exponents with their intervals, and whether the line bends.

    >>> fits_in_words({"LeNet": power_law([2, 4, 8, 16], [0.5, 0.36, 0.25, 0.18], sigma=0.005)})
    'LeNet falls with exponent 0.49 (0.47 to 0.52), no bend shown'
    """
    said = []
    for curve, fit in found.items():
        low, high = fit.exponent_interval
        bend = "and bends" if fit.curved else "no bend shown"
        said.append(f"{curve} falls with exponent {fit.exponent:.2f} ({low:.2f} to {high:.2f}), {bend}")
    return "; ".join(said)


def gap_in_words(table: pd.DataFrame) -> str:
    """How far test error lies above training error at the narrowest and the widest network of each curve."""
    said = []
    for curve, part in table.groupby("curve", sort=False):
        gap = (part["error"] - part["train_error"]).groupby(part["d1"]).mean()
        said.append(
            f"{curve}'s gap goes from {gap.iloc[0]:.3f} at d1 = {gap.index[0]:g} "
            f"to {gap.iloc[-1]:.3f} at {gap.index[-1]:g}"
        )
    return "; ".join(said)


def check_target(target: float) -> None:
    """Refuse what is not an error.

    Raises ParameterError if the target is not between 0 and 1.
    """
    if not 0 < target < 1:
        raise ParameterError(f"target={target!r} is not an error between 0 and 1")


def fit_table(found: Mapping[str, PowerLaw], target: float) -> pd.DataFrame:
    """The fits in columns: exponent, prefactor, R^2, curvature, two shapes, d1* for an error."""
    check_target(target)
    columns = {}
    for curve, fit in found.items():
        width, least, most = (float(number) for number in fit.solve(target))
        columns[curve] = {
            "widths": fit.points,
            "exponent ρ": fit.exponent,
            "ρ, 95 %": "{:.3f} to {:.3f}".format(*fit.exponent_interval),
            "prefactor A": fit.prefactor,
            "R²": fit.r2,
            "bent": fit.curved,
            "p of a plateau": fit.curvature_p["plateau"],
            "p of a quadratic term": fit.curvature_p["quadratic"],
            "AIC of a − b log d₁, minus AIC of the power law": fit.aic["logarithm"] - fit.aic["power"],
            f"d₁* for an error of {target:g}": rounded(width),
            "d₁*, 95 %": f"{rounded(least)} to {rounded(most)}",
        }
    return pd.DataFrame(columns)


def rounded(width: float) -> str:
    """A width to three digits; in words below 1 and beyond :data:`LARGEST_WIDTH`.

    >>> rounded(1234.5), rounded(0.2), rounded(float("inf"))
    ('1,230', 'below 1', 'beyond 1,000,000')
    """
    if width < 1:
        return "below 1"
    return f"{float(f'{width:.3g}'):,.0f}" if width <= LARGEST_WIDTH else f"beyond {LARGEST_WIDTH:,.0f}"


def millions(value: float) -> str:
    """Three digits, without an exponent.

    >>> millions(0.65172), millions(396_821.0)
    ('0.652', '397,000')
    """
    return f"{float(f'{value:.3g}'):,.10g}"


def promise(
    found: Mapping[str, PowerLaw], macs: Mapping[str, Callable[[int], int]], error: float
) -> pd.DataFrame:
    """Width and million multiply-accumulates that each line gives for an error, with 95 % intervals."""
    rows = {}
    for curve, fit in found.items():
        ends = [float(number) for number in fit.solve(error)]
        cost = [macs[curve](max(1, round(end))) / 1e6 if end <= LARGEST_WIDTH else None for end in ends]
        costs = ["beyond" if each is None else millions(each) for each in cost]
        rows[curve] = {
            "d₁*": rounded(ends[0]),
            "d₁*, 95 %": f"{rounded(ends[1])} to {rounded(ends[2])}",
            "million MACs": costs[0],
            "MACs, 95 %": f"{costs[1]} to {costs[2]}",
        }
    return pd.DataFrame.from_dict(rows, orient="index")


def held_out_table(table: pd.DataFrame, found: Mapping[str, PowerLaw]) -> pd.DataFrame:
    """Widths that no fit saw: the error measured, the line's with its interval, and their ratio."""
    rows = []
    for (curve, d1), part in table[table["held_out"] == 1].groupby(["curve", "d1"], sort=False):
        if str(curve) in found:
            guess = found[str(curve)].predict(float(str(d1)), runs=len(part))
            value, low, high = (float(number) for number in guess)
            mean = float(part["error"].mean())
            row = {"curve": curve, "d₁": d1, "seeds": len(part), "measured": mean, "line": value}
            rows.append({**row, "line, 95 %": f"{low:.3f} to {high:.3f}", "measured / line": mean / value})
    return pd.DataFrame(rows)


def macs_at_error(
    table: pd.DataFrame,
    found: Mapping[str, PowerLaw],
    target: float,
    macs: Mapping[str, Callable[[int], int]] | None = None,
) -> pd.DataFrame:
    """Million multiply-accumulates that each curve needs for some errors: those of the width its line gives.

    Operations are counted at that width and not fitted: over narrow networks they do not yet grow as the
    square of the width, so that a line through them is wrong beyond. A cell is marked with ``*`` where the
    error lies outside the curve's measured range. The errors are three that all curves reach, and the target.
    """
    macs = macs or operations()
    rows, errors = {}, [*middle_errors(table), target]
    for name, part in table.groupby("curve", sort=False):
        curve = str(name)
        if curve in found and curve in macs:
            means = part.groupby("d1")["error"].mean()
            widths = [max(1, round(float(found[curve].solve(error).value))) for error in errors]
            cells = [millions(macs[curve](width) / 1e6) for width in widths]
            inside = [means.min() <= error <= means.max() for error in errors]
            rows[curve] = [cell if seen else f"{cell} *" for cell, seen in zip(cells, inside, strict=True)]
    return pd.DataFrame.from_dict(rows, orient="index", columns=[f"error {error:g}" for error in errors])


def cost_in_words(table: pd.DataFrame, found: Mapping[str, PowerLaw]) -> str:
    """What each family costs at the middle one of the errors of :func:`macs_at_error`."""
    (error,) = middle_errors(table, 1)
    costs = macs_at_error(table, found, error).iloc[:, -1]
    return f"an error of {error:g} costs " + ", ".join(
        f"{curve} {cost} million MACs" for curve, cost in costs.items()
    )


def middle_errors(table: pd.DataFrame, count: int = 3) -> list[float]:
    """Round errors spread over what all curves of a table reach."""
    means = table.groupby(["curve", "d1"])["error"].mean().groupby("curve")
    low, high = float(means.min().max()), float(means.max().min())
    if low >= high:
        low, high = float(means.min().min()), float(means.max().max())
    return [float(f"{error:.2g}") for error in np.geomspace(low, high, count + 2)[1:-1]]


def longer(records: pd.DataFrame) -> pd.DataFrame:
    """The doubled trainings and, first, the plain ones of their widths; seed 0."""
    first = records[(records["seed"] == 0) & (records["family"] == "lenet") & (records["held_out"] == 0)]
    doubled = first[first["variant"] == "twice the epochs"]
    plain = first[(first["variant"] == "main") & first["d1"].isin(doubled["d1"])]
    return pd.concat([plain, doubled]).sort_values(["d1", "epochs"])


def longer_curves(records: pd.DataFrame, chapter: str, profile: str) -> pd.DataFrame:
    """Training curves of :func:`longer`, as :func:`filterwise.figures.learning_curves` draws them."""
    histories = {
        f"d1 = {row.d1:g}, {row.epochs:g} epochs": dict(
            zip(HISTORY, arrays(chapter, profile, str(row.spec_key))["history"].T, strict=True)
        )
        for row in longer(records).itertuples()
    }
    return curves_table(histories) if histories else pd.DataFrame()


def longer_in_words(records: pd.DataFrame) -> str:
    """The slope between the two widths of :func:`longer`, plain and for twice the epochs."""
    table = longer(records).pivot_table(index="epochs", columns="d1", values="error")
    low, high = table.columns[0], table.columns[-1]
    slopes = np.log(table[low] / table[high]) / np.log(float(high) / float(low))
    told = " and ".join(f"{slope:.3f} after {epochs:g} epochs" for epochs, slope in slopes.items())
    return f"from d1 = {low:g} to {high:g} the exponent is {told}"


def scan_in_words(scan: pd.DataFrame) -> str:
    """The best ratio at the largest budget, and how far the conserved one is from it."""
    dearest = scan[scan["budget"] == scan["budget"].max()]
    means = dearest.groupby("ratio")["error"].mean()
    said = f"at {dearest['budget'].iloc[0] / 1e6:.3g} million MACs the best ratio is {means.idxmin():g}"
    gap = means.get(CONSERVED_RATIO, np.nan) - means.min()
    return said + (f", and {CONSERVED_RATIO:g} is {gap:.3f} above it" if gap > 0 else "")
