"""Tables that the page of chapter 1 shows."""

from __future__ import annotations

import pandas as pd

from filterwise.data.imageset import ImageSet

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
