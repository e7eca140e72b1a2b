"""Quantities of chapter 5, AFCC pruning (claims F1 to F7).

Columns that are read. Of a retrained network: ``criterion`` ("afcc", a peer, or "dense"), ``theta`` (the
threshold that set the amount), ``variant`` (empty for the main comparison), ``accuracy`` on the test images,
``accuracy_before`` retraining, ``dilution@layer``. Of an unpruned network's masks: ``dilution@layer`` at one
threshold and ``untrained_dilution@layer``, ``unretrained@dense``, and at equal numbers of removed kernels
``removed_without@layer``, ``removed_with@layer``, ``removed_alike@layer``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from filterwise.claims.record_rows import compared, has, with_dense
from filterwise.claims.registered import Rows, quantity
from filterwise.claims.test_images import difference_by_image
from filterwise.papers.afcc import ftwt_quantities, set_quantities  # noqa: F401  registered by import
from filterwise.runs.layer_columns import by_layer, values_of

#: One network's name, or several.
Networks = str | Sequence[str]
#: The main comparison's: of the larger profiles, and of quick.
MAIN = ("vgg11", "vgg-six")
RANDOM_LOSS = "loss of equally many random connections"
#: Dilution of a convolution that is called high.
HIGH = 0.8


def _of(records: pd.DataFrame, measure: str, network: Networks) -> pd.DataFrame:
    if not has(records, "measure", "network", "seed"):
        return records.iloc[:0]
    names = [network] if isinstance(network, str) else list(network)
    return records[(records["measure"] == measure) & records["network"].isin(names)]


def _retrained(records: pd.DataFrame, network: Networks) -> pd.DataFrame:
    """The main comparison's rows of one network, without variants."""
    rows = _of(records, "afcc.retrained", network)
    if not has(rows, "criterion", "theta", "variant"):
        return rows.iloc[:0]
    return rows[rows["variant"].isna() | (rows["variant"] == "")]


def _by_seed(records: pd.DataFrame, network: Networks) -> list[tuple[Any, pd.DataFrame]]:
    """The dense network's retraining and all rows of one network, data set and seed."""
    return with_dense(_retrained(records, network))


def _convolutions(run: pd.DataFrame) -> float:
    """The largest dilution of a convolution in one retrained network."""
    layers = values_of(run, "dilution")[0]
    return max((value for layer, value in layers.items() if layer.startswith("features.")), default=np.nan)


def _first_high(group: pd.DataFrame, dilution: float, fully_connected: bool) -> pd.Series | None:
    """AFCC's retraining at the lowest threshold that dilutes a convolution (or hidden layer) so much."""
    ours = group[group["criterion"] == "afcc"].sort_values("theta")
    for place in range(len(ours)):
        one = ours.iloc[place : place + 1]
        layers = values_of(one, "dilution")[0]
        highest = _convolutions(one) if not fully_connected else max(_hidden(layers), default=np.nan)
        if highest >= dilution:
            return one.iloc[0]
    return None


def _hidden(layers: dict[str, float]) -> list[float]:
    """Dilution of fully connected layers that read another one's nodes, without the output layer."""
    linear = [name for name in layers if name.startswith("classifier.")]
    return [layers[name] for name in sorted(linear)[1:-1]]


@quantity("pruned_loss", digits=4, control=RANDOM_LOSS)
def pruned_loss(
    records: pd.DataFrame, network: Networks = MAIN, dilution: float = HIGH, fully_connected: bool = False
) -> Rows:
    """Accuracy of the network retrained without masks minus AFCC's, at the first high dilution.

    That is the lowest recorded threshold at which AFCC removes a share of at least ``dilution`` of some
    convolution's kernels, or, ``fully_connected``, of a layer between fully connected ones.
    """
    found = []
    for dense, group in _by_seed(records, network):
        ours = _first_high(group, dilution, fully_connected)
        if ours is None:
            continue
        theta = ours["theta"]
        random = group[(group["criterion"] == "random") & (group["theta"] == theta)]["accuracy"]
        control = dense["accuracy"] - random.mean()
        arm = f"{dense['network']}, {dense['data']}, threshold {theta:g}"
        value, images = dense["accuracy"] - ours["accuracy"], difference_by_image(dense, ours)
        found.append(compared(arm, dense, value, control, images))
    return found


