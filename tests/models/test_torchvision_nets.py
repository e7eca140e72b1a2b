"""EfficientNet-B0 and VGG-16 with batch norm against torchvision's own, and weight files."""

import copy
import importlib.util
import json
import math
import pickle
import subprocess
import sys
from urllib.error import URLError

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from filterwise import _torchvision
from filterwise.errors import DataError, ParameterError
from filterwise.models import build, layer_names, macs, parameter_count, pretrained, vgg

if importlib.util.find_spec("torchvision") is None:
    pytest.skip("torchvision is not installed", allow_module_level=True)


@pytest.fixture(scope="module")
def theirs():
    """torchvision's EfficientNet-B0 with ten labels, batch-norm statistics moved off their start."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        net = _torchvision.load().models.efficientnet_b0(weights=None, num_classes=10).eval()
        with torch.no_grad():
            for module in net.modules():
                if isinstance(module, nn.BatchNorm2d):
                    module.running_mean.normal_(0, 0.1)
                    module.running_var.uniform_(0.5, 2)
    return net


@pytest.fixture(scope="module")
def images():
    return torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(1))


def maps(net, image):
    """Filters and side of each measurable layer's output."""
    found = {}
    hooks = [
        net.get_submodule(name).register_forward_hook(
            lambda _module, _inputs, output, name=name: found.update(
                {name: (output.shape[1], output.shape[2])}
            )
        )
        for name in layer_names(net)
    ]
    with torch.no_grad():
        net.eval()(image)
    for hook in hooks:
        hook.remove()
    return [found[name] for name in layer_names(net)]


def test_efficientnet_computes_what_torchvisions_does(theirs, images):
    ours = build("efficientnet_b0", first_strides=2).eval()
    ours.load_state_dict(theirs.state_dict())
    with torch.no_grad():
        torch.testing.assert_close(ours(images), theirs(images))


def test_efficientnet_weights_and_operations_are_the_published():
    published = _torchvision.load().models.EfficientNet_B0_Weights.IMAGENET1K_V1.meta
    net = build("efficientnet_b0", labels=1000, size=224).to("meta")
    assert parameter_count(net) == published["num_params"]
    assert macs(net, (3, 224, 224)) / 1e9 == pytest.approx(published["_ops"], abs=0.0005)


@pytest.mark.parametrize(("size", "sides"), [(224, [56, 28, 14, 14, 7, 7, 7]), (32, [32, 16, 8, 8, 4, 4, 4])])
def test_efficientnet_layers_are_stages_3_to_9(size, sides):
    net = build("efficientnet_b0", size=size).to("meta")
    assert layer_names(net) == [f"features.{n}" for n in range(2, 9)]
    found = maps(net, torch.zeros(1, 3, size, size, device="meta"))
    assert found == list(zip([24, 40, 80, 112, 192, 320, 1280], sides, strict=True))


def test_efficientnet_draws_as_torchvision_describes():
    before = torch.get_rng_state()
    net = build("efficientnet_b0", seed=3)
    assert torch.equal(before, torch.get_rng_state())
    for module in net.modules():
        if isinstance(module, nn.Conv2d) and module.weight.numel() > 500:
            _, fan_out = nn.init._calculate_fan_in_and_fan_out(module.weight)
            n, expected = module.weight.numel(), math.sqrt(2 / fan_out)
            assert abs(module.weight.std().item() / expected - 1) < 5 / math.sqrt(2 * n)
            assert module.bias is None or not module.bias.any()
    head = net.classifier[1]
    assert head.weight.abs().max().item() == pytest.approx(1 / math.sqrt(10), rel=1e-2)
    assert not head.bias.any()
    again = build("efficientnet_b0", seed=3)
    assert all(torch.equal(a, b) for a, b in zip(net.parameters(), again.parameters(), strict=True))


