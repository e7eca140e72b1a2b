"""Probe heads on data of one's own: cached features at places of a network, a short training, held-out means.

What ``probe_heads`` does for image sets and long trainings, for any data and in one pass over the network.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn
from torch.nn import functional

from filterwise.data.imageset import ImageSet
from filterwise.errors import DataError, ParameterError, check_choice, check_count
from filterwise.measure.features import Features
from filterwise.measure.fields import label_fields
from filterwise.measure.head_training import HeadTrainer, generator_for
from filterwise.measure.heads import HEAD_RECIPE, shuffled
from filterwise.measure.hooks import as_fields, check_finite, check_layers, measuring, measuring_device
from filterwise.measure.means import check_memory
from filterwise.measure.own_data import Data, own_batches
from filterwise.training.recipe import Recipe

#: The probe heads' recipe, short: features are cached, so nothing is augmented.
PROBE_RECIPE = HEAD_RECIPE.replace(epochs=30, flip=False, shift=0)
#: Mean squared norm that features are scaled to while a head learns, so that one learning rate suits all
#: networks: far below 2 (1 + mu) / eta = 395, where descent with momentum would start to swing.
SQUARED_NORM = 100.0


@dataclass(frozen=True)
class Place:
    """A tensor of a network: what a module reads ("input") or returns ("output").

    ``filters``: F, where maps were flattened filter by filter to vectors of F * P; None: as the shape says.

    >>> print(Place("layer4.1.conv1", "input"))
    input of layer4.1.conv1
    """

    module: str
    side: str = "output"
    filters: int | None = None

    def __post_init__(self) -> None:
        check_choice("side", self.side, ("input", "output"))

    def __str__(self) -> str:
        return f"{self.side} of {self.module}"


@dataclass(frozen=True, eq=False)
class Probe:
    """What a linear head knows at a place.

    ``weight``: W (K, F, P), without a bias; ``mean``: class means (K, F, P) of held-out inputs; ``accuracy``:
    of the head on these; ``train_inputs``, ``held_out_inputs``: how many were used for what.

    >>> probe = Probe(Place("fc"), torch.eye(2)[:, :, None], torch.eye(2)[:, :, None], 1.0, 70, 30)
    >>> probe.fields().tolist()
    [[[1.0, 0.0], [0.0, 0.0]], [[0.0, 0.0], [0.0, 1.0]]]
    """

    place: Place
    weight: Tensor = field(repr=False)
    mean: Tensor = field(repr=False)
    accuracy: float
    train_inputs: int
    held_out_inputs: int

    def fields(self) -> Tensor:
        """Label fields M (F, K, K) of the held-out inputs, row = label of the input."""
        return label_fields(self.mean, self.weight)


def probe_places(
    net: nn.Module,
    places: Sequence[Place],
    data: ImageSet | Data,
    held_out: float = 0.3,
    pool: int = 4,
    recipe: Recipe = PROBE_RECIPE,
    seed: int = 0,
    device: str | torch.device = "auto",
    batch: int = 500,
    memory: int = 2**32,
) -> dict[Place, Probe]:
    """Train a linear head at each place on a part of the data, and average the rest by label.

    Parameters
    ----------
    net
        Any module. It is in evaluation mode meanwhile and is left as it was found.
    places
        Where; each module has to run once in a forward pass.
    data
        An ``ImageSet``, a ``DataLoader`` or (inputs, labels); it is gone through once. Labels 0, ..., K - 1.
    held_out
        Share of each label's inputs, in (0, 1), that no head learns from.
    pool
        Maps larger than that are average-pooled to pool x pool, for size only.
    recipe, seed
        Of the heads; augmentation is not possible. The seed also draws the held-out part.
    memory
        Bytes that the cached features, float32, may take.

    Raises ParameterError: unknown modules, shares out of range, features beyond ``memory``; DataError: labels
    with fewer than two inputs; TrainingDiverged.

    >>> net = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU())
    >>> place = Place("1")
    >>> found = probe_places(net, [place], (torch.rand(40, 1, 10, 10), torch.arange(40) % 2))[place]
    >>> found.weight.shape, found.fields().shape, found.held_out_inputs
    (torch.Size([2, 4, 16]), torch.Size([4, 2, 2]), 12)
    """
    if not 0 < held_out < 1:
        raise ParameterError(f"held_out={held_out!r} is outside (0, 1)")
    if recipe.flip or recipe.shift:
        raise ParameterError("features are cached, so recipe must have flip=False and shift=0")
    where = measuring_device(net, device)
    with measuring(net, where):
        stored = features_at(net, places, data, check_count("pool", pool), where, batch, memory)
        train, rest = _split(stored.labels, len(stored.label_names), held_out, seed)
        learned, scales = _part(stored, train), {}
        for name, values in learned.values.items():
            check_finite(name, values)
            size = math.sqrt(float(values.double().square().sum()) / len(values) / SQUARED_NORM)
            scales[name] = size if size > 0 else 1.0  # features that are all zero stay so
            values.div_(scales[name])
        shapes = {name: (values.shape[1], values.shape[2]) for name, values in learned.values.items()}
        trainer = HeadTrainer(shapes, len(stored.label_names), recipe, seed, where)
        trainer.train(shuffled(learned, recipe, generator_for(seed, "order")), -(-len(train) // recipe.batch))
        del learned
        held = _part(stored, rest)
        means, found = held.class_means(), {}
        for place in places:
            weight = trainer.heads()[str(place)] / scales[str(place)]
            outputs = held.values[str(place)].flatten(1) @ weight.flatten(1).T.to(where)
            accuracy = float((outputs.argmax(dim=1) == held.labels).float().mean())
            found[place] = Probe(place, weight, means[str(place)], accuracy, len(train), len(rest))
    return found


def features_at(
    net: nn.Module,
    places: Sequence[Place],
    data: ImageSet | Data,
    pool: int,
    device: torch.device,
    batch: int = 500,
    memory: int = 2**32,
) -> Features:
    """What the network has at the places, float32 (N, F, P) by ``str(place)``, for all inputs.

    To be called inside ``measuring``. Raises as :func:`probe_places`.
    """
    dtype = next((weight.dtype for weight in net.parameters() if weight.is_floating_point()), torch.float32)
    parts: dict[str, list[Tensor]] = {str(place): [] for place in places}
    labels: list[Tensor] = []
    with caught(net, places) as seen:
        for inputs, own in own_batches(data, batch, device):
            net(inputs.to(dtype))
            labels.append(own)
            count = sum(map(len, labels))
            for place in places:
                runs = seen.pop(place, [])
                if len(runs) != 1:
                    raise ParameterError(
                        f"module {place.module!r} runs {len(runs)} times in a forward pass; name one that "
                        "runs once"
                    )
                parts[str(place)].append(_pooled(runs[0], place, pool).float())
            shapes = {name: (count, *some[0].shape[1:]) for name, some in parts.items()}
            check_memory("features", shapes, 4, memory)
    if not labels:
        raise DataError("data holds no inputs")
    own = torch.cat(labels)
    if own.ndim != 1:
        raise DataError(f"labels have shape {tuple(own.shape)}; one whole number for each input is needed")
    names = getattr(data, "label_names", None)
    low, high = int(own.min()), int(own.max())
    if low < 0 or (names is not None and high >= len(names)):
        raise DataError(f"labels run from {low} to {high}; 0, 1, ... are needed")
    names = tuple(names) if names is not None else tuple(map(str, range(high + 1)))
    return Features({name: torch.cat(some) for name, some in parts.items()}, own, names)


@contextmanager
def caught(net: nn.Module, places: Sequence[Place]) -> Iterator[dict[Place, list[Tensor]]]:
    """Copies of the tensors at the places, in the order of the runs, while the block lasts.

    Inputs are caught before their module runs, so that an activation that works in place does not change
    them.

    Raises ParameterError: a module that the network does not have; the near miss is named.
    """
    for place in places:
        check_layers(net, place.module)
    seen: dict[Place, list[Tensor]] = {}
    handles = []
    for place in places:
        module = net.get_submodule(place.module)

        def before(_module: nn.Module, inputs: tuple[Tensor, ...], place: Place = place) -> None:
            seen.setdefault(place, []).append(inputs[0].detach().clone())

        def after(_module: nn.Module, _inputs: object, output: Tensor, place: Place = place) -> None:
            as_fields(output, place.module)  # refuses what is no tensor of filters
            seen.setdefault(place, []).append(output.detach().clone())

        if place.side == "input":
            handles.append(module.register_forward_pre_hook(before))
        else:
            handles.append(module.register_forward_hook(after))
    try:
        yield seen
    finally:
        for handle in handles:
            handle.remove()


def _pooled(values: Tensor, place: Place, pool: int) -> Tensor:
    """(N, F, P), maps at most pool x pool."""
    if place.filters is not None and values.ndim == 2:
        if values.shape[1] % place.filters:
            raise ParameterError(
                f"the {place} has {values.shape[1]} values, no multiple of filters={place.filters}"
            )
        return values.view(len(values), place.filters, -1)
    if values.ndim == 4 and max(values.shape[2:]) > pool:
        values = functional.adaptive_avg_pool2d(values, pool)
    return as_fields(values, place.module)


def _part(stored: Features, chosen: Tensor) -> Features:
    chosen = chosen.to(stored.labels.device)
    values = {name: each[chosen] for name, each in stored.values.items()}
    return Features(values, stored.labels[chosen], stored.label_names)


def _split(labels: Tensor, count: int, held_out: float, seed: int) -> tuple[Tensor, Tensor]:
    """Numbers of the inputs to learn from and of the held-out ones, in equal shares of every label."""
    generator, train, rest = generator_for(seed, "held out"), [], []
    few = []
    for label in range(count):
        own = torch.nonzero(labels.cpu() == label).flatten()
        if len(own) < 2:
            few.append(f"{label} ({len(own)})")
            continue
        own = own[torch.randperm(len(own), generator=generator)]
        size = min(len(own) - 1, max(1, round(held_out * len(own))))
        rest.append(own[:size])
        train.append(own[size:])
    if few:
        raise DataError(
            f"{len(few)} of {count} labels have fewer than two inputs, one to learn from and one held out: "
            + ", ".join(few[:8])
        )
    return torch.cat(train), torch.cat(rest)
