"""Batched augmentation against a loop over images written from the definition."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from filterwise.data import augment, draw, scale
from filterwise.errors import ParameterError


def random_images(*shape: int, seed: int = 0) -> Tensor:
    return torch.randint(0, 256, shape, dtype=torch.uint8, generator=torch.Generator().manual_seed(seed))


def one_by_one(images: Tensor, generator: torch.Generator, flip: bool, shift: int) -> Tensor:
    """Pixel by pixel: mirror first, then move, 0 where nothing came from."""
    drawn = draw(len(images), generator, flip, shift)
    count, _, height, width = images.shape
    result = torch.zeros_like(images)
    for n in range(count):
        down, right = drawn.shifts[:, n].tolist() if drawn.shifts is not None else (0, 0)
        source = images[n].flip(-1) if drawn.flips is not None and drawn.flips[n] else images[n]
        for y in range(height):
            for x in range(width):
                if 0 <= y - down < height and 0 <= x - right < width:
                    result[n, :, y, x] = source[:, y - down, x - right]
    return result


def test_scale_is_the_formula_and_reaches_both_ends_exactly() -> None:
    pixels = torch.arange(256, dtype=torch.uint8)
    assert torch.equal(scale(pixels), pixels.float() / 255 * 2 - 1)
    assert scale(pixels)[0] == -1
    assert scale(pixels)[-1] == 1


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize(("flip", "shift"), [(True, 4), (True, 0), (False, 2), (False, 0), (True, 9)])
@pytest.mark.parametrize("shape", [(12, 3, 8, 8), (7, 1, 6, 9), (1, 3, 5, 4)])
def test_equals_the_loop(shape: tuple[int, ...], flip: bool, shift: int, layout: torch.memory_format) -> None:
    images = random_images(*shape).contiguous(memory_format=layout)
    before = images.clone()
    expected = one_by_one(scale(before), torch.Generator().manual_seed(3), flip, shift)
    fused = augment(images, torch.Generator().manual_seed(3), flip, shift)
    assert torch.equal(fused, expected)
    assert torch.equal(images, before)
    if shape[1] > 1:
        assert fused.is_contiguous(memory_format=layout)


def test_a_view_of_a_larger_set_is_read_at_its_own_place() -> None:
    images = random_images(20, 3, 8, 8)
    for view in (images[5:9], images[::3], images[:, :, 1:7, 2:], images[:, :2]):
        expected = one_by_one(scale(view), torch.Generator().manual_seed(1), True, 2)
        assert torch.equal(augment(view, torch.Generator().manual_seed(1), True, 2), expected)


def test_draws_are_uniform_independent_and_from_the_generator_alone() -> None:
    torch.manual_seed(0)
    state = torch.get_rng_state()
    drawn = draw(40_000, torch.Generator().manual_seed(0), True, 4)
    assert torch.equal(torch.get_rng_state(), state)
    assert drawn.flips is not None
    assert drawn.shifts is not None
    # five standard deviations of a binomial count
    assert abs(int(drawn.flips.sum()) - 20_000) < 5 * 100
    both = (drawn.shifts[0] + 4) * 9 + drawn.shifts[1] + 4
    counts = torch.bincount(both, minlength=81).double()
    assert len(counts) == 81
    mean = 40_000 / 81
    assert (counts - mean).abs().max() < 5 * mean**0.5


def test_each_image_has_its_own_draw_and_each_call_a_new_one() -> None:
    images = random_images(1, 1, 16, 16).expand(32, 1, 16, 16)
    generator = torch.Generator().manual_seed(0)
    first, second = augment(images, generator), augment(images, generator)
    assert len({tuple(image.flatten().tolist()) for image in first}) > 20
    assert not torch.equal(first, second)


def test_wrong_input_is_refused() -> None:
    generator = torch.Generator()
    with pytest.raises(ParameterError, match=r"torch\.float32; torch\.uint8 pixels are expected"):
        augment(torch.zeros(1, 3, 4, 4), generator)
    with pytest.raises(ParameterError, match=r"\(3, 4, 4\); \(N, C, H, W\) is expected"):
        augment(torch.zeros(3, 4, 4, dtype=torch.uint8), generator)
    with pytest.raises(ParameterError, match="shift=-1 is not allowed; it must be an integer of at least 0"):
        augment(torch.zeros(1, 3, 4, 4, dtype=torch.uint8), generator, shift=-1)


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_cuda_equals_cpu_with_the_same_generator(layout: torch.memory_format) -> None:
    images = random_images(64, 3, 32, 32).contiguous(memory_format=layout)
    expected = augment(images, torch.Generator().manual_seed(5))
    there = augment(images.cuda(), torch.Generator().manual_seed(5))
    assert torch.allclose(there.cpu(), expected, rtol=0, atol=1e-6)
    # and with a generator on the device
    own = torch.Generator("cuda")
    first = augment(images.cuda(), own.manual_seed(5))
    second = augment(images.cuda(), own.manual_seed(5))
    assert first.device.type == "cuda"
    assert torch.equal(first, second)
