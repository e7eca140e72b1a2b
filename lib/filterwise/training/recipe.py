"""A training recipe as data: every number that decides how a network learns, checked when it is made."""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Mapping
from numbers import Real
from types import MappingProxyType
from typing import Any

from filterwise.errors import ParameterError, check_choice, check_count, refused

_CHOICES = {
    "schedule": ("step", "cosine", "pieces"),
    "precision": ("auto", "float32", "bfloat16"),
    "memory_format": ("auto", "contiguous", "channels_last"),
    "optimiser": ("sgd", "adamw"),
}
_LEAST = {"epochs": 1, "batch": 1, "decay_every": 1, "warmup_steps": 0, "shift": 0, "rand_augment": 0}
_BELOW = {
    **dict.fromkeys(("lr", "weight_decay", "decay", "eps", "lr_min", "mixup", "cutmix"), math.inf),
    **dict.fromkeys(("momentum", "label_smoothing"), 1.0),
    "random_erasing": math.nextafter(1, 2),
}

#: Which choice uses which parameters; with another choice they must keep their defaults.
_USED_BY: dict[str, dict[str, tuple[str, ...]]] = {
    "schedule": {"step": ("decay", "decay_every"), "cosine": ("lr_min",), "pieces": ("milestones",)},
    "optimiser": {"sgd": ("momentum", "nesterov"), "adamw": ("betas", "eps")},
}


def _later(default: Any) -> Any:
    """A field that was added later; its default does what was done before and leaves keys as they are."""
    return dataclasses.field(default=default, metadata={"omit_at_default": True})


