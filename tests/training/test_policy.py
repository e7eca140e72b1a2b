"""The device policy: what may be chosen, that the fastest is, that it is kept, that nothing is touched."""

import copy
import json

import pytest
import torch
from torch import nn
from torch.nn.utils import prune

from filterwise.errors import ParameterError
from filterwise.training import Policy, Recipe, policy, policy_store

SHAPE = (8, 2, 8, 8)


def times(table):
    """A stand-in for the clock: seconds by form."""

    def time(net, shape, device, recipe, forms):
        time.calls += 1
        return {form: table["/".join(form)] for form in forms}

    time.calls = 0
    return time


@pytest.fixture(autouse=True)
def _wide_processor(monkeypatch):
    """One that may have bfloat16 arithmetic, whatever these tests run on."""
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: "AVX512")


@pytest.fixture
def clock(monkeypatch):
    def install(**table):
        stand_in = times({name.replace("_in_", "/"): seconds for name, seconds in table.items()})
        monkeypatch.setattr("filterwise.training.device_policy._time", stand_in)
        return stand_in

    return install


def test_a_recipe_that_fixes_everything_is_not_timed(make_net, clock):
    stand_in = clock()
    recipe = Recipe(precision="bfloat16", memory_format="channels_last")
    chosen = policy(make_net(), SHAPE, "cpu", recipe)
    assert (chosen.precision, chosen.layout, stand_in.calls) == ("bfloat16", "channels_last", 0)


FAST = {
    "float32_in_contiguous": 1.0,
    "float32_in_channels_last": 0.5,
    "bfloat16_in_contiguous": 2.0,
    "bfloat16_in_channels_last": 3.0,
}


def test_the_fastest_form_is_chosen_and_kept(make_net, clock):
    stand_in = clock(**FAST)
    net = make_net()
    first = policy(net, SHAPE, "cpu")
    assert (first.precision, first.layout) == ("float32", "channels_last")
    assert "timed: float32/contiguous 1e+03 ms, float32/channels_last 500 ms" in first.why

    later = clock(**{**FAST, "bfloat16_in_contiguous": 0.001})  # the next timing would say otherwise
    again = policy(make_net(seed=1), SHAPE, "cpu")  # other weights, same network
    assert (again.dtype, again.memory_format) == (first.dtype, first.memory_format)
    assert (stand_in.calls, later.calls) == (1, 0)
    (kept,) = policy_store.folder().glob("*.json")
    entry = json.loads(kept.read_text())
    assert entry["choice"] == "float32/channels_last"
    assert entry["torch"] == torch.__version__


def test_another_network_shape_or_constraint_is_timed_by_itself(make_net, clock):
    stand_in = clock(**FAST)
    policy(make_net(), SHAPE, "cpu")
    policy(make_net(), (16, 2, 8, 8), "cpu")
    policy(make_net(labels=4), SHAPE, "cpu")
    chosen = policy(make_net(), SHAPE, "cpu", Recipe(precision="bfloat16"))
    assert stand_in.calls == 4
    assert (chosen.precision, chosen.layout) == ("bfloat16", "contiguous")


def test_a_gain_within_the_noise_is_no_reason(make_net, clock):
    clock(**{**FAST, "float32_in_channels_last": 0.97})
    assert policy(make_net(), SHAPE, "cpu").layout == "contiguous"


@pytest.mark.parametrize("text", ["", "{", "[]", '{"choice": "float16/contiguous"}', '{"choice": 3}'])
def test_a_broken_file_is_timed_anew(make_net, clock, text):
    clock(**FAST)
    policy(make_net(), SHAPE, "cpu")
    (kept,) = policy_store.folder().glob("*.json")
    kept.write_text(text)
    stand_in = clock(**FAST)
    assert policy(make_net(), SHAPE, "cpu").layout == "channels_last"
    assert stand_in.calls == 1
    assert json.loads(kept.read_text())["choice"] == "float32/channels_last"


def test_without_a_cache_folder_the_choice_is_made_with_a_warning(make_net, clock, monkeypatch, tmp_path):
    (tmp_path / "file").write_text("not a folder")
    monkeypatch.setenv("FILTERWISE_CACHE", str(tmp_path / "file"))
    clock(**FAST)
    with pytest.warns(RuntimeWarning, match="is not kept"):
        assert policy(make_net(), SHAPE, "cpu").layout == "channels_last"


@pytest.mark.parametrize("pruned", [False, True])
def test_the_real_timing_touches_neither_network_nor_randomness(make_net, pruned):
    net = make_net(dropout=0.5)
    if pruned:
        prune.custom_from_mask(net[0], "weight", torch.ones_like(net[0].weight))
        net(torch.zeros(SHAPE))  # leaves a weight that hangs on a graph
    net.eval()
    state, random = copy.deepcopy(net.state_dict()), torch.get_rng_state()
    chosen = policy(net, SHAPE, "cpu")
    assert chosen.why.startswith("timed: float32/contiguous ")
    assert all(torch.equal(value, state[name]) for name, value in net.state_dict().items())
    assert torch.equal(torch.get_rng_state(), random)
    assert all(weight.grad is None for weight in net.parameters())
    assert not net.training


def test_a_network_without_planes_has_no_memory_format_to_choose(clock):
    clock(**FAST)
    net = nn.Sequential(nn.Flatten(), nn.Linear(128, 3))
    assert "channels_last" not in policy(net, SHAPE, "cpu").why


def test_a_processor_without_bfloat16_does_not_try_it(make_net, clock, monkeypatch):
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: "AVX2")
    clock(**FAST)
    assert "bfloat16" not in policy(make_net(), SHAPE, "cpu").why


def test_plain_values_come_back():
    chosen = Policy(torch.device("cpu"), torch.bfloat16, torch.channels_last, "because")
    assert Policy.from_dict(json.loads(json.dumps(chosen.to_dict()))) == chosen


def test_an_unknown_device_is_refused(make_net):
    with pytest.raises(ParameterError, match="device='tpu' is not known"):
        policy(make_net(), SHAPE, "tpu")
