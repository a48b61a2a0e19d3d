"""Loading, batching, augmenting and centering MNIST: ``python -m benchmarks.data --only epoch``.

Every contender takes its turn in every round, so that a ratio compares times of one moment.
"""

from __future__ import annotations

import argparse
import gzip
import importlib
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset, Subset

from benchmarks import _machine, _mnist, _page
from benchmarks._figures import Spread, paired_ratio, table
from mlpkit.data import (
    Batches,
    Compose,
    LabeledTensors,
    RandomAffine,
    RandomElastic,
    center_digit,
    mnist,
)

MEAN, STD = 255 * _mnist.MEAN, 255 * _mnist.STD
# Ciresan et al. (2010), with the middle of each of their ranges.
DEGREES, SHEAR, SCALE = 15.0, 15.0, (0.85, 1.15)
ALPHA, SIGMA = 37.0, 5.5

Turn = Callable[[], int]  # does its work and returns how many examples it was


def compete(turns: Mapping[str, Turn], repeats: int, unit: str, *, digits: int = 1) -> str:
    """Return a table of examples per second; the first contender is the reference."""
    seconds: dict[str, list[float]] = {name: [] for name in turns}
    for repeat in range(repeats + 1):
        for name, turn in turns.items():
            started = time.perf_counter()
            examples = turn()
            elapsed = (time.perf_counter() - started) / examples
            if repeat:  # the first round warms up
                seconds[name].append(elapsed)
    reference = next(iter(turns))
    rows = []
    for name, times in seconds.items():
        rate = Spread.of([1.0 / second for second in times])
        ratio = paired_ratio(times, seconds[reference])
        rows.append([name, rate.shown(digits=0), ratio.shown(digits=digits)])
    return table(["", f"{unit} per second, median (range)", f"time / {reference}"], rows)


def loading(repeats: int) -> str:
    """All four files to tensors in memory."""
    datasets = importlib.import_module("torchvision.datasets")
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        raw = root / "MNIST" / "raw"
        raw.mkdir(parents=True)
        for path in _mnist.folder().glob("*-ubyte.gz"):
            (raw / path.name.removesuffix(".gz")).write_bytes(gzip.decompress(path.read_bytes()))

        def theirs() -> int:
            for train in (True, False):
                datasets.MNIST(root, train=train)
            return 1

        turns: dict[str, Turn] = {
            "mlpkit, unpacked files": lambda: _loaded(root, verify=True),
            "mlpkit, unpacked, not verified": lambda: _loaded(root, verify=False),
            "mlpkit, gzipped files": lambda: _loaded(_mnist.folder(), verify=True),
            "torchvision, unpacked (never verifies)": theirs,
        }
        return compete(turns, repeats, "times")


def _loaded(root: Path, *, verify: bool) -> int:
    mnist(root, val_size=0, verify=verify)
    return 1


def epoch(repeats: int) -> str:
    """Shuffled, normalized float32 batches of 128: a whole epoch, against 12,800 images."""
    datasets = importlib.import_module("torchvision.datasets")
    transforms = importlib.import_module("torchvision.transforms.v2")
    train = mnist(_mnist.folder(), val_size=0).train
    normalize = transforms.Compose(
        [
            transforms.ToImage(),
            transforms.ToDtype(torch.float32, scale=True),
            transforms.Normalize([_mnist.MEAN], [_mnist.STD]),
        ]
    )
    theirs = _as_torchvision(datasets.MNIST, train, normalize)
    some: Dataset[tuple[Tensor, int]] = Subset(theirs, range(12_800))
    loaders = {
        f"torchvision + DataLoader, {workers} workers": DataLoader(
            some, batch_size=128, shuffle=True, num_workers=workers, persistent_workers=workers > 0
        )
        for workers in (0, 2)
    }
    turns: dict[str, Turn] = {"mlpkit": Epochs(train.batches(128)).turn}
    for name, loader in loaders.items():
        turns[name] = _Loader(loader).turn
    return compete(turns, repeats, "images")


class Epochs:
    """One epoch after another, normalized batch by batch."""

    def __init__(self, batches: Batches) -> None:
        self._batches = batches
        self._epoch = 0

    def turn(self) -> int:
        """Make one epoch, and return its number of examples."""
        self._epoch += 1
        for batch in self._batches.epoch(self._epoch):
            batch.inputs.to(torch.float32).sub_(MEAN).mul_(1.0 / STD)
        return self._batches.num_examples


class _Loader:
    """The epochs of a DataLoader that normalizes image by image."""

    def __init__(self, loader: DataLoader[tuple[Tensor, int]]) -> None:
        self._loader = loader

    def turn(self) -> int:
        return sum(len(targets) for _, targets in self._loader)


def _as_torchvision(
    kind: type[Dataset[tuple[Tensor, int]]], train: LabeledTensors, transform: object
) -> Dataset[tuple[Tensor, int]]:
    """Return torchvision's data set object on images that are in memory already."""
    made = kind.__new__(kind)
    vars(made).update(
        data=train.inputs, targets=train.targets, transform=transform, target_transform=None
    )
    return made