@dataclasses.dataclass(frozen=True)
class Recipe:
    r"""How a network is trained; the defaults are the papers' recipe for the VGG family.

    Stochastic gradient descent with momentum :math:`\mu` and L2 term :math:`\alpha` on every weight, or
    AdamW; cross-entropy, the last partial batch used.

    Parameters
    ----------
    epochs : passes over the training images
    batch : images in a step
    lr : learning rate :math:`\eta`; the peak where there is a warm-up
    momentum : :math:`\mu`, of ``optimiser="sgd"``
    nesterov : Nesterov's variant of momentum, of ``optimiser="sgd"``
    weight_decay : :math:`\alpha`, on all weights, biases and batch-normalisation parameters alike; with AdamW
        apart from the gradient
    schedule : ``"step"``: times ``decay`` every ``decay_every`` epochs; ``"cosine"``: from ``lr`` down to
        ``lr_min`` over the steps after the warm-up; ``"pieces"``: ``lr`` until the first of ``milestones``
    decay, decay_every : q and :math:`\Delta t` of the step schedule
    warmup_steps : steps in which the learning rate rises in a straight line to that of the schedule
    milestones : (epoch, learning rate) pairs of the schedule "pieces": from that epoch, counted from 0, on
    label_smoothing : share of the target that is spread over all labels
    flip : mirror each image with probability 1/2
    shift : largest shift in pixels, both directions; uncovered pixels are 0 after scaling
    precision : of the forward pass; "auto" leaves it to the rule of `filterwise.training.numerics`
    memory_format : of images and weights; "auto" leaves it to the same rule
    optimiser : ``"sgd"`` or ``"adamw"``
    betas, eps : of AdamW, the decay of its two moments and what is added to the root of the second
    lr_min : where the cosine schedule ends
    mixup, cutmix : alpha of the Beta distribution from which the share of the other image is drawn, once a
        batch; 0 for none. With both, each batch takes one of them, by a fair draw
    random_erasing : probability that a rectangle of an image becomes noise, after scaling
    rand_augment : magnitude, to 30, of two random operations on the bytes of the images; 0 for none

    Raises ParameterError: a value is of the wrong type, out of its range, or set although the schedule does
    not use it.

    >>> Recipe(epochs=40).learning_rate(step=20 * 500, steps_per_epoch=500)
    0.006
    >>> Recipe(schedule="cosin")
    Traceback (most recent call last):
    filterwise.errors.ParameterError: schedule='cosin' is not known; ...; did you mean 'cosine'?
    """

    epochs: int = 300
    batch: int = 100
    lr: float = 0.01
    momentum: float = 0.95
    nesterov: bool = True
    weight_decay: float = 1e-3
    schedule: str = "step"
    decay: float = 0.6
    decay_every: int = 20
    warmup_steps: int = 0
    milestones: tuple[tuple[int, float], ...] = ()
    label_smoothing: float = 0.0
    flip: bool = True
    shift: int = 4
    precision: str = "auto"
    memory_format: str = "auto"
    optimiser: str = _later("sgd")
    betas: tuple[float, float] = _later((0.9, 0.999))
    eps: float = _later(1e-8)
    lr_min: float = _later(0.0)
    mixup: float = _later(0.0)
    cutmix: float = _later(0.0)
    random_erasing: float = _later(0.0)
    rand_augment: int = _later(0)

    def __post_init__(self) -> None:
        for name, least in _LEAST.items():
            object.__setattr__(self, name, check_count(name, getattr(self, name), least))
        # 1 and 1.0 are kept as one value, so that equal recipes have equal JSON
        for name, high in _BELOW.items():
            object.__setattr__(self, name, _number(name, getattr(self, name), high))
        for name in ("nesterov", "flip"):
            if not isinstance(getattr(self, name), bool):
                raise refused(name, getattr(self, name), "choose from True, False")
        for name, choices in _CHOICES.items():
            check_choice(name, getattr(self, name), choices)
        object.__setattr__(self, "milestones", _pieces(self.milestones))
        if not isinstance(self.betas, tuple | list) or len(self.betas) != 2:
            raise refused("betas", self.betas, "give two numbers")
        object.__setattr__(self, "betas", tuple(_number("betas", beta, 1.0) for beta in self.betas))
        if self.rand_augment > 30:
            raise refused("rand_augment", self.rand_augment, "it must be at most 30")
        self._check_used()

    def _check_used(self) -> None:
        """Refuse what is set although the schedule or the optimiser does not use it."""
        if self.optimiser == "sgd" and self.nesterov and self.momentum == 0:
            raise ParameterError("nesterov=True needs momentum above 0; set nesterov=False for plain descent")
        if self.schedule == "pieces" and not self.milestones:
            raise ParameterError("schedule='pieces' needs milestones, such as ((100, 0.005), (150, 0.001))")
        if self.lr_min > self.lr:
            raise refused("lr_min", self.lr_min, f"it must be at most lr={self.lr!r}")
        defaults = {field.name: field.default for field in dataclasses.fields(self)}
        for name, users in _USED_BY.items():
            chosen = getattr(self, name)
            for user, parameters in users.items():
                for parameter in parameters if user != chosen else ():
                    value = getattr(self, parameter)
                    if value != defaults[parameter]:
                        raise ParameterError(
                            f"{parameter}={value!r} is used by {name}={user!r} only, not {chosen!r}"
                        )

    def learning_rate(self, step: int, steps_per_epoch: int) -> float:
        """Learning rate of training step ``step``, counted from 0 over the whole training.

        With a warm-up of w steps, step s < w has (s + 1) / w of the schedule's value. "cosine" has
        lr_min + (lr - lr_min) (1 + cos(pi (s - w) / (n - w))) / 2 at step s >= w of n, which is lr_min at n.
        """
        epoch, total = step // steps_per_epoch, self.epochs * steps_per_epoch
        rate = self.lr
        if self.schedule == "step":
            rate = self.lr * self.decay ** (epoch // self.decay_every)
        elif self.schedule == "pieces":
            rate = next((rate for start, rate in reversed(self.milestones) if epoch >= start), self.lr)
        elif step >= self.warmup_steps:
            done = (step - self.warmup_steps) / max(1, total - self.warmup_steps)
            rate = self.lr_min + (self.lr - self.lr_min) * 0.5 * (1 + math.cos(math.pi * done))
        if step < self.warmup_steps:
            rate *= (step + 1) / self.warmup_steps
        return rate

    def replace(self, **changes: Any) -> Recipe:
        """The recipe with some values changed; unknown names are refused.

        >>> RECIPES["lenet"].replace(epochs=5).epochs
        5
        """
        return Recipe.from_dict({**self.to_dict(), **changes})

    def to_dict(self) -> dict[str, Any]:
        """Plain values that JSON can hold; `from_dict` turns them back into an equal recipe."""
        values = dataclasses.asdict(self)
        values["milestones"] = [list(piece) for piece in self.milestones]
        values["betas"] = list(self.betas)
        return values

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Recipe:
        """A recipe from plain values; what is left out keeps its default.

        Raises ParameterError: a name is unknown (the near miss is named), or a value is not allowed.

        >>> Recipe.from_dict(Recipe(epochs=3).to_dict()) == Recipe(epochs=3)
        True
        """
        if not isinstance(values, Mapping):
            raise ParameterError(f"a recipe is made from a mapping of names to values, not {values!r}")
        known = [field.name for field in dataclasses.fields(cls)]
        for name in values:
            check_choice("recipe parameter", name, known)
        return cls(**values)


def _number(name: str, value: object, high: float) -> float:
    if not isinstance(value, Real) or isinstance(value, bool) or not 0 <= float(value) < high:
        bound = f"below {high:g}" if high < math.inf else "finite"
        raise refused(name, value, f"it must be a number of at least 0 and {bound}")
    return float(value)


def _pieces(pieces: object) -> tuple[tuple[int, float], ...]:
    if not isinstance(pieces, tuple | list) or not all(
        isinstance(piece, tuple | list) and len(piece) == 2 for piece in pieces
    ):
        raise refused("milestones", pieces, "give (epoch, learning rate) pairs")
    checked = tuple(
        (check_count("milestones' epoch", epoch, 1), _number("milestones' learning rate", rate, math.inf))
        for epoch, rate in pieces
    )
    if any(first[0] >= second[0] for first, second in itertools.pairwise(checked)):
        raise refused("milestones", pieces, "the epochs must rise")
    return checked


#: The recipes that papers and chapters use, by name; read-only, ``replace`` makes variants.
#:
#: >>> RECIPES["group"].replace(epochs=30).epochs
#: 30
RECIPES: Mapping[str, Recipe] = MappingProxyType({
    # whole VGG networks: eta 0.01, mu 0.95, alpha 1e-3, x0.6 every 20 of 300 epochs
    "group": Recipe(),
    # LeNet-5: eta in three pieces; mu and alpha are this book's choice, as the paper does not give them
    "lenet": Recipe(
        epochs=200, momentum=0.9, weight_decay=5e-4,
        schedule="pieces", milestones=((100, 0.005), (150, 0.001)),
    ),
    # fully connected head on a frozen layer: eta 0.01, mu 0.975, alpha 1e-3, x0.975 every epoch
    "head": Recipe(epochs=200, momentum=0.975, decay=0.975, decay_every=1),
    # miniatures on few images: six epochs, small batches, warm-up and cosine
    "mini": Recipe(
        epochs=6, batch=50, lr=0.02, momentum=0.9, weight_decay=5e-4,
        schedule="cosine", warmup_steps=20, shift=2,
    ),
    # CCT-7/3x1 as its authors published it: all values, the warm-up being 10 epochs of 391 steps (50,000
    # images). Other than there: a shift for their random resized crop, a RandAugment whose magnitude
    # does not vary, a warm-up from near 0 for 1e-6, and weight decay on biases and norms as well
    "cct": Recipe(
        epochs=300, batch=128, lr=6e-4, optimiser="adamw", weight_decay=0.06,
        schedule="cosine", lr_min=1e-5, warmup_steps=3910, label_smoothing=0.1,
        mixup=0.8, cutmix=1.0, random_erasing=0.25, rand_augment=9,
    ),
})  # fmt: skip
