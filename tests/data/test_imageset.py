"""`ImageSet`: what it accepts, what its selections hold, and that every one has a digest of its own."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from filterwise.data import ImageSet
from filterwise.errors import ParameterError

NAMES = ("ant", "bee", "cat", "dog")


def numbered(count: int = 40, labels: int = 4) -> ImageSet:
    """Image i has all pixels i and label i mod ``labels``."""
    images = torch.arange(count, dtype=torch.uint8)[:, None, None, None].expand(-1, 3, 2, 2).contiguous()
    return ImageSet(images, torch.arange(count) % labels, NAMES[:labels], "numbered", "train")


def which(ds: ImageSet) -> list[int]:
    return [int(image[0, 0, 0]) for image in ds.images]


def test_digest_is_of_content_and_nothing_else() -> None:
    ds = numbered()
    same = ImageSet(ds.images.clone(), ds.labels.clone(), NAMES, "another name", "test", "elsewhere")
    assert same.digest == ds.digest
    last = ds.images.contiguous(memory_format=torch.channels_last)
    assert ImageSet(last, ds.labels, NAMES).digest == ds.digest
    pixel = ds.images.clone()
    pixel[-1, -1, -1, -1] += 1
    label = ds.labels.clone()
    label[0] = 1
    others = [
        ImageSet(pixel, ds.labels, NAMES),
        ImageSet(ds.images, label, NAMES),
        ImageSet(ds.images, ds.labels, (*NAMES, "eel")),
        ImageSet(ds.images.view(40, 3, 1, 4), ds.labels, NAMES),
    ]
    assert len({ds.digest, *(other.digest for other in others)}) == 5


def test_every_derived_set_has_its_own_digest() -> None:
    ds = numbered()
    rest, held = ds.split_off(0.2, seed=0)
    derived = [
        ds.subset([0, 1, 2]),
        ds.subset([2, 1, 0]),
        ds.balanced(8, seed=0),
        ds.balanced(8, seed=1),
        ds.balanced(12, seed=0),
        ds.only_labels([0, 1]),
        ds.only_labels([1, 0]),
        ds.only_labels([0, 1]).subset([0, 1, 2]),
        ds.only_labels([1, 0, 2, 3]),
        rest,
        held,
    ]
    assert len({ds.digest, *(other.digest for other in derived)}) == len(derived) + 1
    assert numbered().balanced(8, seed=0).digest == ds.balanced(8, seed=0).digest
    assert ds.subset(range(40)).digest == ds.digest
    assert ds.subset(which(held)).digest == held.digest


def test_subset_takes_indices_and_masks_in_order() -> None:
    ds = numbered()
    assert which(ds.subset([7, 3, 3])) == [7, 3, 3]
    assert ds.subset(np.array([7, 3])).labels.tolist() == [3, 3]
    assert which(ds.subset(ds.labels == 2)) == list(range(2, 40, 4))
    for wrong in ([40], [-1], [], [0.5]):
        with pytest.raises(ParameterError, match="indices"):
            ds.subset(wrong)  # type: ignore[arg-type]
    with pytest.raises(ParameterError, match="or a mask of the 40 images; got shape"):
        ds.subset(torch.ones(3, dtype=torch.bool))


def test_balanced_is_equal_per_label_nested_and_without_repetition() -> None:
    ds = numbered()
    small, large = ds.balanced(12, seed=1), ds.balanced(24, seed=1)
    assert large.labels.bincount().tolist() == [6, 6, 6, 6]
    assert len(set(which(large))) == 24
    assert which(large)[:12] == which(small)
    assert large.labels[:4].tolist() == [0, 1, 2, 3]
    assert which(ds.balanced(12, seed=2)) != which(small)
    assert all(index % 4 == label for index, label in zip(which(large), large.labels.tolist(), strict=True))
    with pytest.raises(ParameterError, match="n=10 is not a multiple of the 4 labels"):
        ds.balanced(10, seed=0)
    with pytest.raises(ParameterError, match=r"asks for 11 images of each label, but label 0 \(ant\) has 10"):
        ds.balanced(44, seed=0)


def test_only_labels_relabels_in_the_order_given() -> None:
    ds = numbered()
    chosen = ds.only_labels([3, 1])
    assert chosen.label_names == ("dog", "bee")
    assert chosen.labels_count == 2
    assert which(chosen) == [index for index in range(40) if index % 4 in (1, 3)]
    assert chosen.labels.tolist() == [0 if index % 4 == 3 else 1 for index in which(chosen)]
    assert ds.only_labels(["dog", "bee"]).digest == chosen.digest
    with pytest.raises(ParameterError, match="did you mean 'cat'"):
        ds.only_labels(["cta"])
    for wrong in ([], [1, 1], [4], [-1]):
        with pytest.raises(ParameterError, match="labels"):
            ds.only_labels(wrong)


def test_split_off_parts_the_set() -> None:
    ds = numbered()
    rest, held = ds.split_off(0.2, seed=3)
    assert len(held) == 8
    assert sorted(which(rest) + which(held)) == list(range(40))
    assert which(held) == sorted(which(held))
    assert which(ds.split_off(0.2, seed=4)[1]) != which(held)
    for wrong in (0.0, 1.0, -0.5, 0.001):
        with pytest.raises(ParameterError, match="fraction"):
            ds.split_off(wrong, seed=0)


def test_batches_cover_the_set_in_order() -> None:
    ds = numbered(10)
    seen = list(ds.batches(4))
    assert [len(labels) for _, labels in seen] == [4, 4, 2]
    assert torch.equal(torch.cat([images for images, _ in seen]), ds.images)
    assert torch.equal(torch.cat([labels for _, labels in seen]), ds.labels)
    with pytest.raises(ParameterError, match="batch_size=0"):
        next(ds.batches(0))


def test_what_does_not_fit_together_is_refused() -> None:
    images = torch.zeros(4, 3, 2, 2, dtype=torch.uint8)
    labels = torch.tensor([0, 1, 2, 3])
    with pytest.raises(ParameterError, match=r"uint8 \(N, C, H, W\)"):
        ImageSet(images.float(), labels, NAMES)
    with pytest.raises(ParameterError, match="one for each of the 4 images"):
        ImageSet(images, labels[:3], NAMES)
    with pytest.raises(ParameterError, match="labels run from 0 to 3, but there are names for 0 to 1"):
        ImageSet(images, labels, NAMES[:2])
    with pytest.raises(ParameterError, match="at least one"):
        ImageSet(images[:0], labels[:0], NAMES)


def test_labels_may_be_rows_of_weights() -> None:
    """Soft labels, or several an image: float32 (N, K)."""
    images = numbered(6).images
    weights = torch.rand(6, 4, generator=torch.Generator().manual_seed(0)) * 3
    ds = ImageSet(images, weights, NAMES)
    assert (len(ds), ds.labels_count, ds.to("cpu").digest) == (6, 4, ds.digest)
    assert torch.equal(ds.subset([4, 1]).labels, weights[[4, 1]])
    assert torch.equal(torch.cat([labels for _, labels in ds.batches(4)]), weights)
    rest, held = ds.split_off(0.5, seed=0)
    assert sorted(which(rest) + which(held)) == list(range(6))
    changed = weights.clone()
    changed[5, 3] += 1e-6
    digests = {ds.digest, ImageSet(images, changed, NAMES).digest, ds.subset([4, 1]).digest, held.digest}
    assert len(digests) == 4
    for choose in (lambda: ds.balanced(4, seed=0), lambda: ds.only_labels([1])):
        with pytest.raises(ParameterError, match="needs one label an image; these are rows of 4"):
            choose()
    for wrong in (-1.0, float("nan"), float("inf")):
        changed[2, 1] = wrong
        with pytest.raises(ParameterError, match="weights are at least 0 and finite"):
            ImageSet(images, changed, NAMES)
    for shaped in (weights[:5], weights[:, :3], weights.double(), weights[:, 0]):
        with pytest.raises(ParameterError, match=r"one for each of the 6 images .* or float32 rows of 4"):
            ImageSet(images, shaped, NAMES)


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_selections_on_the_device_equal_those_in_memory() -> None:
    here, there = numbered(), numbered().to("cuda")
    for choose in (
        lambda ds: ds.balanced(8, seed=0),
        lambda ds: ds.only_labels([2, 0]),
        lambda ds: ds.split_off(0.2, seed=0)[1],
        lambda ds: ds.subset([3, 1]),
    ):
        mine, other = choose(here), choose(there)
        assert other.images.is_cuda
        assert other.labels.is_cuda
        assert torch.equal(other.images.cpu(), mine.images)
        assert other.digest == mine.digest