def augmentation(repeats: int) -> str:
    """Affine and elastic distortion of 6,000 images, against 300 of them one by one."""
    transforms = importlib.import_module("torchvision.transforms.v2")
    images = mnist(_mnist.folder(), val_size=0).train.inputs[:6_000]
    affine, elastic = (
        RandomAffine(degrees=DEGREES, shear=SHEAR, scale=SCALE),
        RandomElastic(alpha=ALPHA, sigma=SIGMA),
    )
    one_by_one = transforms.Compose(
        [
            transforms.RandomAffine(DEGREES, scale=SCALE, shear=SHEAR),
            transforms.ElasticTransform(alpha=ALPHA, sigma=SIGMA),
        ]
    )

    def theirs() -> int:
        for image in images[:300]:
            one_by_one(image.unsqueeze(0))
        return 300

    turns: dict[str, Turn] = {
        "mlpkit, affine + elastic": _Augmentation(Compose([affine, elastic]), images).turn,
        "mlpkit, elastic": _Augmentation(elastic, images).turn,
        "mlpkit, affine": _Augmentation(affine, images).turn,
        "torchvision v2, affine + elastic": theirs,
    }
    return compete(turns, repeats, "images")


class _Augmentation:
    """An augmentation of batches of 512, a new epoch at every turn."""

    def __init__(self, augment: Compose | RandomAffine | RandomElastic, images: Tensor) -> None:
        self._augment = augment
        self._batches = torch.split(images, 512)
        self._epoch = 0

    def turn(self) -> int:
        self._epoch += 1
        for batch in self._batches:
            self._augment(batch, epoch=self._epoch)
        return sum(len(batch) for batch in self._batches)


def centering(_repeats: int) -> str:
    """Accuracy on 2,000 test digits: as they are, and pasted anywhere and brought back."""
    splits = mnist(_mnist.folder())
    net = _trained(splits.train)
    generator = np.random.default_rng(0)
    test = splits.test.subset(torch.from_numpy(generator.permutation(10_000)[:2_000]))
    rows = [["as MNIST has them", f"{_accuracy(net, test.inputs, test.targets):.2%}"]]
    for paper in ("black", "white", "gray, little contrast", "uneven light and noise"):
        pictures = [_pasted(digit, paper, generator) for digit in test.inputs]
        centered = torch.stack([center_digit(picture) for picture in pictures])
        rows.append([f"pasted on {paper}", f"{_accuracy(net, centered, test.targets):.2%}"])
    return table(["2,000 test digits", "recognized"], rows)


def _trained(train: LabeledTensors) -> nn.Module:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Flatten(), nn.Linear(784, 256), nn.ReLU(), nn.Linear(256, 10))
    optimizer = torch.optim.SGD(net.parameters(), lr=0.2, momentum=0.9)
    batches = train.batches(128)
    schedule = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.0, 4 * len(batches))
    for number in range(4):
        for batch in batches.epoch(number):
            loss = F.cross_entropy(net(batch.inputs / 255), batch.targets)
            optimizer.zero_grad()
            torch.autograd.backward(loss)
            optimizer.step()
            schedule.step()
    return net


@torch.no_grad()
def _accuracy(net: nn.Module, images: Tensor, targets: Tensor) -> float:
    logits: Tensor = net(images / 255)
    return float((logits.argmax(dim=1) == targets).float().mean())


def _pasted(digit: Tensor, paper: str, generator: np.random.Generator) -> npt.NDArray[np.uint8]:
    """Return a picture with the digit at random scale and place."""
    side = round(28 * generator.uniform(0.75, 6.0))
    height, width = (side + round(side * generator.uniform(0.1, 1.5)) for _ in range(2))
    top, left = generator.integers(height - side + 1), generator.integers(width - side + 1)
    resized = Image.fromarray(digit.numpy()).resize((side, side), Image.Resampling.BICUBIC)
    ink = np.zeros((height, width))
    ink[top : top + side, left : left + side] = np.asarray(resized) / 255
    if paper == "uneven light and noise":
        y, x = np.meshgrid(np.linspace(-0.5, 0.5, height), np.linspace(-0.5, 0.5, width))
        slope_x, slope_y, bend_x, bend_y = generator.uniform(-0.35, 0.35, 4)
        light = 200 * (1 + slope_x * x + slope_y * y + bend_x * x**2 + bend_y * y**2).T
        grays = light * (1 - 0.7 * ink) + generator.normal(0, 4, ink.shape)
    else:
        ends = {"black": (0, 255), "white": (255, 0), "gray, little contrast": (180, 120)}
        blank, pen = ends[paper]
        grays = blank + (pen - blank) * ink
    picture: npt.NDArray[np.uint8] = grays.clip(0, 255).astype(np.uint8)
    return picture


PARTS: dict[str, tuple[str, Callable[[int], str]]] = {
    "loading": ("Loading all four files", loading),
    "epoch": ("One epoch of normalized batches of 128", epoch),
    "augmentation": ("Distorting images", augmentation),
    "centering": ("Other people's pictures", centering),
}


def main(arguments: Sequence[str]) -> None:
    """Measure, print, and write the section ``data`` of the page if asked to."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.data", description=__doc__)
    parser.add_argument("--only", nargs="+", choices=sorted(PARTS), default=sorted(PARTS))
    parser.add_argument("--repeats", type=int, default=7, help="timed rounds, after one to warm up")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--write", action="store_true", help="write the tables into the page")
    options = parser.parse_args(arguments)
    torch.set_num_threads(options.threads)
    load_before = _machine.load()
    parts = []
    for name, (title, measure) in PARTS.items():
        if name in options.only:
            parts.append(f"{title}:\n\n{measure(options.repeats)}")
            print(parts[-1], end="\n\n", flush=True)
    command = f"python -m benchmarks.data {' '.join(arguments)}".strip()
    section = _page.section(command, load_before, parts)
    print(section.removeprefix("\n\n".join(parts)).strip())
    if options.write:
        _page.replace("data", section)


if __name__ == "__main__":
    main(sys.argv[1:])
