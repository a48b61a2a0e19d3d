"""What the classifier and the regressor share: network, fit, attributes and files."""

from __future__ import annotations

import abc
import os
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple, Self, cast

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp
import torch
from sklearn.base import BaseEstimator, is_regressor  # type: ignore[import-untyped]
from sklearn.exceptions import ConvergenceWarning  # type: ignore[import-untyped]
from sklearn.model_selection import train_test_split  # type: ignore[import-untyped]
from sklearn.utils import check_random_state, column_or_1d  # type: ignore[import-untyped]
from sklearn.utils.validation import (  # type: ignore[import-untyped]
    _check_sample_weight,
    check_is_fitted,
    validate_data,
)
from torch import Tensor

from mlpkit._checks import Unquoted, error_message
from mlpkit.data import LabeledTensors, TableEncoder
from mlpkit.errors import DataError, NonFiniteError
from mlpkit.models import Ensemble
from mlpkit.nn import MLP, ActivationName
from mlpkit.sklearn._batches import CurrentBatch, Inputs, ShuffledBatches, dense
from mlpkit.sklearn._file import SavedEstimator, read_estimator, write_estimator
from mlpkit.sklearn._presets import choose_preset, is_frame
from mlpkit.sklearn._settings import FULL_BATCH, Settings, TabularSettings
from mlpkit.sklearn._solvers import LBFGS, Loss, SolverBase, build_solver, linears
from mlpkit.sklearn._stopping import Progress, StoppingRule
from mlpkit.sklearn._tables import fit_encoder, read_inputs, read_targets
from mlpkit.sklearn._tabular import fit_ensemble
from mlpkit.sklearn._targets import check_targets
from mlpkit.training import Schedule, Task, Trainer, TrainerConfig

__all__ = [
    "Array",
    "Examples",
    "Floats",
    "Labeled",
    "MLPEstimator",
    "as_column",
    "as_tensor",
    "is_incremental",
]

Array = npt.NDArray[np.generic]
Floats = npt.NDArray[np.floating]

_BATCH_SIZE = 200  # of "auto", if there are as many examples
_ROWS = 4096  # sparse rows that are dense at a time in a prediction
_DENSE_BYTES = 2**26  # a sparse matrix that is at most as large when dense is converted at once
_NON_FINITE = (
    "Solver produced non-finite parameter weights. The input data may contain large values and "
    "need to be preprocessed."
)
#: Attributes of a fit with ``preset="sklearn"`` that another fit removes.
_OF_ONE_NETWORK = ("coefs_", "intercepts_", "_optimizer", "_no_improvement_count")
#: Fitted attributes in a file, besides those of the network and of the targets.
_SAVED = (
    *("n_features_in_", "n_outputs_", "n_layers_", "out_activation_", "n_iter_", "t_", "loss_"),
    *("loss_curve_", "best_loss_", "validation_scores_", "best_validation_score_"),
    "_no_improvement_count",
)


class Examples(NamedTuple):
    """Inputs, encoded targets and weights; None for equal weights."""

    inputs: Inputs
    targets: Tensor
    weights: Tensor | None


class Labeled(NamedTuple):
    """Targets of a model for tables, with their task and the names of the classes."""

    task: Task
    targets: Tensor
    classes: tuple[str, ...] | None


def is_incremental(estimator: MLPEstimator) -> bool:
    """Return whether the solver can continue with other examples.

    Raises:
        AttributeError: If it cannot; ``hasattr(estimator, "partial_fit")`` is False then.
    """
    if estimator.solver in FULL_BATCH:
        rule = "one that makes a step for each batch for partial_fit"
        raise AttributeError(error_message("solver", rule, estimator.solver, "use 'adam'"))
    if estimator.preset == "tabular":
        rule = "'sklearn' or None for partial_fit"
        raise AttributeError(error_message("preset", rule, estimator.preset))
    return True


