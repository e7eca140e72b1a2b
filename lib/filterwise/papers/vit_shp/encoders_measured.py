"""What chapter 7 measures of one trained network: what each place knows, node by node and head by head.

Koresh et al. (2025), Gross et al. (2025). Every number about heads stands beside random groups of the same
nodes, and every number about training beside the network before it.
"""

from __future__ import annotations

from functools import partial
from typing import Any, cast

import numpy as np
import pandas as pd
import torch
from safetensors.torch import save
from torch import Tensor, nn

from filterwise.measure.fields import head_fields
from filterwise.measure.head_groups import (
    against_random,
    belonging,
    beside,
    group_accuracies,
    group_fields,
    node_sets,
    own_groups,
    owners,
    random_groups,
    specialisation,
    summary_against_random,
)
from filterwise.measure.head_training import generator_for
from filterwise.measure.norms import refit_norms
from filterwise.measure.places_of_encoders import KINDS, encoder_numbers, encoder_place
from filterwise.measure.summary import layer_summary_of
from filterwise.measure.token_heads import TOKEN_RECIPE, Reading, read_places, read_tokens
from filterwise.models.cct import CCT
from filterwise.models.counting import layer_names
from filterwise.models.encoder import Heads
from filterwise.papers.afcc.measured_fields import true_test
from filterwise.papers.vit_shp.digits_of_heads import leaning
from filterwise.runs.measuring import measurements
from filterwise.runs.networks import beginning
from filterwise.runs.store import Result
from filterwise.training.evaluation import evaluate

Row = dict[str, Any]
Arrays = dict[str, np.ndarray]

#: theta of the tables; 0.3 is the group's for filters, what is best for nodes and heads could not be read.
THRESHOLDS = (0.3, 0.5, 0.7)
_NODES = ("N_c", "C_s", "D", "n", "n_in", "SNR_block", "SNR_label")
#: Heads and nodes whose matrices a record keeps, evenly spaced, without looking at how they came out.
SHOWN = 6


def places_of(net: nn.Module, kinds: tuple[str, ...]) -> dict[str, str]:
    """Part of a column -> module: "ff/0" are the tokens, "qkv/2" the heads of encoder 2, bottom to top.

    "ff/0" follows convolutions that stand in place of the first encoders, where there are some. Of a network
    without encoders the parts are "layer/1", "layer/2", ..., whatever the kinds.
    """
    if not isinstance(net, CCT):
        return {f"layer/{n}": name for n, name in enumerate(layer_names(net), start=1)}
    found = {"ff/0": encoder_place(net, "ff", 0)}
    for m in encoder_numbers(net):
        found |= {f"{kind}/{m}": encoder_place(net, kind, m) for kind in KINDS if kind in kinds}
    return found


