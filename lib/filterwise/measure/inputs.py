"""What a filter alone would answer to each single input: "one label whatever the input"."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import pandas as pd
import torch
from torch import Tensor, nn

from filterwise.data.imageset import ImageSet
from filterwise.errors import ParameterError
from filterwise.measure.fields import split_head
from filterwise.measure.heads import Head
from filterwise.measure.hooks import Capture, measuring, measuring_device, shapes_of
from filterwise.measure.means import float_batches, label_counts

#: Single-filter fields z (N, F, K) that are held at a time: 2**24 is 64 MiB in float32.
CHUNK_FIELDS = 2**24


@dataclass(eq=False)
class InputFields:
    """Each filter's answers, argmax_j z_j^f(x), over all inputs x of a set.

    An input that leaves the filter silent (all K fields equal, 0 after a ReLU) gets no answer: taking the
    first label, as ``argmax`` of equal numbers does, would invent one.

    Attributes
    ----------
    chosen : int64 (F, K), how often each output was the largest
    silent : int64 (F,), number of inputs without an answer
    right : int64 (F,), number of inputs whose answer is their label
    inputs : N
    """

    chosen: Tensor
    silent: Tensor
    right: Tensor
    inputs: int

    @classmethod
    def of_none(cls, labels: int, filters: int) -> InputFields:
        """Counts over no inputs yet."""
        chosen = torch.zeros(filters, labels, dtype=torch.int64)
        return cls(chosen, chosen.new_zeros(filters), chosen.new_zeros(filters), 0)

    def add(self, fields: Tensor, weight: Tensor, own: Tensor) -> None:
        """Count the answers to inputs with activations (N, F, P) and labels (N,); ``weight`` (K, F, P)."""
        images, filters, _ = fields.shape
        labels = weight.shape[0]
        fields = fields.to(weight.dtype)
        self.inputs += images
        step = max(1, CHUNK_FIELDS // (images * labels))
        for start in range(0, filters, step):
            part = slice(start, min(start + step, filters))
            z = torch.bmm(fields[:, part].permute(1, 0, 2), weight[:, part].permute(1, 2, 0))  # (f, N, K)
            largest, answer = z.max(dim=2)
            active = largest > z.amin(dim=2)
            index = torch.arange(len(z), device=z.device)[:, None] * labels + answer
            counts = torch.bincount(index[active], minlength=len(z) * labels).view(len(z), labels)
            self.chosen[part] += counts.cpu()
            self.silent[part] += (~active).sum(dim=1).cpu()
            self.right[part] += (active & (answer == own)).sum(dim=1).cpu()

    @property
    def preferred(self) -> Tensor:
        """Each filter's commonest answer, (F,); the lowest label for a filter that is always silent."""
        return self.chosen.argmax(dim=1)

    @property
    def preferred_share(self) -> Tensor:
        """Share of all inputs that get the filter's commonest answer, (F,); silence counts against it."""
        return self.chosen.amax(dim=1).double() / self.inputs

    @property
    def preferred_share_active(self) -> Tensor:
        """The same over the inputs that the filter answers at all, (F,); NaN where it is always silent."""
        return self.chosen.amax(dim=1).double() / (self.inputs - self.silent)

    @property
    def active_share(self) -> Tensor:
        """Share of inputs that the filter answers at all, (F,)."""
        return 1 - self.silent.double() / self.inputs

    @property
    def accuracy(self) -> Tensor:
        """Accuracy of the filter alone over all inputs, (F,); silence counts as a guess, 1/K."""
        return (self.right + self.silent.double() / self.chosen.shape[1]) / self.inputs

    def table(self) -> pd.DataFrame:
        """One row a filter."""
        names = ("preferred", "preferred_share", "preferred_share_active", "active_share", "accuracy")
        return pd.DataFrame({name: getattr(self, name).numpy() for name in names}).rename_axis("filter")


def input_fields(
    net: nn.Module,
    heads: Mapping[str, Head | Tensor],
    ds: ImageSet,
    batch: int = 500,
    device: str | torch.device = "auto",
    pool: int | None = None,
) -> dict[str, InputFields]:
    """Single-filter fields of every input, and the label each filter would choose for it.

    z_j^f(x) = sum_p W[j, f, p] * a_{f,p}(x)

    Class means are not enough here, because the largest z is taken input by input. One pass over the images
    serves all layers; fields are made in chunks of filters, so memory stays below :data:`CHUNK_FIELDS` floats
    beside one batch of activations. At P = 1 every active input gets the output with the largest weight, an
    identity; the claim is empirical where P > 1.

    Parameters
    ----------
    net, ds, batch, device : as in ``class_means``
    heads : by layer: a ``Head``, or weights (K, F, P)
    pool : as in ``class_means``; heads that know their own need no other

    Returns by layer.
    Raises ParameterError: weights that do not fit their layer, or heads trained with another ``pool``.

    >>> import filterwise as fw
    >>> ds = fw.data.load("digit-pairs", split="test", n=200)
    >>> net = fw.models.build("lenet5", labels=100, channels=1)
    >>> weight = torch.randn(100, 6, 196, generator=torch.Generator().manual_seed(0))
    >>> answers = input_fields(net, {"features.1": weight}, ds)["features.1"]
    >>> answers.chosen.sum(dim=1) + answers.silent
    tensor([200, 200, 200, 200, 200, 200])
    """
    pool = _pool_of(heads, pool)
    labels = len(label_counts(ds, complete=False))
    where = measuring_device(net, device)
    found: dict[str, InputFields] = {}
    weights: dict[str, Tensor] = {}
    with measuring(net, where), Capture(net, list(heads), pool) as capture:
        for images, own in float_batches(ds, batch, where):
            outputs = capture(images)
            if not weights:
                for layer, shape in shapes_of(outputs).items():
                    weights[layer] = split_head(torch.empty(labels, *shape, device=where), heads[layer])[1]
                    found[layer] = InputFields.of_none(*weights[layer].shape[:2])
            for layer, fields in outputs.items():
                found[layer].add(fields, weights[layer], own)
    return found


def _pool_of(heads: Mapping[str, Head | Tensor], pool: int | None) -> int | None:
    pools = {head.pool for head in heads.values() if isinstance(head, Head)}
    if pool is not None:
        pools.add(pool)
    if len(pools) > 1:
        raise ParameterError(f"pool={pool!r}, but the heads were trained with pool {sorted(map(str, pools))}")
    return pools.pop() if pools else None
