"""The data sets by name, with one common signature and a standard split each."""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable, Sequence
from typing import NamedTuple, TypeVar

from mlpkit._checks import check_bool, check_choice, check_int, error_message
from mlpkit.data._labeled_tensors import LabeledTensors
from mlpkit.data.sets._catalog import EMNIST_SPLITS, DatasetName, EmnistSplit, SetInfo, info
from mlpkit.data.sets._digits import read_digits
from mlpkit.data.sets._idx_sets import Access, read_test, read_train
from mlpkit.data.sets._locate import data_root

_TEST_SEED = 0  # fixed: the test digits do not depend on the seed of the validation split

_LoadFunction = TypeVar("_LoadFunction", bound=Callable[..., "Splits"])

# The sections that mnist, fashion_mnist, kmnist, qmnist and emnist share.
_SECTIONS = """\
Args:{split}
    root: Folder that holds the four IDX files, uncompressed or gzipped, directly, in
        torchvision's layout, ``{folder}/raw``, or in ``{folder}``. Missing files are downloaded to
        torchvision's layout.
        None uses the folder named by the environment variable ``MLPKIT_DATA``, or else the
        user's cache folder.
    val_size: Number of training images held out for validation. 0 holds out none.
    seed: Seed of the random choice of the validation images.
    download: Whether to download missing files{downloader}. The environment
        variable ``MLPKIT_OFFLINE=1`` forbids downloads as well.
    verify: Whether to verify that the files are the published ones,
        by {verified}.
        False accepts custom files: any number of 28x28 images with labels of the same classes.
    mirrors: Base URLs from which to download ``.gz`` files. None uses
        {mirrors}.

Shape:
    Images (N, 28, 28), uint8; targets (N,), int64.

Raises:
    DataError: If a file is missing, damaged or not the published one.
    DownloadError: If a missing file cannot be downloaded.{missing_dependency}
    TypeError: If an argument has the wrong type.
    ValueError: If an argument is out of range, or no training images are left.
"""
_EMNIST_SPLIT = """
    split: ``"balanced"`` (47 classes), ``"byclass"`` (62), ``"bymerge"`` (47), ``"digits"`` (10),
        ``"letters"`` (26) or ``"mnist"`` (10)."""
_MISSING_DEPENDENCY = """
    MissingDependencyError: If a file is missing and torchvision cannot be imported."""


def _with_shared_sections(
    entry: SetInfo, *, split: str = ""
) -> Callable[[_LoadFunction], _LoadFunction]:
    """Return a decorator that inserts ``_SECTIONS`` before the references of a docstring.

    Args:
        entry: Catalog entry of the data set, which determines how its files are verified.
        split: Description of the argument ``split``, for EMNIST.
    """
    by_torchvision = entry.source == "torchvision"
    if by_torchvision:
        verified = "their numbers of images (digests of their content are not published)"
    else:
        verified = "the SHA-256 of their content"
    sections = _SECTIONS.format(
        split=split,
        folder=entry.folder,
        downloader=" with torchvision, which checks their MD5" if by_torchvision else "",
        verified=verified,
        mirrors="torchvision's" if by_torchvision else f'``info("{entry.name}").mirrors``',
        missing_dependency=_MISSING_DEPENDENCY if by_torchvision else "",
    )

    def insert(function: _LoadFunction) -> _LoadFunction:
        if function.__doc__:  # python -OO removes docstrings
            text, heading, references = inspect.cleandoc(function.__doc__).partition("References:")
            function.__doc__ = f"{text}{sections}\n{heading}{references}"
        return function

    return insert


class Splits(NamedTuple):
    """The training, validation and test examples of a data set, which are disjoint.

    Attributes:
        train: Examples for training.
        val: Examples for choosing settings; None if none were held out.
        test: Examples for the final evaluation.

    Example:
        >>> from mlpkit.data import digits
        >>> train, val, test = digits()
        >>> len(train), len(test)
        (1257, 360)
    """

    train: LabeledTensors
    val: LabeledTensors | None
    test: LabeledTensors


