"""Tables of chapter 1's arms, and their differences in words; a page's own runs and records alike."""

from __future__ import annotations

import re
from collections.abc import Collection

import numpy as np
import pandas as pd
from scipy import special

from filterwise.figures.tables import need
from filterwise.papers.pooling.arm_pairs import COMPARED_KINDS, paired, runs_by_order
from filterwise.papers.pooling.held_out_choice import choices, looks
from filterwise.papers.pooling.quantities import late_pooling_gain

_COLUMNS = ("base", "plan", "order", "arm_kind", "fc_activation", "arm", "m")


def compared(table: pd.DataFrame) -> pd.DataFrame:
    """The runs that claims compare, with ``arm``, a name in words, and ``m``, the number of layers.

    Looks at learning rates, controls and other activations are left out.

    >>> columns = ["network", "base", "plan", "order", "arm_kind", "fc_activation", "epochs"]
    >>> rows = [["avgg6", "vgg6", "L2", "AP2-MP4", "main", "linear", 12]]
    >>> compared(pd.DataFrame(rows, columns=columns))[["arm", "m"]].values.tolist()
    [['vgg6 L2 AP2→MP4', 6]]
    """
    table = table.reindex(columns=list(dict.fromkeys([*table.columns, *_COLUMNS])))
    main = table["arm_kind"].isin(COMPARED_KINDS) & (table["fc_activation"] == "linear")
    kept = table[main & table["base"].notna()].reset_index(drop=True)
    if kept.empty:
        return kept
    kept["order"] = kept["order"].astype(object).where(kept["order"].notna(), "")
    orders = kept["order"].str.replace("-", "→")
    kept["arm"] = (kept["base"] + " " + kept["plan"] + " " + orders).str.strip()
    kept["m"] = pd.to_numeric(kept["base"].str.extract(r"vgg(\d+)$")[0])
    return kept


def equal_epochs(
    table: pd.DataFrame, base: str = "", plan: str = "", orders: Collection[str] = ()
) -> pd.DataFrame:
    """Plan V and one late plan (or all) of one network (or all), each network's shortest trainings."""
    if table.empty:
        return table
    kept = table[(table["epochs"] == table.groupby("base")["epochs"].transform("min"))]
    kept = kept[kept["base"] == base] if base else kept
    late = kept["plan"].isin(["V", plan] if plan else kept["plan"].unique())
    return kept[late & (kept["order"].isin(["", *orders]) if orders else True)]


def comparison(table: pd.DataFrame) -> pd.DataFrame:
    """Accuracy, operations and compute of each arm and number of epochs, mean and spread over the seeds."""
    need(table, "arm", "epochs", "accuracy", "macs", "seconds")
    found = table.groupby(["arm", "epochs"], sort=False).agg(
        seeds=("seed", "nunique"),
        accuracy=("accuracy", "mean"),
        spread=("accuracy", "std"),
        macs=("macs", "first"),
        seconds=("seconds", "mean"),
    )
    found = found.reset_index("epochs")
    found["million MACs"] = (found.pop("macs") / 1e6).round(2)
    found["MACs × epochs"] = (found["million MACs"] * found["epochs"]).round(1)
    found["seconds"] = found.pop("seconds").round(1)
    return found if found["seeds"].max() > 1 else found.drop(columns="spread")


def gains(table: pd.DataFrame) -> pd.DataFrame:
    """Late minus V, paired by seed, at equal epochs and at equal compute: mean, standard error, seeds.

    Parameters
    ----------
    table : one row a run; columns ``base``, ``plan``, ``order``, ``data``, ``seed``, ``epochs``, ``macs``,;
        ``accuracy``, ``device``
    """
    need(table, "base", "plan", "order", "data", "seed", "epochs", "macs", "accuracy", "device")
    rows = []
    for (base, plan, order), late in table[table["plan"] != "V"].groupby(
        ["base", "plan", "order"], sort=False
    ):
        both = paired(late, table[(table["base"] == base) & (table["plan"] == "V")])
        for column, at in (("value", "equal epochs"), ("control", "equal compute")):
            found = both[column].dropna().astype(float)
            error = found.std(ddof=1) / np.sqrt(len(found)) if len(found) > 1 else np.nan
            if len(found):
                row = {"arm": f"{base} {plan} {_arrow(order)}", "at": at}
                rows.append({**row, "late − V": found.mean(), "standard error": error, "seeds": len(found)})
    columns = ["arm", "at", "late − V", "standard error", "seeds"]
    return pd.DataFrame(rows, columns=columns).dropna(axis="columns", how="all").set_index("arm")


