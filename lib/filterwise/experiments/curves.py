"""What every trained network's record says beside its chapter's own quantities."""

from __future__ import annotations

import numpy as np
import pandas as pd

from filterwise import models, training
from filterwise.runs import Result

#: Columns of a training history that figures draw.
CURVES = ("epoch", "lr", "train_loss", "train_accuracy", "test_loss", "test_accuracy")


def history_arrays(result: Result) -> dict[str, np.ndarray]:
    """The training curves, one array a column, (epochs,): accuracies and losses after each epoch."""
    table = result.history
    return {name: table[name].to_numpy(dtype=np.float32) for name in CURVES if name in table.columns}


def network_row(result: Result) -> dict[str, float]:
    """Operations, weights and accuracies of a finished run.

    ``macs`` are multiply-accumulates of one image's forward pass; ``parameters`` counts weights and biases;
    ``train_accuracy`` is measured after the last epoch, in evaluation mode, on the training images without
    augmentation; ``best_accuracy`` is the highest test accuracy of all epochs, higher by selection.
    """
    net = result.network()
    train = result.train_set()
    return {
        "macs": models.macs(net, train.shape),
        "parameters": models.parameter_count(net),
        "train_accuracy": float(training.evaluate(net, train, device=result.device).accuracy),
        "best_accuracy": float(result.history["test_accuracy"].max()),
        "train_images": len(train),
        "test_images": len(result.test_set()),
        "training_seconds": float(result.history["seconds"].sum()),
    }


def about(records: pd.DataFrame, profile: str) -> str:
    """One sentence on what records were made on, for a page.

    >>> about(pd.DataFrame(), "cifar")
    'Nothing is recorded yet at the profile cifar.'
    """
    if records.empty:
        return f"Nothing is recorded yet at the profile {profile}."
    several = {
        name: ", ".join(map(str, dict.fromkeys(records[name]))) for name in ("data", "device", "torch")
    }
    images = " and ".join(
        f"{int(records[f'{part}_images'].iloc[0]):,} {name} images"
        for part, name in (("train", "training"), ("test", "test"))
        if f"{part}_images" in records
    )
    return (
        f"{len(records)} runs on **{several['data']}**, {images}, on {several['device']}, "
        f"torch {several['torch']}, recorded {records['recorded'].min()} to {records['recorded'].max()}."
    )
