"""What chapter 3's tables say, in words: captions take every number from the table that is drawn."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from filterwise.measure.fitting import PowerLaw
from filterwise.papers.power_law import shared_filters
from filterwise.papers.power_law.fits import longer, macs_at_error, middle_errors

#: Differences of Akaike's criterion up to this one tell two shapes hardly apart.
HARDLY = 2.0


def fits_in_words(found: Mapping[str, PowerLaw]) -> str:
    """Exponents with their intervals, and whether the line bends.

    >>> from filterwise.measure import power_law
    >>> fits_in_words({"LeNet": power_law([2, 4, 8, 16], [0.5, 0.36, 0.25, 0.18], sigma=0.005)})
    'LeNet falls with exponent 0.49 (0.47 to 0.52), no bend shown'
    """
    said = []
    for curve, fit in found.items():
        low, high = fit.exponent_interval
        bend = "and bends" if fit.curved else "no bend shown"
        said.append(f"{curve} falls with exponent {fit.exponent:.2f} ({low:.2f} to {high:.2f}), {bend}")
    return "; ".join(said)


def exponents_in_words(found: Mapping[str, PowerLaw], within: float = 0.1) -> str:
    """The range of the exponents, and whose interval misses the first one's exponent by more than ``within``.

    >>> from filterwise.measure import power_law
    >>> steep = power_law([2, 4, 8, 16], [0.5, 0.36, 0.25, 0.18], sigma=0.005)
    >>> flat = power_law([2, 4, 8, 16], [0.5, 0.48, 0.46, 0.44], sigma=0.005)
    >>> print(exponents_in_words({"a": steep, "b": flat}))
    Exponents from 0.06 to 0.49 with 95 % intervals; that of b misses a's exponent by more than 0.1.
    """
    (name, first), *_ = found.items()
    far = [
        curve
        for curve, fit in found.items()
        if not fit.exponent_interval[0] - within <= first.exponent <= fit.exponent_interval[1] + within
    ]
    low, high = (end(fit.exponent for fit in found.values()) for end in (min, max))
    who = f"that of {_listed(far)} misses" if len(far) == 1 else f"those of {_listed(far)} miss"
    return (
        f"Exponents from {low:.2f} to {high:.2f} with 95 % intervals; {who if far else 'none misses'} "
        f"{name}'s exponent by more than {within:g}."
    )


def held_in_words(table: pd.DataFrame) -> str:
    """What hollow points are, where a table has any.

    >>> held_in_words(pd.DataFrame({"held_out": [0]}))
    ''
    """
    return "; hollow points were kept out of the fit" if (table["held_out"] == 1).any() else ""


def cost_in_words(table: pd.DataFrame, found: Mapping[str, PowerLaw]) -> str:
    """What each family costs at the middle one of the errors of :func:`macs_at_error`."""
    (error,) = middle_errors(table, 1)
    costs = macs_at_error(table, found, error).iloc[:, -1]
    return f"an error of {error:g} costs " + ", ".join(
        f"{curve} {cost} million MACs" for curve, cost in costs.items()
    )


def longer_in_words(records: pd.DataFrame) -> str:
    """What two widths of :func:`longer` gain when they are trained for longer, and the slope between them."""
    table = longer(records).pivot_table(index="epochs", columns="d1", values="error")
    low, high = table.columns[0], table.columns[-1]
    gains = " and ".join(
        f"d1 = {width:g} gains {table[width].iloc[0] - table[width].iloc[-1]:.3f}" for width in (low, high)
    )
    slopes = np.log(table[low] / table[high]) / np.log(float(high) / float(low))
    told = " and ".join(f"{slope:.3f} after {epochs:g} epochs" for epochs, slope in slopes.items())
    return f"{gains}, and from one to the other the exponent is {told}"


def scan_in_words(records: pd.DataFrame) -> str:
    """How far ratios far from 2.8 lie above those near it at the largest cost, as claim L6 is judged."""
    said = []
    for scan in shared_filters.scans(records):
        below, above = (shared_filters.penalty(scan, side) for side in ("below", "above"))
        said.append(
            f"at {scan.budget / 1e6:.3g} million MACs the mean error at ratios near 2.8 is exceeded by "
            f"{below:.3f} at ratios far below and by {above:.3f} at ratios far above"
        )
    return "; ".join(said).replace("by -", "by −")


def scan_costs_in_words(scan: pd.DataFrame) -> str:
    """How far the networks of a scan miss their budgets.

    >>> scan_costs_in_words(pd.DataFrame({"macs": [84.0, 101.0], "budget": [100.0, 100.0]}))
    'between 16 % less and 1 % more than its budget'
    """
    missed = 100 * (scan["macs"] / scan["budget"] - 1)
    ends = (f"{abs(end):.0f} % {'less' if end < 0 else 'more'}" for end in (missed.min(), missed.max()))
    return "between {} and {} than its budget".format(*ends)


def cost_ratios_in_words(table: pd.DataFrame) -> str:
    """The range of ratios against each family of LeNets, from the largest error to the smallest."""
    said = []
    for against, part in table.sort_values("error", ascending=False).groupby("against", sort=False):
        both = part.iloc[0], part.iloc[-1]
        ends = [f"{end['ratio']:.2f} times as much at an error of {end['error']:.2f}" for end in both]
        said.append(f"beside {against} VGG-16 costs {ends[0]} and {ends[1]}")
    return _started("; ".join(said))


def shapes_in_words(found: Mapping[str, PowerLaw]) -> str:
    """Which curves a logarithm and a plateau describe better or worse than the power law, by AIC.

    >>> from filterwise.measure import power_law
    >>> shapes_in_words({"LeNet": power_law([2, 4, 8, 16], [0.5, 0.36, 0.25, 0.18], sigma=0.005)})
    'By AIC a straight line in log d₁ is worse than the power law for LeNet (by 48.0).'
    """
    said = []
    for shape, name in (("logarithm", "a straight line in log d₁"), ("plateau", "a plateau")):
        aic = {curve: fit.aic.get(shape, np.nan) - fit.aic["power"] for curve, fit in found.items()}
        words = {
            "worse": [f"{curve} (by {each:.1f})" for curve, each in aic.items() if each > HARDLY],
            "better": [f"{curve} (by {-each:.1f})" for curve, each in aic.items() if each < -HARDLY],
        }
        parts = [f"{how} than the power law for {_listed(curves)}" for how, curves in words.items() if curves]
        alike = [curve for curve, each in aic.items() if abs(each) <= HARDLY]
        if alike and shape == "logarithm":
            parts.append(f"as good as the power law for {_listed(alike)}")
        if parts:
            said.append(f"{name} is {' and '.join(parts)}")
    return f"By AIC {'; '.join(said)}." if said else "No other shape can be told from the power law by AIC."


def straightness_in_words(table: pd.DataFrame, found: Mapping[str, PowerLaw]) -> str:
    """Whether local exponents shrink or grow along each curve, and whether its bend is significant.

    Parameters
    ----------
    table : one row a run; columns ``curve``, ``d1``, ``error`` and, where widths were kept out, ``held_out``.
    found : curve -> its fit.
    """
    seen = table[~table["held_out"].astype(bool)] if "held_out" in table else table
    ways: dict[str, list[str]] = {}
    for curve in found:
        runs = seen[seen["curve"] == curve]
        logs = np.log(runs["error"]).groupby(runs["d1"]).mean()
        local = -np.diff(logs) / np.diff(np.log(logs.index.to_numpy(dtype=float)))
        steps = np.diff(local)
        way = "shrinks" if (steps < 0).all() else "grows" if (steps > 0).all() else "goes up and down"
        ways.setdefault(way, []).append(f"{curve} ({local[0]:.2f} to {local[-1]:.2f})")
    told = {"shrinks": "shrinks from step to step", "grows": "grows from step to step"}
    means = {"shrinks": ": a smile, as a plateau would leave", "grows": ": a frown, as a cliff would leave"}
    said = [
        f"the local exponent {told.get(way, way)} for {_listed(names)}{means.get(way, '')}"
        for way, names in ways.items()
    ]
    bent = [curve for curve, fit in found.items() if fit.curved]
    if len(bent) == len(found) > 1:
        test = "No curve passes the test for a straight line"
    elif bent:
        test = f"{_listed(bent)} does not pass the test for a straight line"
        test = test.replace(" does ", " do ") if len(bent) > 1 else test
    else:
        test = "No bend is significant"
    return f"Is it straight? {_started('; '.join(said))}. {test}."


def training_in_words(records: pd.DataFrame) -> str:
    """Whether the wider of the two widths of :func:`longer` gains by the larger factor, beyond the noise.

    The noise is that of single runs: four of them make the difference of two exponents, each with the
    scatter between seeds at its width in the plain training, where it has at least two seeds.
    """
    table = longer(records)
    errors = table.pivot_table(index="epochs", columns="d1", values="error")
    low, high = float(errors.columns[0]), float(errors.columns[-1])
    octaves = np.log(high / low)
    slopes = np.log(errors[low] / errors[high]) / octaves
    change = float(slopes.iloc[-1] - slopes.iloc[0])
    alike = (records["variant"] == table["variant"].iloc[0]) & (records["family"] == "lenet")
    scatter = [np.log(records.loc[alike & (records["d1"] == width), "error"]).std() for width in (low, high)]
    noise = 2 * float(np.sqrt(2 * np.sum(np.square(scatter))) / octaves)
    said = f"Trained twice as long, {longer_in_words(records)}"
    if not np.isfinite(noise):
        return f"{said}; one run each, so that the noise is unknown"
    if abs(change) <= noise:
        less = "nothing says that the wide one was stopped too early"
        return f"{said}, a change that is less than single runs scatter (±{noise:.3f}): {less}"
    meaning = "the exponent above is a lower bound" if change > 0 else "it is the narrow one that gains more"
    return f"{said}, a change that is more than single runs scatter (±{noise:.3f}): {meaning}"


def parting_in_words(table: pd.DataFrame) -> str:
    """How much of the fall of the training error arrives at the test images, and whether the gap grows."""
    said, grown = [], []
    for curve, part in table.groupby("curve", sort=False):
        means = part.groupby("d1")[["train_error", "error"]].mean()
        train, test = (means.iloc[0] - means.iloc[-1])[["train_error", "error"]]
        said.append(f"{_fall(test)} where the training error {_fall(train)} ({curve})")
        grown.append(train > test)
    gap = "grows on every curve" if all(grown) else "grows on some curves" if any(grown) else "does not grow"
    return (
        f"From the narrowest to the widest network the test error {'; '.join(said)}. "
        f"The gap between the two {gap}"
    )


def valley_in_words(records: pd.DataFrame) -> str:
    """Whether ratios near 2.8 lie in a valley, by the means that claim L6 is judged by."""
    said = []
    for scan in shared_filters.scans(records):
        below, above = (shared_filters.penalty(scan, side) for side in ("below", "above"))
        if not np.isfinite([below, above]).all():
            continue
        if below > 0 and above > 0:
            shape = "both sides lie higher, a valley"
        elif below > 0 or above > 0:
            worse, free = ("small", "large") if below > 0 else ("large", "small")
            shape = f"ratios that are too {worse} cost accuracy and {free} ones do not, no valley"
        else:
            shape = "both sides are at least as good, no valley"
        said.append(f"at the largest cost, by the means, {shape} (claim L6 has the intervals)")
    return _started("; ".join(said)) or "No scan has ratios on both sides"


def _fall(change: float) -> str:
    return f"{'falls' if change > 0 else 'rises'} by {abs(change):.3f}"


def _started(words: str) -> str:
    return words[:1].upper() + words[1:]


def _listed(names: Sequence[str]) -> str:
    """
    >>> _listed(["a"]), _listed(["a", "b", "c"])
    ('a', 'a, b and c')
    """
    return " and ".join([", ".join(names[:-1]), names[-1]]) if len(names) > 1 else "".join(names)