def gains_in_words(table: pd.DataFrame) -> str:
    """The range of :func:`gains` over the arms, at equal epochs and at equal compute.

    >>> columns = ["base", "plan", "order", "data", "seed", "epochs", "macs", "accuracy", "device"]
    >>> rows = [["b", plan, "", "d", 0, 9, 1, right, "cpu"] for plan, right in (("V", 0.5), ("L2", 0.7))]
    >>> gains_in_words(pd.DataFrame(rows, columns=columns))
    'late pooling is 0.200 above V at equal epochs and 0.200 above V at equal compute'
    """
    said = []
    for at, found in gains(table).groupby("at", sort=False)["late − V"]:
        ends = [f"{abs(end):.3f} {'below' if end < 0 else 'above'}" for end in (found.min(), found.max())]
        said.append(f"{' to '.join(dict.fromkeys(ends))} V at {at}")
    return f"late pooling is {' and '.join(said)}" if said else "V and late pooling share no seed"


def _arrow(order: object) -> str:
    return str(order).replace("-", "→")


def share_table(table: pd.DataFrame) -> pd.DataFrame:
    """Shares of units that are active, given a gradient, or both: a row an arm and layer, first seed."""
    parts = []
    for arm, found in table.groupby("arm", sort=False):
        row = found.sort_values(["seed", "epochs"]).iloc[0]
        for column in found.columns:
            if str(column).startswith("gradient_share@") and pd.notna(row[column]):
                layer = str(column).split("@")[1]
                shares = {name: row[f"{name}_share@{layer}"] for name in ("active", "gradient")}
                parts.append({"name": arm, "layer": layer, **shares, "routes": row[f"route_share@{layer}"]})
    return pd.DataFrame(parts, columns=["name", "layer", "active", "gradient", "routes"])


def spreads(table: pd.DataFrame) -> str:
    """How far the routes of a filter lie from their centre, order by order."""
    found = table.groupby("order", sort=False)["trained_spread"].mean()
    return ", ".join(
        f"with {_arrow(order)} a filter's routes lie {value:.2f} pixels from their centre"
        for order, value in found.items()
    )


def trained_routes(table: pd.DataFrame, records: pd.DataFrame | None = None) -> pd.DataFrame:
    """Routes of trained networks by plan and order: how many, how far apart, and the inequality's share.

    ``records`` may hold the same networks before their training; their spread stands beside that after it.
    """
    names = {
        "trained_routes": "routes a filter",
        "trained_spread": "spread (pixels)",
        "order_inequality_share_activations": "share with AP(MP) ≥ MP(AP)",
    }
    need(table, "plan", "order", *names)
    found = table.groupby(["plan", "order"], sort=False)[list(names)].mean().rename(columns=names)
    if records is None or "untrained_spread" not in records:
        return found
    same = records[records["base"].isin(table["base"].unique()) & (records["arm_kind"] == "untrained")]
    before = same.groupby(["plan", "order"])["untrained_spread"].mean()
    found.insert(2, "spread before training", before.reindex(found.index))
    return found