@measurements("vit.places")
def places(
    result: Result,
    *,
    kinds: tuple[str, ...] = ("qkv", "ff"),
    probe_epochs: int = 5,
    probe_images: int = 0,
    draws: int = 20,
    regroupings: int = 100,
    test_images: int = 0,
    control: bool = True,
    weights: bool = False,
) -> tuple[Row, Arrays]:
    """A network place by place.

    Parameters
    ----------
    kinds
        Of places in encoders, see ``measure.encoder_place``.
    probe_epochs, probe_images
        Of the token heads; so many training images, of every label equally many, 0 for all.
    draws, regroupings
        Random groupings behind the null of matrices, and of single-head accuracies.
    test_images
        So many of the test images, 0 for all.
    control
        Whether the network before its training is measured as well (``untrained_`` columns).
    weights
        Whether the trained weights are kept, as the bytes of a safetensors file.

    The row has ``accuracy`` on the true test images, ``parts``, and by part, such as ``@qkv/4``:
    ``probe_accuracy``, the nodes' N_c, C_s, D, n, n_in, SNRs and ``no_cluster`` (at other thresholds
    ``@qkv/4/0.5``); of heads see :func:`_of_heads`, and on digit-pairs ``lean@``, ``null_lean@`` and
    ``z_lean@``, how far heads lean to one of the two digits.
    """
    test, train = true_test(result, test_images), result.train_set()
    learned = train.balanced(probe_images, seed=0) if 0 < probe_images < len(train) else train
    net = result.network()
    recipe = TOKEN_RECIPE.replace(epochs=probe_epochs)
    named = places_of(net, kinds)
    how: dict[str, Any] = {"recipe": recipe, "seed": result.run.seed, "device": result.device}
    read = read_places(net, list(named.values()), learned, test, **how)
    found = evaluate(net, test, device=result.device)
    row: Row = {
        "accuracy": found.accuracy,
        "parts": " ".join(named),
    }
    arrays: Arrays = {"test_right": np.packbits(found.right.numpy())}
    first, *_, last = [module for part, module in named.items() if part.startswith("qkv/")] or [""] * 2
    for part, module in named.items():
        one = read[module]
        row |= _of_nodes(one, part)
        arrays[f"sizes@{part}"] = node_sets(one).sum(dim=1).numpy().astype(np.int16)
        arrays[f"per_label@{part}"] = one.per_label.numpy().astype(np.float32)
        if part.startswith("qkv/"):
            heads = _heads_of(net, module)
            groups = own_groups(len(one.head.score), heads)
            row |= _of_heads(one, groups, part, draws, regroupings, result.run.seed)
            row[f"heads@{part}"] = heads
            if result.run.data == "digit-pairs":
                lean = leaning(one, heads, regroupings, result.run.seed)
                row |= {f"lean@{part}": lean["value"], f"null_lean@{part}": lean["null"]}
                row[f"z_lean@{part}"] = _number(lean["z"])
            row |= _before_pool(result, net, one, heads, test, part)
            matrices = result.run.seed == 0 and module in (first, last)
            arrays |= _shown(one, groups, part, result.run.seed, matrices)
    if control:
        before = refit_norms(beginning(result.run, train), train)
        plain = read_places(before, list(named.values()), learned, test, **how)
        for part, module in named.items():
            values = _of_nodes(plain[module], part, thresholds=(THRESHOLDS[0],))
            if part.startswith("qkv/"):
                heads = _heads_of(net, module)
                table = summary_against_random(plain[module], heads, THRESHOLDS[0], 2)
                values |= {f"head_{name}@{part}": value for name, value in table["value"].items()}
            row |= {f"untrained_{name}": value for name, value in values.items()}
    if weights:
        state = {name: value.contiguous() for name, value in net.state_dict().items()}
        arrays["weights"] = np.frombuffer(save(state), dtype=np.uint8)
    return row, arrays


def _heads_of(net: nn.Module, module: str) -> int:
    return cast(Heads, net.get_submodule(module)).heads


def _of_nodes(one: Reading, part: str, thresholds: tuple[float, ...] = THRESHOLDS) -> Row:
    """Single-nodal performance at one place, at all thresholds."""
    row: Row = {f"probe_accuracy@{part}": one.accuracy}
    for theta in thresholds:
        summary, _, _ = layer_summary_of(one.mu[:, :, None], one.weight, theta)
        at = part if theta == thresholds[0] else f"{part}/{theta:g}"
        row |= {f"{name}@{at}": float(summary[name]) for name in _NODES}
        row[f"no_cluster@{at}"] = float(summary["share_without_cluster"])
    return row


def _of_heads(one: Reading, groups: Tensor, part: str, draws: int, regroupings: int, seed: int) -> Row:
    """Single-head performance at one place beside random groups of its nodes.

    ``head_<quantity>@``, ``null_head_<quantity>@`` and ``z_head_<quantity>@`` for what ``head_summary``
    gives; ``gap@``, ``null_gap@``, ``sd_gap@`` and ``z_gap@`` of single-head accuracies (``_votes``,
    ``_field`` of the other two quantities); ``head_accuracy@``, mean over heads and labels, and its
    ``null_``; of each head on the labels it owns: ``own_accuracy@``, on the others ``other_accuracy@``, and
    of its best single node on those labels ``best_node@``, each with its ``null_``; ``least_owned@`` labels,
    and ``owners@``, the owner of every label.
    """
    row: Row = {}
    heads = len(groups)
    for theta in THRESHOLDS:
        table = summary_against_random(one, heads, theta, draws, seed)
        at = part if theta == THRESHOLDS[0] else f"{part}/{theta:g}"
        for name, values in table.iterrows():
            row |= {f"head_{name}@{at}": values["value"], f"null_head_{name}@{at}": values["null"]}
            row[f"z_head_{name}@{at}"] = _number(values["z"])
    for by, tail in (("votes", "_votes"), ("field", "_field")):
        of = partial(_gap_by, one, by)
        gap = against_random(of, one, heads, regroupings, seed)
        row |= {f"gap{tail}@{part}": gap["value"], f"z_gap{tail}@{part}": _number(gap["z"])}
    generator = generator_for(seed, f"random groups of {heads}")
    dealt = [random_groups(groups.numel(), heads, generator) for _ in range(regroupings)]
    drawn = [group_accuracies(one, each) for each in dealt]
    own = group_accuracies(one, groups)
    gap = beside(specialisation(own), np.array([specialisation(values) for values in drawn]))
    row |= {f"gap@{part}": gap["value"], f"null_gap@{part}": gap["null"], f"sd_gap@{part}": gap["null_sd"]}
    row[f"z_gap@{part}"] = _number(gap["z"])
    row[f"head_accuracy@{part}"] = float(own.double().mean())
    row[f"null_head_accuracy@{part}"] = float(torch.stack(drawn).double().mean())
    owner = owners(own)
    row[f"owners@{part}"] = " ".join(map(str, owner.tolist()))
    row[f"least_owned@{part}"] = int(torch.bincount(owner, minlength=heads).min())
    nodes = group_accuracies(one, torch.arange(groups.numel())[:, None])
    row |= {f"{name}@{part}": value for name, value in _experts(own, groups, nodes).items()}
    chance = pd.DataFrame(
        [_experts(values, each, nodes) for values, each in zip(drawn, dealt, strict=True)]
    ).mean()
    return row | {f"null_{name}@{part}": float(value) for name, value in chance.items()}


