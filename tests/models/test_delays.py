"""Instants and delay sets: counted event by event, by brute force and in closed form."""

import itertools
import math

import numpy as np
import pytest
import torch

import filterwise as fw
from filterwise.errors import ParameterError
from filterwise.models import DelayLayer, Lines, arrivals, check_generic, draw_delays, output_times, propagate
from filterwise.models.delays import KINDS

#: Output times by L and kind for M = 2, 3, 5, 10, written out.
COUNTS = {
    (1, "generic"): (2, 3, 5, 10),
    (1, "shared"): (2, 3, 5, 10),
    (1, "equal"): (2, 3, 5, 10),
    (2, "generic"): (4, 9, 25, 100),
    (2, "shared"): (3, 6, 15, 55),
    (2, "equal"): (3, 5, 9, 19),
    (3, "generic"): (8, 27, 125, 1000),
    (3, "shared"): (4, 10, 35, 220),
    (3, "equal"): (4, 7, 13, 28),
}


def drawn(kind, count, layers, seed=0):
    return draw_delays(kind, count, layers, torch.Generator().manual_seed(seed))


def network(delays, dtype=torch.float64, bias="instant", seed=1):
    """Delay layers of 4 inputs, 3 hidden nodes and one output, and the same as lines of the simulator."""
    generator, before, layers, lines = torch.Generator().manual_seed(seed), [0.0], [], []
    for number, own in enumerate(delays, start=1):
        last = number == len(delays)
        layer = DelayLayer(4 if number == 1 else 3, 1 if last else 3, own, before, bias).to(dtype)
        layer.draw(generator, "torch")
        before = layer.times
        layers.append(layer)
        lines.append(Lines(own, layer.weight.detach(), layer.bias.detach(), None if last else torch.relu))
    return layers, lines


def unrolled(layers, x):
    a = x[:, None]
    for layer in layers[:-1]:
        a = torch.relu(layer(a))
    return layers[-1](a)


@pytest.mark.parametrize(("depth", "kind"), COUNTS)
@pytest.mark.parametrize(("place", "count"), list(enumerate((2, 3, 5, 10))))
def test_the_simulator_hears_the_table_of_counts(depth, kind, place, count):
    delays = drawn(kind, count, depth)
    one = [Lines(own, torch.ones(count, 1, 1)) for own in delays]
    heard = propagate(torch.ones(1, 1), one)
    assert len(heard) == COUNTS[depth, kind][place] == len(output_times(delays))
    np.testing.assert_allclose(list(heard), output_times(delays), rtol=0, atol=1e-9)
    # every path arrives once: with weights of 1 and no bias the sum over all instants counts them
    assert sum(value.item() for value in heard.values()) == count**depth


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("depth", [1, 2, 3])
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-12), (torch.float32, 1e-6)])
@pytest.mark.parametrize("bias", ["instant", "node"])
def test_the_unrolled_form_is_the_simulator(kind, depth, dtype, tolerance, bias):
    delays = drawn(kind, 4, depth, seed=depth)
    layers, lines = network(delays, dtype, bias)
    x = torch.randn(5, 4, dtype=dtype, generator=torch.Generator().manual_seed(2))
    heard = torch.stack(list(propagate(x, lines).values()), 1)
    torch.testing.assert_close(unrolled(layers, x), heard, rtol=tolerance, atol=tolerance)


