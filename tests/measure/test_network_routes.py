"""Where the winning logit's gradient arrives in whole networks, and how sparse gradients are."""

import math

import pytest
import torch
from torch import nn

from filterwise.errors import ParameterError
from filterwise.measure import gradient_sparsity, route_maps
from filterwise.models import build, orders

STAGES = ((4, 1), (8, 1), (8, 1))


def small(order="AP2-MP4", inner=(), seed=0, **options):
    return build("vgg", labels=4, size=16, stages=STAGES, inner=inner, order=order, seed=seed, **options)


@pytest.fixture(scope="module")
def images():
    return torch.randint(
        0, 256, (6, 3, 16, 16), generator=torch.Generator().manual_seed(0), dtype=torch.uint8
    )


@pytest.mark.parametrize("order", orders(8))
def test_head_passes_a_squared_routes_per_filter_and_output(images, order):
    found = route_maps(small(order), images)
    assert found.gradient.shape == (6, 8, 16, 16)  # before the pool, which leaves 2 x 2
    averages = math.prod(int(step[2:]) for step in order.split("-") if step.startswith("AP"))
    assert ((found.gradient != 0).sum((2, 3)) == 4 * averages**2).all()
    assert (found.mask <= (found.activation > 0)).all()


def test_route_maps_are_derivatives_of_the_winning_logit(images):
    net = small("MP2-AP4").double().eval()
    x = images.double() / 127.5 - 1
    found = route_maps(net, x)
    logits = net(x)
    assert torch.equal(found.winners, logits.argmax(1))
    n, (c, row, column) = 2, (1, 7, 4)
    step = torch.zeros_like(x)
    step[n, c, row, column] = 1e-6
    winner = found.winners[n]
    slope = (net(x + step)[n, winner] - net(x - step)[n, winner]) / 2e-6
    assert found.input_gradient[n, c, row, column].item() == pytest.approx(slope.item(), rel=1e-4, abs=1e-9)
    # From the layer upwards all is linear where the winners stay: the logit is the sum of its contributions.
    total = (found.activation * found.gradient).sum((1, 2, 3))  # the last FC layer has no bias
    torch.testing.assert_close(total, logits.max(1).values.detach())
    assert torch.equal(found.contribution, (found.activation * found.gradient).abs())


def test_uint8_images_are_scaled_as_in_training(images):
    net = small()
    scaled = images.float() / 127.5 - 1
    torch.testing.assert_close(route_maps(net, images).gradient, route_maps(net, scaled).gradient)


def test_routes_of_the_image_are_those_that_the_layer_passes_on(images):
    found = route_maps(small("MP8"), images)
    # The layer's three 3x3 convolutions see 7x7 pixels: no route of its ends farther than 3 from it.
    reach = nn.functional.max_pool2d(found.mask.any(1, keepdim=True).float(), 7, stride=1, padding=3) > 0
    ends = found.input_gradient != 0
    assert not (ends & ~reach).any()
    assert ends.any()


def test_another_layer_can_be_named(images):
    found = route_maps(small(inner=(1,), order="MP4"), images, layer="features.1")
    assert found.gradient.shape == (6, 4, 16, 16)
    with pytest.raises(ParameterError, match=r"did you mean 'features\.1'"):
        route_maps(small(), images, layer="feature.1")


def brute_force(net, images, labels):
    """Shares of active units, of gradients, of both: plain hooks and backward passes, image by image."""
    kept, shares = {}, []
    for m, block in net.features.named_children():
        block.relu.register_forward_hook(lambda _module, _inputs, output, m=m: kept.update({m: output}))
    for x, label in zip(images, labels, strict=True):
        logits = net(x[None].float() / 127.5 - 1)
        for output in kept.values():
            output.retain_grad()
        nn.functional.cross_entropy(logits, label[None]).backward()
        parts = [(output != 0, output.grad != 0) for output in kept.values()]
        shares.append([[part.float().mean() for part in (a, g, a & g)] for a, g in parts])
    return torch.tensor(shares).mean(0)


@pytest.mark.parametrize(
    "options", [{"inner": (1, 2, 3), "order": None}, {"inner": (1,), "order": "AP2-MP2"}]
)
def test_sparsity_is_that_of_plain_backward_passes(images, options):
    net = small(**options).eval()
    labels = torch.tensor([0, 1, 2, 3, 0, 1])
    found = gradient_sparsity(net, images, labels, batch=4)
    assert found["layer"].tolist() == ["features.1", "features.2", "features.3"]
    expected = brute_force(net, images, labels)
    torch.testing.assert_close(torch.tensor(found.iloc[:, 1:].to_numpy(), dtype=torch.float32), expected)


def test_network_is_left_as_it_was(images):
    net = small().train()
    net.features[1].eval()
    for parameter in net.features.parameters():
        parameter.requires_grad_(False)
    before = {key: value.clone() for key, value in net.state_dict().items()}
    route_maps(net, images)
    gradient_sparsity(net, images, torch.zeros(6, dtype=torch.int64))
    assert net.training
    assert not net.features[1].training
    assert all(torch.equal(before[key], value) for key, value in net.state_dict().items())
    assert all(parameter.grad is None for parameter in net.parameters())
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in net.modules())


def test_foreign_networks_are_read_before_their_pool(images):
    first = nn.Conv2d(3, 5, 3, padding=1)
    net = nn.Sequential(first, nn.ReLU(inplace=True), nn.MaxPool2d(4), nn.Flatten(), nn.Linear(80, 3))
    net.layer_names = ("2",)
    found = route_maps(net, images)
    assert found.activation.shape == (6, 5, 16, 16)
    assert ((found.gradient != 0).sum((2, 3)) == 16).all()


@pytest.mark.parametrize("labels", [torch.zeros(5, dtype=torch.int64), torch.zeros(6, 1, dtype=torch.int64)])
def test_sparsity_needs_one_label_an_image(images, labels):
    with pytest.raises(ParameterError, match="one label for each"):
        gradient_sparsity(small(), images, labels)
