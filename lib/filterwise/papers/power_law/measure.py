"""What chapter 3 measures of one trained network beside its accuracy."""

from __future__ import annotations

import numpy as np

from filterwise.runs.measuring import measurements
from filterwise.runs.store import Result


@measurements("power_law.point")
def point(result: Result) -> tuple[dict[str, float], dict[str, np.ndarray]]:
    """Accuracy on the training images, without augmentation."""
    return {"train_accuracy": result.train_accuracy()}, {}
