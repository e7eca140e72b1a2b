"""What a pruned transformer reaches after its retraining, what of it is gone, and how long a batch takes."""

from __future__ import annotations

from typing import Any

import numpy as np
from torch import nn

from filterwise.measure.places_of_encoders import encoder_numbers
from filterwise.models.counting import parameter_count
from filterwise.papers.afcc.edits import root_of
from filterwise.papers.afcc.measured_fields import true_test
from filterwise.prune.head_removal import attentions
from filterwise.prune.masks import masked_layer, masks_of
from filterwise.prune.removal import unmasked_copy
from filterwise.prune.saved import savings, totals
from filterwise.prune.timing import latency
from filterwise.runs.measuring import measurements
from filterwise.runs.networks import beginning
from filterwise.runs.store import Result
from filterwise.training.evaluation import evaluate

Row = dict[str, Any]


@measurements("vit.pruned")
def after_retraining(
    result: Result, *, test_images: int = 0, batch: int = 32, repeats: int = 100
) -> tuple[Row, dict[str, np.ndarray]]:
    """A masked network, or one with fewer heads, after its retraining, on the data set's own test images.

    A run that goes on from the same start without an edit is the dense control, and is measured alike.

    Parameters
    ----------
    test_images
        The first so many, of every label equally many; 0 for all.
    batch, repeats
        Of the timing, see ``filterwise.prune.timing.latency``; 0 repeats: no timing.

    The row has ``accuracy``, ``test_loss``, ``accuracy_as_is`` (the edited network before any retraining) and
    ``accuracy_start`` (the dense network at the beginning of the chain); ``removed@layer`` of each layer that
    lost weights, ``removed_share`` of all of these together, ``removed_ff`` of the W_1 and W_2 of all
    encoders, the first included, ``removed_network`` of all parameters;
    ``removed_largest``, the largest modulus of the weights that the masks removed, which must be 0;
    ``heads@encoders.m``, ``heads``, ``parameters_left``; ``ms@``, ``ms_lower@`` and ``ms_upper@``
    (quartiles) of "dense" and "pruned" in turns, the latter with its zeros written into the weights. The
    array ``test_right`` has the truth of each answer, packed.
    """
    test = true_test(result, test_images)
    net, root = result.network(), root_of(result)
    dense = net if root.run == result.run else root.network()
    found = evaluate(net, test, device=result.device)
    row: Row = {"accuracy": found.accuracy, "test_loss": found.loss}
    row["accuracy_start"] = evaluate(dense, test, device=result.device).accuracy
    net, dense = net.cpu(), dense.cpu()
    if result.run.start is not None:
        begun = beginning(result.run, result.train_set(), result.start(), result.device)
        row["accuracy_as_is"] = evaluate(begun, test, device=result.device).accuracy
        row["removed_largest"] = largest_removed(net, begun.cpu())
    row |= removed_shares(net, dense, test.shape)
    on = {name: attention.heads.heads for name, attention in attentions(net).items()}
    row |= {f"heads@{name}": heads for name, heads in on.items()}
    row |= {"heads": sum(on.values()), "encoders": len(encoder_numbers(net))}
    row["parameters_left"] = parameter_count(net)
    if repeats:
        nets = {"dense": unmasked_copy(dense), "pruned": unmasked_copy(net)}
        for name, times in latency(nets, test.shape, batch, repeats).iterrows():
            row |= {f"ms@{name}": float(times["median"]), f"ms_lower@{name}": float(times["lower"])}
            row[f"ms_upper@{name}"] = float(times["upper"])
        row |= {"timed_batch": batch, "timed_threads": 1}
    return row, {"test_right": np.packbits(found.right.numpy())}


def largest_removed(net: nn.Module, begun: nn.Module) -> float:
    """Largest modulus, in a network, of the weights that the masks of the network it began as remove."""
    largest = 0.0
    for layer, mask in masks_of(begun).items():
        removed = masked_layer(net, layer)[2].detach()[~mask].abs()
        largest = max(largest, float(removed.max()) if removed.numel() else 0.0)
    return largest


def removed_shares(net: nn.Module, dense: nn.Module, shape: tuple[int, int, int]) -> Row:
    """Removed shares of weights: by layer, of all layers that lost some, of all feed-forward layers, and of
    the network's parameters.

    Weights are gone if a mask is on them or if their rows or columns are.
    """
    kept, whole = savings(net, shape)["weights_kept"], savings(dense, shape)["weights"]
    lost = {layer: int(whole[layer]) - int(kept[layer]) for layer in whole.index}
    touched = {layer: count for layer, count in lost.items() if count}
    total = sum(int(whole[layer]) for layer in touched)
    row: Row = {f"removed@{layer}": count / int(whole[layer]) for layer, count in touched.items()}
    row["removed_share"] = sum(touched.values()) / total if total else 0.0
    feed_forward = [layer for layer in whole.index if layer.endswith((".ff.up", ".ff.down"))]
    all_of_them = sum(int(whole[layer]) for layer in feed_forward)
    row["removed_ff"] = sum(lost[layer] for layer in feed_forward) / all_of_them
    row["removed_network"] = 1 - totals(net, shape, dense)["parameters_left"]
    return row
