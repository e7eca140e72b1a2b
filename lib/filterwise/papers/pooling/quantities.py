"""Quantities of chapter 1, pooling next to the output (claims P1 to P9).

Columns that are read, one row per run: ``network`` (``vgg8``, ``avgg8``, or a family name of a small net),
``base`` (the network without its pool plan: ``vgg8`` for both ``vgg8`` and ``avgg8``), ``plan`` (``V`` is the
conventional one), ``order`` (the head's series, such as ``AP2-MP4``; empty for ``V``), ``arm_kind``
(``main``, ``equal compute``; ``chosen``, at another rate that held-out images chose; ``tuning``, those looks;
``untrained``; others, such as ``control``, are no part of a claim), ``fc_activation``, ``lr``,
``seed``, ``data``, ``epochs``, ``macs`` (multiply-accumulates per image, forward), ``accuracy`` (last epoch);
``trained_spread`` and ``untrained_spread``; and, without training, ``routes@<order>`` and
``route_spread@<order>``.

Every comparison of accuracies has two readings.  The value is at **equal epochs**; the control is at **equal
compute**: the cheaper arm's run whose ``macs * epochs`` is within ``COMPUTE_TOLERANCE`` of the dearer arm's.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

import numpy as np
import pandas as pd

from filterwise.claims.record_rows import has, joined, rows_of, texts
from filterwise.claims.registered import Rows, quantity
from filterwise.claims.test_images import accuracy_by_image, difference_by_image, mean_by_image
from filterwise.papers.pooling.arm_pairs import (
    COLUMNS,
    COMPARED_KINDS,
    compared_runs,
    order_pairs,
    paired,
    runs_by_order,
    shared_seeds,
)
from filterwise.papers.pooling.held_out_choice import choices
from filterwise.runs.layer_columns import values_of

EQUAL_COMPUTE = "the same difference at equal compute (epochs x MACs per image)"


def _listed(names: str | Sequence[str]) -> list[str]:
    return [names] if isinstance(names, str) else list(names)


@quantity("network_accuracy", digits=4, control="million MACs per image")
def network_accuracy(records: pd.DataFrame, network: str) -> Rows:
    """Last-epoch test accuracy of one network, its longest runs."""
    if not has(records, *COLUMNS):
        return []
    runs = compared_runs(records)
    runs = runs[runs["network"] == network]
    runs = runs[runs["epochs"] == runs["epochs"].max()].drop_duplicates(["data", "seed"], keep="last")
    found = runs.assign(
        arm=runs["network"] + ", " + runs["data"], value=runs["accuracy"], control=runs["macs"] / 1e6
    )
    return [{**row, "images": accuracy_by_image(row)} for row in found.to_dict("records")]


@quantity("accuracy_difference", digits=4, control=EQUAL_COMPUTE)
def accuracy_difference(
    records: pd.DataFrame, network: str | Sequence[str], baseline: str | Sequence[str]
) -> Rows:
    """Accuracy of one network minus another's, paired by seed; of several, the smallest difference."""
    if not has(records, *COLUMNS):
        return []
    runs = compared_runs(records)
    tables = [
        paired(runs[runs["network"] == name], runs[runs["network"] == other])
        for name in _listed(network)
        for other in _listed(baseline)
    ]
    if any(table.empty for table in tables):
        return []  # the smallest of several needs them all
    every = pd.concat(tables).sort_values("value", kind="stable")
    least = every.drop_duplicates(["data", "seed"]).sort_values(["data", "seed"])
    controls = every.groupby(["data", "seed"])["control"].min()
    arm = f"{'/'.join(_listed(network))} - {'/'.join(_listed(baseline))}, "
    return least.assign(arm=arm + least["data"], control=controls.to_numpy()).to_dict("records")


@quantity("late_pooling_gain", digits=4, control=EQUAL_COMPUTE)
def late_pooling_gain(records: pd.DataFrame, order: str = "AP2-MP4") -> Rows:
    """Accuracy with pooling next to the output minus the conventional plan, one arm per depth m.

    Plan, order and rate of both sides are those chosen on held-out images, and networks for which nothing was
    tried there have no arm. Where that was tried for none, the arms have the ``order`` fixed beforehand.
    """
    if not has(records, *COLUMNS):
        return []
    chosen = choices(records)
    if chosen:
        return [row for base, data in chosen for row in _chosen(records, base, base, data)]
    rows: Rows = []
    for base, runs in compared_runs(records).groupby("base", sort=False):
        early = runs[runs["plan"] == "V"]
        for plan, late in runs[(runs["plan"] != "V") & (runs["order"] == order)].groupby("plan", sort=False):
            table = paired(late, early)
            rows += table.assign(arm=f"{base}, {plan} {order} - V, " + table["data"]).to_dict("records")
    return rows


