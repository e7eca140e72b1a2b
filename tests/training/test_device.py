"""Devices: clear refusals, threads and random states that come back."""

import pytest
import torch

from filterwise.errors import ParameterError
from filterwise.training import Timer, pick_device, threads
from filterwise.training.device import own_randomness


def test_auto_prefers_cuda_then_mps_then_cpu():
    order = [("cuda", torch.cuda.is_available()), ("mps", torch.backends.mps.is_available()), ("cpu", True)]
    assert pick_device().type == next(name for name, there in order if there)
    assert pick_device(torch.device("cpu")) == torch.device("cpu")


@pytest.mark.parametrize("device", ["gpu", "cuda:", "cuda:x", "cpu:0:1", "", "meta", "cuda:-1"])
def test_unknown_devices_are_refused(device):
    with pytest.raises(ParameterError, match="is not known; choose from 'auto', 'cpu', 'cuda', 'mps'"):
        pick_device(device)


@pytest.mark.parametrize("device", ["cuda:99", "cpu:1"])
def test_absent_devices_are_refused(device):
    with pytest.raises(ParameterError, match=f"device='{device}' is absent"):
        pick_device(device)


def test_threads_come_back_after_an_error():
    before = torch.get_num_threads()

    def fail():
        assert torch.get_num_threads() == before + 1
        raise RuntimeError("inside")

    with pytest.raises(RuntimeError, match="inside"), threads(before + 1):
        fail()
    assert torch.get_num_threads() == before
    with pytest.raises(ParameterError, match="threads=0"), threads(0):
        pass


def test_own_randomness_is_repeatable_and_leaves_no_trace():
    before = torch.get_rng_state()
    drawn = []
    for seed in (5, 5, 6):
        with own_randomness(seed, torch.device("cpu")):
            drawn.append(torch.rand(3))
    assert torch.equal(drawn[0], drawn[1])
    assert not torch.equal(drawn[0], drawn[2])
    assert torch.equal(torch.get_rng_state(), before)


def test_timer_counts_the_block_only():
    with Timer(torch.device("cpu")) as timer:
        sum(range(200_000))
    assert timer.cpu_seconds > 0
    assert 0 < timer.seconds < 5