def test_generic_delays_are_a_tree_of_paths():
    """z of the path (m1, m2) is w2[m2] . phi(W1[m1] x + b1[m1]) + b, as the equation says."""
    delays = drawn("generic", 3, 2)
    (one, two), lines = network(delays)
    x = torch.randn(6, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(3))
    heard = propagate(x, lines)
    for time, (first, second) in zip(
        (a + b for a in delays[0] for b in delays[1]), itertools.product(range(3), repeat=2), strict=True
    ):
        instant = min(heard, key=lambda known: abs(known - time))
        hidden = torch.relu(x @ one.weight[first].T + one.bias[first])
        expected = hidden @ two.weight[second].T + two.bias[list(heard).index(instant)]
        torch.testing.assert_close(heard[instant], expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("depth", [1, 2, 3])
def test_equally_spaced_delays_are_a_full_convolution_in_time(depth):
    count = 4
    layers, lines = network(drawn("equal", count, depth))
    x = torch.randn(5, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(4))
    a = x[:, :, None]  # (batch, inputs, one instant)
    for number, layer in enumerate(layers, start=1):
        # a convolution of torch is a correlation, so the lines are turned round
        kernel = layer.weight.permute(1, 2, 0).flip(2)
        a = torch.nn.functional.conv1d(a, kernel, padding=count - 1) + layer.bias.T
        a = torch.relu(a) if number < depth else a
    heard = torch.stack(list(propagate(x, lines).values()), 2)
    torch.testing.assert_close(a, heard, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(unrolled(layers, x).transpose(1, 2), a, rtol=1e-12, atol=1e-12)


def test_a_silent_node_does_not_answer_with_its_bias():
    # the hidden layer hears at 0 and 2; at 1 nothing arrives, and phi(bias) must not be emitted
    first = Lines([0, 2], torch.ones(2, 1, 1), torch.tensor([5.0]), torch.relu)
    heard = propagate(torch.ones(1, 1), [first, Lines([0], torch.ones(1, 1, 1))])
    assert {time: value.item() for time, value in heard.items()} == {0.0: 6.0, 2.0: 6.0}


def test_sums_that_are_equal_on_paper_are_one_instant():
    # in floating point 0.1 + 0.2 is not 0.3
    assert output_times([[0.1, 0.3], [0.0, 0.2]]) == pytest.approx([0.1, 0.3, 0.5])
    heard = propagate(
        torch.ones(1, 1), [Lines([0.1, 0.3], torch.ones(2, 1, 1)), Lines([0, 0.2], torch.ones(2, 1, 1))]
    )
    assert [value.item() for value in heard.values()] == [1.0, 2.0, 1.0]
    thirds = [[1 / 3, 2 / 3], [1 / 3, 0.0]]
    assert (
        len(output_times(thirds))
        == len(propagate(torch.ones(1, 1), [Lines(one, torch.ones(2, 1, 1)) for one in thirds]))
        == 3
    )


def test_instants_less_than_a_billionth_apart_are_one_and_more_are_two():
    assert len(output_times([[0.5, 0.5 + 5e-10]])) == 1
    assert len(output_times([[0.5, 0.5 + 5e-9]])) == 2


def test_arrivals_by_brute_force():
    generator = np.random.default_rng(0)
    for _ in range(20):
        before = sorted(set(generator.integers(0, 8, 4).tolist()))
        delays = sorted(set(generator.integers(0, 8, 3).tolist()))
        times, table = arrivals(before, delays)
        assert times == sorted({one + two for one in before for two in delays})
        for time, places in zip(times, table, strict=True):
            assert {(before[p // len(delays)] + delays[p % len(delays)]) for p in places} == {time}
        assert sorted(itertools.chain(*table)) == list(range(len(before) * len(delays)))


def test_one_delayed_layer_is_a_layer_of_output_units():
    generator = torch.Generator().manual_seed(5)
    layer = DelayLayer(7, 1, drawn("generic", 5, 1)[0]).double()
    layer.draw(generator, "he")
    units = torch.nn.Linear(7, 5, dtype=torch.float64)
    with torch.no_grad():
        units.weight.copy_(layer.weight[:, 0])
        units.bias.copy_(layer.bias[:, 0])
    assert sum(p.numel() for p in layer.parameters()) == sum(p.numel() for p in units.parameters())
    x = torch.randn(9, 7, dtype=torch.float64, generator=generator)
    labels = torch.randint(0, 5, (9,), generator=generator)
    outputs = layer(x[:, None])[:, :, 0], units(x)
    torch.testing.assert_close(*outputs, rtol=0, atol=1e-12)
    for answers in outputs:
        torch.nn.functional.cross_entropy(answers, labels).backward()
    torch.testing.assert_close(layer.weight.grad[:, 0], units.weight.grad, rtol=0, atol=1e-12)
    torch.testing.assert_close(layer.bias.grad[:, 0], units.bias.grad, rtol=0, atol=1e-12)


@pytest.mark.parametrize("kind", ["generic", "equal"])
def test_gradients_against_finite_differences(kind):
    layers, _ = network(drawn(kind, 3, 2))
    weights = [weight for layer in layers for weight in layer.parameters()]
    x = torch.randn(3, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(6))

    def series(*given):
        names = [name for name, _ in layers[0].named_parameters()]
        a = torch.relu(
            torch.func.functional_call(layers[0], dict(zip(names, given[:2], strict=True)), x[:, None])
        )
        return torch.func.functional_call(layers[1], dict(zip(names, given[2:], strict=True)), a)

    assert torch.autograd.gradcheck(series, weights, rtol=1e-6)


def test_the_same_gradient_as_the_written_out_backward_pass():
    """grad w2[m2] = sum over m1 of delta h[m1]; grad W1[m1] = g x^T, with g through the weights of all m2."""
    delays = drawn("generic", 3, 2)
    (one, two), _ = network(delays)
    x = torch.randn(1, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(7))
    u = torch.stack([x[0] @ one.weight[m].T + one.bias[m] for m in range(3)])  # (m1, nodes)
    h = torch.relu(u)
    delta = torch.randn(3, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(8))  # (m1, m2)
    order = sorted(
        itertools.product(range(3), repeat=2), key=lambda path: delays[0][path[0]] + delays[1][path[1]]
    )
    weights = torch.stack([delta[path] for path in order])
    (unrolled([one, two], x)[0, :, 0] * weights).sum().backward()
    g = (delta @ two.weight[:, 0]) * (u > 0)
    torch.testing.assert_close(two.weight.grad[:, 0], delta.T @ h)
    torch.testing.assert_close(one.weight.grad, g[:, :, None] * x[0])
    torch.testing.assert_close(one.bias.grad, g)


def test_delay_sets_are_what_they_are_called():
    generic, shared, equal = (drawn(kind, 5, 3) for kind in KINDS)
    check_generic(generic)
    assert len({tuple(layer) for layer in generic}) == 3
    assert shared[0] == shared[1] == shared[2]
    assert equal == [[0.0, 1.0, 2.0, 3.0, 4.0]] * 3
    assert all(layer == sorted(layer) and layer[0] >= 0 and layer[-1] < 1 for layer in (*generic, *shared))
    assert drawn("generic", 5, 3, seed=1) != generic
    assert drawn("generic", 5, 3) == generic


def test_drawing_delays_leaves_the_shared_random_state_alone():
    torch.manual_seed(3)
    before = torch.get_rng_state()
    drawn("generic", 10, 2)
    assert torch.equal(before, torch.get_rng_state())


def test_the_number_of_output_times_is_public():
    assert len(fw.models.output_times([[0, 1, 2]] * 3)) == 7
    assert fw.models.output_times([[0.25]]) == [0.25]
    assert fw.models.output_times(np.array([[0, 1], [0, 2]])) == [0.0, 1.0, 2.0, 3.0]


@pytest.mark.parametrize(
    ("delays", "message"),
    [
        ([], "delays=\\[\\] is not allowed; give one list of delays a layer"),
        ([[]], "layer 1 needs a list of at least one delay"),
        ([[0, 1], []], "layer 2 needs a list"),
        ([0, 1], "layer 1 needs a list"),
        ([[0, -1]], "delays=-1 is not allowed; layer 1 needs finite delays of at least 0"),
        ([[0], [math.nan]], "layer 2 needs finite delays"),
        ([[math.inf]], "delays=inf"),
        ([["1"]], "delays='1'"),
        ("01", "give one list"),
    ],
)
def test_delays_that_cannot_be(delays, message):
    with pytest.raises(ParameterError, match=message):
        output_times(delays)


@pytest.mark.parametrize(
    ("delays", "message"),
    [
        ([[0, 1], [0, 1]], r"layer 2 the paths \(0, 1\) and \(1, 0\) both arrive at 1"),
        ([[0.2, 0.2]], r"layer 1 the paths \(0,\) and \(1,\) both arrive at 0.2"),
        ([[0, 0.3], [0, 0.7], [0, 1]], r"layer 3 the paths .* both arrive at 1"),
    ],
)
def test_generic_is_refused_where_sums_coincide(delays, message):
    with pytest.raises(ParameterError, match=f"delays are not generic: at {message}"):
        check_generic(delays)


def test_what_cannot_be_drawn():
    with pytest.raises(ParameterError, match=r"kind='generical' is not known.*did you mean 'generic'"):
        drawn("generical", 3, 2)
    with pytest.raises(ParameterError, match="delays=0 is not allowed"):
        drawn("generic", 0, 2)
    with pytest.raises(ParameterError, match="layers=0"):
        drawn("equal", 2, 0)
    with pytest.raises(ParameterError, match="kind='shared' draws its delays; give a generator"):
        draw_delays("shared", 2, 2)


def test_a_bias_for_other_instants_is_refused():
    two, three = torch.zeros(2, 1), torch.zeros(3, 1)
    for bias in (two, torch.zeros(4, 1)):
        lines = [Lines([0, 1], torch.ones(2, 1, 1)), Lines([0, 1], torch.ones(2, 1, 1), bias)]
        with pytest.raises(ParameterError, match="layer 2 has a bias for"):
            propagate(torch.ones(1, 1), lines)
    lines = [Lines([0, 1], torch.ones(2, 1, 1)), Lines([0, 1], torch.ones(2, 1, 1), three)]
    assert len(propagate(torch.ones(1, 1), lines)) == 3
