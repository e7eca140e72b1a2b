"""AFCC on a network of one's own: the page's lines, the masks' definition, peers, refusals."""

from __future__ import annotations

import copy
import re
import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from filterwise import _torchvision, measure, models, prune
from filterwise.data.augmentation import scale
from filterwise.data.imageset import ImageSet
from filterwise.errors import DataError, ParameterError
from filterwise.measure.hooks import Capture, measuring
from filterwise.measure.probing import PROBE_RECIPE, Place, probe_places
from filterwise.prune.equal_amount import Connections, joined_by

LAST = ["layer4.0.conv1", "layer4.0.conv2", "layer4.0.downsample.0", "layer4.1.conv1", "layer4.1.conv2", "fc"]
SHORT = PROBE_RECIPE.replace(epochs=2)


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    """Random weights leave labels without filters; what is said of them is tested by itself."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="no filter")
        yield


@pytest.fixture
def resnet() -> nn.Module:
    torch.manual_seed(0)
    return _torchvision.load().models.resnet18(num_classes=10)


@pytest.fixture(scope="module")
def pair() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    return torch.randn(60, 3, 16, 16, generator=generator), torch.arange(60) % 10


def loader(pair: tuple[Tensor, Tensor]) -> DataLoader:
    return DataLoader(TensorDataset(*pair), batch_size=16)


@pytest.mark.slow
def test_the_pages_lines_run(root: Path, resnet: nn.Module, pair: tuple[Tensor, Tensor]) -> None:
    pytest.importorskip("torch_pruning")
    page = (root / "book" / "prune-your-network.md").read_text(encoding="utf-8")
    blocks = re.findall(r"```python\n(.*?)```", page, flags=re.DOTALL)
    lines = [line for line in blocks[0].splitlines() if line and not line.startswith("import")]
    assert len(lines) <= 10

    def accuracy(net: nn.Module, data: DataLoader) -> float:
        return float((net(pair[0]).argmax(dim=1) == pair[1]).float().mean())

    def retrain(net: nn.Module) -> None:
        optimiser = torch.optim.AdamW(net.parameters(), lr=1e-3)
        net.train()
        for inputs, labels in loader(pair):
            optimiser.zero_grad()
            nn.functional.cross_entropy(net(inputs), labels).backward()
            optimiser.step()

    data = loader(pair)
    names = {"net": resnet, "validation": data, "test": data, "accuracy": accuracy, "retrain": retrain}
    names["shape"] = (3, 16, 16)
    exec(blocks[0], names)
    assert names["M"].shape == (512, 10, 10)
    net, smaller = names["net"], names["smaller"]
    for layer, mask in names["pruned"].masks.items():
        weight = net.get_submodule(layer).weight
        assert not mask.all()
        assert (weight[~mask] == 0).all()  # after training with AdamW, too
    with torch.no_grad():
        torch.testing.assert_close(smaller.net.eval()(pair[0]), net.eval()(pair[0]), rtol=1e-4, atol=1e-5)
    assert smaller.parameters_left < smaller.parameters
    assert list(names["speed"].index) == ["dense", "masked", "removed"]
    for block in blocks[1:]:
        exec(block, names)
    assert names["block"].shape == names["M"].shape
    again = measure.label_fields_of(names["dense"], "layer4", data)
    torch.testing.assert_close(again, names["M"])
    assert names["lower"].shape == (256, 10, 10)
    assert names["peer"].table["weights_kept"].tolist() == names["pruned"].table["weights_kept"].tolist()
    assert names["half"].table["dilution"].tolist() == pytest.approx([0.5] * len(LAST), abs=1e-3)
    assert int(names["structured"].table.loc[LAST[:-1], "weights_left"].sum()) <= 3_000_000


def test_masks_follow_the_definition(resnet: nn.Module, pair: tuple[Tensor, Tensor]) -> None:
    """Q[o, i] = 1 iff T_o and T_i meet, T from the label fields of held-out inputs by their own loops."""
    found = prune.afcc(resnet, ["layer4.0.downsample.0", "fc"], pair, recipe=SHORT, pool=2)
    assert (found.train_inputs, found.held_out_inputs) == (40, 20)
    sets = {}
    for place, probe in found.probes.items():
        M = torch.stack([
            torch.stack([probe.weight[:, f] @ probe.mean[i, f] for i in range(10)])
            for f in range(probe.weight.shape[1])
        ])  # fmt: skip
        largest = M.amax(dim=(1, 2))[:, None]
        sets[place] = (M.diagonal(dim1=1, dim2=2) > 0.3 * largest) & (largest > 0)
        assert torch.equal(sets[place], found.sets[place])
    below, above = Place("layer4.0.conv1", "input"), Place("layer4.1.conv1", "input")
    for o in range(0, 512, 37):
        for i in range(0, 256, 19):
            common = bool((sets[above][o] & sets[below][i]).any())
            assert bool(found.masks["layer4.0.downsample.0"][o, i]) is common
            assert bool((resnet.layer4[0].downsample[0].weight[o, i] != 0).any()) is common
    assert torch.equal(found.masks["fc"], sets[Place("fc", "input", 512)].T)
    row = found.table.loc["fc"]
    assert row["weights_kept"] == int((resnet.fc.weight != 0).sum()) == int(found.masks["fc"].sum())
    assert row["without_labels"] == int((~sets[Place("fc", "input", 512)].any(dim=1)).sum())
    assert "heads learned from 40 inputs" in repr(found)


def test_probe_heads_learn_and_hold_inputs_back() -> None:
    """Two labels that one channel tells apart: the head finds them, and its means are those of the others."""
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(200) % 2
    inputs = torch.rand(200, 3, 6, 6, generator=generator)
    inputs[:, 1] += labels[:, None, None].float()
    net = nn.Sequential(nn.Identity(), nn.Conv2d(3, 2, 1))
    for factor in (1.0, 1e4):  # the scale of a network's activations does not matter
        found = probe_places(net, [Place("1", "input")], (factor * inputs, labels), pool=3)
        probe = found[Place("1", "input")]
        assert probe.accuracy == 1.0
        assert (probe.train_inputs, probe.held_out_inputs) == (140, 60)
        assert probe.weight.shape == (2, 3, 9)
        share = probe.fields()[1, 1, 1] / probe.fields()[:, 1, 1].abs().max()
        assert share == 1.0


def test_every_kind_of_data_gives_the_same_masks(pair: tuple[Tensor, Tensor]) -> None:
    images = (pair[0] * 40 + 128).clamp(0, 255).to(torch.uint8)
    net = models.build("vgg", labels=10, size=16, stages=((6, 1), (8, 1)), fc=(12,), fc_activation="relu")
    layers = ["features.2", "classifier.1", "classifier.2"]
    kinds = [
        ImageSet(images, pair[1], tuple(map(str, range(10)))),
        (images, pair[1]),
        (scale(images), pair[1]),
        loader((scale(images), pair[1])),
    ]
    first, *others = [prune.afcc(copy.deepcopy(net), layers, data, recipe=SHORT) for data in kinds]
    assert first.masks["classifier.1"].shape == (12, 8 * 16)
    # all positions of a filter share its labels
    assert (first.masks["classifier.1"].view(12, 8, 16).sum(dim=2) % 16 == 0).all()
    for other in others:
        assert all(torch.equal(mask, other.masks[layer]) for layer, mask in first.masks.items())


PEERS = ("random", "magnitude", "kernel-l2", "kernel-l2-within", "filter-l1", "shared-labels", "random-afcc")


@pytest.mark.parametrize("criterion", PEERS)
def test_peers_keep_as_much_in_every_layer(criterion: str, pair: tuple[Tensor, Tensor]) -> None:
    net = models.build("vgg", labels=10, size=16, stages=((6, 1), (8, 1)))
    layers = ["features.2", "classifier"]
    own = prune.afcc(copy.deepcopy(net), layers, pair, recipe=SHORT)
    peer = prune.afcc(copy.deepcopy(net), layers, pair, recipe=SHORT, criterion=criterion)
    assert peer.table["weights_kept"].tolist() == own.table["weights_kept"].tolist()
    assert peer.criterion == criterion


def test_diagonal_top_on_the_output_layer(pair: tuple[Tensor, Tensor]) -> None:
    net = models.build("vgg", labels=10, size=16, stages=((6, 1), (8, 1)))
    found = prune.afcc(net, "classifier", pair, recipe=SHORT, criterion="diagonal-top", amount=0.75)
    (probe,) = found.probes.values()
    top = probe.fields().diagonal(dim1=1, dim2=2).T.repeat_interleave(16, dim=1)
    assert int(found.masks["classifier"].sum()) == 10 * 8 * 16 // 4
    kept = found.masks["classifier"]
    assert top[kept].min() >= top[~kept].max()


def test_lost_labels_are_named(pair: tuple[Tensor, Tensor]) -> None:
    """One filter cannot stand for ten labels; those that it does not stand for are named."""
    net = models.build("vgg", labels=10, size=16, stages=((6, 1), (1, 1)))
    ds = ImageSet((pair[0] * 40 + 128).clamp(0, 255).to(torch.uint8), pair[1], tuple("abcdefghij"))
    with pytest.warns(UserWarning, match="no filter of 'input of classifier.1' keeps") as said:
        found = prune.afcc(net, ["classifier"], ds, threshold=0.9, recipe=SHORT)
    lost = found.table.loc["classifier", "lost_labels"]
    assert lost == torch.nonzero(~found.masks["classifier"].any(dim=1)).flatten().tolist()
    assert f"{lost[0]} ('{'abcdefghij'[lost[0]]}')" in str(said[0].message)
    with pytest.warns(UserWarning, match=r"no filter at the input of classifier.1 stands for \d+ of 10"):
        prune.afcc(net, ["features.2"], ds, threshold=0.9, recipe=SHORT)


def test_refusals_come_before_a_mask(resnet: nn.Module, pair: tuple[Tensor, Tensor]) -> None:
    for match, change in {
        "layer 'layer4.0.conv3'.*did you mean 'layer4": {"layers": ["layer4.0.conv3"]},
        r"threshold=1 is outside \[0, 1\)": {"threshold": 1},
        r"amount=1.0 is not allowed; it must be in \[0, 1\)": {"amount": 1.0},
        r"amount=-0.1 is not allowed": {"amount": -0.1},
        "criterion='magnitud' is not known.*did you mean 'magnitude'": {"criterion": "magnitud"},
        "none twice": {"layers": ["fc", "fc"]},
        r"held_out=1 is outside \(0, 1\)": {"held_out": 1},
        "flip=False and shift=0": {"recipe": PROBE_RECIPE.replace(flip=True)},
        "gives the network's 10 outputs, but data has 5 labels": {"data": (pair[0], pair[1] % 5)},
        "reads 512 channels, but the output of layer1 has 64 filters": {
            "layers": ["layer4.1.conv1"], "places": {"layer4.1.conv1": ("layer1", "layer4")},
        },
        "has 512 outputs, but the output of layer1 has 64 filters": {
            "layers": ["layer4.1.conv1"], "places": {"layer4.1.conv1": ("layer4.0", "layer1")},
        },
        "module 'layer4.0.relu' runs 2 times": {
            "layers": ["layer4.1.conv1"], "places": {"layer4.1.conv1": ("layer4.0.relu", "layer4")},
        },
        "more than memory=": {"memory": 1000},
    }.items():  # fmt: skip
        with pytest.raises(ParameterError, match=match):
            prune.afcc(resnet, **{"layers": ["fc"], "data": pair, "recipe": SHORT, **change})
    with pytest.raises(DataError, match=r"1 of 11 labels have fewer than two inputs.*10 \(1\)"):
        prune.afcc(resnet, ["fc"], (pair[0], torch.where(torch.arange(60) == 3, 10, pair[1])))
    assert not prune.masks_of(resnet)


@pytest.mark.parametrize("layer", ["layer4", "avgpool"])
def test_label_fields_equal_ablating_filter_by_filter(
    layer: str, resnet: nn.Module, pair: tuple[Tensor, Tensor]
) -> None:
    M = measure.label_fields_of(resnet, layer, loader(pair))
    weight = resnet.fc.weight.detach()
    with measuring(resnet), Capture(resnet, layer) as capture:
        fields = capture(pair[0])[layer]
    for f in range(0, 512, 101):
        alone = torch.zeros_like(fields)
        alone[:, f] = fields[:, f]  # all filters but f silenced, then the network's own rest
        outputs = alone.mean(dim=2) @ weight.T
        expected = torch.stack([outputs[pair[1] == label].mean(dim=0) for label in range(10)])
        torch.testing.assert_close(M[f], expected, rtol=1e-5, atol=1e-5 * float(expected.abs().max()))


def test_label_fields_of_a_down_sampling_convolution(resnet: nn.Module, pair: tuple[Tensor, Tensor]) -> None:
    layer = "layer4.0.downsample.0"
    with pytest.raises(ParameterError, match=r"not linear in layer 'layer4.0.downsample.0'.*head='probe'"):
        measure.label_fields_of(resnet, layer, loader(pair))
    weight = torch.randn(10, 512, generator=torch.Generator().manual_seed(1))
    M = measure.label_fields_of(resnet, layer, loader(pair), head=weight)
    with measuring(resnet), Capture(resnet, layer) as capture:
        outputs = capture(pair[0])[layer][:, 7, :] * weight[None, :, 7]
    expected = torch.stack([outputs[pair[1] == label].mean(dim=0) for label in range(10)])
    torch.testing.assert_close(M[7], expected, rtol=1e-5, atol=1e-5)
    assert measure.label_fields_of(resnet, layer, loader(pair), head="probe").shape == (512, 10, 10)
    with pytest.raises(ParameterError, match=r"head='prob' is not known.*did you mean 'probe'"):
        measure.label_fields_of(resnet, layer, loader(pair), head="prob")


def test_it_is_the_chapters_afcc(pair: tuple[Tensor, Tensor]) -> None:
    """From the same label fields, the masks of ``Connections``, AFCC's and a peer's."""
    net = models.build("vgg", labels=10, size=16, stages=((6, 1), (8, 1), (9, 1)))
    layers = ["features.2", "features.3", "classifier.1"]
    for criterion in ("afcc", "kernel-l2", "filter-l1"):
        found = prune.afcc(copy.deepcopy(net), layers, pair, recipe=SHORT, criterion=criterion)
        inputs = ("features.2.conv", "features.3.conv", "classifier.1")
        fields = dict(zip(("features.1", "features.2", "features.3"), inputs, strict=True))
        M = {
            place: next(probe for at, probe in found.probes.items() if at.module == module).fields()
            for place, module in fields.items()
        }
        expected = Connections({layer: joined_by(net)[layer] for layer in layers}, M).masks(net, criterion)
        for layer in layers:
            assert torch.equal(found.masks[layer], expected[layer])


def test_efficientnets_depthwise_kernels_and_gates_are_untouched(pair: tuple[Tensor, Tensor]) -> None:
    net = models.build("efficientnet_b0", labels=10)
    block = "features.3.1.block"
    layers = [f"{block}.0.0", f"{block}.3.0", "features.8.0"]
    found = prune.afcc(net, layers, pair, recipe=SHORT)
    assert set(prune.masks_of(net)) == set(layers)
    inherited = Place(f"{block}.1.0", "input")
    assert found.places[f"{block}.3.0"].below == found.places[f"{block}.0.0"].above == inherited
    T = found.sets
    out, below = T[Place("features.4.0.block.0.0", "input")], T[inherited]
    common = (out[:, None] & below[None]).any(dim=2)
    assert torch.equal(found.masks[f"{block}.3.0"][:, :, 0, 0], common)