def _experts(values: Tensor, groups: Tensor, nodes: Tensor) -> dict[str, float]:
    """Accuracy of groups on the labels they own and on others, and of their best single nodes on the former.

    ``values``: A_h(l) of the groups (H, n), (H, K); ``nodes``: that of every node alone, (d, K). Means over
    the groups that own a label.
    """
    owner = owners(values)
    each = [
        (values[h, owner == h], values[h, owner != h], nodes[groups[h]][:, owner == h])
        for h in owner.unique()
    ]
    return {
        "own_accuracy": _mean([float(mine.mean()) for mine, _, _ in each]),
        "other_accuracy": _mean([float(others.mean()) for _, others, _ in each if len(others)]),
        "best_node": _mean([float(alone.mean(dim=1).max()) for _, _, alone in each]),
    }


def _mean(values: list[float]) -> float:
    """The mean; not a number of none, as where one head owns all labels and there are no others."""
    return float(np.mean(values)) if values else float("nan")


def _gap_by(one: Reading, by: str, groups: Tensor) -> float:
    return specialisation(belonging(one, groups, by))


def _number(value: float) -> float | None:
    """None for what is not a number: a z-score without spread."""
    return None if np.isnan(value) else float(value)


def _before_pool(result: Result, net: nn.Module, one: Reading, heads: int, test: Any, part: str) -> Row:
    """How alike the heads' matrices are when silenced before the pool: the least correlation of a head."""
    place = one.head.place
    pre = read_tokens(net, {place: one.head}, test, result.device, before_pool=heads)[place]
    both = zip(head_fields(one.mu, one.weight, heads), head_fields(pre.mu, one.weight, heads), strict=True)
    alike = [float(torch.corrcoef(torch.stack([a.flatten(), b.flatten()]))[0, 1]) for a, b in both]
    return {f"pre_pool_correlation@{part}": min(alike)}


def _shown(one: Reading, groups: Tensor, part: str, seed: int, matrices: bool) -> Arrays:
    """A_h(l) of the heads and of one random regrouping; with ``matrices`` also those of a few heads, of the
    same places of the regrouping, and mu and W of a few nodes."""
    drawn = random_groups(groups.numel(), len(groups), generator_for(seed, "shown groups"))
    few = torch.linspace(0, len(groups) - 1, min(SHOWN, len(groups))).long()
    kept: Arrays = {}
    for name, chosen in (("heads", groups), ("regrouped", drawn)):
        if matrices:
            M = group_fields(one, chosen[few])
            largest = M.abs().amax(dim=(1, 2), keepdim=True).clamp_min(torch.finfo(M.dtype).tiny)
            kept[f"{name}@{part}"] = (M / largest).numpy().astype(np.float16)
        kept[f"accuracies_{name}@{part}"] = group_accuracies(one, chosen).numpy().astype(np.float16)
    if matrices:
        nodes = torch.linspace(0, groups.numel() - 1, SHOWN).long()
        kept[f"mu@{part}"] = one.mu[:, nodes].numpy().astype(np.float16)
        kept[f"W@{part}"] = one.weight[:, nodes].numpy().astype(np.float16)
    return kept
