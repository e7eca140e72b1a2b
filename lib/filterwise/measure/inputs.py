"""What a filter alone would answer to each single input: "one label whatever the input"."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pandas as pd
import torch
from scipy import stats
from torch import Tensor, nn

from filterwise.errors import ParameterError
from filterwise.measure.fields import split_head
from filterwise.measure.heads import Head
from filterwise.measure.hooks import Capture, measuring, measuring_device, shapes_of
from filterwise.measure.means import float_batches, label_counts

if TYPE_CHECKING:
    from filterwise.data import ImageSet

#: Single-filter fields z (N, F, K) that are held at a time: 2**24 is 64 MiB in float32.
CHUNK_FIELDS = 2**24


@dataclass(frozen=True, eq=False)
class InputFields:
    """Each filter's answers, argmax_j z_j^f(x), over all inputs x of a set.

    An input that leaves the filter silent (all K fields equal, 0 after a ReLU) gets no answer: taking the
    first label, as ``argmax`` of equal numbers does, would invent one.

    Attributes
    ----------
    chosen
        How often each output was the largest, (F, K), int64.
    silent
        Number of inputs without an answer, (F,).
    right
        Number of inputs whose answer is their label, (F,).
    inputs
        N.
    """

    chosen: Tensor
    silent: Tensor
    right: Tensor
    inputs: int

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

    z_j^f(x) = sum_p W[j, f, p] * a_{f,p}(x)                         (equation 1 of the spec)

    Class means are not enough here, because the largest z is taken input by input. One pass over the images
    serves all layers; fields are made in chunks of filters, so memory stays below :data:`CHUNK_FIELDS` floats
    beside one batch of activations. At P = 1 every active input gets the output with the largest weight, an
    identity; the claim is empirical where P > 1.

    Parameters
    ----------
    net, ds, batch, device
        As in ``class_means``.
    heads
        By layer: a ``Head``, or weights (K, F, P).
    pool
        As in ``class_means``; heads that know their own need no other.

    Returns
    -------
    dict of InputFields
        By layer.

    Raises
    ------
    ParameterError
        Weights that do not fit their layer, or heads trained with another ``pool``.

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
                for layer, (filters, positions) in shapes_of(outputs).items():
                    like = torch.empty(labels, filters, positions, device=where)
                    weights[layer] = split_head(like, heads[layer])[1]
                    found[layer] = InputFields(
                        torch.zeros(filters, labels, dtype=torch.int64),
                        torch.zeros(filters, dtype=torch.int64),
                        torch.zeros(filters, dtype=torch.int64),
                        len(ds),
                    )
            for layer, fields in outputs.items():
                _count(found[layer], fields, weights[layer], own)
    return found


def _pool_of(heads: Mapping[str, Head | Tensor], pool: int | None) -> int | None:
    pools = {head.pool for head in heads.values() if isinstance(head, Head)}
    if pool is not None:
        pools.add(pool)
    if len(pools) > 1:
        raise ParameterError(f"pool={pool!r}, but the heads were trained with pool {sorted(map(str, pools))}")
    return pools.pop() if pools else None


def _count(found: InputFields, fields: Tensor, weight: Tensor, own: Tensor) -> None:
    """Add one batch of activations (N, F, P) to the counts."""
    images, filters, _ = fields.shape
    labels = weight.shape[0]
    fields = fields.to(weight.dtype)
    step = max(1, CHUNK_FIELDS // (images * labels))
    for start in range(0, filters, step):
        part = slice(start, min(start + step, filters))
        z = torch.bmm(fields[:, part].permute(1, 0, 2), weight[:, part].permute(1, 2, 0))  # (f, N, K)
        largest, answer = z.max(dim=2)
        active = largest > z.amin(dim=2)
        index = torch.arange(len(z), device=z.device)[:, None] * labels + answer
        counts = torch.bincount(index[active], minlength=len(z) * labels).view(len(z), labels)
        found.chosen[part] += counts.cpu()
        found.silent[part] += (~active).sum(dim=1).cpu()
        found.right[part] += (active & (answer == own)).sum(dim=1).cpu()


def coverage_and_accuracy(coverage: object, per_label: object) -> tuple[pd.DataFrame, float]:
    """Do labels that few filters stand for have a low accuracy?

    Parameters
    ----------
    coverage
        S (K, K) of ``label_coverage``; its diagonal S_ii counts the filters that stand for label i.
    per_label
        Accuracy of each label, (K,), of the same layer's head.

    Returns
    -------
    DataFrame, float
        One row a label with ``filters`` (S_ii) and ``accuracy``; Spearman's rank correlation of the two (NaN
        where either is constant). Labels without test images are left out.

    >>> table, rank = coverage_and_accuracy([[1, 0, 0], [0, 5, 1], [0, 0, 3]], [0.2, 0.9, 0.6])
    >>> table["filters"].tolist(), round(rank, 6)
    ([1, 5, 3], 1.0)
    """
    S, accuracy = torch.as_tensor(coverage), torch.as_tensor(per_label)
    if S.ndim != 2 or S.shape[0] != S.shape[1] or accuracy.shape != S.shape[:1]:
        raise ParameterError(
            f"coverage has shape {tuple(S.shape)} and per_label {tuple(accuracy.shape)}; "
            "(K, K) and (K,) are needed"
        )
    table = pd.DataFrame({"filters": S.diagonal().numpy(), "accuracy": accuracy.double().numpy()})
    table = table.rename_axis("label").dropna()
    if table["filters"].nunique() < 2 or table["accuracy"].nunique() < 2:
        return table, float("nan")
    return table, float(stats.spearmanr(table["filters"], table["accuracy"]).statistic)
