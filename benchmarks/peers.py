"""The loops that ours is timed against, written the way their users write them."""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from filterwise import _torchvision
from filterwise.training import Recipe


class PictureSet(Dataset):
    """Images as torchvision's CIFAR-10 class hands them out: a PIL picture, then the transforms in turn."""

    def __init__(self, images: Tensor, labels: Tensor, transform: Callable) -> None:
        self.images = np.ascontiguousarray(images.permute(0, 2, 3, 1).numpy())
        self.labels, self.transform = labels.tolist(), transform

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        return self.transform(Image.fromarray(self.images[index])), self.labels[index]


def usual_loop(
    net: nn.Module, images: Tensor, labels: Tensor, recipe: Recipe, device: torch.device, workers: int
) -> Callable[[], float]:
    """One epoch of the usual loop, as a function that returns its seconds.

    DataLoader with per-image transforms (flip, crop of the padded picture, scaling to [-1, 1]), float32, the
    mean loss and accuracy summed up with ``.item()``. Worker processes live on between epochs.
    """
    transforms = _torchvision.load().transforms
    transform = transforms.Compose(
        [
            transforms.RandomHorizontalFlip(),
            transforms.RandomCrop(images.shape[-1], padding=recipe.shift),
            transforms.ToTensor(),
            transforms.Normalize((0.5, 0.5, 0.5), (0.5, 0.5, 0.5)),
        ]
    )
    loader = DataLoader(
        PictureSet(images, labels, transform),
        batch_size=recipe.batch,
        shuffle=True,
        num_workers=workers,
        persistent_workers=workers > 0,
        pin_memory=device.type == "cuda",
    )
    net = net.to(device).train()
    optimiser = torch.optim.SGD(
        net.parameters(),
        recipe.lr,
        recipe.momentum,
        weight_decay=recipe.weight_decay,
        nesterov=recipe.nesterov,
    )

    def epoch() -> float:
        start, loss_sum, right = time.perf_counter(), 0.0, 0
        for batch, chosen in loader:
            batch, chosen = batch.to(device, non_blocking=True), chosen.to(device, non_blocking=True)
            optimiser.zero_grad()
            logits = net(batch)
            loss = F.cross_entropy(logits, chosen)
            loss.backward()
            optimiser.step()
            loss_sum += loss.item() * len(chosen)
            right += (logits.argmax(1) == chosen).sum().item()
        return time.perf_counter() - start

    return epoch


def bare_loop(net: nn.Module, images: Tensor, labels: Tensor, recipe: Recipe) -> Callable[[], float]:
    """One epoch of a bare loop in the manner of the CIFAR-10 speed runs, on CUDA, returning its seconds.

    Images scaled, in half precision and padded once; a whole epoch is mirrored by mask and cropped by groups
    of equal shifts before its first step; bfloat16 autocast, channels_last, nothing measured inside.
    """
    device, reach, side = torch.device("cuda"), recipe.shift, images.shape[-1]
    net = net.to(device=device, memory_format=torch.channels_last).train()
    scaled = images.to(device).to(torch.bfloat16).div_(127.5).sub_(1)
    padded = F.pad(scaled, (reach,) * 4)
    labels = labels.to(device)
    optimiser = torch.optim.SGD(
        net.parameters(),
        recipe.lr,
        recipe.momentum,
        weight_decay=recipe.weight_decay,
        nesterov=recipe.nesterov,
        fused=True,
    )

    def epoch() -> float:
        torch.cuda.synchronize()
        start = time.perf_counter()
        mirror = (torch.rand(len(padded), device=device) < 0.5).view(-1, 1, 1, 1)
        whole = torch.where(mirror, padded.flip(3), padded)
        shifts = torch.randint(0, 2 * reach + 1, (len(whole), 2), device=device)
        crops = torch.empty_like(scaled)
        for down in range(2 * reach + 1):
            for right in range(2 * reach + 1):
                mask = (shifts[:, 0] == down) & (shifts[:, 1] == right)
                crops[mask] = whole[mask, :, down : down + side, right : right + side]
        crops = crops.to(memory_format=torch.channels_last)
        order = torch.randperm(len(crops), device=device)
        for first in range(0, len(crops), recipe.batch):
            chosen = order[first : first + recipe.batch]
            with torch.autocast("cuda", torch.bfloat16):
                loss = F.cross_entropy(net(crops[chosen]), labels[chosen])
            loss.backward()
            optimiser.step()
            optimiser.zero_grad(set_to_none=True)
        torch.cuda.synchronize()
        return time.perf_counter() - start

    return epoch