def digits(*, val_size: int = 180, seed: int = 0) -> Splits:
    """Return the 1,797 handwritten 8x8 digits that are embedded in the package.

    The standard split has 1,257 training, 180 validation and 360 test images, stratified by class.
    The test images do not depend on ``seed``.

    Args:
        val_size: Number of training images held out for validation. 0 holds out none.
        seed: Seed of the random choice of the validation images.

    Shape:
        Images (N, 8, 8), uint8 in [0, 16]; targets (N,), int64.

    Raises:
        TypeError: If an argument is not an integer.
        ValueError: If an argument is negative, or no training images are left.

    Example:
        >>> from mlpkit.data import digits
        >>> digits().train
        LabeledTensors(1257 examples of uint8 (8, 8), 10 classes, on cpu)

    References:
        Alpaydin and Kaynak, "Optical Recognition of Handwritten Digits", UCI Machine Learning
        Repository, 1998 (CC BY 4.0).
    """
    entry = info("digits")
    size = _check_val_size(val_size, entry)
    images, labels = read_digits()
    everything = LabeledTensors(images, labels, entry.classes)
    rest, test = everything.split([entry.num_train, entry.num_test], seed=_TEST_SEED)
    train, val = _hold_out(rest, size, seed)
    return Splits(train, val, test)


@_with_shared_sections(info("mnist"))
def mnist(
    root: str | os.PathLike[str] | None = None,
    *,
    val_size: int = 5_000,
    seed: int = 0,
    download: bool = True,
    verify: bool = True,
    mirrors: Sequence[str] | None = None,
) -> Splits:
    """Return MNIST: 70,000 handwritten digits of 28x28 pixels.

    The standard split has 55,000 training images, 5,000 validation images and the 10,000 published
    test images. The validation images are held out from the 60,000 published training images,
    stratified by class.

    References:
        LeCun, Bottou, Bengio and Haffner, "Gradient-based learning applied to document
        recognition", 1998, section III.A.
    """
    access = _access(root, download=download, verify=verify, mirrors=mirrors)
    return _read_splits(info("mnist"), access, val_size, seed)


@_with_shared_sections(info("fashion_mnist"))
def fashion_mnist(
    root: str | os.PathLike[str] | None = None,
    *,
    val_size: int = 5_000,
    seed: int = 0,
    download: bool = True,
    verify: bool = True,
    mirrors: Sequence[str] | None = None,
) -> Splits:
    """Return Fashion-MNIST: 70,000 photographs of clothing of 28x28 pixels, in ten classes.

    The standard split has 55,000 training images, 5,000 validation images and the 10,000 published
    test images. The validation images are held out from the 60,000 published training images,
    stratified by class.

    References:
        Xiao, Rasul and Vollgraf, "Fashion-MNIST: a novel image dataset for benchmarking machine
        learning algorithms", 2017, section 2.
    """
    access = _access(root, download=download, verify=verify, mirrors=mirrors)
    return _read_splits(info("fashion_mnist"), access, val_size, seed)


@_with_shared_sections(info("kmnist"))
def kmnist(
    root: str | os.PathLike[str] | None = None,
    *,
    val_size: int = 5_000,
    seed: int = 0,
    download: bool = True,
    verify: bool = True,
    mirrors: Sequence[str] | None = None,
) -> Splits:
    """Return Kuzushiji-MNIST: 70,000 cursive hiragana of 28x28 pixels, in ten classes.

    The standard split has 55,000 training images, 5,000 validation images and the 10,000 published
    test images. The validation images are held out from the 60,000 published training images,
    stratified by class.

    References:
        Clanuwat et al., "Deep learning for classical Japanese literature", 2018, section 3.1.
    """
    access = _access(root, download=download, verify=verify, mirrors=mirrors)
    return _read_splits(info("kmnist"), access, val_size, seed)


@_with_shared_sections(info("qmnist"))
def qmnist(
    root: str | os.PathLike[str] | None = None,
    *,
    val_size: int = 5_000,
    seed: int = 0,
    download: bool = True,
    verify: bool = True,
    mirrors: Sequence[str] | None = None,
) -> Splits:
    """Return QMNIST: MNIST reconstructed from its NIST source, with 60,000 test digits.

    The standard split has 55,000 training images, 5,000 validation images and the 60,000 published
    test images, of which the first 10,000 are those of MNIST. The validation images are held out
    from the 60,000 published training images, stratified by class. Of the eight columns of a label
    only the first one, the digit, is kept.

    References:
        Yadav and Bottou, "Cold case: the lost MNIST digits", 2019, section 2.
    """
    access = _access(root, download=download, verify=verify, mirrors=mirrors)
    return _read_splits(info("qmnist"), access, val_size, seed)


