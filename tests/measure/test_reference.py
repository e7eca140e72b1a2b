"""One pass against the paper's own procedure: every other filter silenced, the network run again."""

from __future__ import annotations

import pytest
import torch
from silencing import silence_and_rerun
from torch import nn

from filterwise import data, models
from filterwise.data import ImageSet, scale
from filterwise.errors import ParameterError
from filterwise.measure import (
    HEAD_RECIPE,
    class_means,
    clip,
    clusters,
    label_fields,
    layer_summary,
    probe_heads,
)


def random_set(n: int, labels: int, size: int, channels: int = 3) -> ImageSet:
    generator = torch.Generator().manual_seed(4)
    images = torch.randint(0, 256, (n, channels, size, size), generator=generator, dtype=torch.uint8)
    own = torch.cat([torch.arange(labels), torch.randint(0, labels, (n - labels,), generator=generator)])
    return ImageSet(images, own, tuple(str(label) for label in range(labels)), "random")


@pytest.mark.parametrize("layer", ["features.1", "features.4", "features.6"])
def test_one_pass_equals_silence_and_rerun_on_a_small_vgg(layer: str) -> None:
    net = models.build("vgg", labels=5, size=16, stages=((8, 2), (8, 2), (16, 2)), plan="V")
    ds = random_set(23, 5, 16)
    mean = class_means(net, layer, ds)
    weight = torch.randn(mean.shape, generator=torch.Generator().manual_seed(5))
    fast, slow = label_fields(mean, weight), silence_and_rerun(net, layer, weight, ds, batch=6)
    assert slow.shape == (mean.shape[1], 5, 5)
    largest = slow.abs().amax(dim=(1, 2))
    assert bool((largest > 0).any())
    assert bool(((fast - slow).abs().amax(dim=(1, 2)) <= 1e-5 * largest).all())


def test_the_oracle_itself_against_a_network_with_a_silenced_head() -> None:
    """The whole thing as one module, its head's weights zeroed in place, image by image."""
    torch.manual_seed(0)
    head = nn.Linear(4 * 9, 3, bias=False)
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), head)
    ds = random_set(10, 3, 8)
    found = silence_and_rerun(net, "2", head.weight, ds, filters=[2, 0])
    original = head.weight.detach().clone()
    for row, f in enumerate((2, 0)):
        with torch.no_grad():
            silenced = torch.zeros_like(original)
            silenced[:, f * 9 : (f + 1) * 9] = original[:, f * 9 : (f + 1) * 9]
            head.weight.copy_(silenced)
            outputs = torch.cat([net(scale(image[None])) for image in ds.images])
        for label in range(3):
            expected = outputs[ds.labels == label].mean(dim=0)
            torch.testing.assert_close(found[row, label], expected, rtol=1e-5, atol=1e-6)


def test_tokens_too() -> None:
    class Tokens(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embed = nn.Linear(16, 6)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            patches = x.unfold(2, 4, 4).unfold(3, 4, 4).flatten(1, 3).flatten(2)
            return self.embed(patches).relu()

    net = nn.Sequential(Tokens())
    ds = random_set(12, 4, 8, channels=1)
    mean = class_means(net, "0", ds)
    assert mean.shape == (4, 6, 4)
    weight = torch.randn(4, 24, generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(
        label_fields(mean, weight), silence_and_rerun(net, "0", weight, ds), rtol=1e-5, atol=1e-5
    )


def test_network_of_two_filters_whose_clusters_are_known() -> None:
    """From pixels to clusters: filter 0 sees red, filter 1 green; 0 and 1 are red, 2 green, 3 black."""
    net = nn.Sequential(nn.Conv2d(3, 2, 1, bias=False), nn.ReLU())
    with torch.no_grad():
        net[0].weight.zero_()
        net[0].weight[0, 0] = net[0].weight[1, 1] = 1.0
    images = torch.zeros(8, 3, 2, 2, dtype=torch.uint8)
    labels = torch.arange(8) % 4
    images[(labels == 0) | (labels == 1), 0] = 255
    images[labels == 2, 1] = 255
    mean = class_means(net, "1", ImageSet(images, labels, ("fire", "brick", "leaf", "coal"), "colours"))
    head = torch.zeros(4, 2, 4)
    head[[0, 1], 0] = 1.0
    head[2, 1] = 1.0
    head[3, 1] = 0.8  # green also speaks for coal, wrongly
    B = clip(label_fields(mean, head))
    assert [clusters(matrix) for matrix in B] == [[(0, 1)], [(2,)]]
    row = layer_summary(B)
    assert row[["N_c", "C_s", "n", "n_in", "n_out", "SNR_block"]].tolist() == [1, 1.5, 0.5, 0, 0.5, 5]


@pytest.mark.cuda
def test_cuda_gives_the_same_matrices() -> None:
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    net = models.build("vgg", labels=5, size=16, stages=((8, 2), (8, 2), (16, 2)), plan="V")
    ds = random_set(40, 5, 16)
    weight = torch.randn(5, 16, 4, generator=torch.Generator().manual_seed(0))
    here, there = (
        label_fields(class_means(net, "features.6", ds, device=d), weight) for d in ("cpu", "cuda")
    )
    torch.testing.assert_close(there, here, rtol=1e-3, atol=1e-4)
    assert next(net.parameters()).device.type == "cpu"  # lent to the device, and back


def test_filters_add_up_to_the_whole_head() -> None:
    """Summed over filters, the matrices are the head's mean outputs: nothing is lost between the filters."""
    train, test = (data.load("parts", split, labels=6, n=120) for split in ("train", "test"))
    net = models.build("vgg", labels=6, channels=1, size=16, stages=((4, 1), (6, 1)))
    recipe = HEAD_RECIPE.replace(epochs=2, flip=False, shift=0)
    heads = probe_heads(net, ["features.1", "features.2"], train, test, recipe)
    means = class_means(net, list(heads), test)
    net.eval()
    outputs = scale(test.images)
    with torch.no_grad():
        for layer, block in zip(heads, net.features, strict=True):
            outputs = block(outputs)
            logits = outputs.flatten(1) @ heads[layer].weight.flatten(1).T
            expected = torch.stack([logits[test.labels == label].mean(dim=0) for label in range(6)])
            found = label_fields(means[layer], heads[layer]).sum(dim=0)
            torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


def test_a_head_that_does_not_fit_is_refused() -> None:
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU())
    with pytest.raises(ParameterError, match="does not fit"):
        silence_and_rerun(net, "1", torch.zeros(3, 17), random_set(6, 3, 4))
