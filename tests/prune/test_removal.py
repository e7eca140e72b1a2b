"""Removed networks give the same outputs, whichever way their channels died."""

from __future__ import annotations

import copy
import sys

import pytest
import torch
from torch import Tensor, nn

from filterwise import _torchvision, models
from filterwise.errors import ParameterError
from filterwise.prune import removal
from filterwise.prune.importance import ChannelImportance, channel_scores, remove_by_magnitude
from filterwise.prune.masks import apply, masks_of
from filterwise.prune.on_networks import afcc
from filterwise.prune.removal import remove_dead
from filterwise.prune.timing import latency

torch_pruning = pytest.importorskip("torch_pruning")


def lively(net: nn.Module, seed: int = 0) -> nn.Module:
    """Batch norms with shifts, so that a masked filter still gives a constant, positive or cut off."""
    generator = torch.Generator().manual_seed(seed)
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            for values in (module.bias.data, module.running_mean):
                values.normal_(generator=generator)
    return net.eval()


def inputs(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(1))


def same(net: nn.Module, other: nn.Module, x: Tensor) -> None:
    with torch.no_grad():
        expected = net(x)
        torch.testing.assert_close(other(x), expected, rtol=0, atol=1e-5 * float(expected.abs().max()))


def tower(padding: int, kernel: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(),
        nn.Conv2d(8, 6, kernel, padding=padding), nn.ReLU(), nn.Flatten(), nn.LazyLinear(4),
    )  # fmt: skip


def test_what_nothing_reads_goes_whatever_it_holds() -> None:
    net = tower(1, 3)
    net(inputs(1, 3, 8, 8))
    lively(net)
    mask = torch.ones(6, 8, dtype=torch.bool)
    mask[:, [1, 4, 5]] = False
    found = remove_dead(apply(net, {"3": mask}), (3, 8, 8))
    assert found.net[0].out_channels == found.net[3].in_channels == 5
    assert found.table.loc["0", "weights_left"] == 5 * 27
    same(net, found.net, inputs(5, 3, 8, 8))
    assert masks_of(net)  # as it was
    assert not masks_of(found.net)


@pytest.mark.parametrize(("padding", "kernel"), [(1, 3), (0, 3), (0, 1)])
def test_constants_go_into_biases_only_where_that_is_exact(padding: int, kernel: int) -> None:
    net = tower(padding, kernel)
    net(inputs(1, 3, 8, 8))
    lively(net)
    mask = torch.ones(8, 3, dtype=torch.bool)
    mask[[0, 2, 3, 6]] = False  # these give constants of bias and batch norm
    with torch.no_grad():
        net[1].bias[[0, 2]], net[1].bias[[3, 6]] = 9.0, -9.0  # two are positive, two are cut off by the ReLU
    found = remove_dead(apply(net, {"0": mask}), (3, 8, 8))
    same(net, found.net, inputs(5, 3, 8, 8))
    assert found.net[0].out_channels == (6 if padding else 4)
    assert found.constant == ({"0": 2} if padding else {})


def test_a_constant_under_a_linear_layer_goes_into_its_bias() -> None:
    net = tower(1, 3)
    net(inputs(1, 3, 8, 8))
    mask = torch.ones(6, 8, dtype=torch.bool)
    mask[2:4] = False
    with torch.no_grad():
        net[3].bias.fill_(2.0)
    found = remove_dead(apply(net.eval(), {"3": mask}), (3, 8, 8))
    assert (found.net[3].out_channels, found.net[6].in_features) == (4, 4 * 64)
    same(net, found.net, inputs(5, 3, 8, 8))


def test_a_chain_dies_to_its_end() -> None:
    """Without its readers a filter goes, and then those below that only it read."""
    net = nn.Sequential(nn.Conv2d(1, 4, 1), nn.ReLU(), nn.Conv2d(4, 4, 1), nn.ReLU(), nn.Conv2d(4, 2, 1))
    eye = torch.eye(4, dtype=torch.bool)
    last = torch.tensor([[True, False, False, True]]).repeat(2, 1)
    found = remove_dead(apply(net, {"2": eye, "4": last}), (1, 4, 4))
    assert [found.net[one].out_channels for one in (0, 2, 4)] == [2, 2, 2]
    same(net, found.net, inputs(3, 1, 4, 4))


