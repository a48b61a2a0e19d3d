"""The data sets by name, each under one signature, each with its standard split."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import NamedTuple

from mlpkit._checks import check_bool, check_choice, check_int, error_message
from mlpkit.data._labeled_tensors import LabeledTensors
from mlpkit.data.sets._catalog import EMNIST_SPLITS, DatasetName, EmnistSplit, SetInfo, info
from mlpkit.data.sets._digits import read_digits
from mlpkit.data.sets._idx_sets import Access, read_test, read_train
from mlpkit.data.sets._locate import data_root

_TEST_SEED = 0  # the test digits stay the same whatever seed holds out the validation digits


class Splits(NamedTuple):
    """The three parts of a data set, which share no example.

    Attributes:
        train: The examples to learn from.
        val: The examples to choose settings by; None where none were held out.
        test: The examples that tell, once, how good the result is.

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
    """Return the 1,797 real 8x8 digits that come with the package; no network is needed.

    The standard split: 360 test images, stratified by class and always the same; 180 validation
    images, stratified, held out of the other 1,437; 1,257 training images.

    Args:
        val_size: Number of images held out for validation; 0: none.
        seed: Decides which images are held out for validation.

    Shape:
        Images (N, 8, 8), uint8 with values 0 to 16; targets (N,), int64.

    Raises:
        ValueError: If ``val_size`` leaves nothing to train on.

    Example:
        >>> from mlpkit.data import digits
        >>> digits().train
        LabeledTensors(1257 examples of uint8 (8, 8), 10 classes, on cpu)

    References:
        Alpaydin and Kaynak, "Optical Recognition of Handwritten Digits", UCI Machine Learning
        Repository, 1998 (CC BY 4.0).
    """
    facts = info("digits")
    held_out = _checked_val_size(val_size, facts)
    images, labels = read_digits()
    everything = LabeledTensors(images, labels, facts.classes)
    rest, test = everything.split([facts.num_train, facts.num_test], seed=_TEST_SEED)
    train, val = _held_out(rest, held_out, seed)
    return Splits(train, val, test)


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

    The standard split: the published 10,000 test images; 5,000 of the published 60,000 training
    images held out for validation, stratified by class; 55,000 to train on.

    Args:
        root: Folder with the four IDX files, plain or gzipped, or with torchvision's layout
            (``MNIST/raw``); what is missing is downloaded to there. None: the folder that the
            environment variable ``MLPKIT_DATA`` names, else the cache folder of this user.
        val_size: Number of training images held out for validation; 0: none.
        seed: Decides which images are held out for validation.
        download: Whether missing files are downloaded; the environment variable
            ``MLPKIT_OFFLINE=1`` forbids it too.
        verify: Whether the bytes must be the published ones, by SHA-256. False is for files of
            one's own: any number of 28x28 images, and labels of the same classes.
        mirrors: Addresses to download from, each one that a file name is added to. None: those
            in ``info("mnist").mirrors``.

    Shape:
        Images (N, 28, 28), uint8; targets (N,), int64.

    Raises:
        DataError: If a file is missing, damaged, or not what it claims to be.
        DownloadError: If no mirror could deliver a missing file.
        ValueError: If ``val_size`` leaves nothing to train on.

    References:
        LeCun, Bottou, Bengio and Haffner, "Gradient-based learning applied to document
        recognition", 1998, section III.A.
    """
    access = _access(root, download=download, verify=verify, mirrors=mirrors)
    return _from_idx(info("mnist"), access, val_size, seed)


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

    The standard split: the published 10,000 test images; 5,000 of the published 60,000 training
    images held out for validation, stratified by class; 55,000 to train on.

    Only digests of the gzipped files are published, so ``verify=True`` wants the archives as they
    came; unpacked ones beside them are left alone.

    Args:
        root: As in :func:`mnist`; torchvision's layout is ``FashionMNIST/raw``.
        val_size: Number of training images held out for validation; 0: none.
        seed: Decides which images are held out for validation.
        download: Whether missing files are downloaded.
        verify: Whether the archives must be the published ones, by SHA-256.
        mirrors: Addresses to download from. None: those in ``info("fashion_mnist").mirrors``.

    Shape:
        Images (N, 28, 28), uint8; targets (N,), int64.

    Raises:
        DataError: If a file is missing, damaged, or not what it claims to be.
        DownloadError: If no mirror could deliver a missing file.
        ValueError: If ``val_size`` leaves nothing to train on.

    References:
        Xiao, Rasul and Vollgraf, "Fashion-MNIST: a novel image dataset for benchmarking machine
        learning algorithms", 2017, section 2.
    """
    access = _access(root, download=download, verify=verify, mirrors=mirrors)
    return _from_idx(info("fashion_mnist"), access, val_size, seed)


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

    The standard split: the published 10,000 test images; 5,000 of the published 60,000 training
    images held out for validation, stratified by class; 55,000 to train on.

    Args:
        root: As in :func:`mnist`; torchvision's layout is ``KMNIST/raw``.
        val_size: Number of training images held out for validation; 0: none.
        seed: Decides which images are held out for validation.
        download: Whether missing files are downloaded, by torchvision, which checks their MD5.
        verify: Whether the numbers of images must be the published ones; no digests of the
            unpacked bytes are published.
        mirrors: Addresses to download ``.gz`` files from instead. None: torchvision's.

    Shape:
        Images (N, 28, 28), uint8; targets (N,), int64.

    Raises:
        DataError: If a file is missing, damaged, or not what it claims to be.
        DownloadError: If a missing file could not be downloaded.
        MissingDependencyError: If a file is missing and torchvision cannot be imported.
        ValueError: If ``val_size`` leaves nothing to train on.

    References:
        Clanuwat et al., "Deep learning for classical Japanese literature", 2018, section 3.1.
    """
    access = _access(root, download=download, verify=verify, mirrors=mirrors)
    return _from_idx(info("kmnist"), access, val_size, seed)


def qmnist(
    root: str | os.PathLike[str] | None = None,
    *,
    val_size: int = 5_000,
    seed: int = 0,
    download: bool = True,
    verify: bool = True,
    mirrors: Sequence[str] | None = None,
) -> Splits:
    """Return QMNIST: MNIST rebuilt from its NIST source, with 60,000 test digits.

    The standard split: the published 60,000 test images, of which the first 10,000 are MNIST's;
    5,000 of the published 60,000 training images held out for validation, stratified by class;
    55,000 to train on. Of the eight columns of a label the first, the digit, is kept.

    Args:
        root: As in :func:`mnist`; torchvision's layout is ``QMNIST/raw``.
        val_size: Number of training images held out for validation; 0: none.
        seed: Decides which images are held out for validation.
        download: Whether missing files are downloaded, by torchvision, which checks their MD5.
        verify: Whether the numbers of images must be the published ones; no digests of the
            unpacked bytes are published.
        mirrors: Addresses to download ``.gz`` files from instead. None: torchvision's.

    Shape:
        Images (N, 28, 28), uint8; targets (N,), int64.

    Raises:
        DataError: If a file is missing, damaged, or not what it claims to be.
        DownloadError: If a missing file could not be downloaded.
        MissingDependencyError: If a file is missing and torchvision cannot be imported.
        ValueError: If ``val_size`` leaves nothing to train on.

    References:
        Yadav and Bottou, "Cold case: the lost MNIST digits", 2019, section 2.
    """
    access = _access(root, download=download, verify=verify, mirrors=mirrors)
    return _from_idx(info("qmnist"), access, val_size, seed)


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

    The standard split: the published test images; 5,000 of the published training images held out
    for validation, stratified by class; the others to train on. Images stand upright (in the files
    they lie transposed), and the labels of ``"letters"`` count from 0.

    Args:
        split: ``"balanced"`` (47 classes), ``"byclass"`` (62), ``"bymerge"`` (47), ``"digits"``
            (10), ``"letters"`` (26) or ``"mnist"`` (10).
        root: As in :func:`mnist`; torchvision's layout is ``EMNIST/raw``.
        val_size: Number of training images held out for validation; 0: none.
        seed: Decides which images are held out for validation.
        download: Whether missing files are downloaded, by torchvision, which checks their MD5.
        verify: Whether the numbers of images must be the published ones; no digests of the
            unpacked bytes are published.
        mirrors: Addresses to download ``.gz`` files from instead. None: torchvision's.

    Shape:
        Images (N, 28, 28), uint8; targets (N,), int64.

    Raises:
        DataError: If a file is missing, damaged, or not what it claims to be.
        DownloadError: If a missing file could not be downloaded.
        MissingDependencyError: If a file is missing and torchvision cannot be imported.
        ValueError: If there is no such split, or ``val_size`` leaves nothing to train on.

    References:
        Cohen et al., "EMNIST: an extension of MNIST to handwritten letters", 2017, table II.
    """
    facts = EMNIST_SPLITS[check_choice("split", split, tuple(EMNIST_SPLITS))]
    access = _access(root, download=download, verify=verify, mirrors=mirrors)
    return _from_idx(facts, access, val_size, seed)


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
    """Return a data set by its name.

    Args:
        name: Name of the data set, one of those that :func:`info` knows.
        root: As in :func:`mnist`; digits need none.
        val_size: Number of training examples held out for validation; 0: none. None: as many as
            the data set's standard split has.
        seed: Decides which examples are held out for validation.
        download: Whether missing files are downloaded.
        verify: Whether the bytes must be the published ones.
        mirrors: As in :func:`mnist`.

    Raises:
        DataError: If a file is missing, damaged, or not what it claims to be.
        DownloadError: If no mirror could deliver a missing file.
        MissingDependencyError: If the data set comes from torchvision, which cannot be imported.
        ValueError: If there is no data set of that name, or ``val_size`` does not fit.

    Example:
        >>> from mlpkit.data import load
        >>> load("digits", val_size=0).val is None
        True
    """
    facts = info(name)
    held_out = facts.val_size if val_size is None else val_size
    if facts.source == "embedded":
        return digits(val_size=held_out, seed=seed)
    access = _access(root, download=download, verify=verify, mirrors=mirrors)
    return _from_idx(facts, access, held_out, seed)


