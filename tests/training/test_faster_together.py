"""Whether to train together: the timing decides, is kept, and is not taken where the answer is known."""

import copy
import json

import pytest
import torch

from filterwise.errors import ParameterError
from filterwise.training import Policy, Recipe, faster_together, policy_store
from filterwise.training import together as module

SHAPE = (8, 2, 8, 8)
RECIPE = Recipe(precision="float32", memory_format="contiguous")


class Clock:
    """A stand-in for the timing, with seconds of one member's step and of the stack's."""

    def __init__(self, monkeypatch, one, stack, error=None):
        self.one, self.stack, self.error, self.members = one, stack, error, []
        monkeypatch.setattr(module, "_time", self)

    def __call__(self, net, members, shape, device, recipe, alone, stacked):
        self.members.append(members)
        if self.error is not None:
            raise self.error
        return self.one, self.stack


@pytest.fixture(autouse=True)
def _device(monkeypatch):
    """A device that is no CPU; nothing is computed on it."""
    for name in ("together", "device_policy"):
        monkeypatch.setattr(
            f"filterwise.training.{name}.pick_device", lambda device="auto": torch.device("meta")
        )


def test_the_timing_decides_and_is_kept(make_net, monkeypatch):
    clock = Clock(monkeypatch, one=1.0, stack=2.0)
    first = faster_together(make_net(), 4, SHAPE, recipe=RECIPE)
    assert first.together
    assert first.why == "timed: 4 alone 4e+03 ms, together 2e+03 ms a step"
    clock.stack = 100.0  # the next timing would say otherwise
    again = faster_together(make_net(seed=1), 3, SHAPE, recipe=RECIPE)  # three are timed as four
    assert again.together
    assert again.why == "timed before on this machine"
    assert not faster_together(make_net(), 2, SHAPE, recipe=RECIPE).together
    assert not faster_together(make_net(), 5, SHAPE, recipe=RECIPE).together
    assert clock.members == [4, 2, 8]
    kept = [json.loads(path.read_text()) for path in policy_store.folder().glob("*.json")]
    assert {entry["members"]: entry["choice"].split("/")[0] for entry in kept} == {
        2: "alone",
        4: "together",
        8: "alone",
    }


def test_another_network_or_shape_is_timed_by_itself(make_net, monkeypatch):
    clock = Clock(monkeypatch, one=1.0, stack=2.0)
    faster_together(make_net(), 4, SHAPE, recipe=RECIPE)
    faster_together(make_net(labels=4), 4, SHAPE, recipe=RECIPE)
    faster_together(make_net(), 4, (9, *SHAPE[1:]), recipe=RECIPE)
    assert clock.members == [4, 4, 4]


@pytest.mark.parametrize(("stack", "expected"), [(3.6, True), (3.7, False), (4.1, False)])
def test_a_little_is_not_worth_it(make_net, monkeypatch, stack, expected):
    Clock(monkeypatch, one=1.0, stack=stack)
    assert faster_together(make_net(), 4, SHAPE, recipe=RECIPE).together is expected


def test_what_cannot_be_stacked_trains_alone_and_is_tried_again_another_day(make_net, monkeypatch):
    clock = Clock(monkeypatch, 1.0, 2.0, error=torch.OutOfMemoryError("out of memory"))
    answer = faster_together(make_net(), 4, SHAPE, recipe=RECIPE)
    assert not answer.together
    assert "4 of them cannot be stacked: out of memory" in answer.why
    clock.error = None
    assert faster_together(make_net(), 4, SHAPE, recipe=RECIPE).together


def test_one_network_and_the_cpu_are_not_timed(make_net, monkeypatch):
    clock = Clock(monkeypatch, one=1.0, stack=0.1)
    assert not faster_together(make_net(), 1, SHAPE, recipe=RECIPE).together
    monkeypatch.setattr(module, "pick_device", lambda device: torch.device("cpu"))
    assert not faster_together(make_net(), 16, SHAPE, "cpu", RECIPE).together
    assert clock.members == []
    with pytest.raises(ParameterError, match="members=0"):
        faster_together(make_net(), 0, SHAPE, recipe=RECIPE)


def test_real_steps_are_timed_and_nothing_is_touched(make_net):
    net, cpu = make_net(), torch.device("cpu")
    before, randomness = copy.deepcopy(net.state_dict()), torch.get_rng_state()
    # the part that `faster_together` leaves out on the CPU
    answer = module._probed(net, 2, SHAPE, cpu, RECIPE)
    assert answer.why.startswith("timed: 2 alone ")
    times = module._time(net, 2, SHAPE, cpu, RECIPE, Policy(cpu), Policy(cpu))
    assert all(0 < seconds < 1 for seconds in times)
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())
    assert torch.equal(randomness, torch.get_rng_state())
    dropped = module._probed(make_net(dropout=0.5), 2, SHAPE, cpu, RECIPE)
    assert not dropped.together
    assert "draws random numbers" in dropped.why
