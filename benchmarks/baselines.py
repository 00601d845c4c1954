"""The loops that faceproof is measured against, written plainly.

- The **notebook loop** is that of the seven earlier systems: Pillow decodes in the main process,
  torchvision's transforms, float32, contiguous layout, Adam, `.item()` every step.
- The **expert loop** is hand-written PyTorch with everything right: worker processes decode,
  channels last, bfloat16 where the hardware gains by it, a fused optimizer, no synchronisation, no
  metrics, no logging. It is the limit that a framework can reach.

Each generator trains or scores for ever and yields the number of images of each batch.
"""

from collections.abc import Iterable, Iterator, Sequence
from itertools import count
from typing import Any

import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset
from torchvision.io import ImageReadMode, decode_image, read_file
from torchvision.transforms import v2 as T

from faceproof.data.loaders import choose_workers

Paths = Sequence[str]


class NotebookImages(Dataset[tuple[Tensor, int]]):
    """Images as the notebooks read them."""

    def __init__(self, paths: Paths, labels: Sequence[int], side: int) -> None:
        self.paths, self.labels = paths, labels
        self.transform = T.Compose(
            [T.Resize((side, side)), T.ToImage(), T.ToDtype(torch.float32, scale=True)]
        )

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, place: int) -> tuple[Tensor, int]:
        with Image.open(self.paths[place]) as image:
            return self.transform(image.convert("RGB")), self.labels[place]


class ExpertImages(Dataset[tuple[Tensor, int]]):
    """Images as a careful hand reads them: decoded to tensors, resized as bytes."""

    def __init__(self, paths: Paths, labels: Sequence[int], side: int) -> None:
        self.paths, self.labels, self.side = paths, labels, side

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, place: int) -> tuple[Tensor, int]:
        image = decode_image(read_file(self.paths[place]), ImageReadMode.RGB)
        if image.shape[-2:] != (self.side, self.side):
            image = T.functional.resize(image, [self.side, self.side], antialias=True)
        return image, self.labels[place]


def num_workers(num_images: int, batch_size: int) -> int:
    """Return the expert's worker processes: as many as there are cores but one."""
    return choose_workers("auto", num_images, batch_size, "cuda")


class InMemory:
    """Shuffled batches of images that were decoded once, as bytes."""

    def __init__(self, dataset: Dataset[tuple[Tensor, int]], batch_size: int) -> None:
        images = [dataset[place] for place in range(len(dataset))]  # type: ignore[arg-type]
        self.images = torch.stack([image for image, _ in images])
        self.labels = torch.tensor([label for _, label in images])
        self.batch_size = batch_size

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        for rows in torch.randperm(len(self.labels)).split(self.batch_size):
            yield self.images[rows], self.labels[rows]


def notebook_training(
    net: nn.Module,
    paths: Paths,
    labels: Sequence[int],
    side: int,
    batch_size: int,
    device: str = "cpu",
) -> Iterator[int]:
    """Train as the notebooks did."""
    loader = DataLoader(NotebookImages(paths, labels, side), batch_size, shuffle=True)
    net = net.train().to(device)
    optimizer = torch.optim.Adam(net.parameters(), lr=1e-4)
    running = 0.0
    for _ in count():
        for images, targets in loader:
            optimizer.zero_grad()
            logits = net(images.to(device))
            loss = F.binary_cross_entropy_with_logits(logits, targets.float().to(device))
            loss.backward()
            optimizer.step()
            running += loss.item()
            yield len(targets)


def expert_training(
    net: nn.Module,
    paths: Paths,
    labels: Sequence[int],
    side: int,
    batch_size: int,
    workers: int,
    bf16: bool,
    device: str = "cpu",
    in_memory: bool = False,
) -> Iterator[int]:
    """Train with everything right; `in_memory`: on images that were decoded before."""
    dataset: Dataset[tuple[Tensor, int]] = ExpertImages(paths, labels, side)
    loader: Iterable[Any] = DataLoader(
        dataset, batch_size, shuffle=True, num_workers=workers, persistent_workers=True,
        pin_memory=device != "cpu",
    )  # fmt: skip
    if in_memory:
        loader = InMemory(dataset, batch_size)
    net = net.train().to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    optimizer = torch.optim.Adam(net.parameters(), lr=1e-4, fused=True)
    for _ in count():
        for images, targets in loader:
            on_device = images.to(device, non_blocking=True)
            images = on_device.to(torch.float32, memory_format=torch.channels_last).div_(255)
            labels_there = targets.to(device, non_blocking=True).float()
            with torch.autocast(device, torch.bfloat16, enabled=bf16):
                logits = net(images)
            loss = F.binary_cross_entropy_with_logits(logits.float(), labels_there)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            yield len(targets)


def expert_scoring(
    net: nn.Module,
    paths: Paths,
    side: int,
    batch_size: int,
    workers: int,
    bf16: bool = False,
    device: str = "cpu",
) -> Tensor:
    """Score every image once with everything right, and return the logits."""
    loader = DataLoader(
        ExpertImages(paths, [0] * len(paths), side), batch_size, num_workers=workers
    )
    net = net.eval().to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    found = []
    with torch.inference_mode(), torch.autocast(device, torch.bfloat16, enabled=bf16):
        for images, _ in loader:
            on_device = images.to(device, non_blocking=True)
            images = on_device.to(torch.float32, memory_format=torch.channels_last).div_(255)
            found.append(net(images).float().cpu())
    return torch.cat(found)


def one_by_one(net: nn.Module, paths: Paths, side: int) -> Tensor:
    """Score every image by itself, as a script does that calls `model(image)` in a loop."""
    images = NotebookImages(paths, [0] * len(paths), side)
    net = net.eval()
    with torch.inference_mode():
        return torch.cat([net(images[place][0][None]) for place in range(len(paths))])


def arithmetic(
    net: nn.Module, side: int, batch_size: int, bf16: bool, device: str = "cpu"
) -> Iterator[int]:
    """Train on one batch in memory again and again: what the arithmetic alone allows."""
    net = net.train().to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    optimizer = torch.optim.Adam(net.parameters(), lr=1e-4, fused=True)
    images = torch.rand(batch_size, 3, side, side, device=device)
    images = images.to(memory_format=torch.channels_last)
    targets = torch.arange(batch_size, device=device).remainder(2).float()
    while True:
        with torch.autocast(device, torch.bfloat16, enabled=bf16):
            logits = net(images)
        loss = F.binary_cross_entropy_with_logits(logits.float(), targets)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        yield batch_size