def order_differences(table: pd.DataFrame) -> pd.DataFrame:
    """Max first minus average first, pair by pair: mean, standard error, and p of a paired t-test.

    The last column is Holm's: the smallest of several p is small by chance, so each is multiplied by the
    number of pairs that are not smaller, and none is less than one before it.

    Parameters
    ----------
    table : one row a run; columns ``base``, ``plan``, ``order``, ``data``, ``seed``, ``epochs``,;
        ``accuracy``
    """
    need(table, "base", "plan", "order", "data", "seed", "epochs", "accuracy")
    rows = []
    for (_, base, plan, order, *_), seeds in runs_by_order(table[table["plan"] != "V"]).items():
        gaps = np.array([one.accuracy - other.accuracy for one, other in seeds.values()])
        error = gaps.std(ddof=1) / np.sqrt(len(gaps)) if len(gaps) > 1 else np.nan
        p = 2 * special.stdtr(len(gaps) - 1, -abs(gaps.mean()) / error) if error > 0 else np.nan
        turned = "-".join(reversed(order.split("-")))
        pair = f"{base} {plan} {_arrow(order)} − {_arrow(turned)}"
        row = {"pair": pair, "difference": gaps.mean(), "standard error": error, "seeds": len(gaps), "p": p}
        rows.append(row)
    columns = ["pair", "difference", "standard error", "seeds", "p"]
    found = pd.DataFrame(rows, columns=columns).set_index("pair").sort_values("p", kind="stable")
    left = int(found["p"].notna().sum()) - np.arange(len(found))
    return found.assign(**{"p, Holm": (found["p"] * left).cummax().clip(upper=1.0)})


def rates(records: pd.DataFrame) -> pd.DataFrame:
    """Accuracy on images kept back by arm and learning rate, the mean over the seeds that were tried."""
    found = looks(records)
    arms = (found["base"] + " " + found["plan"] + " " + found["order"].map(_arrow)).str.strip()
    table = found.assign(arm=arms).pivot_table(index="arm", columns="lr", values="accuracy", sort=False)
    return table.sort_index(axis=1).rename(columns=lambda rate: f"rate {rate:g}").rename_axis(columns=None)


def chosen(records: pd.DataFrame) -> pd.DataFrame:
    """What those images chose, a row a side of a network: plan, order, rate, and accuracy there."""
    rows = [
        {
            "network": side.base,
            "plan": side.plan,
            "order": _arrow(side.order) or "–",
            "rate": side.lr,
            "accuracy, images kept back": side.accuracy,
            "seeds": side.seeds,
            "chosen among": side.among,
        }
        for both in choices(records).values()
        for side in both
        if side is not None
    ]
    return pd.DataFrame(rows).set_index("network") if rows else pd.DataFrame()


def edges_in_words(records: pd.DataFrame) -> str:
    """Which of the chosen arms had their best at an end of the grid of rates, where it may go on.

    >>> edges_in_words(pd.DataFrame())
    'Nothing was chosen.'
    """
    sides = [side for both in choices(records).values() for side in both if side is not None]
    if not sides:
        return "Nothing was chosen."
    rates = sorted(looks(records)["lr"].unique())
    ends = {"lowest": rates[0], "highest": rates[-1]}
    said = []
    for end, rate in ends.items():
        arms = [f"{side.base} {side.plan} {_arrow(side.order)}".strip() for side in sides if side.lr == rate]
        if arms and len(rates) > 1:
            said.append(
                f"At the {end} rate tried, {rate:g}: {', '.join(arms)}; one beyond may suit them better"
            )
    return "; ".join(said) + "." if said else "No choice lies at an end of the grid of rates."


def chosen_gains(records: pd.DataFrame) -> pd.DataFrame:
    """Late minus V on the test images, both as chosen: mean at equal epochs and at equal compute, seeds."""
    found = pd.DataFrame(late_pooling_gain(records) if choices(records) else [])
    if found.empty:
        return found
    found["arm"] = found["arm"].str.split(",").str[0].map(_arrow_words)
    table = found.groupby("arm", sort=False).agg(
        epochs=("value", "mean"),
        spread=("value", "std"),
        compute=("control", "mean"),
        seeds=("seed", "nunique"),
    )
    names = {"epochs": "at equal epochs", "spread": "standard deviation", "compute": "at equal compute"}
    return table.rename(columns=names)


def _arrow_words(arm: str) -> str:
    return re.sub(r"(?<=P\d)-(?=[AM]P)", "→", arm)
