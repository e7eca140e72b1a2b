"""Numerics: the rule, what a recipe fixes, and that they decide the numbers alone."""

import pytest
import torch

from filterwise.errors import ParameterError, RunError
from filterwise.training import Numerics, Recipe, fit, resolve, threads


def processor(monkeypatch, bfloat16, amx=False):
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: bfloat16)
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: amx)


@pytest.mark.parametrize(
    ("bfloat16", "amx", "want"),
    [(True, False, "bfloat16"), (False, True, "bfloat16"), (False, False, "float32")],
)
def test_the_rule_for_processors(monkeypatch, bfloat16, amx, want):
    processor(monkeypatch, bfloat16, amx)
    form = resolve(Recipe(), "cpu")
    assert form == Numerics(torch.device("cpu"), want, "channels_last", "single", 1)
    assert resolve(Recipe(), "cpu", "stacked-4").memory_format == "contiguous"


@pytest.mark.parametrize(
    ("kind", "capability", "want"),
    [
        ("cuda", (7, 5), ("float32", "channels_last")),
        ("cuda", (8, 0), ("bfloat16", "channels_last")),
        ("cuda", (9, 0), ("bfloat16", "channels_last")),
        ("mps", None, ("float32", "contiguous")),
    ],
)
def test_the_rule_for_accelerators(monkeypatch, kind, capability, want):
    processor(monkeypatch, True)
    monkeypatch.setattr("filterwise.training.numerics.pick_device", torch.device)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: capability)
    form = resolve(Recipe(), kind)
    assert (form.precision, form.memory_format) == want


def test_what_a_recipe_fixes_is_taken():
    form = resolve(Recipe(precision="float32", memory_format="contiguous"), "cpu")
    assert (form.dtype, form.layout) == (torch.float32, torch.contiguous_format)
    with pytest.raises(ParameterError, match=r"memory_format='channels_last' is not for engine='stacked-2'"):
        resolve(Recipe(memory_format="channels_last"), "cpu", "stacked-2")
    with pytest.raises(ParameterError, match="device='tpu' is not known"):
        resolve(Recipe(), "tpu")


@pytest.mark.parametrize("bfloat16", [True, False])
def test_the_callers_threads_do_not_show_and_come_back(make_net, make_set, same_state, monkeypatch, bfloat16):
    processor(monkeypatch, bfloat16)
    nets, seen = [make_net() for _ in range(3)], []
    recipe = Recipe(epochs=2, batch=16)
    for net, count in zip(nets, (1, 2, 3), strict=True):
        with threads(count):
            history = fit(net, make_set(), make_set(21, seed=1), recipe, device="cpu", progress=False,
                          after_epoch=lambda row: seen.append(torch.get_num_threads()))  # fmt: skip
            assert torch.get_num_threads() == count
        assert history.numerics == resolve(recipe, "cpu")
    assert set(seen) == {1}
    assert same_state(nets[0], nets[1])
    assert same_state(nets[0], nets[2])


def test_a_checkpoint_of_other_numerics_is_refused_by_name(make_net, make_set, monkeypatch, tmp_path):
    options = {"recipe": Recipe(epochs=1), "device": "cpu", "progress": False, "checkpoint": tmp_path}
    processor(monkeypatch, True)
    fit(make_net(), make_set(), **options)
    processor(monkeypatch, False)
    with pytest.raises(RunError, match=r"numerics\.precision is 'bfloat16' there and 'float32' here"):
        fit(make_net(), make_set(), **options)
