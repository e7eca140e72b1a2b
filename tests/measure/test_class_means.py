"""Class means against plain loops; at any batch size."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from torch import Tensor, nn

from filterwise.data import ImageSet, scale
from filterwise.errors import DataError, ParameterError
from filterwise.measure import class_means

LABELS = 5


@pytest.fixture
def net() -> nn.Sequential:
    torch.manual_seed(1)
    return nn.Sequential(
        nn.Conv2d(3, 6, 3, padding=1),
        nn.BatchNorm2d(6),
        nn.ReLU(inplace=True),
        nn.MaxPool2d(2),
        nn.Conv2d(6, 4, 3),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(4 * 9, LABELS),
    )


@pytest.fixture
def ds() -> ImageSet:
    generator = torch.Generator().manual_seed(2)
    images = torch.randint(0, 256, (83, 3, 10, 10), generator=generator, dtype=torch.uint8)
    labels = torch.cat([torch.arange(LABELS), torch.randint(0, LABELS, (78,), generator=generator)])
    return ImageSet(images, labels, tuple("abcde"), "random")


def brute_force(net: nn.Sequential, upto: int, ds: ImageSet) -> Tensor:
    net.eval()
    outputs = [net[:upto](scale(image[None]))[0].detach().double().flatten(1) for image in ds.images]
    means = []
    for label in range(LABELS):
        mine = [output for output, own in zip(outputs, ds.labels.tolist(), strict=True) if own == label]
        means.append(sum(mine[1:], mine[0]) / len(mine))
    return torch.stack(means)


@pytest.mark.parametrize("batch", [1, 16, 500])
def test_equals_a_plain_loop_over_images(net: nn.Sequential, ds: ImageSet, batch: int) -> None:
    found = class_means(net, ["3", "5"], ds, batch=batch)
    assert found["3"].shape == (LABELS, 6, 25)
    assert found["5"].shape == (LABELS, 4, 9)
    for layer, upto in (("3", 4), ("5", 6)):
        torch.testing.assert_close(found[layer].double(), brute_force(net, upto, ds), rtol=1e-5, atol=1e-6)


def test_list_of_one_gives_a_mapping_and_a_name_gives_a_tensor(net: nn.Sequential, ds: ImageSet) -> None:
    assert torch.equal(class_means(net, ["5"], ds)["5"], class_means(net, "5", ds))


def test_slices_of_a_batch_add_up(net: nn.Sequential, ds: ImageSet, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = class_means(net, "3", ds)
    monkeypatch.setattr("filterwise.measure.means.SLICE_BYTES", 8 * 6 * 25 * 3)
    monkeypatch.setattr("filterwise.measure.means.BATCH_VALUES", 4 * 20 * 300)
    torch.testing.assert_close(class_means(net, "3", ds), whole)


def test_large_images_come_in_small_batches(ds: ImageSet, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("filterwise.measure.means.BATCH_VALUES", 4 * 20 * 300)
    sizes = []
    first = nn.Conv2d(3, 1, 1)
    first.register_forward_pre_hook(lambda _module, inputs: sizes.append(len(inputs[0])))
    class_means(nn.Sequential(first), "0", ds)
    assert max(sizes) == 20


def test_sum_of_many_images_keeps_float64_accuracy() -> None:
    """20,001 ones and one large value: a float32 running sum would be off by more than its last digit."""
    images = torch.full((20_001, 1, 1, 1), 128, dtype=torch.uint8)
    images[0] = 255
    net = nn.Sequential(nn.Conv2d(1, 1, 1, bias=False), nn.Identity())
    with torch.no_grad():
        net[0].weight.fill_(1e4)
    found = class_means(net, "0", ImageSet(images, torch.zeros(20_001, dtype=torch.int64), ("one",), "ones"))
    values = scale(images).double().flatten() * 1e4
    assert found.item() == pytest.approx(values.mean().item(), rel=1e-6)


def test_float64_network_is_measured_in_float64(net: nn.Sequential, ds: ImageSet) -> None:
    single = class_means(net, "3", ds)
    double = class_means(net.double(), "3", ds)
    assert (single.dtype, double.dtype) == (torch.float32, torch.float64)
    error = float((single - double).abs().max() / double.abs().max())
    assert 0 < error < 1e-5


def test_vectors_and_tokens_have_filters_in_the_middle() -> None:
    class Tokens(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x.flatten(2).transpose(1, 2)  # (N, T, F) with F = 3 channels

    ds = ImageSet(
        torch.randint(0, 256, (4, 3, 2, 2), dtype=torch.uint8), torch.tensor([0, 1, 0, 1]), ("a", "b")
    )
    net = nn.Sequential(Tokens(), nn.Flatten(), nn.Linear(12, 7))
    found = class_means(net, ["0", "2"], ds)
    assert found["0"].shape == (2, 3, 4)
    assert found["2"].shape == (2, 7, 1)
    expected = scale(ds.images[[0, 2]]).mean(dim=0).flatten(1)
    torch.testing.assert_close(found["0"][0], expected)


def test_label_without_images_is_named(net: nn.Sequential, ds: ImageSet) -> None:
    keep = ds.labels != 3
    some = dataclasses.replace(ds, images=ds.images[keep], labels=ds.labels[keep], digest="")
    with pytest.raises(DataError, match=r"1 of 5 labels .* 3 \('d'\)"):
        class_means(net, "5", some)


def test_sums_beyond_the_memory_are_refused_before_any_is_made(net: nn.Sequential, ds: ImageSet) -> None:
    with pytest.raises(ParameterError, match=r"largest is '0' with shape \(5, 6, 100\)"):
        class_means(net, ["0", "5"], ds, memory=8 * 5 * 6 * 100)
    with pytest.raises(ParameterError, match="batch=0"):
        class_means(net, "5", ds, batch=0)
