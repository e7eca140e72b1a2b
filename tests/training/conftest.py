"""Small sets and networks that train in milliseconds."""

from collections.abc import Callable, Iterator

import pytest
import torch
from torch import nn

from filterwise.data import ImageSet
from filterwise.training import threads


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    with threads(1):
        yield


def blobs(count: int = 50, labels: int = 3, size: int = 8, channels: int = 2, seed: int = 0) -> ImageSet:
    """Noise around one random picture a label: learnt within a few steps."""
    generator = torch.Generator().manual_seed(seed)
    # the pictures are the same for every seed, so that sets of different seeds are train and test
    pictures = torch.rand(labels, channels, size, size, generator=torch.Generator().manual_seed(9))
    chosen = torch.arange(count) % labels
    noise = torch.rand(count, channels, size, size, generator=generator)
    images = (255 * (0.7 * pictures[chosen] + 0.3 * noise)).to(torch.uint8)
    return ImageSet(images, chosen, tuple(f"label {label}" for label in range(labels)))


def small_net(seed: int = 0, labels: int = 3, dropout: float = 0.0) -> nn.Module:
    """Convolution, batch normalisation, pooling and a head; weights from ``seed`` alone."""
    net = nn.Sequential(
        nn.Conv2d(2, 4, 3, padding=1),
        nn.BatchNorm2d(4),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Dropout(dropout),
        nn.Flatten(),
        nn.Linear(64, labels),
    )
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, weight in net.named_parameters():
            if name.endswith("weight") and weight.ndim > 1:
                weight.normal_(0, 0.2, generator=generator)
            else:
                weight.fill_(1.0 if name == "1.weight" else 0.0)
    return net


@pytest.fixture
def make_set() -> Callable[..., ImageSet]:
    return blobs


@pytest.fixture
def make_net() -> Callable[..., nn.Module]:
    return small_net


@pytest.fixture
def same_state() -> Callable[[nn.Module, nn.Module], bool]:
    """Whether two networks agree in every bit of their state."""

    def same(first: nn.Module, second: nn.Module) -> bool:
        mine, other = first.state_dict(), second.state_dict()
        return list(mine) == list(other) and all(torch.equal(mine[name], other[name]) for name in mine)

    return same