@quantity("chosen_difference", digits=4, control=EQUAL_COMPUTE)
def chosen_difference(records: pd.DataFrame, base: str, baseline: str) -> Rows:
    """Accuracy of one network with late pooling minus that of another without, both as chosen held-out.

    Where nothing was tried on held-out images for either network, it is that of their fixed plans and orders.
    """
    if not has(records, *COLUMNS):
        return []
    chosen = choices(records)
    if not {base, baseline} & {name for name, _ in chosen}:
        return accuracy_difference(records, network=f"a{base}", baseline=baseline)
    sets = [data for name, data in chosen if name == base]
    return [row for data in sets for row in _chosen(records, base, baseline, data)]


def _chosen(records: pd.DataFrame, base: str, baseline: str, data: str) -> Rows:
    """The late side that was chosen for ``base`` minus the V side that was chosen for ``baseline``."""
    chosen = choices(records)
    late = chosen.get((base, data), (None, None))[1]
    early = chosen.get((baseline, data), (None, None))[0]
    if late is None or early is None:
        return []
    runs = compared_runs(records, (*COMPARED_KINDS, "chosen"))
    runs = runs[runs["data"] == data]
    here = (runs["base"] == base) & (runs["plan"] == late.plan) & (runs["order"] == late.order)
    first = runs[here & (runs["lr"] == late.lr)]
    second = runs[(runs["base"] == baseline) & (runs["plan"] == "V") & (runs["lr"] == early.lr)]
    arm = f"{base} {late.plan} {late.order} at rate {late.lr:g} - {baseline} V at {early.lr:g}, {data}"
    return paired(first, second, same_rate=False).assign(arm=arm).to_dict("records")


@quantity("fc_activation_gap", digits=4, control="accuracy with ReLU")
def fc_activation_gap(records: pd.DataFrame) -> Rows:
    """Accuracy with linear minus with ReLU fully connected layers, same network, epochs and seed."""
    if not has(records, *COLUMNS, "fc_activation"):
        return []
    same = ("network", "plan", "order", "data", "seed", "epochs", "lr")
    runs = compared_runs(records, linear=False).fillna({"order": ""})
    runs = runs.reindex(columns=list(dict.fromkeys([*runs.columns, *same]))).fillna({"lr": 0})
    read = (*same, "fc_activation", "accuracy", "device", "right")
    relu = {run[: len(same)]: run for run in rows_of(runs, *read) if run.fc_activation == "relu"}
    rows = []
    for run in rows_of(runs, *read):
        other = relu.get(run[: len(same)])
        if run.fc_activation == "linear" and other is not None:
            about = {"arm": f"{run.network}, {run.data}", "seed": int(run.seed), "data": run.data}
            value = {"value": run.accuracy - other.accuracy, "control": other.accuracy}
            rows.append({**about, **value, "device": run.device, "images": difference_by_image(run, other)})
    return rows


def _late(records: pd.DataFrame, kinds: Sequence[str] = COMPARED_KINDS) -> pd.DataFrame:
    """The compared runs that pool next to the output."""
    runs = compared_runs(records, kinds)
    return runs[[isinstance(order, str) and order != "" for order in runs["order"]]]