def test_something_stays_of_a_layer_that_died() -> None:
    net = nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), nn.ReLU(), nn.Conv2d(4, 2, 3, padding=1))
    found = remove_dead(apply(net, {"2": torch.zeros(2, 4, dtype=torch.bool)}), (1, 4, 4))
    assert found.net[0].out_channels == 1
    same(net, found.net, inputs(3, 1, 4, 4))


def test_of_constants_that_are_all_there_is_one_stays() -> None:
    net = nn.Sequential(nn.Conv2d(1, 4, 1), nn.Conv2d(4, 2, 1))
    found = remove_dead(apply(net, {"0": torch.zeros(4, 1, dtype=torch.bool)}), (1, 4, 4))
    assert found.net[0].out_channels == 1
    same(net, found.net, inputs(3, 1, 4, 4))


def test_residual_sums_and_training_goes_on() -> None:
    net = lively(_torchvision.load().models.resnet18(num_classes=4))
    net.layer1[0].conv1.weight.requires_grad_(False)
    generator = torch.Generator().manual_seed(2)
    layers = [
        "layer4.0.conv1",
        "layer4.0.conv2",
        "layer4.0.downsample.0",
        "layer4.1.conv1",
        "layer4.1.conv2",
        "fc",
    ]
    masks = {}
    for layer in layers:
        weight = net.get_submodule(layer).weight
        masks[layer] = torch.rand(weight.shape[:2], generator=generator) < 0.5
    # the last stage's stream: nobody reads channels 0 to 99; inside its blocks, 0 to 199
    masks["layer4.1.conv1"][:, :100] = False
    masks["fc"][:, :100] = False
    masks["layer4.0.conv2"][:, :200] = False
    masks["layer4.1.conv2"][:, :200] = False
    found = remove_dead(apply(net, masks))
    left = found.table["outputs_left"]
    assert left["layer4.0.conv2"] == left["layer4.0.downsample.0"] == left["layer4.1.conv2"] == 412
    assert left["layer4.0.conv1"] == left["layer4.1.conv1"] == 312
    x = inputs(4, 3, 32, 32)
    same(net, found.net, x)
    assert not found.net.layer1[0].conv1.weight.requires_grad
    found.net.train()(x).sum().backward()
    assert found.net.fc.weight.grad is not None


def test_squeeze_excitation_reads_what_it_scales() -> None:
    net = lively(models.build("efficientnet_b0", labels=4))
    expansion, projection = "features.3.1.block.0.0", "features.3.1.block.3.0"
    mask = torch.ones(net.get_submodule(projection).weight.shape[:2], dtype=torch.bool)
    mask[:, :30] = False
    found = remove_dead(apply(net, {projection: mask}))
    assert found.table.loc[expansion, "outputs_left"] == found.table.loc[expansion, "outputs"]
    same(net, found.net, inputs(3, 3, 32, 32))
    # without the squeeze's weights nothing reads the channels, and with their depthwise kernels they go
    with torch.no_grad():
        net.get_submodule("features.3.1.block.2.fc1").weight[:, :30] = 0
    found = remove_dead(net)
    assert found.table.loc[expansion, "outputs_left"] == found.table.loc[expansion, "outputs"] - 30
    same(net, found.net, inputs(3, 3, 32, 32))


