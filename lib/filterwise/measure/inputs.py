"""What a filter alone would answer to each single input: "one label whatever the input"."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

#: Single-filter fields z (N, F, K) that are held at a time: 2**24 is 64 MiB in float32.
CHUNK_FIELDS = 2**24


@dataclass(eq=False)
class InputFields:
    """Each filter's answers, argmax_j z_j^f(x) with z_j^f(x) = sum_p W[j, f, p] a_{f,p}(x), over inputs x.

    Class means are not enough here, because the largest z is taken input by input. At P = 1 every active
    input gets the output with the largest weight, an identity; the claim is empirical where P > 1. An input
    that leaves the filter silent (all K fields equal, 0 after a ReLU) gets no answer: taking the first label,
    as ``argmax`` of equal numbers does, would invent one.

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
    def preferred_share(self) -> Tensor:
        """Share of all inputs that get the filter's commonest answer, (F,); silence counts against it."""
        return self.chosen.amax(dim=1).double() / self.inputs

    @property
    def active_share(self) -> Tensor:
        """Share of inputs that the filter answers at all, (F,)."""
        return 1 - self.silent.double() / self.inputs

    @property
    def accuracy(self) -> Tensor:
        """Accuracy of the filter alone over all inputs, (F,); silence counts as a guess, 1/K."""
        return (self.right + self.silent.double() / self.chosen.shape[1]) / self.inputs
