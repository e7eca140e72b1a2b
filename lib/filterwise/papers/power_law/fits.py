"""Fits of chapter 3's curves, and the tables in which its page tells of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import pandas as pd

from filterwise.errors import ParameterError
from filterwise.figures.curves import curves_table
from filterwise.measure.fitting import PowerLaw, power_law
from filterwise.papers.power_law import equal_error, error_curves
from filterwise.papers.power_law.cost_of_widths import (
    LENET_RATIO,
    lenet_macs,
    second_layer,
    vgg16_macs,
)
from filterwise.runs.records import arrays
from filterwise.runs.rows import HISTORY

FAMILIES = {"lenet": "LeNet", "lenet bn": "LeNet with batch norm", "vgg16": "VGG-16"}
#: Curve -> the same networks trained for twice the epochs, the curve that is preferred first.
_DOUBLED = {"all images": "all images, twice the epochs", "main": "twice the epochs"}
#: Beyond this width a line is so far from any measurement that a number would say nothing.
LARGEST_WIDTH = 1e6
_COLUMNS = (
    "family", "variant", "variant_kind", "d1", "held_out", "accuracy", "train_accuracy", "error",
    "train_error", "curve", "data", "train_images", "epochs",
)  # fmt: skip


Costs = dict[str, Callable[[int], int]]


def operations(ratio: float = LENET_RATIO, channels: int = 3, size: int = 32) -> Costs:
    """Multiply-accumulates of a forward pass at any width.

    >>> operations()["LeNet"](6)
    651720
    """

    def lenet(d1: int) -> int:
        return lenet_macs(d1, second_layer(d1, ratio), channels, size)

    lenets = ("LeNet", "LeNet, all images", "LeNet with batch norm")
    return {**dict.fromkeys(lenets, lenet), "VGG-16": vgg16_macs}


def with_errors(records: pd.DataFrame, *kinds: str) -> pd.DataFrame:
    """Records of all or some ``kinds``, with ``error``, ``train_error`` and ``curve``, what a row belongs to.

    A curve never joins runs on other data, on another number of images or of other epochs: where the same
    family and variant was trained in several ways, its name says how.

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
    curve = names.where(variants == "main", names + ", " + variants.astype(str))
    return table.assign(
        error=1 - table["accuracy"],
        train_error=1 - table["train_accuracy"],
        curve=curve.where(~_trained_in_several_ways(table, curve), curve + ", " + _training(table)),
    )


def _training(table: pd.DataFrame) -> pd.Series:
    """E.g. ``20000 images of cifar10 (jpeg), 16 epochs``; a row's data, number of images and epochs."""
    images, epochs = (table[name].map("{:g}".format) for name in ("train_images", "epochs"))
    return images + " images of " + table["data"].astype(str) + ", " + epochs + " epochs"


def _trained_in_several_ways(table: pd.DataFrame, curve: pd.Series) -> pd.Series:
    """Which rows belong to a curve whose runs differ in how they were trained."""
    return _training(table).groupby(curve).transform("nunique") > 1


def fit_all(table: pd.DataFrame, seed: int = 0) -> dict[str, PowerLaw]:
    """A power law for every curve with at least three widths; widths that are ``held_out`` are not used.

    Single runs, of the seeds that have every width, are given to :func:`filterwise.measure.power_law`: the
    fit that claims are judged by. Intervals come from seeds where a curve has several, and from the scatter
    about the line where it has not.
    """
    seen = table[table["held_out"] == 0]
    found = {}
    for curve, part in seen.groupby("curve", sort=False):
        runs = zip(part["seed"], part["d1"], part["error"], strict=True)
        widths, errors = error_curves.balanced(runs)
        if len(widths) >= error_curves.FEWEST_WIDTHS:
            x = np.tile(widths, len(errors))
            found[str(curve)] = power_law(x, np.ravel(errors), seed=seed)
    return found


def comparable(table: pd.DataFrame) -> pd.DataFrame:
    """The rows on as many images as the most that a VGG-16 was trained on; without a VGG-16 all."""
    deep = table.loc[table["family"] == "vgg16", "train_images"]
    return table[table["train_images"] == deep.max()] if deep.notna().any() else table


def curves_measured(table: pd.DataFrame) -> pd.DataFrame:
    """Which widths each curve has, of how many seeds, images and epochs; a row a curve."""
    rows = []
    for curve, part in table.groupby("curve", sort=False):
        seeds = part.groupby("d1")["seed"].nunique()
        count = f"{seeds.min()}" if seeds.nunique() == 1 else f"{seeds.min()} to {seeds.max()}"
        about = {"curve": curve, "d₁": ", ".join(f"{width:g}" for width in seeds.index), "seeds": count}
        trained = {"images": part["train_images"].iloc[0], "epochs": part["epochs"].iloc[0]}
        rows.append({**about, **trained})
    return pd.DataFrame(rows)


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


def middle_errors(table: pd.DataFrame, count: int = 3) -> list[float]:
    """Round errors spread over what all curves of a table reach."""
    means = table.groupby(["curve", "d1"])["error"].mean().groupby("curve")
    low, high = float(means.min().max()), float(means.max().min())
    if low >= high:
        low, high = float(means.min().min()), float(means.max().max())
    return [float(f"{error:.2g}") for error in np.geomspace(low, high, count + 2)[1:-1]]


def longer(records: pd.DataFrame) -> pd.DataFrame:
    """The doubled trainings and, first, the plain ones of their widths; seed 0.

    Of those on all images where two widths were trained for longer, else of those on a part.
    """
    first = records[(records["seed"] == 0) & (records["family"] == "lenet") & (records["held_out"] == 0)]
    for plain, name in _DOUBLED.items():
        doubled = first[first["variant"] == name]
        both = first[(first["variant"] == plain) & first["d1"].isin(doubled["d1"])]
        if both["d1"].nunique() >= 2:
            return pd.concat([both, doubled]).sort_values(["d1", "epochs"])
    return first.iloc[:0]


def longer_curves(records: pd.DataFrame, chapter: str, profile: str) -> pd.DataFrame:
    """Training curves of :func:`longer`, as :func:`filterwise.figures.learning_curves` draws them."""
    histories = {
        f"d1 = {row.d1:g}, {row.epochs:g} epochs": dict(
            zip(HISTORY, arrays(chapter, profile, str(row.spec_key))["history"].T, strict=True)
        )
        for row in longer(records).itertuples()
    }
    return curves_table(histories) if histories else pd.DataFrame()


def cost_ratios(records: pd.DataFrame) -> pd.DataFrame:
    """Operations of VGG-16 over those of LeNets at each error where both were measured, with a 95 % band.

    Columns ``against`` (a curve), ``at`` (the network measured there), ``error``, ``ratio``, ``low`` and
    ``high``: the band holds for all errors of a comparison together.
    """
    rows = []
    for family in ("lenet", "lenet bn"):
        for one, other in error_curves.pairs(records, "vgg16", family):
            found = equal_error.compare(one, other)
            for each, (low, high) in zip(found, np.exp(equal_error.band(found)), strict=True):
                about = {"against": FAMILIES[family], "at": each.at, "error": each.error}
                rows.append({**about, "ratio": float(np.exp(each.log_ratio)), "low": low, "high": high})
    return pd.DataFrame(rows)