class Mixing(nn.Module):
    """Softmax over channels: each channel hangs on all others, which the dependency graph does not see."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.two = nn.Conv2d(3, 6, 1), nn.Conv2d(6, 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.two(torch.softmax(self.one(x), dim=1))


def test_other_outputs_are_refused() -> None:
    mask = torch.ones(2, 6, dtype=torch.bool)
    mask[:, :3] = False
    with pytest.raises(ParameterError, match="outputs differ"):
        remove_dead(apply(Mixing(), {"two": mask}), (3, 4, 4))


def test_missing_torch_pruning_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch_pruning", None)
    with pytest.raises(removal.TorchPruningMissing, match=r"filterwise\[removal\]"):
        remove_dead(nn.Sequential(nn.Conv2d(1, 1, 1)))


def pruned_tower() -> tuple[nn.Sequential, nn.Sequential, object]:
    net = models.build("vgg", labels=3, channels=1, size=8, stages=((8, 2), (12, 2)))
    dense = copy.deepcopy(net)
    data = (inputs(90, 1, 8, 8), torch.arange(90) % 3)
    return dense, net, afcc(net, ["features.3", "features.4", "classifier"], data, amount=0.6)


def test_scores_feed_torch_prunings_pruner() -> None:
    dense, _, found = pruned_tower()
    kept = {layer: mask.flatten(2).any(dim=2) for layer, mask in found.masks.items() if mask.ndim == 4}
    below = kept["features.3"].sum(dim=1) + kept["features.4"].sum(dim=0)
    scores = channel_scores(found)
    assert set(scores) == {"features.3.conv", "features.4.conv"}
    torch.testing.assert_close(scores["features.3.conv"], below.float())
    fields = channel_scores(found, by="fields")["features.3.conv"]
    own = found.probes[found.places["features.3"].above].fields()
    torch.testing.assert_close(fields, own.diagonal(dim1=1, dim2=2).amax(dim=1))
    scores = {"features.3.conv": torch.arange(12.0)}
    importance = ChannelImportance(dense, scores)
    graph = torch_pruning.DependencyGraph().build_dependency(dense, example_inputs=inputs(1, 1, 8, 8))
    conv = dense.features[2].conv
    group = graph.get_pruning_group(conv, torch_pruning.prune_conv_out_channels, idxs=[2, 7, 5])
    assert importance(group).tolist() == [2.0, 7.0, 5.0]
    weight = conv.weight.detach().clone()
    torch_pruning.BasePruner(dense, inputs(1, 1, 8, 8), importance, pruning_ratio=0.5).step()
    assert torch.equal(conv.weight, weight[6:])
    assert dense.features[0].conv.out_channels == 8  # without scores
    with pytest.raises(ParameterError, match=r"\(5,\); \(6,\) is needed"):
        ChannelImportance(dense, {"features.3.conv": torch.ones(5)})


def test_structured_magnitude_keeps_at_most_what_is_asked() -> None:
    dense, net, _ = pruned_tower()
    layers = ["features.3", "features.4"]
    names = ["features.3.conv", "features.4.conv"]
    found = remove_by_magnitude(dense, layers, kept_weights=1000, shape=(1, 8, 8))
    left = found.table.loc[names]
    assert left["weights_left"].sum() <= 1000
    # one channel more in both would be too many
    outputs = left["outputs_left"].to_numpy() + 1
    assert 9 * (8 * outputs[0] + outputs[0] * outputs[1]) > 1000
    assert (found.table["outputs_left"] == found.table["outputs"]).to_dict()["features.2.conv"]
    with pytest.raises(ParameterError, match="cannot be reached"):
        remove_by_magnitude(dense, layers, kept_weights=10, shape=(1, 8, 8))
    with pytest.raises(ParameterError, match="net has masks"):
        remove_by_magnitude(net, layers, kept_weights=1000, shape=(1, 8, 8))


def test_latency_takes_turns_and_leaves_networks_alone() -> None:
    order: list[str] = []
    nets = {name: nn.Sequential(nn.Conv2d(1, 1, 1)) for name in ("a", "b")}
    for name, net in nets.items():
        net.register_forward_pre_hook(lambda _module, _inputs, name=name: order.append(name))
    table = latency(nets, (1, 4, 4), repeats=3, warm_up=1)
    assert order == ["a", "b"] * 4
    assert all(net.training for net in nets.values())
    assert (table["lower"] <= table["median"]).all()
    assert (table["median"] <= table["upper"]).all()
    assert set(table["threads"]) == {1}
    with pytest.raises(ParameterError, match="repeats=0"):
        latency(nets, repeats=0)