class MLPEstimator(BaseEstimator, abc.ABC):  # type: ignore[misc]  # scikit-learn has no type hints
    """Base class of the estimators; a subclass says what its targets and outputs mean."""

    solver: object
    random_state: object
    preset: object
    encoder_: TableEncoder
    coefs_: list[Floats]
    intercepts_: list[Floats]
    model_: MLP | Ensemble
    n_features_in_: int
    n_outputs_: int
    n_iter_: int
    loss_: float
    t_: int
    loss_curve_: list[float]
    best_loss_: float | None
    validation_scores_: list[float] | None
    best_validation_score_: float | None
    _optimizer: SolverBase

    # ------------------------------------------------------------------ what subclasses say

    @abc.abstractmethod
    def _encode(self, y: Array, *, incremental: bool) -> Array:
        """Return the targets as ``(N, L)`` numbers, and store what predictions need."""

    @abc.abstractmethod
    def _targets(self, encoded: Array, dtype: torch.dtype) -> Tensor:
        """Return encoded targets as those of the objective."""

    @abc.abstractmethod
    def _labeled(self, encoded: Array) -> Labeled:
        """Return encoded targets as those of a model for tables."""

    @abc.abstractmethod
    def _loss(self) -> Loss:
        """Return the loss of the fitted kind of targets."""

    @property
    @abc.abstractmethod
    def _output_activation(self) -> str:
        """Name of the activation that turns outputs into predictions."""

    @abc.abstractmethod
    def _score_outputs(self, outputs: Tensor, val: Examples) -> float:
        """Return the score of the outputs for held-out examples."""

    def _example_weights(self, y: Array, weights: Floats | None) -> Floats | None:  # noqa: ARG002
        """Return the weights of the examples with those of their classes."""
        return weights

    def _stratify(self, encoded: Array) -> Array | None:  # noqa: ARG002
        """Return what the division into training and validation part preserves."""
        return None

    def _saved_state(self) -> dict[str, object]:
        """Return the attributes of the targets as JSON values."""
        return {}

    def _restore_state(self, state: Mapping[str, object]) -> None:
        """Restore what :meth:`_saved_state` returned."""

    def __sklearn_tags__(self) -> object:
        tags = super().__sklearn_tags__()
        is_tabular = self.preset == "tabular"
        tags.input_tags.sparse = not is_tabular
        tags.input_tags.allow_nan = is_tabular
        return tags

    # ------------------------------------------------------------------ fit

    def _fit(
        self, X: object, y: object, sample_weight: object, *, incremental: bool = False
    ) -> Self:
        """Fit the network, or continue with other examples for one iteration."""
        if not incremental and choose_preset(self, X) == "tabular":
            return self._fit_tabular(X, y, sample_weight)
        settings = Settings.of(self)
        if incremental and settings.early_stopping:
            raise ValueError("partial_fit does not support early_stopping=True")
        if incremental and self._is_tabular:
            rule = "'sklearn' for fit, which partial_fit is to continue"
            raise ValueError(error_message("preset", rule, self.preset))
        is_first = not hasattr(self, "coefs_") or not (settings.warm_start or incremental)
        inputs, labels = self._validate(X, y, is_first=is_first)
        weights = None
        if sample_weight is not None:
            weights = _check_sample_weight(sample_weight, inputs, dtype=inputs.dtype)
        weights = self._example_weights(labels, weights)
        encoded = self._encode(labels, incremental=incremental)
        if weights is not None:
            _check_weights(weights)
        random = check_random_state(self.random_state)
        if is_first:
            self._initialize(settings, inputs, encoded.shape[1], random)
        network = self._linked_network(settings)
        train, val = self._divided(settings, inputs, encoded, weights, random)
        self._train(settings, network, train, val, random, incremental=incremental)
        return self

    def _fit_tabular(self, X: object, y: object, sample_weight: object) -> Self:
        """Fit an ensemble of tabular networks to the rows of a table."""
        settings = TabularSettings.of(self)
        table = read_inputs(self, X, reset=True)
        if len(table) < 2:
            rule = "of at least two rows for preset='tabular'"
            raise ValueError(error_message("X", rule, Unquoted(f"n_samples={len(table)}")))
        labels = read_targets(self, y, table)
        weights = None
        if sample_weight is not None:
            weights = _check_sample_weight(sample_weight, table, dtype=np.float64)
        weights = self._example_weights(labels, weights)
        encoded = self._encode(labels, incremental=False)
        if weights is not None:
            _check_weights(weights)
            (rows,) = np.nonzero(weights)
            table, encoded, weights = table.select(rows), encoded[rows], weights[rows]
        task, targets, classes = self._labeled(encoded)
        encoder = fit_encoder(table)
        inputs = encoder.transform(table)
        _check_range(inputs, encoder)
        data = LabeledTensors(
            inputs,
            targets,
            classes,
            weights=None if weights is None else torch.from_numpy(weights),
            encoder=encoder,
        )
        try:
            found = fit_ensemble(data, task, settings, check_random_state(self.random_state))
        except NonFiniteError as error:
            raise ValueError(_NON_FINITE) from error
        for name in _OF_ONE_NETWORK:
            self.__dict__.pop(name, None)
        self.model_, self.encoder_ = found.ensemble, encoder
        self.n_outputs_ = encoded.shape[1]
        self.n_layers_ = len(found.hidden_features) + 2
        self.out_activation_ = self._output_activation
        self.loss_curve_ = found.loss_curve
        self.n_iter_ = len(found.loss_curve)
        self.t_ = self.n_iter_ * found.num_train
        self.loss_ = found.loss_curve[-1] if found.loss_curve else float("nan")
        scores = found.validation_scores
        self.best_loss_ = min(found.loss_curve, default=None) if scores is None else None
        self.validation_scores_ = scores
        self.best_validation_score_ = max(scores, default=None) if scores is not None else None
        return self

    def _validate(self, X: object, y: object, *, is_first: bool) -> tuple[Array, Array]:
        """Return inputs and targets as arrays; the inputs may be sparse."""
        is_numeric = is_regressor(self)
        check_targets(y, is_numeric=is_numeric)
        try:
            inputs, labels = validate_data(
                self,
                X,
                y,
                accept_sparse=["csr", "csc"],
                multi_output=True,
                y_numeric=is_numeric,
                dtype=(np.float64, np.float32),
                reset=is_first,
            )
        except ValueError as error:
            if is_frame(X) or "NaN" in str(error):
                error.add_note("preset='tabular' takes categories and missing values")
            raise
        return inputs, labels

    def _initialize(
        self, settings: Settings, inputs: Array, num_outputs: int, random: np.random.RandomState
    ) -> None:
        """Build a network with scikit-learn's initial weights, and forget earlier iterations."""
        for name in ("_optimizer", "encoder_"):  # of an earlier fit
            self.__dict__.pop(name, None)
        self.n_outputs_ = num_outputs
        dtype = _torch_dtype(inputs.dtype)
        sizes = (inputs.shape[1], *settings.hidden_layer_sizes, num_outputs)
        network = _network(settings.activation, sizes, dtype)
        self.model_ = network
        with torch.no_grad():
            for linear in linears(network):
                size = linear.in_features + linear.out_features
                bound = float(np.sqrt(settings.init_factor / size))
                shape = (linear.in_features, linear.out_features)
                coefs = random.uniform(-bound, bound, shape)
                intercepts = random.uniform(-bound, bound, linear.out_features)
                linear.weight.copy_(torch.from_numpy(coefs).T)
                linear.bias.copy_(torch.from_numpy(intercepts))
        self.n_layers_ = len(settings.hidden_layer_sizes) + 2
        self.out_activation_ = self._output_activation
        self._link()
        self.n_iter_ = self.t_ = 0
        if not settings.is_full_batch:
            has_val = settings.early_stopping
            self._store(
                Progress(
                    best_loss=None if has_val else np.inf,
                    validation_scores=[] if has_val else None,
                    best_validation_score=-np.inf if has_val else None,
                )
            )

    def _train(
        self,
        settings: Settings,
        network: MLP,
        train: Examples,
        val: Examples | None,
        random: np.random.RandomState,
        *,
        incremental: bool,
    ) -> None:
        """Run the trainer, and set the attributes."""
        count = len(train.targets)
        solver: SolverBase | None = getattr(self, "_optimizer", None) if incremental else None
        if solver is None:
            solver = build_solver(network, settings, self._loss())
        solver.batch = CurrentBatch()
        if not solver.settings.is_decoupled:
            solver.alpha = settings.alpha  # of this call of partial_fit
        is_full_batch = settings.is_full_batch
        progress = self._progress()
        if val is not None and progress.validation_scores is None:
            progress.validation_scores = []  # a warm start that adds early stopping
        rule = StoppingRule(
            settings,
            progress,
            solver,
            num_examples=count,
            score=None if val is None else lambda: self._score_of(network, val),
        )
        num_passes = 1 if incremental or is_full_batch else settings.max_iter
        source = ShuffledBatches(
            inputs=dense(train.inputs) if is_full_batch else train.inputs,
            targets=train.targets,
            weights=train.weights,
            batch_size=count if is_full_batch else _batch_size(settings, count),
            num_passes=num_passes,
            random=random if settings.shuffle and not is_full_batch else None,
            current=solver.batch,
        )
        trainer = Trainer(
            network,
            TrainerConfig(epochs=1, schedule=Schedule(), device="cpu", progress=False),
            objective=solver.loss.objective,
            optimizer=lambda _: solver,
            callbacks=[] if is_full_batch else [rule],
        )
        try:
            trainer.fit(source)
        except NonFiniteError as error:
            if val is None:
                raise ValueError(_NON_FINITE) from error
            assert progress.validation_scores is not None, "there are held-out examples"
            progress.validation_scores.append(float("nan"))
            message = "The loss is not finite; the fit ends with the best parameters so far."
            warnings.warn(message, ConvergenceWarning, stacklevel=4)
            rule.is_converged = True
        except KeyboardInterrupt:
            warnings.warn("Training interrupted by user.", UserWarning, stacklevel=4)
            rule.is_converged = True
        if isinstance(solver, LBFGS):
            self._end_minimization(solver, settings, is_interrupted=rule.is_converged)
        else:
            rule.restore_best()
            self._optimizer = solver
            self._store(progress)
            if not (incremental or rule.is_converged):
                message = (
                    f"{settings.max_iter} iterations were made, and the fit has not converged. "
                    "Increase max_iter or tol."
                )
                warnings.warn(message, ConvergenceWarning, stacklevel=4)
        self._link()

    def _end_minimization(self, solver: LBFGS, settings: Settings, *, is_interrupted: bool) -> None:
        """Set the attributes of a full-batch fit, and warn if it has not converged."""
        result = solver.result
        if result is None:  # interrupted in the first evaluation
            return
        if not np.isfinite(result.x).all():
            raise ValueError(_NON_FINITE)
        self.loss_ = float(result.fun)
        self.n_iter_ = min(int(result.nit), settings.max_iter)
        if result.status != 0 and not is_interrupted:
            message = (
                f"lbfgs ended after {self.n_iter_} iterations without convergence: "
                f"{result.message}. Increase max_iter or max_fun, or scale the data."
            )
            warnings.warn(message, ConvergenceWarning, stacklevel=5)

    def _progress(self) -> Progress:
        """Return what earlier fits have reached."""
        if not hasattr(self, "loss_curve_"):
            return Progress(num_seen=self.t_)
        return Progress(
            loss_curve=self.loss_curve_,
            best_loss=self.best_loss_,
            validation_scores=getattr(self, "validation_scores_", None),
            best_validation_score=getattr(self, "best_validation_score_", None),
            no_improvement_count=self._no_improvement_count,
            num_seen=self.t_,
        )

    def _store(self, progress: Progress) -> None:
        """Set the attributes of the iterations."""
        self.loss_curve_ = progress.loss_curve
        self.best_loss_ = progress.best_loss
        self.validation_scores_ = progress.validation_scores
        self.best_validation_score_ = progress.best_validation_score
        self._no_improvement_count = progress.no_improvement_count
        self.t_ = progress.num_seen
        self.n_iter_ = progress.n_iter
        if progress.loss_curve:
            self.loss_ = progress.loss_curve[-1]

    def _divided(
        self,
        settings: Settings,
        inputs: Array,
        encoded: Array,
        weights: Floats | None,
        random: np.random.RandomState,
    ) -> tuple[Examples, Examples | None]:
        """Return the examples to train on, and with early stopping those to validate on."""
        arrays = [inputs, encoded, *([] if weights is None else [weights])]
        if not settings.early_stopping or settings.is_full_batch:
            return self._examples(arrays), None
        parts = train_test_split(
            *arrays,
            random_state=random,
            test_size=settings.validation_fraction,
            stratify=self._stratify(encoded),
        )
        val = self._examples(parts[1::2])
        if len(val.targets) < 2:
            raise ValueError(
                "The validation set is too small. Increase 'validation_fraction' or the size of "
                "your dataset."
            )
        return self._examples(parts[::2]), val

    def _examples(self, arrays: list[Array]) -> Examples:
        inputs, encoded, *weights = arrays
        dtype = next(self.model_.parameters()).dtype
        return Examples(
            _as_inputs(inputs, dtype),
            self._targets(encoded, dtype),
            as_tensor(weights[0], dtype) if weights else None,
        )

    # ------------------------------------------------------------------ network and attributes

    def _linked_network(self, settings: Settings | None = None) -> MLP:
        """Return the network with the weights in ``coefs_`` and ``intercepts_``.

        The arrays share the memory of the network, unless other arrays have been assigned. A
        network of other widths is replaced.
        """
        sizes = (self.coefs_[0].shape[0], *(one.shape[1] for one in self.coefs_))
        network = getattr(self, "model_", None)
        if not isinstance(network, MLP) or sizes != _sizes(network):
            self.__dict__.pop("_optimizer", None)  # that of the network before
            given = Settings.of(self) if settings is None else settings
            network = _network(given.activation, sizes, _torch_dtype(self.coefs_[0].dtype))
            self.model_ = network
        views = _views(network)
        for view, array in zip(views, [*self.coefs_, *self.intercepts_], strict=True):
            if view.__array_interface__["data"] != np.asarray(array).__array_interface__["data"]:
                view[...] = array
        return network

    def _link(self) -> None:
        """Set ``coefs_`` and ``intercepts_`` to the memory of the network."""
        assert isinstance(self.model_, MLP), "an ensemble has no coefs_"
        views = _views(self.model_)
        self.coefs_, self.intercepts_ = views[: len(views) // 2], views[len(views) // 2 :]

    def __setstate__(self, state: dict[str, object]) -> None:
        super().__setstate__(state)
        if hasattr(self, "model_") and not self._is_tabular:  # the pickled arrays are copies
            self._link()

    # ------------------------------------------------------------------ use

    @property
    def _is_tabular(self) -> bool:
        """Whether the estimator was fitted with ``preset="tabular"``."""
        return isinstance(getattr(self, "model_", None), Ensemble)

    def _ensemble_inputs(self, X: object) -> tuple[Ensemble, Tensor]:
        """Return the ensemble, and the rows of a table as its inputs."""
        assert isinstance(self.model_, Ensemble), "the estimator was fitted to a table"
        inputs = self.encoder_.transform(read_inputs(self, X, reset=False))
        return self.model_, inputs.double()

    def _outputs(self, X: object) -> Tensor:
        """Return the outputs of the network for inputs of any accepted type, ``(N, L)``."""
        check_is_fitted(self)
        network = self._linked_network()
        inputs = validate_data(
            self, X, accept_sparse=["csr", "csc"], dtype=(np.float64, np.float32), reset=False
        )
        return _outputs_of(network, _as_inputs(inputs, next(network.parameters()).dtype))

    def _score_of(self, network: MLP, val: Examples) -> float:
        outputs = _outputs_of(network, val.inputs)
        if not bool(outputs.isfinite().all()):
            return float("nan")
        return self._score_outputs(outputs, val)

    # ------------------------------------------------------------------ files

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write the fitted estimator to a file, and return its path.

        The file is a safetensors file with the weights, the parameters and the fitted attributes.
        It has no state of the solver: after :meth:`load`, ``partial_fit`` starts a new one.

        Args:
            path: Path of the file; an existing file is replaced atomically.

        Raises:
            NotFittedError: If the estimator has not been fitted.
            ArtifactError: If a parameter or a class is neither a number, a string nor a bool, such
                as a ``RandomState``.
            OSError: If the file cannot be written.
        """
        check_is_fitted(self)
        names = getattr(self, "feature_names_in_", None)
        state = self._saved_state() | {
            "feature_names_in_": None if names is None else list(map(str, names)),
        }
        for name in _SAVED:
            if hasattr(self, name):
                state[name] = getattr(self, name)
        saved = SavedEstimator(
            class_name=type(self).__name__,
            params=self.get_params(deep=False),
            state=state,
            network=self.model_ if self._is_tabular else self._linked_network(),
        )
        return write_estimator(Path(path), saved)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Self:
        """Return the estimator saved in a file; loading never runs code.

        Args:
            path: What :meth:`save` wrote.

        Raises:
            ArtifactError: If the file is missing, damaged, or that of another class.
        """
        saved = read_estimator(Path(path), cls.__name__)
        estimator = cls(**saved.params)
        estimator._restore_state(saved.state)
        for name in _SAVED:
            if name in saved.state:
                setattr(estimator, name, saved.state[name])
        names = saved.state["feature_names_in_"]
        if names is not None:
            estimator.feature_names_in_ = np.asarray(names, dtype=object)
        estimator.model_ = saved.network
        if isinstance(saved.network, MLP):
            estimator._link()
        else:
            assert saved.network.encoder is not None, "save wrote the encoder"
            estimator.encoder_ = saved.network.encoder
        return estimator


def as_column(y: Array) -> Array:
    """Return a target with one column as a vector, with scikit-learn's warning."""
    if y.ndim == 2 and y.shape[1] == 1:
        flat: Array = column_or_1d(y, warn=True)
        return flat
    return y


def as_tensor(array: Array, dtype: torch.dtype) -> Tensor:
    """Return an array as a tensor, which shares its memory if that may be written to."""
    name = str(dtype).removeprefix("torch.")  # of NumPy's type in the byte order of this machine
    return torch.from_numpy(np.require(array, name, ["C", "W"]))


def _as_inputs(array: object, dtype: torch.dtype) -> Inputs:
    """Return inputs as a tensor, or as a sparse matrix whose rows can be taken."""
    if isinstance(array, np.ndarray):
        return as_tensor(array, dtype)
    rows: sp.csr_array = cast("Any", array).tocsr().astype(str(dtype).removeprefix("torch."))
    count, width = rows.shape
    is_small = count * width * dtype.itemsize <= _DENSE_BYTES
    return torch.from_numpy(rows.toarray()) if is_small else rows


def _outputs_of(network: MLP, inputs: Inputs) -> Tensor:
    """Return the outputs of a network, ``(N, L)``; sparse inputs are dense a part at a time."""
    with torch.no_grad():
        if isinstance(inputs, Tensor):
            return network(inputs)
        count = inputs.shape[0]
        parts = [network(dense(inputs[low : low + _ROWS])) for low in range(0, count, _ROWS)]
        return torch.cat(parts)


def _network(activation: ActivationName, sizes: tuple[int, ...], dtype: torch.dtype) -> MLP:
    return MLP(
        sizes[0],
        sizes[1:-1],
        sizes[-1],
        activation=activation,
        init="torch",
        device="cpu",
        dtype=dtype,
        generator=torch.Generator().manual_seed(0),  # the initial weights are replaced
    )


def _sizes(network: MLP) -> tuple[int, ...]:
    """Return the number of inputs of a network, and that of the outputs of each layer."""
    layers = linears(network)
    return (layers[0].in_features, *(layer.out_features for layer in layers))


def _views(network: MLP) -> list[Floats]:
    """Return arrays in the memory of the weights, ``(in, out)``, then of the biases, ``(out,)``."""
    layers = linears(network)
    weights: list[Floats] = [layer.weight.detach().numpy().T for layer in layers]
    return weights + [layer.bias.detach().numpy() for layer in layers]


def _torch_dtype(dtype: np.dtype[np.generic]) -> torch.dtype:
    return torch.float32 if dtype == np.float32 else torch.float64


def _batch_size(settings: Settings, count: int) -> int:
    size = settings.batch_size
    if size == "auto":
        return min(_BATCH_SIZE, count)
    if size > count:
        message = f"batch_size is {size}, but there are {count} examples; all are one batch."
        warnings.warn(message, UserWarning, stacklevel=5)
    return min(size, count)


def _check_range(inputs: Tensor, encoder: TableEncoder) -> None:
    """Raise if the networks, which train in float32, cannot hold a number."""
    largest = inputs.abs().amax(0)
    column = int(largest.argmax())
    if float(largest[column]) > torch.finfo(torch.float32).max:
        rule, cure = "of numbers within the range of float32", "divide its numbers by a constant"
        name = f"column {encoder.feature_names[column]!r}"
        raise DataError(error_message(name, rule, float(largest[column]), cure))


def _check_weights(weights: Floats) -> None:
    """Raise unless weights are at least 0, and one is above."""
    if bool((weights < 0).any()):
        raise ValueError(error_message("sample_weight", "at least 0", float(weights.min())))
    if not bool((weights > 0).any()):
        cure = "give the examples that count a weight"
        raise ValueError(error_message("sample_weight", "above 0 for an example", 0.0, cure))
