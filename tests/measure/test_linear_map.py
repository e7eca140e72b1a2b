"""A network's own linear outputs as the head: against filters that really are silenced, one by one."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from filterwise import models
from filterwise.data import ImageSet, scale
from filterwise.errors import DataError, ParameterError
from filterwise.measure import Head, class_means, head_fields, label_fields, label_fields_of, probe_heads
from filterwise.training.recipe import Recipe

LABELS = 3


class Tokens(nn.Module):
    """(N, C, H, W) to tokens (N, T, F)."""

    def forward(self, x: Tensor) -> Tensor:
        return x.flatten(2).transpose(1, 2)


class MeanToken(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.mean(dim=1)


HEADS = {
    "flattened": [nn.Flatten(), nn.Linear(5 * 16, LABELS)],
    "no bias": [nn.Dropout(), nn.Flatten(), nn.Linear(5 * 16, LABELS, bias=False)],
    "average pool": [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(5, LABELS)],
    "norm and two linear layers": [
        nn.BatchNorm2d(5), nn.Flatten(), nn.Linear(5 * 16, 7), nn.Linear(7, LABELS)
    ],
    "1x1 convolution": [nn.Conv2d(5, LABELS, 1), nn.AvgPool2d(4), nn.Flatten()],
}  # fmt: skip


def network(head: list[nn.Module]) -> nn.Sequential:
    torch.manual_seed(1)
    return copy.deepcopy(nn.Sequential(nn.Conv2d(2, 5, 3), nn.ReLU(), *head))


@pytest.fixture
def data() -> tuple[Tensor, Tensor]:
    return torch.randn(31, 2, 6, 6, generator=torch.Generator().manual_seed(0)), torch.arange(31) % LABELS


def ablated(net: nn.Module, layer: str, inputs: Tensor, labels: Tensor) -> Tensor:
    """Filter by filter: all others set to zero, the outputs averaged by label, less the offset."""
    matrices, kept = [], torch.zeros(5)

    def silence(_module: nn.Module, _inputs: object, output: Tensor) -> Tensor:
        return output * kept[:, None, None]

    handle = net.get_submodule(layer).register_forward_hook(silence)
    with torch.no_grad():
        offset = net.eval()(inputs[:1])
        for f in range(5):
            kept.zero_()[f] = 1
            outputs = net(inputs) - offset
            matrices.append(torch.stack([outputs[labels == one].mean(dim=0) for one in range(LABELS)]))
    handle.remove()
    return torch.stack(matrices)


@pytest.mark.parametrize("name", HEADS)
def test_equals_ablating_filter_by_filter(name: str, data: tuple[Tensor, Tensor]) -> None:
    net = network(HEADS[name]).train()
    found = label_fields_of(net, "1", data, batch=8)
    assert net.training
    assert not any(module._forward_hooks for module in net.modules())
    assert all(weight.grad is None for weight in net.parameters())
    torch.testing.assert_close(found, ablated(net, "1", *data), rtol=1e-4, atol=1e-5)


def test_tokens_are_silenced_by_their_last_dimension(data: tuple[Tensor, Tensor]) -> None:
    tokens = network([Tokens(), MeanToken(), nn.Linear(5, LABELS)])
    pooled = network(HEADS["average pool"])
    pooled[4].load_state_dict(tokens[4].state_dict())
    found = label_fields_of(tokens, "2", data)
    torch.testing.assert_close(found, label_fields_of(pooled, "1", data))


def test_all_kinds_of_data_give_the_same(data: tuple[Tensor, Tensor]) -> None:
    generator = torch.Generator().manual_seed(2)
    images = torch.randint(0, 256, (31, 2, 6, 6), generator=generator, dtype=torch.uint8)
    net, labels = network(HEADS["flattened"]), data[1]
    expected = label_fields_of(net, "1", ImageSet(images, labels, tuple("abc")))
    for other in (
        (images, labels),
        (scale(images), labels),
        DataLoader(TensorDataset(scale(images), labels), batch_size=7),
        [(scale(images[:20]), labels[:20].tolist()), (scale(images[20:]), labels[20:])],
    ):
        torch.testing.assert_close(label_fields_of(net, "1", other), expected)
    torch.testing.assert_close(label_fields_of(net.double(), "1", (images, labels)).float(), expected)


def test_a_network_of_this_library_and_its_own_last_layer() -> None:
    net = models.build("vgg", labels=LABELS, channels=2, size=8, stages=((4, 1), (8, 1)))
    generator = torch.Generator().manual_seed(2)
    images = torch.randint(0, 256, (31, 2, 8, 8), generator=generator, dtype=torch.uint8)
    ds = ImageSet(images, torch.arange(31) % LABELS, tuple("abc"))
    linear = [module for module in net.modules() if isinstance(module, nn.Linear)]
    assert len(linear) == 1
    expected = label_fields(class_means(net, "features.2", ds), linear[0].weight)
    torch.testing.assert_close(label_fields_of(net, "features.2", ds), expected)


def test_heads_that_are_given(data: tuple[Tensor, Tensor]) -> None:
    ds = ImageSet((data[0] * 60 + 128).clamp(0, 255).to(torch.uint8), data[1], tuple("abc"))
    net = network(HEADS["flattened"])
    head = probe_heads(net, "0", ds, ds, Recipe(epochs=1), pool=1)["0"]
    assert isinstance(head, Head)
    expected = label_fields(class_means(net, "0", ds, pool=1), head.weight)
    torch.testing.assert_close(label_fields_of(net, "0", ds, head), expected)
    weight = torch.randn(LABELS, 5 * 16)
    expected = label_fields(class_means(net, "0", ds), weight)
    torch.testing.assert_close(label_fields_of(net, "0", ds, weight), expected)
    linear = nn.Linear(5 * 16, LABELS, bias=False)
    linear.weight.data.copy_(weight)
    torch.testing.assert_close(label_fields_of(net, "0", ds, linear), expected)


@pytest.mark.parametrize(
    "head",
    [
        [nn.MaxPool2d(4), nn.Flatten(), nn.Linear(5, LABELS)],
        [nn.Flatten(), nn.Linear(80, 7), nn.ReLU(inplace=True), nn.Linear(7, LABELS)],
    ],
)
def test_no_linear_head_is_said(head: list[nn.Module], data: tuple[Tensor, Tensor]) -> None:
    with pytest.raises(ParameterError, match=r"not linear in layer '1'.*probe_heads"):
        label_fields_of(network(head), "1", data)
    with pytest.raises(ParameterError, match="not linear in layer '0'"):
        label_fields_of(network(HEADS["flattened"]), "0", data)


def test_refusals(data: tuple[Tensor, Tensor]) -> None:
    net, (inputs, labels) = network(HEADS["flattened"]), data
    with pytest.raises(ParameterError, match="layer '11'"):
        label_fields_of(net, "11", data)
    with pytest.raises(DataError, match="labels run from 0 to 3, but the head has 3 outputs"):
        label_fields_of(net, "1", (inputs, torch.arange(31) % 4))
    with pytest.raises(DataError, match=r"1 of 3 labels have no input.*\[2\]"):
        label_fields_of(net, "1", (inputs, labels % 2))
    with pytest.raises(ParameterError, match="31 inputs and 5 labels"):
        label_fields_of(net, "1", (inputs, labels[:5]))
    with pytest.raises(ParameterError, match="data=int is no ImageSet"):
        label_fields_of(net, "1", 3)
    with pytest.raises(ParameterError, match="pairs"):
        label_fields_of(net, "1", [inputs])
    with pytest.raises(DataError, match="no inputs"):
        label_fields_of(net, "1", [])
    with pytest.raises(ParameterError, match="does not fit"):
        label_fields_of(net, "1", data, torch.ones(LABELS, 81))
    with pytest.raises(ParameterError, match="bias"):
        label_fields_of(net, "1", data, nn.Linear(80, LABELS))


def test_what_is_wrong_is_named_and_not_taken_for_a_bend(data: tuple[Tensor, Tensor]) -> None:
    net, (x, y) = nn.Sequential(nn.Flatten(), nn.Linear(x_values(data), 4), nn.Linear(4, 3)), data
    with pytest.raises(ParameterError, match=r"layer=\['1'\] is not the name of a layer"):
        label_fields_of(net, ["1"], data)  # type: ignore[arg-type]
    with pytest.raises(DataError, match=r"labels have shape \(31, 1\)"):
        label_fields_of(net, "1", (x, y[:, None]))
    with pytest.raises(ParameterError, match=r"computes in torch.bfloat16.*net.float"):
        label_fields_of(copy.deepcopy(net).bfloat16(), "1", (x.bfloat16(), y))
    with pytest.raises(ParameterError, match="not finite"):
        label_fields_of(net, "1", (x * float("nan"), y))

    class Named(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net = net

        def forward(self, inputs: Tensor) -> dict[str, Tensor]:
            return {"logits": self.net(inputs)}

    with pytest.raises(ParameterError, match="answers with a dict"):
        label_fields_of(Named(), "net.1", data)


def x_values(data: tuple[Tensor, Tensor]) -> int:
    return data[0][0].numel()


def test_attention_heads_own_their_nodes_in_order() -> None:
    """M_h = mu[:, nodes of h] W[:, nodes of h]^T; the heads add up to the classifier; rank at most d / H."""
    generator = torch.Generator().manual_seed(0)
    mu, W = torch.randn(6, 8, generator=generator), torch.randn(6, 8, generator=generator)
    found = head_fields(mu, W, heads=4)
    assert found.shape == (4, 6, 6)
    for h in range(4):
        for i in range(6):
            for j in range(6):
                one = sum(float(mu[i, n] * W[j, n]) for n in range(2 * h, 2 * h + 2))
                assert float(found[h, i, j]) == pytest.approx(one, abs=1e-5)
    torch.testing.assert_close(found.sum(dim=0), mu @ W.T)
    assert (torch.linalg.matrix_rank(found, rtol=1e-4) == 2).all()
    with pytest.raises(ParameterError, match="heads=3 must be a whole number that divides the 8 nodes"):
        head_fields(mu, W, heads=3)
    with pytest.raises(ParameterError, match=r"\(6, 8\) and W \(6, 4\)"):
        head_fields(mu, W[:, :4])