@quantity("order_contrast", digits=4, control="order pairs in the mean")
def order_contrast(records: pd.DataFrame) -> Rows:
    """Accuracy with max first minus average first at equal sizes, mean over the order pairs.

    One planned contrast: the pairs (sizes, plans, networks) are averaged seed by seed and none is picked. The
    paper names no sign, so the values of all seeds are turned together such that their mean is positive, and
    the arm says which order leads. An interval above a bound b > 0 is then the two-sided interval beyond +-b,
    and one below b lies within +-b.
    """
    if not has(records, *COLUMNS):
        return []
    rows = []
    late = _late(records)
    for data, runs in late.groupby("data", sort=False):
        pairs, seeds = shared_seeds(runs_by_order(runs))
        means = []
        for seed in seeds:
            both = [pairs[pair][seed] for pair in pairs]
            gaps = [one.accuracy - other.accuracy for one, other in both]
            images = mean_by_image([difference_by_image(*each) for each in both])
            means.append((seed, float(np.mean(gaps)), images))
        sign = -1.0 if sum(mean for _, mean, _ in means) < 0 else 1.0
        arm = f"{'max' if sign > 0 else 'average'} first ahead, {data}"
        common = {
            "arm": arm,
            "control": float(len(pairs)),
            "data": data,
            "device": joined(texts(runs, "device")),
        }
        rows += [
            {**common, "seed": seed, "value": sign * mean, "images": None if each is None else sign * each}
            for seed, mean, each in means
        ]
    return rows


@quantity("route_count_error", control="0, the count A^2")
def route_count_error(records: pd.DataFrame) -> Rows:
    """Routes counted through each head minus A^2, A the product of the AP sizes: the largest difference."""

    def worst(routes: dict[str, float]) -> float:
        return max(abs(count - _routes(order)) for order, count in routes.items())

    return _exact(records, values_of(records, "routes"), worst, 0.0)


@quantity("route_spread_ratio", digits=2, control="1, an order without effect")
def route_spread_ratio(records: pd.DataFrame) -> Rows:
    """Spread of the routes, MP first over AP first, at equal sizes: smallest ratio over the order pairs."""

    def smallest(spread: dict[str, float]) -> float:
        return min((spread[a] / spread[b] for a, b in order_pairs(spread)), default=np.nan)

    return _exact(records, values_of(records, "route_spread"), smallest, 1.0)


@quantity("trained_spread_gain", digits=3, control="the ratio in the untrained networks")
def trained_spread_gain(records: pd.DataFrame) -> Rows:
    """Spread of the routes, MP first over AP first: ratio in trained minus in untrained networks.

    The mean over the order pairs, seed by seed. Pools alone set most of the ratio; the same measurement on
    the same networks with their initial weights takes that away.
    """
    if not has(records, *COLUMNS, "trained_spread", "untrained_spread"):
        return []
    known = ("data", "base", "plan", "order", "seed")
    plain = {
        run[:-1]: run.untrained_spread
        for run in rows_of(_late(records, ("untrained",)), *known, "untrained_spread")
    }
    rows = []
    for data, runs in _late(records).groupby("data", sort=False):
        # (pair) -> seed -> ratio in the trained and in the untrained networks
        ratios: dict[tuple[object, ...], dict[int, tuple[float, float]]] = {}
        for pair, seeds in runs_by_order(runs).items():
            for seed, both in seeds.items():
                trained = [run.trained_spread for run in both]
                untrained = [plain.get((*pair[:3], run.order, seed), np.nan) for run in both]
                if all(spread > 0 for spread in (*trained, *untrained)):
                    found = trained[0] / trained[1], untrained[0] / untrained[1]
                    ratios.setdefault(pair, {})[seed] = found
        kept, shared = shared_seeds(ratios)
        for seed in shared:
            after, before = np.mean([each[seed] for each in kept.values()], axis=0)
            common = {"arm": f"{len(kept)} order pairs, {data}", "data": data, "seed": seed}
            device = joined(texts(runs, "device"))
            rows.append({**common, "value": after - before, "control": before, "device": device})
    return rows


def _exact(
    records: pd.DataFrame,
    found: Sequence[dict[str, float]],
    value: Callable[[dict[str, float]], float],
    control: float,
) -> Rows:
    """Rows of what was counted on random maps without training; runs that did not count have none."""
    if not has(records, "seed"):
        return []
    about = zip(records["seed"], texts(records, "data"), texts(records, "device"), strict=True)
    common = {"arm": "random maps", "control": control}
    return [
        {**common, "seed": seed, "value": value(one), "data": data, "device": device}
        for (seed, data, device), one in zip(about, found, strict=True)
        if one
    ]


def _routes(order: str) -> int:
    """A^2 of a head such as ``AP2-MP4``."""
    sizes = [int(size) for kind, size in re.findall(r"(AP|MP)(\d+)", order) if kind == "AP"]
    return int(np.prod(sizes, dtype=int)) ** 2