@quantity("afcc_minus_peer", digits=4, control="accuracy of the peer")
def afcc_minus_peer(records: pd.DataFrame, network: Networks = MAIN, theta: float = 0.5) -> Rows:
    """Accuracy after retraining: AFCC minus each peer at as many kept weights, layer by layer."""
    found = []
    for _, group in _by_seed(records, network):
        at = group[np.isclose(group["theta"].astype(float), theta)]
        ours = at[at["criterion"] == "afcc"]
        for _, peer in at[~at["criterion"].isin(["afcc", "dense"])].iterrows() if len(ours) else ():
            difference = ours["accuracy"].iloc[0] - peer["accuracy"]
            arm, images = f"{peer['criterion']}, {peer['data']}", difference_by_image(ours.iloc[0], peer)
            found.append(compared(arm, peer, difference, peer["accuracy"], images))
    return found


def _sorts(records: pd.DataFrame, network: Networks, other: str) -> Rows:
    rows = _of(records, "afcc.masks", network)
    found = []
    for (_, run), without, with_one in zip(
        rows.iterrows(),
        by_layer(rows, "removed_without"),
        by_layer(rows, f"removed_{other}"),
        strict=True,
    ):
        if without and with_one:
            difference = float(np.mean([without[layer] - with_one[layer] for layer in without]))
            control = run["unretrained@dense"] - float(np.mean(list(without.values())))
            found.append(compared(f"{run['network']}, {run['data']}", run, difference, control))
    return found


@quantity("spared_by_no_label", digits=4, control="loss by the kernels without a common label")
def spared_by_no_label(records: pd.DataFrame, network: Networks = MAIN) -> Rows:
    """Accuracy after removing kernels without a common label, minus after removing as many with one.

    The mean over the masked convolutions, without retraining.
    """
    return _sorts(records, network, "with")


@quantity("spared_at_equal_norm", digits=4, control="loss by the kernels without a common label")
def spared_at_equal_norm(records: pd.DataFrame, network: Networks = MAIN) -> Rows:
    """Accuracy after removing kernels without a common label, minus with one and of the same norms."""
    return _sorts(records, network, "alike")


def _dilution_by_layer(
    records: pd.DataFrame, network: Networks
) -> list[tuple[Any, list[float], list[float]]]:
    """Each run's dilution of the convolutions, bottom to top, trained and untrained."""
    rows = _of(records, "afcc.masks", network)
    if not has(rows, "all_layers"):
        return []
    rows = rows.assign(layers=rows["all_layers"])
    both = (by_layer(rows, f"{net}dilution") for net in ("", "untrained_"))
    return [
        (run, *([v for layer, v in one.items() if layer.startswith("features.")] for one in pair))
        for (_, run), *pair in zip(rows.iterrows(), *both, strict=True)
    ]


@quantity("dilution_rank_correlation", control="the same before training")
def dilution_rank_correlation(records: pd.DataFrame, network: Networks = MAIN) -> Rows:
    """Spearman's rank correlation of a convolution's number and its dilution at the group's threshold."""
    found = []
    for run, trained, plain in _dilution_by_layer(records, network):
        arm = f"{run['network']}, {run['data']}"
        found.append(compared(arm, run, _spearman(trained), _spearman(plain)))
    return found


@quantity(
    "dilution_rise",
    control="the rise before training",
    words={"less_untrained": "minus the same before training"},
)
def dilution_rise(records: pd.DataFrame, network: Networks = MAIN, less_untrained: bool = False) -> Rows:
    """Dilution of the highest convolution minus that of the lowest measured one."""
    found = []
    for run, trained, plain in _dilution_by_layer(records, network):
        if len(trained) < 2:
            continue
        rise = trained[-1] - trained[0]
        before = plain[-1] - plain[0] if len(plain) > 1 else np.nan
        value = rise - before if less_untrained else rise
        found.append(compared(f"{run['network']}, {run['data']}", run, value, before))
    return found


def _spearman(values: list[float]) -> float:
    if len(values) < 3 or len(set(values)) < 2:
        return np.nan
    ranks = pd.Series(values).rank().to_numpy()  # equal values share the mean of their ranks
    return float(np.corrcoef(ranks, np.arange(len(values)))[0, 1])


@quantity("imposed_minus_dense", digits=4, control="accuracy of the dense network")
def imposed_minus_dense(records: pd.DataFrame, network: Networks = MAIN) -> Rows:
    """Accuracy of a network trained from scratch under imposed label sets, minus the dense network's."""
    dense = {
        (run["data"], int(run["seed"])): run["unretrained@dense"]
        for _, run in _of(records, "afcc.masks", network).iterrows()
    }
    found = []
    rows = _retrained(records, network)
    for _, run in rows.iterrows():
        if str(run["criterion"]).endswith(" sets"):
            plain = dense.get((run["data"], int(run["seed"])), np.nan)
            found.append(compared(str(run["criterion"]), run, run["accuracy"] - plain, plain))
    return found
