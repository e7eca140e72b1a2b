"""Devices: clear refusals, threads and random states that come back."""

import os

import pytest
import torch

from filterwise.errors import ParameterError
from filterwise.training import Timer, pick_device, threads
from filterwise.training.device import own_randomness, same_kernels


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


def test_kernels_on_cuda_are_deterministic_and_chosen_by_no_timing(monkeypatch):
    monkeypatch.delenv("CUBLAS_WORKSPACE_CONFIG", raising=False)
    cudnn = torch.backends.cudnn

    def state():
        return cudnn.benchmark, cudnn.deterministic, torch.are_deterministic_algorithms_enabled()

    before = state()
    with same_kernels(torch.device("cpu")):
        assert state() == before
    with same_kernels(torch.device("cuda:0")):
        assert state() == (False, True, True)
        assert os.environ["CUBLAS_WORKSPACE_CONFIG"] == ":4096:8"
    assert state() == before
