"""Catching outputs of named layers: shapes, clear errors, and a network that is left as it was found."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from filterwise.errors import ParameterError
from filterwise.measure.hooks import Capture, as_fields, check_layers, measuring


class Counting(nn.Module):
    """Counts its forward passes."""

    def __init__(self) -> None:
        super().__init__()
        self.runs = 0

    def forward(self, x: Tensor) -> Tensor:
        self.runs += 1
        return x


def tiny() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(1, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(inplace=True), nn.MaxPool2d(2), Counting()
    )


def test_captured_outputs_are_those_of_the_layers() -> None:
    net = tiny().eval()
    images = torch.randn(6, 1, 8, 8)
    with measuring(net), Capture(net, ["3", "0", "1", "2"]) as capture:
        seen = capture(images)
        expected = {"0": net[0](images)}
        expected["1"] = net[1](expected["0"])
        expected["2"] = expected[
            "1"
        ].relu()  # in place inside the network: the capture of "1" must survive it
        expected["3"] = net[3](expected["2"])
    assert list(seen) == ["3", "0", "1", "2"]
    for layer, output in expected.items():
        assert torch.equal(seen[layer], output.flatten(2)), layer


def test_nothing_above_the_last_layer_runs_after_the_first_image() -> None:
    net = tiny()
    with measuring(net), Capture(net, "2") as capture:
        for _ in range(5):
            capture(torch.randn(6, 1, 8, 8))
    assert net[4].runs == 1


def test_modes_statistics_hooks_and_gradients_are_left_as_found() -> None:
    net = tiny().train()
    net[1].eval()
    before = {name: value.clone() for name, value in net.state_dict().items()}
    with measuring(net), Capture(net, "3") as capture:
        assert not any(module.training for module in net.modules())
        assert not capture(torch.randn(6, 1, 8, 8))["3"].requires_grad
    assert net.training
    assert not net[1].training
    assert torch.is_grad_enabled()
    assert all(torch.equal(before[name], value) for name, value in net.state_dict().items())
    assert not any(module._forward_hooks for module in net.modules())


def test_modes_and_hooks_are_restored_after_an_error() -> None:
    net = tiny().train()
    does_not_take = r"does not take images of shape \(5, 8, 8\): RuntimeError"
    with pytest.raises(ParameterError, match=does_not_take), measuring(net), Capture(net, "3") as capture:
        capture(torch.randn(6, 5, 8, 8))  # five channels instead of one
    assert net.training
    assert not any(module._forward_hooks for module in net.modules())


def test_failure_above_the_last_layer_does_not_matter() -> None:
    net = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(7, 2))  # 7 fits no image
    with measuring(net), Capture(net, "1") as capture:
        assert capture(torch.randn(2, 1, 8, 8))["1"].shape == (2, 4, 36)


def test_unknown_layer_suggests_the_near_miss() -> None:
    with pytest.raises(ParameterError, match=r"layer 'features\.9'.*did you mean 'features\.8'"):
        check_layers(
            nn.ModuleDict({"features": nn.ModuleDict({"8": nn.ReLU(), "1": nn.ReLU()})}), "features.9"
        )


@pytest.mark.parametrize("layers", [[], ["0", "0"]])
def test_empty_and_repeated_layers_are_refused(layers: list[str]) -> None:
    with pytest.raises(ParameterError, match="layer"):
        check_layers(tiny(), layers)


def test_layer_that_never_runs_and_layer_that_runs_twice() -> None:
    class Odd(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.shared, self.unused, self.conv = nn.ReLU(), nn.ReLU(), nn.Conv2d(1, 2, 1)

        def forward(self, x: Tensor) -> Tensor:
            return self.shared(self.conv(self.shared(x)))

    net = Odd()
    image = torch.zeros(1, 1, 4, 4)
    with measuring(net), Capture(net, "unused") as capture, pytest.raises(ParameterError, match="never runs"):
        capture(image)
    with (
        measuring(net),
        Capture(net, "shared") as capture,
        pytest.raises(ParameterError, match="runs 2 times"),
    ):
        capture(image)


@pytest.mark.parametrize(
    ("output", "message"),
    [
        ((torch.zeros(2, 3), None), "returns a tuple"),
        (torch.zeros(2, 3, 4, 5, 6), r"shape \(2, 3, 4, 5, 6\)"),
        (torch.zeros(2), r"shape \(2,\)"),
        (torch.zeros(2, 3, dtype=torch.int64), "int64"),
    ],
)
def test_outputs_without_filters_are_refused(output: object, message: str) -> None:
    with pytest.raises(ParameterError, match=message):
        as_fields(output, "layer")


def test_layouts_of_maps_tokens_and_vectors() -> None:
    maps, tokens, vectors = torch.randn(2, 3, 4, 5), torch.randn(2, 7, 3), torch.randn(2, 3)
    assert torch.equal(as_fields(maps, "m")[1, 2], maps[1, 2].reshape(-1))
    assert torch.equal(as_fields(tokens, "t")[1, 2], tokens[1, :, 2])
    assert torch.equal(as_fields(vectors, "v")[..., 0], vectors)


def test_pool_acts_on_large_maps_only() -> None:
    large, small = torch.randn(2, 3, 28, 28), torch.randn(2, 3, 14, 14)
    pooled = nn.functional.avg_pool2d(large, 4).flatten(2)
    assert torch.allclose(as_fields(large, "m", pool=7), pooled, atol=1e-6)
    assert torch.equal(as_fields(small, "m", pool=7), small.flatten(2))
    with pytest.raises(ParameterError, match="pool=0"):
        Capture(tiny(), "1", pool=0)
