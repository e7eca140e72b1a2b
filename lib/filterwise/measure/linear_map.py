"""Label fields of a network of one's own: its own outputs, where they are linear in a layer, are the head."""

from __future__ import annotations

import contextlib
import itertools
from typing import cast

import torch
from torch import Tensor, nn

from filterwise.data.imageset import ImageSet
from filterwise.errors import DataError, ParameterError, check_choice
from filterwise.measure.fields import label_fields
from filterwise.measure.heads import Head
from filterwise.measure.hooks import Capture, as_fields, measuring, measuring_device
from filterwise.measure.means import ClassSums
from filterwise.measure.own_data import Data, own_batches
from filterwise.measure.probing import Place, probe_places

#: How far outputs may be from linear, relative to the largest: rounding of float32 stays far below.
TOLERANCE = 1e-4
#: Outputs whose derivatives are taken at a time.
ROWS = 50


def label_fields_of(
    net: nn.Module,
    layer: str,
    data: ImageSet | Data,
    head: Head | Tensor | nn.Module | str | None = None,
    batch: int = 500,
    device: str | torch.device = "auto",
) -> Tensor:
    """SFP matrices of a layer's filters, in one call: class means, and what the head makes of them.

    M^f[i, j] = mean over the inputs of label i of output j with all filters but f silenced

    The head is linear, so one pass gives what ablating filter by filter and averaging by label would give.
    An offset (a bias) belongs to no filter and is left out.

    Parameters
    ----------
    net, layer : any module, and the name of one of its submodules, as in ``class_means``
    data : an ``ImageSet``, a ``DataLoader`` of (inputs, labels), or one such pair of tensors. uint8 inputs
        are scaled to [-1, 1], floating-point inputs are passed on as they are. Labels are 0, ..., K - 1.
    head : a ``Head``, weights (K, F*P) or (K, F, P), or a bias-free ``nn.Linear``. By default what the
        network itself does between the layer and its K outputs, if that is linear: an average pool, a
        flattening and one or more ``nn.Linear``, say. This is checked on every input. Where something that is
        not linear follows (a batch norm and a ReLU after a convolution, say) there is no such head: "probe"
        trains one on the layer's own outputs, with 70 % of each label's inputs, and measures with the others;
        see ``probe_places`` for the choices.

    Returns (F, K, K), row = label of the input, column = output; on the CPU.
    Raises ParameterError: no head is given and the outputs are not linear in the layer; a layer or a head
    that does not fit; data of another kind; DataError: a label without inputs, or out of range.

    >>> net = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(16, 3))
    >>> label_fields_of(net, "1", (torch.rand(9, 1, 4, 4), torch.arange(9) % 3)).shape
    torch.Size([4, 3, 3])
    """
    if isinstance(head, str):
        check_choice("head", head, ("probe",))
        place = Place(layer)
        return probe_places(net, [place], data, device=device, batch=batch)[place].fields()
    if not isinstance(layer, str):
        raise ParameterError(f"layer={layer!r} is not the name of a layer; several are measured one by one")
    where = measuring_device(net, device)
    with contextlib.ExitStack() as stack:
        stack.enter_context(measuring(net, where))
        batches = own_batches(data, batch, where)
        first = next(batches, None)
        if first is None:
            raise DataError("data holds no inputs")
        if head is None:
            own = _OwnHead(net, layer, first[0][:1])
            head, read = own.weight, own.checked
        else:
            pool = head.pool if isinstance(head, Head) else None
            capture = stack.enter_context(Capture(net, layer, pool))
            read = lambda inputs: capture(inputs)[layer]  # noqa: E731
        labels = cast(Tensor, getattr(head, "weight", head)).shape[0]
        sums = ClassSums(labels)
        for inputs, own_labels in itertools.chain([first], batches):
            if own_labels.ndim != 1:
                shape = tuple(own_labels.shape)
                raise DataError(f"labels have shape {shape}; one whole number for each input is expected")
            low, high = int(own_labels.min()), int(own_labels.max())
            if low < 0 or high >= labels:
                raise DataError(f"labels run from {low} to {high}, but the head has {labels} outputs")
            sums.add({layer: read(inputs)}, own_labels)
        empty = torch.nonzero(sums.counts == 0).flatten().tolist()
        if empty:
            raise DataError(f"{len(empty)} of {labels} labels have no input, so no mean: {empty[:5]}")
        return label_fields(sums.means()[layer], head)


class _OwnHead:
    """The linear map from a layer's outputs to the network's, read off by its derivatives at one input.

    ``weight``: (K, F, P). ``offset``: (K,), the outputs where the layer's are zero.
    """

    def __init__(self, net: nn.Module, layer: str, one: Tensor) -> None:
        self.net, self.layer = net, layer
        with Capture(net, layer) as capture:  # one layer that runs once, with filters
            self.dtype = capture.dtype
            capture(one)
        outputs, fields = self._run(one)
        if not isinstance(outputs, Tensor):
            raise ParameterError(
                f"the network answers with a {type(outputs).__name__}; one tensor (N, K) is needed, or a head"
            )
        if outputs.ndim != 2:
            raise ParameterError(
                f"the network's outputs have shape {tuple(outputs.shape)}; (N, K) is needed, or a head"
            )
        rows = []
        for part in torch.arange(outputs.shape[1], device=one.device).split(ROWS):
            # copies of one input: the derivative of output j is taken on the j-th copy
            with torch.enable_grad():
                several, leaf = self._run(one.expand(len(part), *one.shape[1:]), leaf=True)
                chosen = several.gather(1, part[:, None]).sum()
                (gradient,) = torch.autograd.grad(chosen, leaf, allow_unused=True, materialize_grads=True)
            rows.append(as_fields(gradient, layer))
        self.weight = torch.cat(rows)
        self.offset = (outputs - self._linear(fields))[0]

    def _run(self, inputs: Tensor, leaf: bool = False) -> tuple[Tensor, Tensor]:
        """Outputs (N, K) of the network, and of the layer: (N, F, P), or as they are if derived from."""
        seen: list[Tensor] = []

        def hook(_module: nn.Module, _inputs: object, output: Tensor) -> Tensor:
            seen.append(output.detach().clone().requires_grad_(leaf))
            return seen[0].clone()  # what follows may work in place

        handle = self.net.get_submodule(self.layer).register_forward_hook(hook)
        try:
            outputs = self.net(inputs.to(self.dtype))
        finally:
            handle.remove()
        return outputs, seen[0] if leaf else as_fields(seen[0], self.layer)

    def _linear(self, fields: Tensor) -> Tensor:
        return fields.flatten(1) @ self.weight.flatten(1).T

    def checked(self, inputs: Tensor) -> Tensor:
        """The layer's outputs (N, F, P), if the network's are linear in them for each of these inputs."""
        outputs, fields = self._run(inputs)
        if not bool(outputs.isfinite().all()):
            raise ParameterError("the network's outputs are not finite: weights or inputs are not")
        error = (outputs - self._linear(fields) - self.offset).abs().max()
        if not bool(error <= TOLERANCE * outputs.abs().max().clamp_min(torch.finfo(outputs.dtype).tiny)):
            if torch.finfo(outputs.dtype).bits < 32:
                raise ParameterError(
                    f"the network computes in {outputs.dtype}, too coarse to tell whether its outputs are "
                    f"linear in layer {self.layer!r}; measure it in float32, net.float()"
                )
            raise ParameterError(
                f"the network's outputs are not linear in layer {self.layer!r}, so it has no linear head "
                "there; name the last layer before its classifier, or give a head: head='probe' trains one, "
                "as probe_heads does with images and augmentation"
            )
        return fields
