"""MLPRegressor: scikit-learn's regressor on mlpkit's network and trainer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, Self

import numpy as np
import torch
from sklearn.base import RegressorMixin  # type: ignore[import-untyped]
from sklearn.utils.metaestimators import available_if  # type: ignore[import-untyped]
from torch import Tensor

from mlpkit._checks import Unquoted, error_message
from mlpkit.sklearn._estimator import (
    Array,
    Examples,
    Floats,
    Labeled,
    MLPEstimator,
    as_column,
    as_tensor,
    is_incremental,
)
from mlpkit.sklearn._solvers import Loss
from mlpkit.training import MeanSquaredError

__all__ = ["MLPRegressor"]


class MLPRegressor(RegressorMixin, MLPEstimator):  # type: ignore[misc]  # no type hints
    r"""A multilayer perceptron for regression, with the interface of scikit-learn's.

    A frame of pandas or polars can have numbers of any scale, missing values and categories. The
    default for it is ``preset="tabular"``: an :class:`mlpkit.models.Ensemble` of
    :class:`mlpkit.nn.TabularMLP`. Each network holds out a different part of the examples, and has
    the weights of its best epoch on that part. The default for arrays and sparse matrices is
    ``preset="sklearn"``, which the rest of this text is about: one network that minimizes half of
    the squared error with an L2 penalty of the weights,

    .. math::
        \frac{1}{2 \sum_i w_i} \Bigl( \sum_i w_i \lVert f(x_i) - y_i \rVert^2
            + \alpha \sum_l \lVert W_l \rVert^2 \Bigr).

    Parameters, their values by default and fitted attributes are those of
    :class:`sklearn.neural_network.MLPRegressor`. With the same ``random_state``, initial weights,
    validation part and order of the examples are the same too, so the results agree up to rounding.
    For several targets the loss that is reported is the mean over the targets, as there. The
    targets are not standardized, unlike those of ``"tabular"``: for large ones use
    :class:`sklearn.compose.TransformedTargetRegressor`.

    Args:
        loss: ``"squared_error"``.
        hidden_layer_sizes: Width of each hidden layer, or one number for one layer; empty for a
            linear model. None is (100,); for ``"tabular"`` (128, 128), or three layers for fewer
            than 2,000 examples.
        activation: ``"identity"``, ``"logistic"``, ``"tanh"``, ``"relu"``, or another
            activation of :class:`mlpkit.nn.MLP`, such as ``"gelu"``. None is ``"relu"``, or
            ``"mish"`` for ``"tabular"``.
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
        preset: ``"sklearn"`` for the network of scikit-learn, ``"tabular"`` for the ensemble. None
            is ``"tabular"`` for a frame with named columns, unless a parameter is set that it does
            not have, such as ``solver`` or ``alpha``, and ``"sklearn"`` for other inputs.
        n_members: Number of networks of ``"tabular"``, at least 1. None is 2, or 5 for fewer than
            2,000 examples.

    Attributes:
        model_: The network, an :class:`mlpkit.MLP`, or the ensemble.
        encoder_: For ``"tabular"``, the :class:`mlpkit.data.TableEncoder` of the frame.
        coefs_: Weights of each layer, ``(in, out)``, in the memory of ``model_``; not for
            ``"tabular"``.
        intercepts_: Biases of each layer, ``(out,)``, likewise.
        loss_: Penalized loss of the last iteration; for ``"tabular"`` the mean over the networks,
            without a penalty.
        loss_curve_: That of each iteration, the mean over its batches; not with lbfgs.
        best_loss_: Smallest loss; None with held-out examples.
        validation_scores_: R2 on the held-out examples after each iteration; None without them.
            For ``"tabular"`` the mean over the networks, after at most 32 of the iterations.
        best_validation_score_: Largest of them; None without held-out examples.
        n_iter_: Number of iterations.
        t_: Number of examples seen.
        n_features_in_: Number of features.
        feature_names_in_: Names of the features, if ``X`` has names.
        n_layers_: Number of layers with the input.
        n_outputs_: Number of outputs.
        out_activation_: ``"identity"``.

    Example:
        >>> from sklearn.datasets import load_diabetes
        >>> from sklearn.pipeline import make_pipeline
        >>> from sklearn.preprocessing import StandardScaler
        >>> from mlpkit.sklearn import MLPRegressor
        >>> X, y = load_diabetes(return_X_y=True)
        >>> regressor = MLPRegressor(
        ...     hidden_layer_sizes=(16,), solver="lbfgs", alpha=100.0, max_iter=5000, random_state=0
        ... )
        >>> pipeline = make_pipeline(StandardScaler(), regressor).fit(X, y)
        >>> pipeline.score(X, y) > 0.5
        True
        >>> pipeline.predict(X[:2]).shape
        (2,)

    References:
        Glorot and Bengio 2010, Understanding the difficulty of training deep feedforward neural
        networks (the initial weights). Kingma and Ba 2015, Adam. Liu and Nocedal 1989, On the
        limited memory BFGS method for large scale optimization.
    """

    def __init__(
        self,
        loss: str = "squared_error",
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
        preset: str | None = None,
        n_members: int | None = None,
    ) -> None:
        self.loss = loss
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
        self.preset = preset
        self.n_members = n_members

    def fit(self, X: object, y: object, sample_weight: object = None) -> Self:
        """Fit the network to examples.

        Args:
            X: Inputs, ``(N, D)``: a frame, an array, or a sparse matrix. A sparse one that would
                take more than 64 MiB as an array is converted batch by batch. For ``"tabular"``,
                columns of text and of categorical dtypes are categories; dates are refused.
            y: Targets, ``(N,)`` or ``(N, L)``.
            sample_weight: Weight of each example, ``(N,)``, at least 0; None for equal weights.

        Raises:
            TypeError: If a parameter has the wrong type.
            ValueError: If a parameter is out of range, the data cannot be used, or the loss becomes
                infinite.
        """
        self._check_loss()
        return self._fit(X, y, sample_weight)

    @available_if(is_incremental)  # type: ignore[untyped-decorator]  # scikit-learn has no type hints
    def partial_fit(self, X: object, y: object, sample_weight: object = None) -> Self:
        """Continue with one pass over other examples; not available with lbfgs.

        Args:
            X: Inputs, as in :meth:`fit`.
            y: Targets, as in :meth:`fit`.
            sample_weight: Weight of each example; None for equal weights.

        Raises:
            ValueError: If ``early_stopping`` is True.
        """
        self._check_loss()
        return self._fit(X, y, sample_weight, incremental=True)

    def predict(self, X: object) -> Floats:
        """Return the prediction for each example, ``(N,)`` or ``(N, L)``."""
        if self._is_tabular:
            ensemble, inputs = self._ensemble_inputs(X)
            found: Floats = ensemble.predict(inputs).numpy()
            return found
        outputs: Floats = self._outputs(X).numpy()
        return outputs[:, 0] if outputs.shape[1] == 1 else outputs

    def _check_loss(self) -> None:
        loss: object = self.loss
        if loss == "squared_error":
            return
        cure = "for another loss train a mlpkit.Regressor with an objective of mlpkit.training"
        if not isinstance(loss, str):
            cure = "pass hidden_layer_sizes by keyword"
        raise ValueError(error_message("loss", "'squared_error'", loss, cure))

    def _encode(self, y: Array, *, incremental: bool) -> Array:  # noqa: ARG002 - of the classifier
        y = as_column(y)
        if y.dtype.kind not in "biuf":
            is_time = y.dtype.kind in "mM"
            cure = "convert them to numbers, such as the days since a date" if is_time else None
            found = Unquoted(f"an array of {y.dtype}")
            raise ValueError(error_message("y", "real numbers", found, cure))
        return y.reshape(len(y), -1)

    @property
    def _output_activation(self) -> str:
        return "identity"

    def _targets(self, encoded: Array, dtype: torch.dtype) -> Tensor:
        return as_tensor(encoded, dtype)

    def _labeled(self, encoded: Array) -> Labeled:
        numbers = encoded.astype(np.float64)
        targets = torch.from_numpy(numbers[:, 0] if numbers.shape[1] == 1 else numbers)
        return Labeled("regression", targets, None)

    def _loss(self) -> Loss:
        return Loss(MeanSquaredError(), 0.5, 0.5 * self.n_outputs_)

    def _score_outputs(self, outputs: Tensor, val: Examples) -> float:
        # r2_score computes the same, and takes as long as a step.
        y, weights = val.targets.numpy(), np.ones((len(val.targets), 1))
        if val.weights is not None:
            weights = val.weights.numpy()[:, None]
        mean = (weights * y).sum(axis=0) / weights.sum()
        total = (weights * (y - mean) ** 2).sum(axis=0)
        residual = (weights * (y - outputs.numpy()) ** 2).sum(axis=0)
        is_constant = total == 0.0
        scores = 1.0 - residual / np.where(is_constant, 1.0, total)
        return float(np.where(is_constant, residual == 0.0, scores).mean())
