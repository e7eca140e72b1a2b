"""The registered network: its arms, its label maps, its controls, and what it refuses."""

import pytest
import torch

import filterwise as fw
from filterwise.errors import ParameterError
from filterwise.models import Lines, build, draw_delays, jittered, propagate
from filterwise.models.delays import KINDS
from filterwise.models.rodib import label_instants
from filterwise.training import Recipe, fit

FLAT = {"front": "flat", "channels": 1, "size": 6, "fc_inputs": 3, "init": "he"}


def images(count=5, channels=1, size=6, seed=0):
    return torch.randn(count, channels, size, size, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("bias", ["instant", "node"])
def test_the_network_is_the_simulator_read_at_the_labels_instants(kind, bias):
    net = build("rodib", labels=6, delays=4, kind=kind, bias=bias, delay_seed=3, **FLAT).double().eval()
    sets = draw_delays(kind, 4, 2, torch.Generator().manual_seed(3))
    x = images().double()
    lines = [
        Lines(own, layer.weight.detach(), layer.bias.detach(), phi)
        for own, layer, phi in zip(sets, net.layers, (torch.relu, None), strict=True)
    ]
    heard = torch.stack(list(propagate(net.features(x).flatten(1), lines).values()), 1)
    torch.testing.assert_close(net.series(x), heard, rtol=1e-12, atol=1e-12)
    places = label_instants(6, sets, kind, "spread")
    torch.testing.assert_close(net(x), heard[:, places, 0], rtol=1e-12, atol=1e-12)


def test_one_delay_is_the_plain_network_of_as_many_units():
    net = build("rodib", labels=7, delays=1, **FLAT).eval()
    one, two = net.layers
    plain = torch.nn.Sequential(torch.nn.Linear(36, 3), torch.nn.ReLU(), torch.nn.Linear(3, 7))
    with torch.no_grad():
        plain[0].weight.copy_(one.weight[0])
        plain[0].bias.copy_(one.bias[0])
        plain[2].weight.copy_(two.weight[0])
        plain[2].bias.copy_(two.bias[0])
    x = images()
    torch.testing.assert_close(net(x), plain(net.features(x).flatten(1)))
    assert fw.models.parameter_count(net) == sum(weight.numel() for weight in plain.parameters())


@pytest.mark.parametrize(
    ("options", "weights", "biases"),
    [
        ({"delays": 4}, 4 * 36 * 3 + 4 * 3, 4 * 3 + 16),
        ({"delays": 6, "kind": "equal"}, 6 * 36 * 3 + 6 * 3, 6 * 3 + 11),
        ({"delays": 4, "kind": "shared"}, 4 * 36 * 3 + 4 * 3, 4 * 3 + 10),
        ({"delays": 4, "bias": "node"}, 4 * 36 * 3 + 4 * 3, 3 + 1),
        ({"delays": 1}, 36 * 3 + 3 * 10, 3 + 10),
    ],
)
def test_parameters_by_hand(options, weights, biases):
    assert fw.models.parameter_count(build("rodib", labels=10, **FLAT, **options)) == weights + biases


def test_the_labels_change_no_parameter_of_a_network_with_delays():
    sizes = {
        labels: fw.models.parameter_count(build("rodib", labels=labels, **FLAT)) for labels in (2, 50, 100)
    }
    assert len(set(sizes.values())) == 1


@pytest.mark.parametrize("delayed", ["both", "output", "convolution"])
@pytest.mark.parametrize("delays", [1, 10])
def test_heads_on_the_trunk_of_vgg6(delayed, delays):
    net = build("rodib", labels=10, width=1 / 16, delays=delays, fc_inputs=5, delayed=delayed)
    trunk = build("vgg6", labels=10, width=1 / 16)
    assert net.layer_names == trunk.layer_names
    for name in trunk.layer_names[:4]:
        assert net.get_submodule(name).conv.weight.shape == trunk.get_submodule(name).conv.weight.shape
    head = sum(w.numel() for layer in net.layers for w in layer.parameters())
    instants, units = (1, 10) if delays == 1 else ({"output": 10}.get(delayed, 100), 1)
    hidden = delays * (25 + 5) if delayed == "both" else 0
    assert head == hidden + delays * 5 * units + instants * units
    assert net.features[4].conv.out_channels == (delays * 5 if delayed == "convolution" else 5)
    assert net.eval()(images(2, 3, 32)).shape == (2, 10)


def test_output_delays_alone_are_the_layer_of_output_units():
    """Head R1 against the fully connected layer N -> K of VGG-6: outputs equal, for equal weights."""
    net = build("rodib", labels=10, width=1 / 16, delays=10, fc_inputs=5, delayed="output").eval()
    units = build("rodib", labels=10, width=1 / 16, delays=1, fc_inputs=5, delayed="output").eval()
    units.features = net.features
    (mine,), (theirs,) = net.layers, units.layers
    with torch.no_grad():
        theirs.weight.copy_(mine.weight.transpose(0, 1))
        theirs.bias.copy_(mine.bias.T)
    x = images(4, 3, 32)
    torch.testing.assert_close(net(x), units(x))
    assert fw.models.parameter_count(net) == fw.models.parameter_count(units)


def test_a_delayed_convolution_is_one_filter_bank_for_each_delay():
    net = build("rodib", labels=9, width=1 / 16, delays=3, fc_inputs=4, delayed="convolution").eval()
    x = images(2, 3, 32)
    below = net.features[:4](x)
    last = net.features[4]
    sets = draw_delays("generic", 3, 2, torch.Generator().manual_seed(0))
    (output,) = net.layers
    for k in range(9):
        bank, line = k % 3, k // 3
        own = slice(4 * bank, 4 * bank + 4)
        u = torch.nn.functional.conv2d(below, last.conv.weight[own], last.conv.bias[own], padding=1)
        norm = last.bn
        scale = norm.weight[own] / (norm.running_var[own] + norm.eps).sqrt()
        u = (u - norm.running_mean[own, None, None]) * scale[:, None, None] + norm.bias[own, None, None]
        h = torch.relu(u).amax((2, 3))
        instant = net.times.index(min(net.times, key=lambda t: abs(t - sets[0][bank] - sets[1][line])))
        z = h @ output.weight[line, 0] + output.bias[instant, 0]
        torch.testing.assert_close(net(x)[:, k], z, rtol=1e-5, atol=1e-5)


def test_the_label_maps_of_generic_delays():
    sets = [[0.0, 0.1, 0.2], [0.0, 0.01, 0.02]]  # place of path (m1, m2): 3 m1 + m2
    assert label_instants(9, sets, "generic", "spread") == [0, 3, 6, 1, 4, 7, 2, 5, 8]
    assert label_instants(9, sets, "generic", "fill") == list(range(9))
    assert label_instants(3, [[0.0, 0.1, 0.2]], "generic", "spread") == [0, 1, 2]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("label_map", ["spread", "fill"])
@pytest.mark.parametrize("count", [1, 2, 5, 6])
def test_every_map_is_one_to_one_and_can_use_all_instants(kind, label_map, count):
    sets = draw_delays(kind, count, 2, torch.Generator().manual_seed(0))
    instants = len(fw.models.output_times(sets))
    places = label_instants(instants, sets, kind, label_map)
    assert sorted(places) == list(range(instants))


@pytest.mark.parametrize("kind", ["generic", "shared"])
def test_spread_labels_take_turns_over_the_banks(kind):
    """Of M labels, and of each further M where no sum commutes, every bank has one."""
    sets = draw_delays(kind, 5, 2, torch.Generator().manual_seed(0))
    _, table = fw.models.arrivals(sets[0], sets[1])
    first = label_instants(5, sets, kind, "spread")
    assert sorted(table[place][0] // 5 for place in first) == list(range(5))


def test_equal_delays_label_the_central_instants():
    assert label_instants(10, [[float(m) for m in range(8)]] * 2, "equal", "spread") == list(range(2, 12))


def test_filling_one_bank_first_is_the_network_of_one_delay():
    """M >= K: all labels in bank 0, the other banks' weights have no gradient."""
    net = build("rodib", labels=4, delays=4, label_map="fill", **FLAT)
    net(images()).sum().backward()
    hidden, output = net.layers
    assert hidden.weight.grad[0].abs().sum() > 0
    assert hidden.weight.grad[1:].abs().sum() == 0
    assert (output.weight.grad.flatten(1).abs().sum(1) > 0).all()


def test_initial_weights_have_the_fan_in_of_one_line():
    net = build("rodib", labels=10, delays=10, front="flat", channels=1, size=30, fc_inputs=40, init="he")
    hidden, output = net.layers
    assert hidden.weight.std().item() == pytest.approx((2 / 900) ** 0.5, rel=0.02)
    assert output.weight.std().item() == pytest.approx((2 / 40) ** 0.5, rel=0.1)
    assert not hidden.bias.any()
    other = build("rodib", labels=10, delays=10, front="flat", channels=1, size=30, fc_inputs=40, seed=1)
    assert not torch.equal(hidden.weight, other.layers[0].weight)
    assert torch.equal(net.layers[0].table, other.layers[0].table)  # delays are not drawn from the seed


def test_building_leaves_the_shared_random_state_alone():
    torch.manual_seed(1)
    before = torch.get_rng_state()
    build("rodib", labels=10, lines="one", delays=4, **FLAT)
    assert torch.equal(before, torch.get_rng_state())


def test_the_asynchronous_control_has_one_line_a_connection():
    net = build("rodib", labels=10, delays=4, lines="one", **FLAT).eval()
    sets = draw_delays("generic", 4, 2, torch.Generator().manual_seed(0))
    hidden, output = net.layers
    for layer in net.layers:
        assert torch.equal(layer.mask.sum(0), torch.ones(layer.mask.shape[1:]))
    x = images()
    pixels = net.features(x).flatten(1)
    lines = [
        Lines(own, (layer.weight * layer.mask).detach(), layer.bias.detach(), phi)
        for own, layer, phi in zip(sets, net.layers, (torch.relu, None), strict=True)
    ]
    heard = list(propagate(pixels, lines).values())
    torch.testing.assert_close(net(x), heard[len(heard) // 2])  # ten output units, one instant
    other = build("rodib", labels=10, delays=4, lines="one", delay_seed=5, **FLAT)
    assert not torch.equal(other.layers[0].mask, hidden.mask)
    assert output.weight.shape[1] == 10


@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
def test_wrong_delays_by_brute_force(share):
    """Line by line: what a moved line carries arrives with the other delay's lines."""
    net = build("rodib", labels=4, delays=3, **FLAT)
    moved = jittered(net, share, torch.Generator().manual_seed(2))
    generator = torch.Generator().manual_seed(2)
    for before, after in zip(net.layers, moved.layers, strict=True):
        weight = before.weight.detach()
        wrong = torch.rand(weight.shape, generator=generator) < share
        step = torch.randint(1, 3, weight.shape, generator=generator)
        expected = torch.zeros_like(weight)
        for m, j, i in torch.cartesian_prod(*map(torch.arange, weight.shape)).tolist():
            target = (m + int(step[m, j, i])) % 3 if wrong[m, j, i] else m
            assert not wrong[m, j, i] or target != m
            expected[target, j, i] += weight[m, j, i]
        torch.testing.assert_close(after.weight.detach(), expected)
        torch.testing.assert_close(after.weight.sum(0), before.weight.sum(0))  # nothing is lost
    if share == 0:
        torch.testing.assert_close(moved(images()), net(images()))


def test_jitter_leaves_the_network_as_it_was():
    net = build("rodib", labels=4, delays=3, **FLAT)
    before = {name: weight.clone() for name, weight in net.state_dict().items()}
    jittered(net, 0.5, torch.Generator().manual_seed(0))
    assert all(torch.equal(weight, before[name]) for name, weight in net.state_dict().items())
    with pytest.raises(ParameterError, match=r"share=1\.5"):
        jittered(net, 1.5, torch.Generator())
    with pytest.raises(ParameterError, match="one delay has no wrong instant"):
        jittered(build("rodib", labels=4, delays=1, **FLAT), 0.5, torch.Generator())


def test_multiply_accumulates_by_hand():
    net = build("rodib", labels=10, delays=4, **FLAT)
    assert fw.models.macs(net, (1, 6, 6)) == 4 * 36 * 3 + 16 * 3  # each bank meets each output line
    assert fw.models.macs(build("rodib", labels=10, delays=1, **FLAT), (1, 6, 6)) == 36 * 3 + 3 * 10


@pytest.mark.parametrize("kind", KINDS)
def test_bfloat16_autocast_is_near(kind):
    net = build("rodib", labels=9, delays=5, kind=kind, **FLAT).eval()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        low = net(images())
    torch.testing.assert_close(low.float(), net(images()), rtol=0.05, atol=0.05)


def test_it_learns_in_the_plain_loop():
    """Three labels, one bright row each: more labels than neurons, and the loop as it is."""
    pixels = torch.zeros(60, 1, 6, 6, dtype=torch.uint8)
    labels = torch.arange(60) % 3
    for place, label in enumerate(labels.tolist()):
        pixels[place, 0, 2 * label] = 200 + place % 50
    ds = fw.data.ImageSet(pixels, labels, ("a", "b", "c"))
    net = build("rodib", labels=3, delays=3, **{**FLAT, "fc_inputs": 2})
    recipe = Recipe(epochs=30, batch=10, lr=0.05, momentum=0.9, flip=False, shift=0, precision="float32")
    assert fit(net, ds, ds, recipe, device="cpu", progress=False).final["test_accuracy"] == 1.0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"delays": 3}, "labels=10 is more than the 9 output times of delays=3, kind='generic'.*delays=4"),
        ({"delays": 5, "kind": "equal"}, "labels=10 is more than the 9 output times.*it takes delays=6"),
        ({"delays": 3, "kind": "shared"}, "labels=10 is more than the 6 output times.*it takes delays=4"),
        ({"delays": 9, "delayed": "output", "fc_inputs": None}, "10 is more than the 9 .*it takes delays=10"),
        ({"delays": 0}, "delays=0 is not allowed; it must be an integer of at least 1"),
        ({"delays": 2.5}, "delays=2.5"),
        ({"delays": 101}, "delays=101.*10,201 instants"),
        ({"kind": "generix"}, "kind='generix' is not known.*did you mean 'generic'"),
        ({"front": "vgg16"}, "front='vgg16' is not known.*did you mean 'vgg6'"),
        ({"front": "vgg6"}, "size=6 is not allowed"),
        ({"label_map": "spred"}, "did you mean 'spread'"),
        ({"bias": "nodes"}, "did you mean 'node'"),
        ({"lines": "two"}, "lines='two'"),
        ({"delayed": "convolution"}, "needs a trunk"),
        ({"delayed": "output"}, "fc_inputs=3 is not allowed; the pixels are the inputs"),
        ({"hidden": 4}, "hidden=4 is not allowed"),
        ({"fc_inputs": 0}, "fc_inputs=0"),
        ({"delay_seed": -1}, "delay_seed=-1"),
    ],
)
def test_refusals(options, message):
    with pytest.raises(ParameterError, match=message):
        build("rodib", labels=10, **{**FLAT, **options})


def test_single_lines_and_delayed_convolutions_do_not_go_together():
    with pytest.raises(ParameterError, match="lines='one'"):
        build("rodib", labels=10, width=1 / 16, delays=4, delayed="convolution", lines="one")