def _access(
    root: str | os.PathLike[str] | None,
    *,
    download: bool,
    verify: bool,
    mirrors: Sequence[str] | None,
) -> Access:
    if isinstance(mirrors, str):
        raise TypeError(
            error_message("mirrors", "a sequence of addresses", mirrors, "put it in a list")
        )
    return Access(
        root=data_root(root),
        download=check_bool("download", download),
        verify=check_bool("verify", verify),
        mirrors=None if mirrors is None else tuple(mirrors),
    )


def _from_idx(facts: SetInfo, access: Access, val_size: int, seed: int) -> Splits:
    """Read the training part and split it before the test part takes memory of its own."""
    held_out = _checked_val_size(val_size, facts)
    images, labels = read_train(facts, access)
    train, val = _held_out(LabeledTensors(images, labels, facts.classes), held_out, seed)
    del images, labels
    return Splits(train, val, LabeledTensors(*read_test(facts, access), facts.classes))


def _checked_val_size(val_size: int, facts: SetInfo) -> int:
    """Refuse a size that leaves nothing, before any file is opened."""
    size = check_int("val_size", val_size, minimum=0)
    _check_leaves_some(size, facts.num_train)
    return size


def _check_leaves_some(val_size: int, available: int) -> None:
    if val_size >= available:
        rule = f"less than the {available} training examples"
        raise ValueError(error_message("val_size", rule, val_size, "hold out fewer, or none by 0"))


def _held_out(
    examples: LabeledTensors, val_size: int, seed: int
) -> tuple[LabeledTensors, LabeledTensors | None]:
    _check_leaves_some(val_size, len(examples))
    if not val_size:
        return examples, None
    train, val = examples.split([len(examples) - val_size, val_size], seed=seed)
    return train, val