def test_efficientnet_reaches_a_fresh_process(tmp_path):
    net = build("efficientnet_b0", width=0.25, labels=3).eval()
    (tmp_path / "net.pickle").write_bytes(pickle.dumps(net))
    script = "import pickle, sys, torch; net = pickle.load(open(sys.argv[1], 'rb'))\n"
    script += "print(net(torch.ones(1, 3, 32, 32)).tolist(), net.layer_names)"
    command = [sys.executable, "-c", script, str(tmp_path / "net.pickle")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    values, layers = done.stdout.strip().split("] ", 1) if done.stdout else ("", done.stderr)
    with torch.no_grad():
        expected = net(torch.ones(1, 3, 32, 32))
    torch.testing.assert_close(torch.tensor(json.loads(values + "]")), expected)
    assert layers == str(tuple(layer_names(net)))
    copied = copy.deepcopy(net)
    assert copied is not net
    assert copied.features[0][0].weight is not net.features[0][0].weight


def test_efficientnet_grey_and_narrow():
    net = build("efficientnet_b0", labels=4, width=0.5, channels=1, init="he").eval()
    assert net(torch.zeros(1, 1, 32, 32)).shape == (1, 4)
    assert net.features[8][0].out_channels == 640


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"first_strides": 3}, "choose from None, 1, 2"),
        ({"dropout": 1.0}, "below 1"),
        ({"stochastic_depth": -0.1}, "at least 0"),
        ({"width": 0.01}, "leaves 0 of 16 filters"),
        ({"weights": "imagenett"}, "did you mean 'imagenet'"),
        ({"weights": "nowhere.pth"}, "does not exist"),
        ({"weights": None}, "weights=None"),
    ],
)
def test_efficientnet_refusals(options, message):
    with pytest.raises(ParameterError, match=message):
        build("efficientnet_b0", **options)


@pytest.mark.parametrize("kind", [".pth", ".safetensors"])
def test_weights_of_a_file_are_taken_over(theirs, tmp_path, kind):
    path = tmp_path / f"weights{kind}"
    state = theirs.state_dict()
    torch.save(state, path) if kind == ".pth" else save_file(state, path)
    net = build("efficientnet_b0", weights=path)
    assert all(torch.equal(value, state[key]) for key, value in net.state_dict().items())

    other = build("efficientnet_b0", labels=7, weights=str(path), seed=2).state_dict()
    drawn = build("efficientnet_b0", labels=7, seed=2).state_dict()
    for key, value in other.items():
        assert torch.equal(value, (drawn if key.startswith("classifier") else state)[key])


def test_weights_that_do_not_fit_are_refused(theirs, tmp_path):
    state = dict(theirs.state_dict())
    state["extra"] = torch.zeros(1)
    del state["features.0.1.bias"]
    save_file(state, tmp_path / "weights.safetensors")
    with pytest.raises(DataError, match=r"features\.0\.1\.bias is missing; extra is not a weight"):
        build("efficientnet_b0", weights=tmp_path / "weights.safetensors")
    save_file(dict(theirs.state_dict()), tmp_path / "weights.safetensors")
    with pytest.raises(DataError, match=r"is \(32, 3, 3, 3\), expected \(32, 1, 3, 3\)"):
        build("efficientnet_b0", channels=1, weights=tmp_path / "weights.safetensors")


@pytest.mark.parametrize("name", ["broken.pth", "broken.safetensors"])
def test_a_broken_file_is_refused(tmp_path, name):
    (tmp_path / name).write_bytes(b"no weights")
    with pytest.raises(DataError, match=r"broken.* cannot be read"):
        build("efficientnet_b0", weights=tmp_path / name)


def test_a_file_of_something_else_is_refused(tmp_path):
    torch.save([1, 2], tmp_path / "list.pth")
    with pytest.raises(DataError, match="holds no weights by name"):
        build("efficientnet_b0", weights=tmp_path / "list.pth")


