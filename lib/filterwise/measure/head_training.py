"""Gradient descent on linear heads, one for each layer, all on the same batches."""

from __future__ import annotations

import hashlib
import math
import time
from collections.abc import Callable, Iterator, Mapping

import pandas as pd
import torch
from torch import Tensor
from torch.nn import functional

from filterwise.errors import TrainingDiverged, check_count
from filterwise.training.learning import descent
from filterwise.training.recipe import Recipe

#: One batch: the features (B, F, P) by layer, and the labels (B,).
Batch = tuple[Mapping[str, Tensor], Tensor]
#: What looks at batches of test images: weights (K, F, P) and outputs (N, F, P) by layer, labels (N,).
Watch = Callable[[Mapping[str, Tensor], Mapping[str, Tensor], Tensor], None]


def generator_for(seed: int, what: str) -> torch.Generator:
    """A generator on the CPU that depends on the seed and on what it is for, and on nothing else.

    So a layer's head starts the same whichever other layers are measured beside it.
    """
    check_count("seed", seed, 0)
    digest = hashlib.sha256(f"{seed}/{what}".encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:8], "big") >> 1)


def initial_weight(labels: int, filters: int, positions: int, generator: torch.Generator) -> Tensor:
    """Head weights (K, F, P) from U(-b, b) with b = 1 / sqrt(F*P)."""
    bound = 1 / math.sqrt(filters * positions)
    return torch.empty(labels, filters, positions).uniform_(-bound, bound, generator=generator)


class HeadTrainer:
    """Heads for K labels of several layers, (F, P) by layer, trained together; their gradients do not meet.

    Of the recipe it takes schedule, momentum, weight decay, label smoothing and number of epochs.
    """

    def __init__(
        self,
        shapes: Mapping[str, tuple[int, int]],
        labels: int,
        recipe: Recipe,
        seed: int,
        device: torch.device,
    ) -> None:
        self.recipe, self.shapes, self.labels = recipe, dict(shapes), labels
        self.weights = {
            layer: initial_weight(labels, *shape, generator_for(seed, f"head {layer}")).flatten(1).to(device)
            for layer, shape in shapes.items()
        }
        for weight in self.weights.values():
            weight.grad = torch.zeros_like(weight)
        self.optimiser = descent(list(self.weights.values()), recipe)
        self.rows: dict[str, list[dict[str, float]]] = {layer: [] for layer in shapes}
        self._step = 0

    def train(self, epoch_batches: Callable[[int], Iterator[Batch]], steps_an_epoch: int) -> None:
        """Run all epochs; ``epoch_batches(epoch)`` gives that epoch's batches.

        Raises TrainingDiverged: a loss stopped being finite; names the layer and the epoch.
        """
        for epoch in range(self.recipe.epochs):
            begin = time.perf_counter()
            sums = self._epoch(epoch_batches(epoch), steps_an_epoch)
            seconds = time.perf_counter() - begin
            for layer, (loss, correct, images) in sums.items():
                if not math.isfinite(loss):
                    raise TrainingDiverged(
                        f"the head of layer {layer!r} diverged in epoch {epoch + 1} (loss {loss}); lower "
                        f"lr={self.recipe.lr!r}"
                    )
                rate = self.optimiser.param_groups[0]["lr"]
                row = {"epoch": epoch + 1, "lr": rate, "loss": loss / images}
                self.rows[layer].append({**row, "train_accuracy": correct / images, "seconds": seconds})

    @torch.no_grad()
    def _epoch(self, batches: Iterator[Batch], steps_an_epoch: int) -> dict[str, tuple[float, float, int]]:
        """Sums over the epoch's images of loss and right answers, by layer, and the number of images."""
        totals: dict[str, Tensor] = {}
        seen, smoothing = 0, self.recipe.label_smoothing
        for features, labels in batches:
            rate = self.recipe.learning_rate(self._step, steps_an_epoch)
            for group in self.optimiser.param_groups:
                group["lr"] = rate
            wanted = functional.one_hot(labels, self.labels).to(torch.float32).mul_(1 - smoothing)
            wanted += smoothing / self.labels
            for layer, weight in self.weights.items():
                inputs = features[layer].flatten(1).to(weight.dtype)
                outputs = inputs @ weight.T
                logs = outputs.log_softmax(dim=1)
                right = (outputs.argmax(dim=1) == labels).sum()
                part = torch.stack([-(wanted * logs).sum(), right.to(logs.dtype)])
                totals[layer] = totals[layer] + part if layer in totals else part
                # d loss / d W = (softmax - wanted)^T inputs / B, into memory that is kept: heads of lower
                # layers are large, and fresh pages for them every step cost more than the arithmetic
                torch.mm((logs.exp_() - wanted).div_(len(labels)).T, inputs, out=weight.grad)
            self.optimiser.step()
            self._step += 1
            seen += len(labels)
        return {layer: (*(float(value) for value in total), seen) for layer, total in totals.items()}  # type: ignore[misc]

    def heads(self) -> dict[str, Tensor]:
        """Weights (K, F, P) by layer, on the CPU."""
        return {
            layer: weight.detach().cpu().view(self.labels, *self.shapes[layer]).clone()
            for layer, weight in self.weights.items()
        }

    def histories(self) -> dict[str, pd.DataFrame]:
        """By layer: one row an epoch with ``epoch``, ``lr``, ``loss``, ``train_accuracy``, ``seconds``."""
        return {layer: pd.DataFrame(rows) for layer, rows in self.rows.items()}


@torch.no_grad()
def confusion(
    weights: Mapping[str, Tensor], batches: Iterator[Batch], labels: int, watch: Watch | None = None
) -> dict[str, Tensor]:
    """How often images of label i are given label j, int64 (K, K), by layer; ``watch`` sees every batch."""
    counts = {layer: torch.zeros(labels * labels, dtype=torch.int64) for layer in weights}
    for features, true in batches:
        for layer, weight in weights.items():
            inputs = features[layer].flatten(1).to(weight.dtype)
            chosen = functional.linear(inputs, weight.flatten(1)).argmax(dim=1)
            counts[layer] += torch.bincount((true * labels + chosen).cpu(), minlength=labels * labels)
        if watch is not None:
            watch(
                {one: weights[one].view(labels, *features[one].shape[1:]) for one in weights}, features, true
            )
    return {layer: table.view(labels, labels) for layer, table in counts.items()}
