"""The figure of the book's first page: one filter of each layer of a recorded network, played."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from filterwise.claims.ledger_table import findings
from filterwise.figures.explorer import levels
from filterwise.figures.matrices import EXTERNAL, INTERNAL, SIGNAL, classify
from filterwise.figures.tables import layer_number
from filterwise.figures.twin import page_html
from filterwise.measure.clustering import clusters
from filterwise.measure.fields import clip
from filterwise.measure.summary import filter_table
from filterwise.runs.records import arrays, load_records

CHAPTER, PROFILE, NETWORK, CLAIM = "4-sfp", "cifar", "vgg6", "S4"
#: CIFAR-10's labels in the set's own order; the page has a pictogram of ours for each.
LABELS = (
    "airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck",
)  # fmt: skip
_SAID = {
    "holds": "The claim that noise falls to less than half holds in all networks measured here.",
    "fails": "The claim that noise falls to less than half does not hold in all networks measured here.",
    "undecided": "Whether noise falls to less than half in all networks is undecided here.",
}


def typical(table: pd.DataFrame) -> int:
    """The filter with the layer's median noise: of two middle ones the lower, of equal filters the first.

    Parameters
    ----------
    table : one row a filter, with its noise ``n``, as :func:`filterwise.measure.summary.filter_table`.

    >>> typical(pd.DataFrame({"n": [9, 3, 5, 5]}))
    2
    """
    noise = table["n"].to_numpy()
    median = np.sort(noise)[(len(noise) - 1) // 2]
    return int(np.flatnonzero(noise == median)[0])


def played_layer(layer: str, M: NDArray[np.floating], threshold: float) -> dict[str, Any]:
    """What the page shows of one layer, as plain values.

    Parameters
    ----------
    layer : its name.
    M : (F, K, K), row = input label; each filter's fields in units of their own.
    threshold : theta of the clipping.

    Returns the chosen filter's ``number``; ``levels``, K x K hundredths of the maximum; ``kinds``, K x K
    with 0 none, 1 in a cluster, 2 noise; ``clusters``; ``signal`` and ``noise``, how many entries they are;
    ``mean``, the noise of the layer's average filter; ``of``, how many filters there are.
    """
    fields = torch.from_numpy(np.asarray(M, dtype=np.float32))
    table = filter_table(fields, threshold)
    chosen = typical(table)
    clipped = clip(fields[chosen], threshold).numpy()
    found = clusters(clipped)
    kinds = classify(clipped, found)
    noise = np.isin(kinds, (INTERNAL, EXTERNAL))
    return {
        "layer": layer_number(layer),
        "number": chosen,
        "of": len(fields),
        "levels": levels(fields[chosen : chosen + 1])[0].ravel().tolist(),
        "kinds": np.where(noise, 2, kinds == SIGNAL).astype(int).ravel().tolist(),
        "clusters": [list(members) for members in found],
        "signal": int((kinds == SIGNAL).sum()),
        "noise": int(noise.sum()),
        "mean": round(float(table["n"].mean()), 1),
    }


def _where_it_ends(layers: Sequence[Mapping[str, Any]]) -> str:
    """With which layer the claim on noise ends, where the last has one position and so rank one."""
    wide = [layer for layer in layers if layer["positions"] > 1]
    if len(wide) in (0, len(layers)):
        return ""
    ends = wide[-1]
    return (
        f"In layer {layers[-1]['layer']} every filter has one position left, where its matrix is one pattern "
        f"by algebra, trained or not; the claim is judged up to layer {ends['layer']}, whose mean is "
        f"{ends['mean']}. "
    )


def one_filter_played() -> str:
    """The figure as HTML with its caption; nothing where no such network is recorded."""
    records = load_records(CHAPTER, PROFILE)
    if not len(records):
        return ""
    chosen = records[(records["network"] == NETWORK) & (records["labels"] == len(LABELS))]
    if chosen.empty:
        return ""
    row = chosen.sort_values("seed", kind="stable").iloc[0]
    kept = arrays(CHAPTER, PROFILE, str(row["spec_key"]))
    threshold = float(row["threshold"])
    layers = []
    for name in str(row["layers"]).split():
        positions = int(row[f"positions@{name}"])
        layers.append({**played_layer(name, kept[f"M@{name}"], threshold), "positions": positions})
    verdict = next(one.verdict for one in findings(CHAPTER, PROFILE) if one.claim.id == CLAIM)
    content = {"labels": list(LABELS), "threshold": threshold, "layers": layers}
    first, last = layers[0], layers[-1]
    caption = (
        f"<strong>One filter a layer, layers {first['layer']} to {last['layer']}.</strong> "
        f"A VGG-6 that learned CIFAR-10 ({row['epochs']:.0f} epochs, seed {row['seed']:.0f}, test accuracy "
        f"{row['accuracy']:.3f}). All filters but one are silenced; a coloured square says that pictures of "
        f"the row's label raise the column's output above {threshold:g} of the filter's largest. Blue: in "
        "a cluster of labels that raise each other. Orange: noise. Shown is the filter with the layer's "
        "median noise (of several the first), by rule and not by eye; the layer's mean goes from "
        f"{first['mean']} to {last['mean']} squares. {_where_it_ends(layers)}"
        f"{escape(_SAID.get(verdict, ''))}"
    )
    drawn = page_html("played", content, "filterwise.papers.sfp")
    return f'<figure class="fw-figure fw-front">\n{drawn}<figcaption>{caption}</figcaption></figure>'