@_with_shared_sections(EMNIST_SPLITS["balanced"], split=_EMNIST_SPLIT)
def emnist(
    split: EmnistSplit,
    root: str | os.PathLike[str] | None = None,
    *,
    val_size: int = 5_000,
    seed: int = 0,
    download: bool = True,
    verify: bool = True,
    mirrors: Sequence[str] | None = None,
) -> Splits:
    """Return a split of EMNIST: handwritten digits and letters of 28x28 pixels.

    The standard split holds out 5,000 validation images from the published training images,
    stratified by class, and keeps the published test images. Images are upright (they are
    transposed in the files), and the class indices of ``"letters"`` start at 0 (the labels in the
    files start at 1).

    References:
        Cohen et al., "EMNIST: an extension of MNIST to handwritten letters", 2017, table II.
    """
    entry = EMNIST_SPLITS[check_choice("split", split, tuple(EMNIST_SPLITS))]
    access = _access(root, download=download, verify=verify, mirrors=mirrors)
    return _read_splits(entry, access, val_size, seed)


def load(
    name: DatasetName,
    root: str | os.PathLike[str] | None = None,
    *,
    val_size: int | None = None,
    seed: int = 0,
    download: bool = True,
    verify: bool = True,
    mirrors: Sequence[str] | None = None,
) -> Splits:
    """Return a data set by name.

    Args:
        name: Name of the data set, as in :func:`info`.
        root: Folder that holds the files, as in :func:`mnist`; not used by ``"digits"``.
        val_size: Number of training examples held out for validation. 0 holds out none. None uses
            the size of the standard split.
        seed: Seed of the random choice of the validation examples.
        download: Whether to download missing files, as in :func:`mnist`.
        verify: Whether to require the published files, as in the function of the data set.
        mirrors: Base URLs from which to download, as in :func:`mnist`.

    Raises:
        DataError: If a file is missing, damaged or not the published one.
        DownloadError: If a missing file cannot be downloaded.
        MissingDependencyError: If a file is missing that torchvision downloads, and torchvision
            cannot be imported.
        TypeError: If an argument has the wrong type.
        ValueError: If there is no data set of that name, an argument is out of range, or no
            training examples are left.

    Example:
        >>> from mlpkit.data import load
        >>> load("digits", val_size=0).val is None
        True
    """
    entry = info(name)
    size = entry.val_size if val_size is None else val_size
    if entry.source == "embedded":
        return digits(val_size=size, seed=seed)
    access = _access(root, download=download, verify=verify, mirrors=mirrors)
    return _read_splits(entry, access, size, seed)


def _access(
    root: str | os.PathLike[str] | None,
    *,
    download: bool,
    verify: bool,
    mirrors: Sequence[str] | None,
) -> Access:
    """Check the options that concern files, before any file is opened."""
    if isinstance(mirrors, str):
        cure = "pass a list with this URL"
        raise TypeError(error_message("mirrors", "a sequence of URLs", mirrors, cure))
    return Access(
        root=data_root(root),
        download=check_bool("download", download),
        verify=check_bool("verify", verify),
        mirrors=None if mirrors is None else tuple(mirrors),
    )


def _read_splits(entry: SetInfo, access: Access, val_size: int, seed: int) -> Splits:
    """Read and split the training part, free its memory, then read the test part."""
    size = _check_val_size(val_size, entry)
    images, labels = read_train(entry, access)
    train, val = _hold_out(LabeledTensors(images, labels, entry.classes), size, seed)
    del images, labels
    return Splits(train, val, LabeledTensors(*read_test(entry, access), entry.classes))


def _check_val_size(val_size: int, entry: SetInfo) -> int:
    """Refuse a size that leaves no training examples, before any file is opened."""
    size = check_int("val_size", val_size, minimum=0)
    _check_leaves_examples(size, entry.num_train)
    return size


def _check_leaves_examples(val_size: int, num_train: int) -> None:
    if val_size >= num_train:
        rule = f"less than the {num_train} training examples"
        cure = "hold out fewer, or pass 0 to hold out none"
        raise ValueError(error_message("val_size", rule, val_size, cure))


def _hold_out(
    examples: LabeledTensors, val_size: int, seed: int
) -> tuple[LabeledTensors, LabeledTensors | None]:
    """Return the training and the validation examples; custom files may hold too few of them."""
    _check_leaves_examples(val_size, len(examples))
    if not val_size:
        return examples, None
    train, val = examples.split([len(examples) - val_size, val_size], seed=seed)
    return train, val
