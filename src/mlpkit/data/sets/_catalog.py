"""The catalog of data sets: files, digests, classes, standard split, license and citation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal, TypeAlias, get_args

import torch

from mlpkit._checks import check_choice

DatasetName: TypeAlias = Literal[
    "digits",
    "mnist",
    "fashion_mnist",
    "kmnist",
    "qmnist",
    "emnist_balanced",
    "emnist_byclass",
    "emnist_bymerge",
    "emnist_digits",
    "emnist_letters",
    "emnist_mnist",
]
EmnistSplit: TypeAlias = Literal["balanced", "byclass", "bymerge", "digits", "letters", "mnist"]
Source: TypeAlias = Literal["embedded", "download", "torchvision"]


@dataclass(frozen=True, kw_only=True, slots=True)
class DataFile:
    """One IDX file of a data set, as published.

    Attributes:
        name: File name without ``.gz``.
        shape: Shape of the stored tensor.
        dtype: Data type of the stored tensor.
        sha256: SHA-256 of the decompressed bytes; None if it is not published.
    """

    name: str
    shape: tuple[int, ...]
    dtype: torch.dtype = torch.uint8
    sha256: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class SetInfo:
    """Description of a data set.

    Attributes:
        name: Name of the data set in :func:`mlpkit.data.load`.
        title: Display name.
        description: One sentence about the images.
        source: ``"embedded"`` if the data set is part of the package, ``"download"`` if mlpkit
            downloads and verifies its IDX files, or ``"torchvision"`` if torchvision downloads its
            IDX files and mlpkit reads them.
        image_shape: Height and width in pixels.
        max_value: Value of the brightest pixel; the darkest pixel is 0.
        classes: Name of each class, in the order of the class indices.
        num_train: Number of training examples, including those held out for validation.
        num_test: Number of test examples.
        val_size: Number of training examples held out for validation by default.
        folder: Name of the folder in torchvision's layout, ``<root>/<folder>/raw``; empty if
            embedded.
        files: Training images, training labels, test images and test labels; empty if embedded.
        mirrors: Base URLs of the files; each ends in a slash and is followed by a file name.
        transposed: Whether rows and columns of the images are exchanged in the files.
        first_label: Label of the first class in the files.
        license: License of the data.
        homepage: Web page of the data set.
        citation: Publication to cite.
    """

    name: DatasetName
    title: str
    description: str
    source: Source
    image_shape: tuple[int, int]
    max_value: int
    classes: tuple[str, ...]
    num_train: int
    num_test: int
    val_size: int
    folder: str
    files: tuple[DataFile, ...] = ()
    mirrors: tuple[str, ...] = ()
    transposed: bool = False
    first_label: int = 0
    license: str
    homepage: str
    citation: str


_TEN_DIGITS = tuple("0123456789")
_LOWER = tuple("abcdefghijklmnopqrstuvwxyz")
_UPPER = tuple("ABCDEFGHIJKLMNOPQRSTUVWXYZ")
_MERGED = tuple(letter for letter in _LOWER if letter not in "cijklmopsuvwxyz")


def _four_files(
    digests: Sequence[str | None] = (None,) * 4,
) -> tuple[DataFile, ...]:
    """Return the four files in which MNIST and its successors are published."""
    names = (
        "train-images-idx3-ubyte",
        "train-labels-idx1-ubyte",
        "t10k-images-idx3-ubyte",
        "t10k-labels-idx1-ubyte",
    )
    shapes = ((60_000, 28, 28), (60_000,), (10_000, 28, 28), (10_000,))
    return tuple(
        DataFile(name=name, shape=shape, sha256=digest)
        for name, shape, digest in zip(names, shapes, digests, strict=True)
    )


_DIGITS = SetInfo(
    name="digits",
    title="Optical recognition of handwritten digits",
    description="1,797 handwritten digits of 13 people; a pixel counts the ink in a 4x4 block.",
    source="embedded",
    image_shape=(8, 8),
    max_value=16,
    classes=_TEN_DIGITS,
    num_train=1437,
    num_test=360,
    val_size=180,
    folder="",
    license="CC BY 4.0",
    homepage="https://archive.ics.uci.edu/dataset/80",
    citation=(
        "E. Alpaydin and C. Kaynak, Optical Recognition of Handwritten Digits, "
        "UCI Machine Learning Repository, 1998, doi:10.24432/C50P49."
    ),
)
_MNIST = SetInfo(
    name="mnist",
    title="MNIST",
    description="70,000 handwritten digits of about 500 people.",
    source="download",
    image_shape=(28, 28),
    max_value=255,
    classes=_TEN_DIGITS,
    num_train=60_000,
    num_test=10_000,
    val_size=5_000,
    folder="MNIST",
    files=_four_files(
        (
            "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
            "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
            "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
            "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
        )
    ),
    mirrors=(
        "https://ossci-datasets.s3.amazonaws.com/mnist/",
        "https://storage.googleapis.com/cvdf-datasets/mnist/",
    ),
    license="CC BY-SA 3.0",
    homepage="https://en.wikipedia.org/wiki/MNIST_database",
    citation=(
        "Y. LeCun, L. Bottou, Y. Bengio and P. Haffner, Gradient-based learning applied to "
        "document recognition, Proceedings of the IEEE 86(11), 1998, doi:10.1109/5.726791."
    ),
)
_FASHION_MNIST = SetInfo(
    name="fashion_mnist",
    title="Fashion-MNIST",
    description="70,000 photographs of articles of clothing from an online shop.",
    source="download",
    image_shape=(28, 28),
    max_value=255,
    classes=(
        "T-shirt/top",
        "Trouser",
        "Pullover",
        "Dress",
        "Coat",
        "Sandal",
        "Shirt",
        "Sneaker",
        "Bag",
        "Ankle boot",
    ),
    num_train=60_000,
    num_test=10_000,
    val_size=5_000,
    folder="FashionMNIST",
    files=_four_files(
        (
            "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
            "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
            "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
            "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
        ),
    ),
    mirrors=(
        "https://raw.githubusercontent.com/zalandoresearch/fashion-mnist/master/data/fashion/",
        "https://github.com/zalandoresearch/fashion-mnist/raw/master/data/fashion/",
    ),
    license="MIT",
    homepage="https://github.com/zalandoresearch/fashion-mnist",
    citation=(
        "H. Xiao, K. Rasul and R. Vollgraf, Fashion-MNIST: a novel image dataset for benchmarking "
        "machine learning algorithms, 2017, arXiv:1708.07747."
    ),
)
_KMNIST = SetInfo(
    name="kmnist",
    title="Kuzushiji-MNIST",
    description="70,000 hiragana in the cursive script of old Japanese books.",
    source="torchvision",
    image_shape=(28, 28),
    max_value=255,
    classes=("o", "ki", "su", "tsu", "na", "ha", "ma", "ya", "re", "wo"),
    num_train=60_000,
    num_test=10_000,
    val_size=5_000,
    folder="KMNIST",
    files=_four_files(),
    license="CC BY-SA 4.0",
    homepage="https://codh.rois.ac.jp/kmnist/",
    citation=(
        "T. Clanuwat, M. Bober-Irizar, A. Kitamoto, A. Lamb, K. Yamamoto and D. Ha, Deep learning "
        "for classical Japanese literature, 2018, arXiv:1812.01718, doi:10.20676/00000341."
    ),
)
_QMNIST = SetInfo(
    name="qmnist",
    title="QMNIST",
    description="MNIST reconstructed from its NIST source, with all 60,000 test digits.",
    source="torchvision",
    image_shape=(28, 28),
    max_value=255,
    classes=_TEN_DIGITS,
    num_train=60_000,
    num_test=60_000,
    val_size=5_000,
    folder="QMNIST",
    files=(
        DataFile(name="qmnist-train-images-idx3-ubyte", shape=(60_000, 28, 28)),
        DataFile(name="qmnist-train-labels-idx2-int", shape=(60_000, 8), dtype=torch.int32),
        DataFile(name="qmnist-test-images-idx3-ubyte", shape=(60_000, 28, 28)),
        DataFile(name="qmnist-test-labels-idx2-int", shape=(60_000, 8), dtype=torch.int32),
    ),
    license="BSD-style, see the homepage",
    homepage="https://github.com/facebookresearch/qmnist",
    citation=(
        "C. Yadav and L. Bottou, Cold case: the lost MNIST digits, NeurIPS 2019, arXiv:1905.10498."
    ),
)


def _emnist(
    split: EmnistSplit, description: str, classes: tuple[str, ...], sizes: tuple[int, int]
) -> SetInfo:
    names: dict[EmnistSplit, DatasetName] = {
        "balanced": "emnist_balanced",
        "byclass": "emnist_byclass",
        "bymerge": "emnist_bymerge",
        "digits": "emnist_digits",
        "letters": "emnist_letters",
        "mnist": "emnist_mnist",
    }
    return SetInfo(
        name=names[split],
        title=f"EMNIST {split}",
        description=description,
        source="torchvision",
        image_shape=(28, 28),
        max_value=255,
        classes=classes,
        num_train=sizes[0],
        num_test=sizes[1],
        val_size=5_000,
        folder="EMNIST",
        files=tuple(
            DataFile(name=f"emnist-{split}-{part}-{kind}", shape=(size, *axes))
            for part, size in zip(("train", "test"), sizes, strict=True)
            for kind, axes in (("images-idx3-ubyte", (28, 28)), ("labels-idx1-ubyte", ()))
        ),
        transposed=True,
        first_label=1 if split == "letters" else 0,
        license="public domain (NIST Special Database 19); cite the paper",
        homepage="https://www.nist.gov/itl/products-and-services/emnist-dataset",
        citation=(
            "G. Cohen, S. Afshar, J. Tapson and A. van Schaik, EMNIST: an extension of MNIST to "
            "handwritten letters, 2017, arXiv:1702.05373."
        ),
    )


EMNIST_SPLITS: Mapping[EmnistSplit, SetInfo] = MappingProxyType(
    {
        "balanced": _emnist(
            "balanced",
            "Digits and letters, 47 classes of equal size, similar upper and lower case merged.",
            _TEN_DIGITS + _UPPER + _MERGED,
            (112_800, 18_800),
        ),
        "byclass": _emnist(
            "byclass",
            "Digits, uppercase and lowercase letters, 62 classes of unequal size.",
            _TEN_DIGITS + _UPPER + _LOWER,
            (697_932, 116_323),
        ),
        "bymerge": _emnist(
            "bymerge",
            "Digits and letters, 47 classes of unequal size, similar upper and lower case merged.",
            _TEN_DIGITS + _UPPER + _MERGED,
            (697_932, 116_323),
        ),
        "digits": _emnist(
            "digits", "280,000 digits, classes of equal size.", _TEN_DIGITS, (240_000, 40_000)
        ),
        "letters": _emnist(
            "letters",
            "145,600 letters, 26 classes of equal size, uppercase and lowercase together.",
            _LOWER,
            (124_800, 20_800),
        ),
        "mnist": _emnist(
            "mnist", "70,000 digits in the format of MNIST.", _TEN_DIGITS, (60_000, 10_000)
        ),
    }
)

CATALOG: Mapping[DatasetName, SetInfo] = MappingProxyType(
    {
        entry.name: entry
        for entry in (
            _DIGITS,
            _MNIST,
            _FASHION_MNIST,
            _KMNIST,
            _QMNIST,
            *EMNIST_SPLITS.values(),
        )
    }
)


def info(name: DatasetName) -> SetInfo:
    """Return the description of a data set without reading its files.

    Args:
        name: Name of the data set.

    Raises:
        TypeError: If ``name`` is not a string.
        ValueError: If there is no data set of that name.

    Example:
        >>> from mlpkit.data import info
        >>> info("mnist").license, info("mnist").image_shape, len(info("mnist").classes)
        ('CC BY-SA 3.0', (28, 28), 10)
    """
    names: tuple[DatasetName, ...] = get_args(DatasetName)
    return CATALOG[check_choice("name", name, names)]
