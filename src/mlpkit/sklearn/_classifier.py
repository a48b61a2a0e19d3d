"""MLPClassifier: scikit-learn's classifier on mlpkit's network and trainer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, Self, TypeAlias

import numpy as np
import torch
from sklearn.base import ClassifierMixin  # type: ignore[import-untyped]
from sklearn.preprocessing import LabelBinarizer  # type: ignore[import-untyped]
from sklearn.utils.class_weight import compute_sample_weight  # type: ignore[import-untyped]
from sklearn.utils.metaestimators import available_if  # type: ignore[import-untyped]
from sklearn.utils.multiclass import type_of_target, unique_labels  # type: ignore[import-untyped]
from torch import Tensor

from mlpkit._checks import error_message
from mlpkit.sklearn._estimator import (
    Array,
    Examples,
    Floats,
    Labeled,
    MLPEstimator,
    as_column,
    is_incremental,
)
from mlpkit.sklearn._solvers import Loss
from mlpkit.sklearn._targets import check_classes
from mlpkit.training import BinaryCrossEntropy, CrossEntropy

__all__ = ["ClassWeight", "MLPClassifier"]

ClassWeight: TypeAlias = (
    Mapping[int, float]
    | Mapping[str, float]
    | Sequence[Mapping[int, float]]
    | Literal["balanced"]
    | None
)


class MLPClassifier(ClassifierMixin, MLPEstimator):  # type: ignore[misc]  # no type hints
    r"""A multilayer perceptron that classifies, with the interface of scikit-learn's.

    A frame of pandas or polars can have numbers of any scale, missing values and categories. The
    default for it is ``preset="tabular"``: an :class:`mlpkit.models.Ensemble` of
    :class:`mlpkit.nn.TabularMLP`. Each network holds out a different part of the examples, and has
    the weights of its best epoch on that part. The default for arrays and sparse matrices is
    ``preset="sklearn"``, which the rest of this text is about: one network that minimizes the log
    loss with an L2 penalty of the weights,

    .. math::
        \frac{1}{\sum_i w_i} \Bigl( \sum_i w_i\, \ell_i
            + \frac{\alpha}{2} \sum_l \lVert W_l \rVert^2 \Bigr).

    Parameters, their values by default and fitted attributes are those of
    :class:`sklearn.neural_network.MLPClassifier`. With the same ``random_state``, initial weights,
    validation part and order of the examples are the same too, so the results agree up to rounding.
    It computes in the dtype of ``X``, float64 or float32, on the CPU.

    Two classes have one logistic output. A target with several columns of 0 and 1 has a logistic
    output for each label. More classes have softmax outputs.

    Args:
        hidden_layer_sizes: Width of each hidden layer, or one number for one layer; empty for a
            linear model. None is (100,); for ``"tabular"`` (128, 128), or three layers for fewer
            than 2,000 examples.
        activation: ``"identity"``, ``"logistic"``, ``"tanh"``, ``"relu"``, or another
            activation of :class:`mlpkit.nn.MLP`, such as ``"gelu"``. None is ``"relu"``, or
            ``"selu"`` for ``"tabular"``.
        solver: ``"lbfgs"`` is SciPy's L-BFGS-B on all examples. ``"sgd"`` and ``"adam"`` are those
            of scikit-learn. ``"adamw"``, ``"muon"`` and ``"rmsprop"`` are those of
            :class:`mlpkit.training.OptimizerConfig`.
        alpha: Factor of the L2 penalty, at least 0. For adamw, muon and ``"tabular"`` it is the
            decoupled weight decay. None is 0.0001, or 0.02 for ``"tabular"``.
        batch_size: Number of examples in a batch; ``"auto"`` means 200, or all if there are fewer.
            lbfgs uses all. For ``"tabular"`` it means at most 256, or 64 for fewer than 1,000
            examples.
        learning_rate: For sgd. ``"constant"`` keeps the rate. ``"invscaling"`` divides it by
            ``t ** power_t``, where t is the number of examples seen. ``"adaptive"`` divides it by 5
            where the fit would otherwise end, until it is below 1e-6.
        learning_rate_init: First learning rate, above 0; not used by lbfgs.
        power_t: Exponent of ``"invscaling"``, at least 0.
        max_iter: Largest number of iterations: passes over the examples, or iterations of lbfgs.
            None is 200. ``"tabular"`` makes at most those of
            :func:`mlpkit.models.tabular_config`, at least 64 and at least 500 steps; None is half
            of them, or a quarter for fewer than 2,000 examples.
        shuffle: Shuffle the examples in each pass; not used by lbfgs.
        random_state: Seed, generator, or None for NumPy's global generator.
        tol: Smallest improvement of the loss, or of the validation score, that counts. For lbfgs,
            the largest element of the gradient at which the fit ends. Not used by ``"tabular"``.
        verbose: Print the loss of each iteration.
        warm_start: Start ``fit`` from the weights of the previous one.
        momentum: For sgd, in [0, 1].
        nesterovs_momentum: For sgd, use Nesterov's momentum.
        early_stopping: Hold out a part of the examples, end the fit when its score no longer
            improves, and keep the weights with the best score; not used by lbfgs. With
            ``"tabular"`` the weights of the best epoch are always kept.
        validation_fraction: Fraction that is held out, in [0, 1); None is 0.1, or 0.2 for
            ``"tabular"``, which holds out no part of fewer than 10 examples. The parts of its
            networks go round the examples, and overlap only if together they are more than all.
        beta_1: For adam, adamw and muon, the decay of the mean of the gradient, in [0, 1).
        beta_2: For adam, adamw and muon, the decay of the mean of its square, in [0, 1).
        epsilon: For adam, adamw, muon and rmsprop, the constant in the denominator, above 0.
        n_iter_no_change: Number of iterations without an improvement after which the fit ends;
            ``float("inf")`` for never. Not used by ``"tabular"``, which makes all iterations.
        max_fun: For lbfgs, the largest number of evaluations of the loss.
        class_weight: Factor on the weight of the examples of each class, as a mapping, or
            ``"balanced"`` for factors inverse to the number of examples; None for equal factors.
            For several labels also a sequence with one mapping for each.
        preset: ``"sklearn"`` for the network of scikit-learn, ``"tabular"`` for the ensemble. None
            is ``"tabular"`` for a frame with named columns, unless a parameter is set that it does
            not have, such as ``solver`` or ``alpha``, and ``"sklearn"`` for other inputs.
        n_members: Number of networks of ``"tabular"``, at least 1. None is 2, or 5 for fewer than
            2,000 examples. The probabilities of a single network are calibrated on the held-out
            part; the mean of several is not, since it is seldom too certain.

    Attributes:
        classes_: The classes in order, or the numbers of the labels.
        model_: The network, an :class:`mlpkit.MLP` whose outputs are logits, or the ensemble.
        encoder_: For ``"tabular"``, the :class:`mlpkit.data.TableEncoder` of the frame.
        coefs_: Weights of each layer, ``(in, out)``, in the memory of ``model_``; not for
            ``"tabular"``.
        intercepts_: Biases of each layer, ``(out,)``, likewise.
        loss_: Penalized loss of the last iteration; for ``"tabular"`` the mean over the networks,
            without a penalty.
        loss_curve_: That of each iteration, the mean over its batches; not with lbfgs.
        best_loss_: Smallest loss; None with held-out examples.
        validation_scores_: Accuracy on held-out examples after each iteration; None without them.
            For ``"tabular"`` the mean over the networks, after at most 32 of the iterations.
        best_validation_score_: Largest of them; None without held-out examples.
        n_iter_: Number of iterations.
        t_: Number of examples seen.
        n_features_in_: Number of features.
        feature_names_in_: Names of the features, if ``X`` has names.
        n_layers_: Number of layers with the input.
        n_outputs_: Number of outputs.
        out_activation_: ``"logistic"`` or ``"softmax"``.

    Example:
        >>> from sklearn.datasets import load_iris
        >>> from sklearn.pipeline import make_pipeline
        >>> from sklearn.preprocessing import StandardScaler
        >>> from mlpkit.sklearn import MLPClassifier
        >>> X, y = load_iris(return_X_y=True)
        >>> classifier = MLPClassifier(
        ...     (32,), solver="lbfgs", alpha=1.0, max_iter=2000, random_state=0
        ... )
        >>> pipeline = make_pipeline(StandardScaler(), classifier).fit(X, y)
        >>> pipeline.score(X, y) > 0.95
        True
        >>> pipeline.predict(X[:2])
        array([0, 0])

    References:
        Glorot and Bengio 2010, Understanding the difficulty of training deep feedforward neural
        networks (the initial weights). Kingma and Ba 2015, Adam. Liu and Nocedal 1989, On the
        limited memory BFGS method for large scale optimization.
    """

    classes_: Array
    _label_binarizer: LabelBinarizer

    def __init__(
        self,
        hidden_layer_sizes: Sequence[int] | int | None = None,
        activation: str | None = None,
        *,
        solver: str = "adam",
        alpha: float | None = None,
        batch_size: int | Literal["auto"] = "auto",
        learning_rate: str = "constant",
        learning_rate_init: float = 0.001,
        power_t: float = 0.5,
        max_iter: int | None = None,
        shuffle: bool = True,
        random_state: int | np.random.RandomState | None = None,
        tol: float = 1e-4,
        verbose: bool | int = False,
        warm_start: bool = False,
        momentum: float = 0.9,
        nesterovs_momentum: bool = True,
        early_stopping: bool = False,
        validation_fraction: float | None = None,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-8,
        n_iter_no_change: float = 10,
        max_fun: int = 15000,
        class_weight: ClassWeight = None,
        preset: str | None = None,
        n_members: int | None = None,
    ) -> None:
        self.hidden_layer_sizes = hidden_layer_sizes
        self.activation = activation
        self.solver = solver
        self.alpha = alpha
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.learning_rate_init = learning_rate_init
        self.power_t = power_t
        self.max_iter = max_iter
        self.shuffle = shuffle
        self.random_state = random_state
        self.tol = tol
        self.verbose = verbose
        self.warm_start = warm_start
        self.momentum = momentum
        self.nesterovs_momentum = nesterovs_momentum
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction
        self.beta_1 = beta_1
        self.beta_2 = beta_2
        self.epsilon = epsilon
        self.n_iter_no_change = n_iter_no_change
        self.max_fun = max_fun
        self.class_weight = class_weight
        self.preset = preset
        self.n_members = n_members

    def fit(self, X: object, y: object, sample_weight: object = None) -> Self:
        """Fit the network to labeled examples.

        Args:
            X: Inputs, ``(N, D)``: a frame, an array, or a sparse matrix. A sparse one that would
                take more than 64 MiB as an array is converted batch by batch. For ``"tabular"``,
                columns of text and of categorical dtypes are categories; dates are refused.
            y: Class of each example, ``(N,)``, or 0 and 1 for each label, ``(N, L)``.
            sample_weight: Weight of each example, ``(N,)``, at least 0; None for equal weights.

        Raises:
            TypeError: If a parameter has the wrong type.
            ValueError: If a parameter is out of range, the data cannot be used, or the loss becomes
                infinite.
        """
        return self._fit(X, y, sample_weight)

    @available_if(is_incremental)  # type: ignore[untyped-decorator]  # scikit-learn has no type hints
    def partial_fit(
        self, X: object, y: object, sample_weight: object = None, classes: object = None
    ) -> Self:
        """Continue with one pass over other examples; not available with lbfgs.

        Args:
            X: Inputs, as in :meth:`fit`.
            y: Targets, as in :meth:`fit`; all classes need not occur.
            sample_weight: Weight of each example; None for equal weights.
            classes: All classes, ``(C,)``; required in the first call.

        Raises:
            ValueError: If ``classes`` is missing in the first call or differs in a later one, or
                ``early_stopping`` is True or ``class_weight`` is ``"balanced"``.
        """
        if isinstance(self.class_weight, str):
            cure = "compute the weights of the classes from all examples, and pass a mapping"
            rule = "a mapping or None for partial_fit"
            raise ValueError(error_message("class_weight", rule, self.class_weight, cure))  # noqa: TRY004 - as for another value
        self._set_classes(y, classes)
        return self._fit(X, y, sample_weight, incremental=True)

    def _set_classes(self, y: object, classes: object) -> None:
        """Store all classes in the first call of ``partial_fit``, and compare them in others."""
        if not hasattr(self, "classes_"):
            if classes is None:
                cure = "pass all classes"
                rule = "given in the first call of partial_fit"
                raise ValueError(error_message("classes", rule, classes, cure))
            is_multilabel = str(type_of_target(y)).startswith("multilabel")
            self._label_binarizer = LabelBinarizer().fit(y if is_multilabel else classes)
            self.classes_ = self._label_binarizer.classes_
        elif classes is not None and not np.array_equal(self.classes_, unique_labels(classes)):
            rule = f"those of the first call of partial_fit, {self.classes_}"
            raise ValueError(error_message("classes", rule, classes))

    def predict(self, X: object) -> Array:
        """Return the most probable class of each example, ``(N,)``, or its labels, ``(N, L)``."""
        if self._is_tabular:
            found = self._probabilities(X)
            labels: Array = (
                self._label_binarizer.inverse_transform(found)
                if self._is_multilabel
                else self.classes_[found.argmax(axis=1)]
            )
            return labels
        outputs = self._outputs(X)
        scores = torch.sigmoid(outputs) if self.out_activation_ == "logistic" else outputs
        values = scores.numpy()
        predicted: Array = self._label_binarizer.inverse_transform(
            values[:, 0] if self.n_outputs_ == 1 else values
        )
        return predicted

    def predict_proba(self, X: object) -> Floats:
        """Return the probability of each class or label, ``(N, C)``, in their order."""
        if self._is_tabular:
            return self._probabilities(X)
        outputs = self._outputs(X)
        if self.out_activation_ == "softmax":
            softmax: Floats = torch.softmax(outputs, dim=1).numpy()
            return softmax
        present: Floats = torch.sigmoid(outputs).numpy()
        return np.hstack([1 - present, present]) if self.n_outputs_ == 1 else present

    def predict_log_proba(self, X: object) -> Floats:
        """Return the logarithm of :meth:`predict_proba`, ``(N, C)``."""
        with np.errstate(divide="ignore"):
            log: Floats = np.log(self.predict_proba(X))
        return log

    def _probabilities(self, X: object) -> Floats:
        """Return the probabilities of the ensemble, ``(N, C)``."""
        ensemble, inputs = self._ensemble_inputs(X)
        found: Floats = ensemble.predict_proba(inputs).numpy()
        # A fit to one class had a second one without an example.
        return np.ones((len(found), 1)) if len(self.classes_) == 1 else found

    def _encode(self, y: Array, *, incremental: bool) -> Array:
        y = as_column(y)
        check_classes(y)
        if not hasattr(self, "classes_") or not (self.warm_start or incremental):
            self._label_binarizer = LabelBinarizer().fit(y)
            self.classes_ = self._label_binarizer.classes_
        else:
            self._check_classes(unique_labels(y))
        encoded: Array = self._label_binarizer.transform(y)
        return encoded.astype(bool)

    def _check_classes(self, found: Array) -> None:
        """Raise unless they are the classes of an earlier fit, or among them in partial_fit."""
        if self.warm_start and set(found) != set(self.classes_):
            raise ValueError(
                "warm_start can only be used where `y` has the same classes as in the previous "
                f"call to fit. Previously got {self.classes_}, `y` has {found}"
            )
        unknown = np.setdiff1d(found, self.classes_)
        if len(unknown):
            rule = f"one of the classes {self.classes_}"
            cure = "pass all classes in the first call of partial_fit"
            raise ValueError(error_message("y", rule, unknown, cure))

    @property
    def _output_activation(self) -> str:
        is_softmax = self._label_binarizer.y_type_ == "multiclass"
        return "softmax" if is_softmax else "logistic"

    def _targets(self, encoded: Array, dtype: torch.dtype) -> Tensor:
        if self.out_activation_ == "softmax":
            return torch.from_numpy(encoded.argmax(axis=1))
        return torch.from_numpy(encoded).to(dtype)

    def _labeled(self, encoded: Array) -> Labeled:
        names = tuple(map(str, self.classes_.tolist()))
        if self._is_multilabel:
            return Labeled("multilabel", torch.from_numpy(encoded).float(), names)
        if len(names) == 1:  # a model has two or more
            names = (*names, f"not {names[0]}")
        indices = encoded[:, 0] if encoded.shape[1] == 1 else encoded.argmax(axis=1)
        return Labeled("classification", torch.from_numpy(indices.astype(np.int64)), names)

    def _loss(self) -> Loss:
        if self.out_activation_ == "softmax":
            return Loss(CrossEntropy(), 1.0, 1.0)
        return Loss(BinaryCrossEntropy(), float(self.n_outputs_), float(self.n_outputs_))

    def _example_weights(self, y: Array, weights: Floats | None) -> Floats | None:
        if self.class_weight is None:
            return weights
        by_class: Floats = compute_sample_weight(self.class_weight, y)
        return by_class if weights is None else by_class * weights

    def _stratify(self, encoded: Array) -> Array | None:
        # As in scikit-learn, more than two classes are not stratified either.
        return encoded if self.n_outputs_ == 1 else None

    def _score_outputs(self, outputs: Tensor, val: Examples) -> float:
        if len(self.classes_) == 1 and not self._is_multilabel:
            return 1.0  # predict returns the only class
        if self.out_activation_ == "softmax":
            is_right = outputs.argmax(dim=1) == val.targets
        else:
            is_right = ((outputs > 0.0) == (val.targets > 0.5)).all(dim=1)
        weights = None if val.weights is None else val.weights.numpy()
        return float(np.average(is_right.numpy(), weights=weights))

    def _saved_state(self) -> dict[str, object]:
        return {"classes_": self.classes_, "is_multilabel": self._is_multilabel}

    def _restore_state(self, state: Mapping[str, object]) -> None:
        classes = np.asarray(state["classes_"])
        shown = np.eye(len(classes), dtype=int) if state["is_multilabel"] else classes
        self._label_binarizer = LabelBinarizer().fit(shown)
        self.classes_ = classes

    @property
    def _is_multilabel(self) -> bool:
        kind = str(self._label_binarizer.y_type_)
        return kind.startswith("multilabel")

    def __sklearn_tags__(self) -> object:
        tags: Any = super().__sklearn_tags__()
        tags.classifier_tags.multi_label = True
        return tags
