"""What only chapter 4's page draws: tables for its figures, and the findings that their captions say."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import torch
from scipy import stats
from torch import Tensor

from filterwise.figures.layers import UNTRAINED
from filterwise.figures.tables import NothingToShow, by_layer, layer_number
from filterwise.measure.clustering import assign_clusters
from filterwise.measure.clustering import cluster_sizes as sizes_of
from filterwise.measure.fields import clip
from filterwise.papers.sfp.error_growth import growth_exponent, of_equal_draws
from filterwise.runs.records import arrays

if TYPE_CHECKING:
    from filterwise.measure.study_layers import SfpStudy

QUANTITIES = ("N_c", "C_s", "n", "SNR_block")
#: What the untrained control is compared in.
COMPARED = ("probe_accuracy", "N_c", "n", "SNR_block")
ONE_FILTER = (
    "*One filter's answers, and the pictures it fires on.* Blocks on the diagonal are its clusters, the "
    "labels it raises together; all other ones are noise. Try: go from the last layer to the first and watch "
    "the blocks drown; point at an entry, or go there by the arrow keys, to read it."
)
READ_BY_EYE = "*Three filters of ten labels:* a column is an output, its ones the labels that raise it."
READINGS = {"hardest_error": "hardest set", "mean_error": "mean of the sets"}


def about(*tables: pd.DataFrame) -> pd.DataFrame:
    """Which networks the rows of several tables are: a row a network and data set, means over its seeds."""
    parts = [table for table in tables if len(table)]
    if not parts:
        return pd.DataFrame()
    rows = pd.concat(parts, ignore_index=True)
    keys = [name for name in ("profile", "network", "data", "labels") if name in rows]
    grouped = rows.groupby(keys, sort=False)
    mean, spread = grouped["accuracy"].mean(), grouped["accuracy"].std()
    return pd.DataFrame(
        {
            "images": grouped["train_images"].first(),
            "epochs": grouped["epochs"].first(),
            "seeds": grouped["seed"].nunique(),
            "accuracy": [
                f"{one:.3f}" + ("" if np.isnan(sd) else f" ± {sd:.3f}")
                for one, sd in zip(mean, spread, strict=True)
            ],
            "seconds": grouped["seconds"].mean().round(),
        }
    ).reset_index()


def per_layer(records: pd.DataFrame, quantities: Sequence[str], labels: int | None = None) -> pd.DataFrame:
    """One row per network and layer, with the whole network's accuracy as ``network_accuracy``.

    Parameters
    ----------
    records : rows of records, or of a page's own run.
    quantities : columns ``<quantity>@<layer>`` to read.
    labels : only the runs with so many labels.
    """
    if labels is not None and len(records):
        records = records[records["labels"] == labels]
    table = by_layer(records, quantities)
    if len(table):
        keys = [name for name in ("network", "data", "labels", "seed") if name in table]
        whole = records[[*keys, "accuracy"]].rename(columns={"accuracy": "network_accuracy"})
        table = table.merge(whole, on=keys)
    table.attrs.update(records.attrs)
    return table


def with_control(records: pd.DataFrame, labels: int | None = None) -> pd.DataFrame:
    """:func:`per_layer` of trained networks, and of the same ones with untrained convolutions."""
    trained = per_layer(records, COMPARED, labels)
    plain = per_layer(records, [f"untrained_{name}" for name in COMPARED], labels)
    plain = plain.rename(columns=lambda name: name.removeprefix("untrained_"))
    found = pd.concat(
        [trained, plain.assign(network=plain["network"] + UNTRAINED)] if len(plain) else [trained],
        ignore_index=True,
    )
    found.attrs.update(records.attrs)
    return found


def errors(records: pd.DataFrame) -> pd.DataFrame:
    """Errors of equally many label sets at every K: ``labels`` (K), ``error``, ``reading`` (of which set)."""
    rows = [
        {"reading": said, "labels": k, "error": error}
        for name, said in READINGS.items()
        for run in of_equal_draws(records, name)
        for k, error in run.items()
    ]
    return pd.DataFrame(rows, columns=["reading", "labels", "error"])


def alone(study: SfpStudy, labels: int) -> pd.DataFrame:
    """What a filter alone is like, means over a layer's filters: how much of its matrix is one pattern, how
    often its favourite answer comes, and how many times as often as a guess it is right."""
    names = {"positions": "positions", "rank_one_share": "one pattern", "preferred_share": "favourite"}
    found = _numbered(study, list(names), names)
    return found.assign(**{"right, in guesses": _in_guesses(study, labels)})


def _in_guesses(study: SfpStudy, labels: int) -> np.ndarray:
    return study.table["single_filter_accuracy"].to_numpy(dtype=float) * labels


def said_of_alone(study: SfpStudy, labels: int) -> str:
    """What the layers gain, of all filters together and of one alone."""
    together, one = study.table["probe_accuracy"], _in_guesses(study, labels)
    first, last = (layer_number(study.layers[at]) for at in (0, -1))
    all_of_them, alone = together.iloc[-1] / together.iloc[0], one[-1] / one[0]
    where = "in the average filter already" if alone >= all_of_them else "in the combination of filters"
    beyond = "" if alone >= all_of_them else f", {'not' if alone <= 1 else 'less'} in the average one"
    return (
        f"*All filters together, and one alone:* from layer {first} to layer {last} a head on all filters is "
        f"right {all_of_them:.1f} times as often, a lone filter {alone:.1f} times ({one[0]:.1f}, then "
        f"{one[-1]:.1f} times as often as a guess, mean over filters). What deeper layers gain is {where}"
        f"{beyond}."
    )


def clusters(study: SfpStudy) -> pd.DataFrame:
    """Clusters, noise (n_in of it internal), three ratios, and the clusters of other greedy orders."""
    ratios = {f"SNR_{name}": f"SNR {name}" for name in ("block", "label", "mf")}
    shuffled = {f"{name}_shuffled": f"{name} shuffled" for name in ("N_c", "C_s")}
    names = {**ratios, **shuffled}
    return _numbered(study, ["N_c", "C_s", "n", "n_in", *names], names)


def _numbered(study: SfpStudy, columns: Sequence[str], names: Mapping[str, str]) -> pd.DataFrame:
    table = study.table[list(columns)].rename(columns=dict(names))
    return table.set_axis(pd.Index([layer_number(layer) for layer in table.index], name="layer"))


def cluster_sizes(study: SfpStudy) -> dict[str, list[int]]:
    """Labels of each cluster of the first and of the last layer."""
    found = {}
    for layer in (study.layers[0], study.layers[-1]):
        sizes = sizes_of(assign_clusters(clip(study.matrices[layer], study.threshold)))
        found[f"layer {layer_number(layer)}"] = sizes[sizes > 0].tolist()
    return found


def three_layers(study: SfpStudy, number: int) -> dict[str, Tensor]:
    """The matrix of filter ``number``, or of the last filter, in the first, a middle and the last layer."""
    layers = study.layers
    picked = {}
    for layer in (layers[0], layers[len(layers) // 2], layers[-1]):
        at = min(number, len(study.matrices[layer]) - 1)
        picked[f"layer {layer_number(layer)}, filter {at}"] = study.matrices[layer][at]
    return picked


def recorded_filters(records: pd.DataFrame, labels: int, count: int = 3) -> dict[str, Tensor]:
    """Last-layer matrices of the first ``count`` filters that the first run with so many labels kept."""
    chosen = records[records["labels"] == labels] if len(records) else records
    if chosen.empty:
        return {}
    first = chosen.sort_values("seed", kind="stable").iloc[0]
    layer = str(first["layers"]).split()[-1]
    kept = arrays("4-sfp", str(records.attrs["profile"]), str(first["spec_key"]))
    numbers = kept.get(f"filters@{layer}", np.arange(count))[:count]
    return {
        f"filter {number}": torch.from_numpy(kept[f"M@{layer}"][at]).float()
        for at, number in enumerate(numbers)
    }


def _ends(table: pd.DataFrame, quantity: str) -> tuple[float, float]:
    means = table.groupby("number")[quantity].mean().dropna()
    if means.empty:
        raise NothingToShow(f"table has no values of {quantity!r}")
    return float(means.iloc[0]), float(means.iloc[-1])


def _went(first: float, last: float, digits: int) -> str:
    one, other = (f"{value:,.{digits}f}" for value in (first, last))
    if one == other:
        return f"stays at {one}"
    return f"{'rises' if last > first else 'falls'} from {one} to {other}"


def _each(table: pd.DataFrame, say: Any) -> str:
    """What is said of each network of a table, by its name if there are several."""
    networks = table["network"].unique()
    said = [(name, say(table[table["network"] == name])) for name in networks]
    return " ".join(f"{f'{name}: ' if len(networks) > 1 else ''}{words}" for name, words in said)


def said_of_heads(table: pd.DataFrame) -> str:
    """What a head reads from the first layer and from the last."""

    def say(part: pd.DataFrame) -> str:
        first, last = _ends(part, "probe_accuracy")
        whole = f"; the whole network has {part['network_accuracy'].mean():.3f}"
        return f"a head's accuracy {_went(first, last, 3)}{whole}."

    return "*From the first layer to the last* " + _each(table, say)


def said_of_noise(table: pd.DataFrame) -> str:
    """How noise and signal-to-noise ratio go from the first layer to the last."""

    def say(part: pd.DataFrame) -> str:
        noise, ratio = _ends(part, "n"), _ends(part, "SNR_block")
        return f"noise {_went(*noise, 1)} ones a filter, and the ratio {_went(*ratio, 2)}."

    return "*From the first layer to the last* " + _each(table, say)


def said_of_control(table: pd.DataFrame, *_: object) -> str:
    """By which factor the signal-to-noise ratio grows, with and without training."""

    def say(part: pd.DataFrame) -> str:
        return f"the ratio {_went(*_ends(part, 'SNR_block'), 2)}."

    grown = {}
    for name, part in table.groupby("network", sort=False):
        first, last = _ends(part, "SNR_block")
        grown[str(name)] = last / first if first else np.nan
    pairs = [(grown[name], grown[name + UNTRAINED]) for name in grown if name + UNTRAINED in grown]
    more = sum(trained > plain for trained, plain in pairs)
    count = f"{more} of {len(pairs)} networks"
    told = f" In the mean it grows by a larger factor with training in {count}." if pairs else ""
    return "*How much of it is training?* From the first layer to the last " + _each(table, say) + told


def said_of_matrices(fields: Mapping[str, Tensor], *_: object) -> str:
    """How many ones a filter has, clipped, in the first and in the last row."""
    ones = [int(clip(M).sum()) for M in fields.values()]
    size = next(iter(fields.values())).numel()
    return (
        f"*One filter a layer, from the first to the last:* of {size:,} entries, "
        f"{', '.join(f'{one:,}' for one in ones[:-1])} and {ones[-1]:,} are ones after clipping at 0.3."
    )


def said_of_answers(shares: Mapping[str, Sequence[float]]) -> str:
    """How often a filter alone gives its commonest answer."""
    means = {layer_number(layer): float(np.mean(values)) for layer, values in shares.items()}
    most = max(means, key=lambda layer: means[layer])
    return (
        f"*A lone filter's favourite answer comes for {min(means.values()):.0%} to {means[most]:.0%} of the "
        f"pictures,* most often in layer {most}. Solid: mean over filters; dotted: no preference."
    )


def said_of_sizes(sizes: Mapping[str, Sequence[int]]) -> str:
    """How many labels a cluster has, and how many have one or two."""
    said = [
        f"{np.mean(values):.1f} labels in {name} ({np.mean(np.asarray(values) <= 2):.0%} have one or two)"
        for name, values in sizes.items()
        if len(values)
    ]
    return f"*A cluster has on average* {' and '.join(said) or 'no label: there is none'}."


def said_of_labels(filters: Sequence[float], accuracy: Sequence[float], *_: object) -> str:
    """Whether labels with more filters are recognised more often."""
    found = stats.spearmanr(filters, accuracy)
    signed = "as expected" if found.statistic > 0 else "against the expectation"
    met = signed if found.pvalue < 0.05 else "not told from 0"
    return (
        f"*A label is raised by {min(filters):.0f} to {max(filters):.0f} filters;* rank correlation with the "
        f"accuracy on the label: {found.statistic:.2f}, {met} (p = {found.pvalue:.2g})."
    ).replace("-", "−")


def said_of_thresholds(table: pd.DataFrame) -> str:
    """Whether the last layer has the best ratio at each threshold."""
    layers = sorted(table["layer"].unique(), key=layer_number)
    ratio = table.groupby(["threshold", "layer"])["SNR_block"].mean().unstack()
    best = int((ratio.idxmax(axis=1) == layers[-1]).sum())
    return (
        f"*The last layer has the best ratio at {best} of {len(ratio)} thresholds,* although every number "
        "moves with the threshold."
    )


def said_of_errors(table: pd.DataFrame) -> str:
    """Which power of the number of labels the errors grow with."""
    said = []
    for reading, part in table.groupby("reading", sort=False):
        means = part.groupby("labels")["error"].mean()
        gamma = growth_exponent(list(means.index), means.tolist())
        said.append(f"{gamma:.2f} ({reading})")
    return (
        "*Error against the number of labels:* the best fit a + b K to a power has the power "
        f"{' and '.join(said)}; a line has 1, a root 0.5, a logarithm 0."
    )