def test_imagenet_weights_come_checked_from_torchvisions_address(theirs, monkeypatch):
    api = importlib.import_module("torchvision.models._api")
    asked = []

    def fetch(url, **options):
        asked.append((url, options["check_hash"]))
        return theirs.state_dict()

    monkeypatch.setattr(api, "load_state_dict_from_url", fetch)
    net = build("efficientnet_b0", weights="imagenet")
    assert asked[0][0].endswith(".pth")
    assert asked[0][1] is True
    assert torch.equal(net.features[0][0].weight, theirs.features[0][0].weight)


def test_without_a_network_imagenet_weights_say_where_they_are(monkeypatch):
    def fail(url, **_options):
        raise URLError("no route")

    _torchvision.load()
    monkeypatch.setattr(importlib.import_module("torchvision.models._api"), "load_state_dict_from_url", fail)
    with pytest.raises(DataError, match=r"could not be fetched from https://.*give its path"):
        build("efficientnet_b0", weights="imagenet")


@pytest.fixture(scope="module")
def vgg16_bn():
    with torch.device("meta"):
        return pretrained.vgg16_bn(1000, 1.0, 3, 224, weights="random")


def test_pretrained_vgg16_measures_each_block_after_its_relu_and_pool(vgg16_bn):
    found = maps(vgg16_bn, torch.zeros(1, 3, 224, 224, device="meta"))
    assert found == [
        *[(64, 224), (64, 112), (128, 112), (128, 56), (256, 56), (256, 56), (256, 28)],
        *[(512, 28), (512, 28), (512, 14), (512, 14), (512, 14), (512, 7)],
    ]
    ends = [type(vgg16_bn.get_submodule(name)).__name__ for name in layer_names(vgg16_bn)]
    assert [m for m, end in enumerate(ends, start=1) if end == "MaxPool2d"] == [2, 4, 7, 10, 13]
    assert set(ends) == {"MaxPool2d", "ReLU"}


def test_our_vgg16_is_torchvisions_but_for_the_last_bias(vgg16_bn):
    with torch.device("meta"):
        ours = vgg.named(1000, 1.0, 3, 224, m=16, advanced=False, fc_activation="relu")
    published = _torchvision.load().models.VGG16_BN_Weights.IMAGENET1K_V1.meta
    assert parameter_count(vgg16_bn) == published["num_params"]
    assert parameter_count(ours) == published["num_params"] - 1000
    assert macs(ours, (3, 224, 224)) == macs(vgg16_bn, (3, 224, 224))
    assert macs(ours, (3, 224, 224)) / 1e9 == pytest.approx(published["_ops"], abs=0.005)
    shapes = [tuple(p.shape) for p in ours.features.parameters()]
    assert shapes == [tuple(p.shape) for p in vgg16_bn.features.parameters()]


def test_pretrained_vgg16_draws_as_torchvision_describes():
    net = nn.Sequential(nn.Conv2d(8, 32, 3), nn.BatchNorm2d(32), nn.Linear(64, 128))
    pretrained.draw_vgg(net, torch.Generator().manual_seed(1))
    assert net[0].weight.std().item() == pytest.approx(math.sqrt(2 / (32 * 9)), rel=5 / math.sqrt(2 * 2304))
    assert net[2].weight.std().item() == pytest.approx(0.01, rel=5 / math.sqrt(2 * 8192))
    assert not net[0].bias.any()
    assert not net[2].bias.any()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "weights=None is not allowed; choose from 'imagenet', 'random'"),
        ({"weights": "random", "width": 0.5}, "must be 1.0"),
        ({"weights": "random", "size": 16}, "size=16.*at least 32"),
        ({"weights": "random", "dropout": 2}, "below 1"),
    ],
)
def test_pretrained_vgg16_refusals(options, message):
    with pytest.raises(ParameterError, match=message):
        build("vgg16_bn_imagenet", **options)


@pytest.mark.slow
def test_pretrained_vgg16_runs_on_small_images():
    net = build("vgg16_bn_imagenet", weights="random", channels=1).eval()
    with torch.no_grad():
        assert net(torch.zeros(1, 1, 32, 32)).shape == (1, 10)
