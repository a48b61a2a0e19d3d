"""A data set in memory: inputs, targets, example weights and class names."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import SupportsIndex, overload

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.utils.data import Dataset, TensorDataset

from mlpkit._checks import Unquoted, check_int, error_message
from mlpkit._devices import check_device
from mlpkit._files import printable
from mlpkit.data._adapters import (
    encode_targets,
    stack_dataset,
    tensor_from_array,
    weights_from_array,
)
from mlpkit.data._batches import Batches
from mlpkit.data._chunks import chunks, content
from mlpkit.data._mapped_files import file_stamps, map_examples, write_examples
from mlpkit.data._mapped_inputs import MappedFiles, MappedInputs
from mlpkit.data._random import derive, permutation
from mlpkit.data._splits import split_sizes, stratified_counts
from mlpkit.data._validation import (
    check_class_names,
    check_finite,
    check_indices,
    check_inputs,
    check_targets,
    check_weights,
)
from mlpkit.data.augment import Augmentation
from mlpkit.data.images import read_image_folder
from mlpkit.data.tables import (
    Frame,
    Table,
    TableEncoder,
    TargetTask,
    read_csv,
    require_target,
)
from mlpkit.errors import DataError

_SPLIT_STREAM = 0x5911
_HASHED_BYTES = 64 * 2**20  # of larger inputs only evenly spaced examples are hashed
_VALUES_AT_ONCE = 2**20


class LabeledTensors:
    r"""A data set of inputs and targets, held in memory on one device, or mapped from files.

    Inputs keep their dtype. In particular uint8 images stay uint8, and the model converts each
    batch. Instances are immutable; methods that select, split or move examples return instances.

    Args:
        inputs: Inputs of any dtype, on any device. Floating-point values must be finite.
        targets: Class indices of any integer dtype, stored as int64, or floating-point targets:
            distributions over C classes, C labels that are present (1) or absent (0), or regression
            targets. They must be on the device of ``inputs``.
        classes: Name of each class, in the order of the class indices. For floating-point targets
            of shape (N, C) the names of the C classes, labels or regression targets. None if they
            have no names.
        weights: Weight of each example in the loss, floating-point, finite and non-negative. None
            gives all examples the same weight.
        encoder: The encoder that turned the rows of a table into ``inputs``; None if they are no
            rows of a table.

    Shape:
        - ``inputs``: (N, ...).
        - ``targets``: (N,) for class indices; (N, C) for distributions over C classes or for C
          labels; (N,) or (N, ...) for regression targets.
        - ``weights``: (N,).

    Raises:
        TypeError: If an argument has the wrong type.
        ValueError: If the numbers of examples differ, a class index is not in [0, C), or a value is
            not finite.

    Example:
        >>> import torch
        >>> from mlpkit.data import LabeledTensors
        >>> images = torch.zeros(6, 28, 28, dtype=torch.uint8)
        >>> data = LabeledTensors(images, torch.tensor([0, 1, 0, 1, 0, 1]), ("cat", "dog"))
        >>> data
        LabeledTensors(6 examples of uint8 (28, 28), 2 classes, on cpu)
        >>> train, val = data.split([4, 2])
        >>> val.class_counts.tolist()
        [1, 1]
    """

    def __init__(
        self,
        inputs: Tensor,
        targets: Tensor,
        classes: Sequence[str] | None = None,
        *,
        weights: Tensor | None = None,
        encoder: TableEncoder | None = None,
    ) -> None:
        self._fill(check_inputs(inputs), targets, check_class_names(classes), weights, encoder)

    def _fill(
        self,
        inputs: Tensor,
        targets: Tensor,
        classes: tuple[str, ...] | None,
        weights: Tensor | None,
        encoder: TableEncoder | None,
    ) -> None:
        """Store all but the values of the inputs after checks."""
        self._inputs: Tensor | MappedInputs = inputs
        self._classes = classes
        self._targets = check_targets(targets, inputs, classes)
        self._weights = None if weights is None else check_weights(weights, inputs)
        self._encoder = None if encoder is None else _check_encoder(encoder, inputs)
        self._fingerprint: str | None = None

    @classmethod
    def open(cls, path: str | os.PathLike[str]) -> LabeledTensors:
        """Map examples in files into memory, so that they may be larger than it.

        The files are either one safetensors file, as :meth:`save` writes it, with the tensors
        ``inputs``, ``targets`` and, if any, ``weights``; or a folder with ``inputs.npy``,
        ``targets.npy`` and, if any, ``weights.npy``, as :func:`numpy.save` writes them, and
        ``classes.json`` with a list of the class names, if any. They must not change while they are
        in use.

        Opening reads the headers, and compares shapes, dtypes and sizes. Targets and weights are
        read once, a part at a time, and checked as in the constructor; class indices of another
        dtype than int64 are copied. Inputs are not read. :class:`Batches` and ``data[index]`` read
        examples when they copy them, and check that floating-point inputs are finite, as does
        :meth:`to`.

        Slices, :meth:`subset` and :meth:`split` select examples without reading their inputs.
        :attr:`inputs` has the values of the files without a check. Of a slice it is a view of the
        file; of another selection it is a copy, which is read each time. A change of a tensor in
        place reaches neither the files nor a pickle.

        A pickle has the absolute path, the selection and the class names, and unpickling opens the
        files again, in a process of a :class:`~torch.utils.data.DataLoader` for instance. It raises
        :class:`~mlpkit.errors.DataError` if the size or the time of the last change of a file is
        another one. ``copy.deepcopy`` does the same.

        Args:
            path: The safetensors file, or the folder.

        Raises:
            DataError: If a file is missing, damaged or a pickle, has another name or dtype, or is
                in Fortran or another byte order; or as in the constructor for targets and weights.

        Example:
            >>> import tempfile
            >>> import torch
            >>> from mlpkit.data import LabeledTensors
            >>> path = tempfile.mkdtemp() + "/train.safetensors"
            >>> data = LabeledTensors(torch.rand(6, 2), torch.tensor([0, 1, 0, 1, 0, 1]))
            >>> _ = data.save(path)
            >>> LabeledTensors.open(path)
            LabeledTensors(6 examples of float32 (2,), 2 classes, mapped from files)
        """
        files = MappedFiles(Path(path).absolute(), file_stamps(Path(path)))
        stored = map_examples(Path(path))
        mapped = object.__new__(cls)
        try:
            inputs = check_inputs(stored.inputs, values=False)
            classes = check_class_names(stored.classes)
            encoder = None if stored.encoder is None else TableEncoder.from_json(stored.encoder)
            mapped._fill(inputs, stored.targets, classes, stored.weights, encoder)
        except (TypeError, ValueError) as error:
            message = f"{printable(path)} holds examples that cannot be used: {error}"
            raise DataError(message) from error
        mapped._inputs = MappedInputs(inputs, files=files)
        return mapped

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write the examples to one safetensors file that :meth:`open` reads, and return its path.

        Class names and the encoder of a table are in the metadata of the file, as JSON. The tensors
        are written a part at a time, so examples that are mapped can be written too.

        Args:
            path: The file; an old one is replaced when the new one is complete.

        Raises:
            OSError: If the file cannot be written.
            TypeError: If a tensor has complex numbers.
        """
        tensors: dict[str, Tensor | MappedInputs] = {
            "inputs": self._inputs,
            "targets": self._targets,
        }
        if self._weights is not None:
            tensors["weights"] = self._weights
        metadata: dict[str, str] = {}
        if self._classes is not None:
            metadata["classes"] = json.dumps(self._classes)
        if self._encoder is not None:
            metadata["encoder"] = self._encoder.to_json()
        return write_examples(Path(path), tensors, metadata)

    @classmethod
    def from_dataset(
        cls, dataset: Dataset[object], *, classes: Sequence[str] | None = None
    ) -> LabeledTensors:
        """Read every example of a :class:`torch.utils.data.Dataset` into memory.

        torchvision's data sets work with and without transforms. Each example is read once, so a
        random transform is applied once and its result is kept.

        Args:
            dataset: Data set of (input, target) pairs. Inputs are tensors, NumPy arrays, numbers or
                Pillow images, all of the same shape and dtype. A Pillow image becomes uint8 of
                shape (H, W) if it is gray, else (channels, H, W). Targets are class indices or
                floating-point tensors or numbers.
            classes: Name of each class. None uses ``dataset.classes`` if it exists.

        Raises:
            DataError: If an example is not a pair, differs from the first one in shape or dtype, or
                is an image with transparent pixels or more than 8 bits per channel.
            TypeError: If the targets are bool.

        Example:
            >>> import torch
            >>> from torch.utils.data import TensorDataset
            >>> from mlpkit.data import LabeledTensors
            >>> pairs = TensorDataset(torch.rand(5, 3), torch.tensor([0, 1, 2, 1, 0]))
            >>> LabeledTensors.from_dataset(pairs)
            LabeledTensors(5 examples of float32 (3,), 3 classes, on cpu)
        """
        inputs, targets, found = stack_dataset(dataset, named=classes is None)
        names = check_class_names(found if classes is None else classes)
        return cls(inputs, check_targets(targets, inputs, names, origin="dataset"), names)

    @classmethod
    def from_numpy(
        cls,
        inputs: npt.ArrayLike,
        targets: npt.ArrayLike,
        classes: Sequence[str] | None = None,
        *,
        weights: npt.ArrayLike | None = None,
    ) -> LabeledTensors:
        """Copy NumPy arrays, or anything that NumPy converts to an array, into tensors.

        Args:
            inputs: Inputs, shape (N, ...). The dtype is preserved.
            targets: Class indices, floating-point targets, or class names. Names are encoded as
                indices into ``classes``, or into the sorted names if ``classes`` is None.
            classes: Name of each class. None uses the names found in ``targets``, if any.
            weights: Weight of each example, shape (N,). None gives all examples the same weight.

        Raises:
            TypeError: If an array does not hold numbers, or ``targets`` neither numbers nor names.
            ValueError: If a target is not one of ``classes``, or as in the constructor.

        Example:
            >>> import numpy as np
            >>> from mlpkit.data import LabeledTensors
            >>> data = LabeledTensors.from_numpy(np.eye(3), np.array(["b", "a", "b"]))
            >>> data.classes, data.targets.tolist()
            (('a', 'b'), [1, 0, 1])
        """
        names, indices = encode_targets(targets, check_class_names(classes))
        tensor = tensor_from_array("inputs", inputs)
        if tensor.ndim > 0:  # else the constructor raises
            indices = check_targets(indices, tensor, names, origin="array")
        return cls(
            tensor,
            indices,
            names,
            weights=weights_from_array(weights),
        )

    @classmethod
    def from_folder(
        cls,
        root: str | os.PathLike[str],
        *,
        size: int | tuple[int, int] | None = None,
        color: bool = False,
        classes: Sequence[str] | None = None,
    ) -> LabeledTensors:
        """Read images from a folder with one subfolder per class.

        The layout is ``root/<class name>/<file name>.png``, as in torchvision's ``ImageFolder``.
        Classes and files are sorted by name, so the result does not depend on the file system.
        Hidden files and folders, whose names start with a dot, are skipped.

        Args:
            root: Folder that holds the class folders.
            size: Size to which every image is resized, (height, width) in pixels, or one number for
                a square. None requires that all images already have the same size.
            color: Whether to read images as RGB, shape (3, H, W), or as gray, shape (H, W).
            classes: Name of each class, in the order of the class indices; for instance
                ``train.classes``, so that a folder that lacks a class gets the same indices. None
                takes the names of the class folders.

        Raises:
            DataError: If there is no class folder, a class folder is empty, a file is not an image,
                an image has transparent pixels or more than 8 bits per channel, or sizes differ.
                The message names the file.
            TypeError: If ``size``, ``color`` or ``classes`` has the wrong type.
            ValueError: If ``size`` is not positive, or a class folder is not in ``classes``.
        """
        inputs, targets, names = read_image_folder(
            root, size=size, color=color, classes=check_class_names(classes)
        )
        return cls(inputs, targets, names)

    @classmethod
    def from_frame(
        cls,
        frame: Frame,
        target: str | Sequence[str] | None = None,
        *,
        encoder: TableEncoder | None = None,
        task: TargetTask | None = None,
        classes: Sequence[str] | None = None,
        weights: str | npt.ArrayLike | None = None,
    ) -> LabeledTensors:
        """Encode the rows of a pandas or polars frame.

        Without ``encoder`` one is fitted on these rows, so they must be the training rows and no
        others. Encode the other rows with the same encoder, which is :attr:`encoder`.

        Args:
            frame: The rows.
            target: Name of the column to predict, or several names. None takes the target of
                ``encoder``.
            encoder: The encoder that was fitted on the training rows with a target; None fits one,
                see :meth:`TableEncoder.fit`.
            task: What the targets are; None finds it from the values, or takes that of ``encoder``.
            classes: Name of each class; None takes the sorted values, or those of ``encoder``.
            weights: Weight of each row: the name of a column, which is then no input, or an array
                of shape (N,). None gives all rows the same weight.

        Raises:
            TypeError: If an argument has the wrong type.
            ValueError: If a column does not exist, or an argument differs from that of ``encoder``.
            DataError: If a column cannot be used, as in :meth:`TableEncoder.fit` and
                :meth:`TableEncoder.transform`.
            MissingDependencyError: If narwhals is not installed.

        Example:
            >>> import pandas as pd
            >>> from mlpkit.data import LabeledTensors
            >>> frame = pd.DataFrame({"x": [1.0, 2.0, 3.0, 4.0], "y": ["b", "a", "b", "a"]})
            >>> train = LabeledTensors.from_frame(frame[:3], target="y")
            >>> test = LabeledTensors.from_frame(frame[3:], encoder=train.encoder)
            >>> train.classes, test.targets.tolist()
            (('a', 'b'), [0])
        """
        table = Table(frame)
        ignore: list[str] = []
        if isinstance(weights, str):
            ignore = [table.check_column("weights", weights)]
            names = target if encoder is None else require_target(encoder).names
            if weights in ([names] if isinstance(names, str) else names or ()):
                rule = "the name of a column besides the target"
                raise ValueError(error_message("weights", rule, weights))
        if encoder is None:
            if target is None:
                rule = "the name of the column to predict, or several names"
                raise TypeError(error_message("target", rule, None))
            encoder = TableEncoder.fit(
                table, target=target, task=task, classes=classes, ignore=ignore
            )
        else:
            _check_same_target(encoder, target, task, classes)
        meaning = require_target(encoder)
        return cls(
            encoder.transform(table),
            meaning.encode(table),
            meaning.tensor_names,
            weights=_row_weights(table, weights),
            encoder=encoder,
        )

    @classmethod
    def from_csv(
        cls,
        path: str | os.PathLike[str],
        target: str | Sequence[str] | None = None,
        *,
        encoder: TableEncoder | None = None,
        task: TargetTask | None = None,
        classes: Sequence[str] | None = None,
        weights: str | npt.ArrayLike | None = None,
    ) -> LabeledTensors:
        """Read a CSV file with pandas, and encode its rows as :meth:`from_frame` does.

        The file is UTF-8, and its first line has the names of the columns. The separator is a
        comma, semicolon, tab or vertical bar, whichever the first lines have; in a file with
        semicolons, numbers may have decimal commas. Spaces around names and fields are removed.
        Empty fields and ``NA``, ``NaN`` or ``null`` are missing values.

        Args:
            path: The file. Without ``encoder`` it must have the training rows and no others.
            target: As in :meth:`from_frame`, as all other arguments.
            encoder: The encoder that was fitted on the training rows.
            task: What the targets are.
            classes: Name of each class.
            weights: Weight of each row.

        Raises:
            DataError: If the file does not exist, is not UTF-8, has no rows, equal names of
                columns or lines of different lengths, or as in :meth:`from_frame`.
            MissingDependencyError: If pandas or narwhals is not installed.
            TypeError: As in :meth:`from_frame`.
            ValueError: As in :meth:`from_frame`.
        """
        text = encoder.text_columns if isinstance(encoder, TableEncoder) else ()
        return cls.from_frame(
            read_csv(path, text_columns=text),
            target,
            encoder=encoder,
            task=task,
            classes=classes,
            weights=weights,
        )

    @property
    def inputs(self) -> Tensor:
        """The inputs, shape (N, ...); see :meth:`open` for those that are mapped from files."""
        return self._inputs if isinstance(self._inputs, Tensor) else self._inputs.tensor()

    def _gather_inputs(self, indices: Tensor) -> Tensor:
        """Return a copy of the inputs at some indices; those from a file are checked."""
        if isinstance(self._inputs, Tensor):
            return self._inputs.index_select(0, indices)
        return self._inputs.gather(indices)

    @property
    def targets(self) -> Tensor:
        """Class indices, int64 of shape (N,), or floating-point targets of shape (N, ...)."""
        return self._targets

    @property
    def classes(self) -> tuple[str, ...] | None:
        """Name of each class, label or regression target, or None without names."""
        return self._classes

    @property
    def weights(self) -> Tensor | None:
        """Weight of each example, shape (N,), or None if all examples have the same weight."""
        return self._weights

    @property
    def encoder(self) -> TableEncoder | None:
        """The encoder of the table that the inputs come from; None if they come from no table."""
        return self._encoder

    @property
    def device(self) -> torch.device:
        """Device of the tensors."""
        return self._inputs.device

    @property
    def is_mapped(self) -> bool:
        """Whether the inputs are mapped from files, see :meth:`open`."""
        return isinstance(self._inputs, MappedInputs)

    @property
    def num_classes(self) -> int | None:
        """Number of class names, else highest class index + 1; None for floats without names."""
        if self._classes is not None:
            return len(self._classes)
        if self._targets.is_floating_point():
            return None
        return int(self._targets.max()) + 1 if len(self) else 0

    @property
    def class_counts(self) -> Tensor:
        """Number of examples of each class, int64, shape (C,).

        Raises:
            ValueError: If the targets are not class indices.
        """
        if self._targets.is_floating_point():
            found = Unquoted(_describe(self._targets))
            raise ValueError(error_message("targets", "class indices", found))
        return torch.bincount(self._targets, minlength=self.num_classes or 0)

    @property
    def fingerprint(self) -> str:
        """Hash of the content, 32 hexadecimal digits, the same on every device.

        It covers shapes, dtypes, targets, weights, class names and inputs. Of inputs larger than
        64 MiB it covers evenly spaced examples. It is computed on first access.
        """
        if self._fingerprint is None:
            self._fingerprint = self._hash()
        return self._fingerprint

    def _hash(self) -> str:
        digest = hashlib.blake2b(digest_size=16)
        digest.update(repr((self._classes, _describe(self._targets))).encode())
        for labels in (self._targets, self._weights):
            if labels is not None:
                _update(digest, labels)
        digest.update(_describe(self._inputs).encode())
        stride = -(-self._inputs.nbytes // _HASHED_BYTES) or 1  # rounded up
        _update(digest, self._inputs[::stride])
        return digest.hexdigest()

    def __reduce_ex__(self, protocol: SupportsIndex) -> str | tuple[object, ...]:
        if isinstance(self._inputs, Tensor):
            return super().__reduce_ex__(protocol)
        rows = _without_rest(self._inputs.rows)
        return _open_again, (self._inputs.files, rows, self._classes)

    def __getstate__(self) -> dict[str, object]:
        # torch pickles the memory of a tensor, so a slice would have all examples.
        return {name: _without_rest(value) for name, value in self.__dict__.items()}

    def __len__(self) -> int:
        return self._inputs.shape[0]

    def __repr__(self) -> str:
        targets = f"{self.num_classes} classes"
        if self._targets.is_floating_point():  # whose names may be those of regression targets
            targets = f"targets {_describe(self._targets)}"
        weighted = ", weighted" if self._weights is not None else ""
        place = "mapped from files" if self.is_mapped else f"on {self.device}"
        return (
            f"LabeledTensors({len(self)} examples of {_describe(self._inputs)}, {targets}"
            f"{weighted}, {place})"
        )

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        if isinstance(self._inputs, Tensor):
            return zip(self._inputs, self._targets, strict=True)
        return (self[index] for index in range(len(self)))

    @overload
    def __getitem__(self, index: int | np.integer) -> tuple[Tensor, Tensor]: ...

    @overload
    def __getitem__(self, index: slice | Sequence[int] | Tensor) -> LabeledTensors: ...

    def __getitem__(
        self, index: int | np.integer | slice | Sequence[int] | Tensor
    ) -> tuple[Tensor, Tensor] | LabeledTensors:
        """Return one example as (input, target), or a data set for a slice or a set of indices.

        A slice shares memory with this object. Indices copy the examples, as in :meth:`subset`.
        """
        if isinstance(index, int | np.integer):
            if isinstance(self._inputs, Tensor):
                return self._inputs[int(index)], self._targets[int(index)]
            row = range(len(self))[int(index)]
            return self._inputs.gather(torch.tensor([row]))[0], self._targets[row]
        return self._select(index) if isinstance(index, slice) else self.subset(index)

    def subset(self, indices: Sequence[int] | Tensor | npt.NDArray[np.integer]) -> LabeledTensors:
        """Return the examples at the given indices, in the given order.

        Args:
            indices: Indices in [0, N), which may repeat, or a boolean mask of shape (N,).

        Raises:
            TypeError: If ``indices`` are neither integers nor a boolean mask.
            ValueError: If an index is out of range, or the mask has another length.
        """
        return self._select(check_indices(indices, len(self), self.device))

    def _select(self, rows: slice | Tensor) -> LabeledTensors:
        """Return the selected examples without a second check of their values."""
        selected = object.__new__(LabeledTensors)
        selected._inputs = self._inputs[rows]
        selected._targets = self._targets[rows]
        selected._classes = self._classes
        selected._weights = None if self._weights is None else self._weights[rows]
        selected._encoder = self._encoder
        selected._fingerprint = None
        return selected

    def split(
        self, lengths: Sequence[int] | Sequence[float], *, seed: int = 0
    ) -> tuple[LabeledTensors, ...]:
        r"""Split the examples at random into disjoint parts that cover the data set.

        If the targets are class indices, the split is stratified: of the :math:`n_c` examples of a
        class, a part of size :math:`s` gets :math:`n_c s / N`, rounded down or up. Examples keep
        their order within a part.

        Args:
            lengths: Size of each part with sum N, or fraction of each part with sum 1.
            seed: Seed of the split, at least 0. The split depends only on the seed and the targets.

        Raises:
            TypeError: If ``lengths`` is not a sequence of numbers, or ``seed`` is not an integer.
            ValueError: If ``lengths`` do not add up, or ``seed`` is negative.

        Example:
            >>> import torch
            >>> from mlpkit.data import LabeledTensors
            >>> data = LabeledTensors(torch.rand(10, 2), torch.tensor([0] * 6 + [1] * 4))
            >>> [part.class_counts.tolist() for part in data.split([0.5, 0.5])]
            [[3, 2], [3, 2]]
        """
        sizes = split_sizes(lengths, len(self))
        state = derive(check_int("seed", seed, minimum=0), _SPLIT_STREAM)
        order = permutation(state, len(self), torch.device("cpu"))
        targets = self._targets.cpu()
        if targets.is_floating_point() or not len(self):
            parts = list(torch.split(order, sizes))
        else:
            # Only classes that occur: counts up to the highest index may not fit into memory.
            class_counts = np.unique(targets.numpy(), return_counts=True)[1].tolist()
            counts = stratified_counts(class_counts, sizes)
            by_class = order[torch.argsort(targets[order], stable=True)]
            cells = torch.split(by_class, [count for row in counts for count in row])
            parts = [torch.cat(cells[part :: len(sizes)]) for part in range(len(sizes))]
        return tuple(self._select(part.sort().values.to(self.device)) for part in parts)

    def with_classes(self, classes: Sequence[str]) -> LabeledTensors:
        """Return the examples with other class names, or with the same ones in another order.

        If the classes have names already, each class keeps its name: class indices, or the columns
        of distributions, are converted to the new order. Otherwise the names are added.

        Args:
            classes: Name of each class, in the new order; all present names and possibly more.

        Raises:
            TypeError: If ``classes`` is not a sequence of strings.
            ValueError: If a present name is missing, or there are fewer names than class indices.

        Example:
            >>> import torch
            >>> from mlpkit.data import LabeledTensors
            >>> data = LabeledTensors(torch.rand(3, 2), torch.tensor([0, 1, 0]), ("dog", "cat"))
            >>> data.with_classes(("ant", "cat", "dog")).targets.tolist()
            [2, 1, 2]
        """
        rule = "a sequence of strings"
        given: object = classes
        if given is None:
            raise TypeError(error_message("classes", rule, given))
        names = check_class_names(classes)
        assert names is not None, "only None gives None"
        present = names if self._classes is None else self._classes
        missing = [name for name in present if name not in names]
        if missing:
            rule = f"names that include those of the examples, {list(present)}"
            raise ValueError(error_message("classes", rule, list(names), f"add {missing}"))
        renamed = object.__new__(LabeledTensors)
        renamed._inputs = self._inputs
        renamed._classes = names
        renamed._weights = self._weights
        renamed._encoder = self._encoder
        renamed._fingerprint = None
        position = torch.tensor([names.index(name) for name in present], device=self.device)
        if self._classes is None:
            like = self._targets  # they are as many as the inputs, on the same device
            renamed._targets = check_targets(self._targets, like, names)
        elif self._targets.is_floating_point():
            renamed._targets = self._targets.new_zeros(len(self), len(names))
            renamed._targets[:, position] = self._targets
        else:
            renamed._targets = position[self._targets]
        return renamed

    def to(self, device: torch.device | str) -> LabeledTensors:
        """Return the examples on a device, or this object if they are already there.

        Args:
            device: Target device.

        Raises:
            ValueError: If this machine does not have the device.
        """
        target = check_device(device)
        moved = object.__new__(LabeledTensors)
        moved._targets = self._targets.to(target)
        if moved._targets is self._targets:
            return self
        moved._inputs = self.inputs.to(target)
        if self.is_mapped:
            check_finite("inputs", moved._inputs)
        moved._classes = self._classes
        moved._weights = None if self._weights is None else self._weights.to(target)
        moved._encoder = self._encoder
        moved._fingerprint = self._fingerprint
        return moved

    def as_torch_dataset(self) -> TensorDataset:
        """Return a torch data set of (input, target), or (input, target, weight) with weights."""
        if self._weights is None:
            return TensorDataset(self.inputs, self._targets)
        return TensorDataset(self.inputs, self._targets, self._weights)

    def batches(
        self,
        batch_size: int,
        *,
        shuffle: bool = True,
        seed: int = 0,
        drop_last: bool = False,
        balanced: bool = False,
        augment: Augmentation | None = None,
    ) -> Batches:
        """Return the examples as :class:`Batches`, which documents the arguments."""
        return Batches(
            self,
            batch_size,
            shuffle=shuffle,
            seed=seed,
            drop_last=drop_last,
            balanced=balanced,
            augment=augment,
        )


def _without_rest(value: object) -> object:
    """Return a copy of a tensor if it is a part of a larger one, and other values unchanged."""
    is_part = isinstance(value, Tensor) and value.untyped_storage().nbytes() > value.nbytes
    return value.clone() if isinstance(value, Tensor) and is_part else value


def _open_again(
    files: MappedFiles, rows: range | Tensor, classes: tuple[str, ...] | None
) -> LabeledTensors:
    """Return a selection of examples in files, as they were when they were pickled."""
    if file_stamps(files.path) != files.stamps:
        rule = "the files that were opened before they were pickled or copied"
        found = Unquoted("files that have changed or are missing")
        cure = "open them again with LabeledTensors.open"
        raise DataError(error_message(printable(files.path), rule, found, cure))
    opened = LabeledTensors.open(files.path)
    if isinstance(rows, Tensor):
        opened = opened._select(rows)
    else:
        opened = opened._select(slice(rows.start, rows.stop, rows.step))
    return opened if opened.classes == classes or classes is None else opened.with_classes(classes)


def _check_same_target(
    encoder: TableEncoder,
    target: str | Sequence[str] | None,
    task: TargetTask | None,
    classes: Sequence[str] | None,
) -> None:
    """Refuse arguments that differ from what an encoder was fitted with; None does not differ."""
    fitted = require_target(encoder)
    names = None if target is None else (target,) if isinstance(target, str) else tuple(target)
    pairs: tuple[tuple[str, object, object], ...] = (
        ("target", names, fitted.names),
        ("task", task, fitted.task),
        ("classes", None if classes is None else tuple(classes), fitted.classes),
    )
    for argument, found, expected in pairs:
        if found is not None and found != expected:
            raise ValueError(error_message(argument, f"{expected!r}, as in encoder", found))


def _check_encoder(encoder: object, inputs: Tensor) -> TableEncoder:
    """Return the encoder of inputs."""
    if not isinstance(encoder, TableEncoder):
        raise TypeError(error_message("encoder", "a TableEncoder or None", type(encoder)))
    width = len(encoder.feature_names)
    if inputs.shape[1:] != (width,):
        rule = f"of shape (N, {width}), as the encoder has features"
        raise ValueError(error_message("inputs", rule, tuple(inputs.shape)))
    return encoder


def _row_weights(table: Table, weights: str | npt.ArrayLike | None) -> Tensor | None:
    """Return the weight of each row: a column of the table, or an array."""
    if not isinstance(weights, str):
        return weights_from_array(weights)
    values = table.read(weights)
    if values.kind == "text" or bool(values.missing.any()):
        rule = f"the name of a column of numbers without missing values ({weights!r} has others)"
        raise ValueError(error_message("weights", rule, weights))
    return torch.from_numpy(values.numbers)


def _describe(tensor: Tensor | MappedInputs) -> str:
    """Return the dtype and the shape of one example, for example ``uint8 (28, 28)``."""
    return f"{str(tensor.dtype).removeprefix('torch.')} {tuple(tensor.shape[1:])}"


def _update(digest: hashlib.blake2b, values: Tensor | MappedInputs) -> None:
    """Hash the content of a tensor, a part at a time."""
    for part in chunks(values, _VALUES_AT_ONCE):
        digest.update(content(part))
