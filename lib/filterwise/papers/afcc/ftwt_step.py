r"""Training of a network with mask predictors: the task's loss, and the predictors' own beside it.

Elkerdawy et al., "Fire Together Wire Together" (2022): L = CE + (w / L) sum over layers l of
sum over filters c of BCE(z_c, g_c), the mean over the batch, with w = 1 until the cool-down and 0 after it.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from filterwise.errors import ParameterError, check_at_least, check_choice, refused
from filterwise.prune.dynamic import PredictedBlock, Seen, predicted_blocks, watching
from filterwise.training.recipe import Recipe
from filterwise.training.steps import autocast, cross_entropy, steps

MODES = ("decoupled", "joint")


def mask_loss(seen: list[Seen], blocks: list[PredictedBlock], mode: str) -> Tensor:
    """(1/L) sum_l sum_c BCE(z_c, g_c), mean over the batch; 0-dimensional, float32.

    In "decoupled" mode the predictors' inputs are cut off from the network below, in "joint" mode they are
    not. The ground truth has no gradient in either.
    """
    losses = []
    for one, block in zip(seen, blocks, strict=True):
        pooled = one.pooled.detach() if mode == "decoupled" else one.pooled
        logits = block.predictor.logits(pooled)
        each = F.binary_cross_entropy_with_logits(logits, one.target.float(), reduction="none")
        losses.append(each.sum(1).mean())
    return torch.stack(losses).mean()


@steps("ftwt")
class FireTogether:
    """The training step of a network with mask predictors.

    Its predictors learn with a descent of their own: the learning rate is that of the network times
    ``rate_ratio``, momentum ``momentum``, no weight decay. The loop's optimiser never sees their gradients.
    From epoch ``cooldown`` * epochs on they are frozen, and only the network goes on.

    Parameters
    ----------
    mode : "decoupled", where the predictors' loss reaches the predictors alone; or "joint"
    weight : w of their loss
    cooldown : share of the epochs in which they learn
    rate_ratio : their learning rate over the network's; 10 is 0.1 beside 0.01
    momentum : of their descent

    Raises ParameterError: a value is out of its range; later, if the network has no predictors.
    """

    def __init__(
        self,
        recipe: Recipe,
        device: torch.device,
        dtype: torch.dtype,
        *,
        mode: str = "decoupled",
        weight: float = 1.0,
        cooldown: float = 0.5,
        rate_ratio: float = 10.0,
        momentum: float = 0.9,
    ) -> None:
        check_choice("mode", mode, MODES)
        for name, value in (("weight", weight), ("cooldown", cooldown), ("rate_ratio", rate_ratio),
                            ("momentum", momentum)):  # fmt: skip
            check_at_least(name, value, 0)
        if cooldown > 1:
            raise refused("cooldown", cooldown, "it must be a share of the epochs, at most 1")
        if momentum >= 1:
            raise refused("momentum", momentum, "it must be below 1")
        self.recipe, self.device, self.dtype = recipe, device, dtype
        self.mode, self.weight, self.cooldown = mode, weight, cooldown
        self.rate_ratio, self.momentum = rate_ratio, momentum
        self.learning = True
        self._loop: torch.optim.Optimizer | None = None
        self._velocity: dict[str, Tensor] = {}

    def before_epoch(self, net: nn.Module, optimiser: torch.optim.Optimizer, epoch: int, seed: int) -> None:
        """Decide whether the predictors learn in this epoch; learning rates are read off ``optimiser``."""
        if not predicted_blocks(net):
            raise ParameterError("step='ftwt' needs predictors; put them on with edit='mask_predictors'")
        self.learning = epoch < self.cooldown * self.recipe.epochs
        self._loop = optimiser

    def __call__(self, net: nn.Module, images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Leave the network's gradients in ``.grad`` and move the predictors; the loss is the task's."""
        blocks, seen = predicted_blocks(net), list[Seen]()
        with autocast(self.device, self.dtype):
            if self.learning:
                with watching(net) as seen:
                    logits = net(images)
            else:  # nobody asks for the ground truth
                logits = net(images)
        task = cross_entropy(logits.float(), labels, self.recipe.label_smoothing)
        if self.learning:
            (task + self.weight * mask_loss(seen, blocks, self.mode)).backward()
            self._move(blocks)
        else:
            task.backward()
        return task.detach(), logits.detach()

    @torch.no_grad()
    def _move(self, blocks: list[PredictedBlock]) -> None:
        """One step of descent with momentum, v <- mu v + g, W <- W - eta v; gradients are taken away."""
        assert self._loop is not None, "before_epoch comes first"
        rate = self.rate_ratio * self._loop.param_groups[0]["lr"]
        for block in blocks:
            for name, weight in block.predictor.named_parameters():
                if weight.grad is None:  # frozen by the run's choice of layers
                    continue
                key = f"{block.layer}.{name}"
                before = self._velocity.get(key)
                moved = weight.grad if before is None else self.momentum * before.to(weight) + weight.grad
                self._velocity[key] = moved.detach().clone()
                weight.sub_(rate * moved)
                weight.grad = None

    def state_dict(self) -> dict[str, Any]:
        """The predictors' momenta by layer and name."""
        return dict(self._velocity)

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take up the momenta of a checkpoint."""
        self._velocity = dict(state)
