"""What the page of chapter 1 trains and draws: plans and orders of the reader's choice, tables."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from filterwise import models, runs
from filterwise.data import ImageSet
from filterwise.errors import ParameterError, check_at_least, check_choice
from filterwise.experiments import pooling
from filterwise.experiments.pool_arms import Arm, Study
from filterwise.models.pooling import order_name, parse_order, shrink
from filterwise.runs import Result

# What the page reads; a column that no record has yet is added without values.
_COLUMNS = (
    "network",
    "base",
    "plan",
    "order",
    "arm_kind",
    "fc_activation",
    "lr",
    "seed",
    "epochs",
    "accuracy",
    "train_accuracy",
    "macs",
    "training_seconds",
    "trained_routes",
    "trained_spread",
    "spec_key",
    "recorded",
    "order_inequality_share_activations",
)
_STUDIES = {"quick": pooling.QUICK, "cifar": pooling.CIFAR, "paper": pooling.PAPER}


def chapter_arms(
    profile: str, seed: int = 0, seeds: int = 1, plan: str = "", order: str = "", all_orders: bool = True
) -> list[Arm]:
    """What the page trains: V, the late plan at equal epochs, V at its compute, and the other orders.

    Without ``plan`` it is the profile's own; without ``order`` AP2, then MP of the rest. Orders other than
    the chosen one are trained for the first seed only.

    Raises
    ------
    ParameterError
        Unknown profile, plan or order, plan "V" (nothing to compare), pools that do not fit the image.

    >>> [arm.name for arm in chapter_arms("quick", seed=3, all_orders=False)]
    ['vgg-mini V, 4 epochs, seed 3', 'vgg-mini after 2 AP2-MP4, 4 epochs, seed 3',
     'vgg-mini V, 24 epochs, seed 3']
    >>> chapter_arms("quick", order="AP3-MP4")
    Traceback (most recent call last):
    filterwise.errors.ParameterError: order='AP3-MP4' divides the map by 12, but this plan leaves 8 ...
    """
    check_choice("profile", profile, _STUDIES)
    check_at_least("seed", seed, 0)
    check_at_least("seeds", seeds, 1)
    study: Study = _STUDIES[profile]
    late = next(arm for arm in pooling.arms(profile)[0] if arm.plan != "V")
    base = str(late.base)
    plan = plan or late.plan
    if plan == "V":
        raise ParameterError(
            "plan='V' pools after every stage; it is the baseline, choose a late plan instead"
        )
    if not plan.startswith("after "):
        check_choice("plan", plan, [name for name in models.PLANS if name != "V"])
    order = order_name(parse_order(order)) if order else study.default_order(base, plan)
    study.macs(base, plan, order)  # builds the network: pools that do not fit are refused here
    found = study.comparison(base, range(seed, seed + seeds), plan, order)
    if all_orders:
        others = [other for other in models.orders(shrink(parse_order(order))) if other != order]
        found += study.heads(base, (seed,), plan, others)
    return found


def run_arms(
    arms: Sequence[Arm], device: str = "auto", data_root: str | Path | None = None
) -> tuple[pd.DataFrame, list[Result]]:
    """Train and measure arms, or read them back: one row a run, as in the records, and the results."""
    rows, results = [], []
    for arm in arms:
        result = runs.result(arm.run, device=device, data_root=data_root)
        row, _ = pooling.measure(result, arm)
        made = result.provenance
        common = {"seed": arm.run.seed, "data": made["data"], "device": made["device"]}
        common |= {"accuracy": result.metrics["accuracy"], "epochs": result.metrics["epochs"]}
        rows.append({**common, **row})
        results.append(result)
    return named(pd.DataFrame(rows)), results


def named(records: pd.DataFrame) -> pd.DataFrame:
    """Records with ``arm``, a name in words, and ``m``, the layers; runs that compare nothing are left out.

    >>> columns = ["network", "base", "plan", "order", "accuracy"]
    >>> records = pd.DataFrame([["avgg6", "vgg6", "L2", "AP2-MP4", 0.6]], columns=columns)
    >>> named(records)[["arm", "m"]].values.tolist()
    [['vgg6 L2 AP2-MP4', 6]]
    """
    records = records.reindex(columns=[*records.columns, *(c for c in _COLUMNS if c not in records.columns)])
    if records.empty:
        return records.assign(arm=[], m=[])
    kept = records[records["base"].notna()].copy()
    kept["order"] = kept["order"].astype(object).where(kept["order"].notna(), "")
    kept["arm"] = (kept["base"] + " " + kept["plan"] + " " + kept["order"]).str.strip()
    kept["m"] = pd.to_numeric(kept["base"].str.extract(r"vgg(\d+)$")[0])
    return kept.reset_index(drop=True)


def comparison(table: pd.DataFrame) -> pd.DataFrame:
    """Accuracy, operations and compute of each arm and number of epochs, mean and spread over the seeds."""
    grouped = table.groupby(["arm", "epochs"], sort=False)
    found = grouped.agg(
        n=("accuracy", "size"),
        accuracy=("accuracy", "mean"),
        sd=("accuracy", "std"),
        train_accuracy=("train_accuracy", "mean"),
        macs=("macs", "first"),
        seconds=("training_seconds", "mean"),
    ).reset_index()
    # Unbreakable, so that a page does not fold a name over five lines.
    found["arm"] = found["arm"].str.replace("-", "→").str.replace("vgg→", "vgg-").str.replace(" ", "\u00a0")
    found["million MACs"] = (found.pop("macs") / 1e6).round(3)
    found["MACs × epochs"] = (found["million MACs"] * found["epochs"]).round(1)
    if found["n"].max() < 2:
        found = found.drop(columns="sd")  # one run has no spread
    last = ["train_accuracy", "seconds"]  # what an accuracy cost belongs beside it, on any screen
    found = found[[name for name in found if name not in last] + last]
    return found.set_index("arm")


def share_table(table: pd.DataFrame) -> pd.DataFrame:
    """Shares of units that are active, given a gradient, or both: a row an arm and layer, first seed."""
    parts = []
    for arm, found in table.groupby("arm", sort=False):
        row = found.sort_values(["seed", "epochs"]).iloc[0]
        layers = [str(c).split("@")[1] for c in table.columns if str(c).startswith("gradient_share@")]
        for layer in layers:
            if pd.notna(row[f"gradient_share@{layer}"]):
                shares = {name: row[f"{name}_share@{layer}"] for name in ("active", "gradient")}
                parts.append({"name": arm, "layer": layer, **shares, "routes": row[f"route_share@{layer}"]})
    return pd.DataFrame(parts, columns=["name", "layer", "active", "gradient", "routes"])


def one_of_each_label(images: ImageSet, count: int = 4) -> ImageSet:
    """The first image of each of the first ``count`` labels.

    >>> from filterwise import data
    >>> one_of_each_label(data.load("mnist5k", split="test"), 3).labels.tolist()
    [0, 1, 2]
    """
    labels = images.labels.tolist()
    wanted = range(min(count, len(images.label_names)))
    return images.subset([labels.index(label) for label in wanted if label in labels])
