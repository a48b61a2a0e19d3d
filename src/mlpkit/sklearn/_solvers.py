r"""The solvers: optimizers with scikit-learn's formulas and its L2 penalty, and those of mlpkit.

The penalty of a step is

.. math:: \frac{\alpha}{2 n} \sum_l \lVert W_l \rVert^2

with the total weight n of the examples of its batch, which differs in the last batch of a pass. The
biases are not penalized.
"""

from __future__ import annotations

import abc
import math
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from types import FrameType
from typing import Final, NamedTuple, TypeAlias, cast, overload

import numpy as np
import numpy.typing as npt
import torch
from scipy.optimize import OptimizeResult, minimize
from torch import Tensor, nn
from torch.optim import Optimizer

from mlpkit._protocols import find_backpropagation
from mlpkit.nn import MLP
from mlpkit.sklearn._batches import CurrentBatch
from mlpkit.sklearn._settings import Settings
from mlpkit.training import OptimizerConfig, OutputObjective, build_optimizer
from mlpkit.training.fast import loss_and_gradient
from mlpkit.training.optim import AdamWOptions, AdamWTensors, EagerOptimizer, fused_adamw_

_Vector: TypeAlias = npt.NDArray[np.float64]

__all__ = ["LBFGS", "Loss", "SolverBase", "build_solver", "linears"]


class Loss(NamedTuple):
    """The loss of an estimator, made of an objective whose gradients are hand-written.

    Attributes:
        objective: Mean loss of each example over its outputs.
        loss_factor: Factor on the loss, for ``loss_curve_``.
        grad_factor: Factor on the gradient. For several outputs scikit-learn minimizes the sum of
            the squared errors and reports their mean.
    """

    objective: OutputObjective
    loss_factor: float
    grad_factor: float


def linears(network: MLP) -> list[nn.Linear]:
    """Return the linear layers of a network with a head, in order."""
    assert network.head is not None, "an estimator has outputs"
    return [*(layer.linear for layer in network.layers), network.head]


def _zeros_like(parameters: Sequence[Tensor]) -> list[Tensor]:
    return [torch.zeros_like(one, requires_grad=False) for one in parameters]


class SolverBase(EagerOptimizer, abc.ABC):
    """An optimizer that adds the gradient of the penalty before it updates the parameters.

    Args:
        network: The network.
        settings: The parameters of the estimator.
        loss: The loss of the estimator.

    Attributes:
        settings: The parameters of the estimator when the solver was built.
        loss: The loss of the estimator.
        alpha: Factor of the penalty.
        batch: Describes the batch of the current step.
        parameters: The parameters of the network.
    """

    def __init__(self, network: MLP, settings: Settings, loss: Loss) -> None:
        self.parameters: list[Tensor] = list(network.parameters())
        super().__init__(self.parameters, {"lr": settings.learning_rate_init})
        self.batch = CurrentBatch()
        self._weights: list[Tensor] = [linear.weight for linear in linears(network)]
        self.settings = settings
        self.alpha = settings.alpha
        self.loss = loss

    def __getstate__(self) -> dict[str, object]:
        return vars(self) | {"batch": CurrentBatch()}

    @property
    def learning_rate(self) -> float:
        """The current learning rate."""
        return float(self.param_groups[0]["initial_lr"])

    def set_learning_rate(self, value: float) -> None:
        """Set the learning rate of the following steps."""
        for group in self.param_groups:
            group["initial_lr"] = value

    @overload
    def step(self, closure: None = None) -> None: ...

    @overload
    def step(self, closure: Callable[[], float]) -> float: ...

    def step(self, closure: Callable[[], float] | None = None) -> float | None:
        """Add the gradient of the penalty, and update the parameters."""
        assert closure is None, "the trainer calls it without one"
        with torch.no_grad():
            grads = [cast("Tensor", parameter.grad) for parameter in self.parameters]
            if self.loss.grad_factor != 1.0:
                torch._foreach_mul_(grads, self.loss.grad_factor)
            if self.alpha > 0.0:
                scale = self.alpha / self.batch.weight
                weight_grads = [cast("Tensor", weight.grad) for weight in self._weights]
                torch._foreach_add_(weight_grads, self._weights, alpha=scale)
                self.batch.penalty = 0.5 * scale * self._squared_norm()
            self._update(grads, float(self.param_groups[0]["lr"]))
        return None

    # torch wraps a step to call hooks and the profiler, which takes 10 microseconds. Here are none.
    step.hooked = True  # type: ignore[attr-defined]

    def _squared_norm(self) -> float:
        """Return the sum of the squares of all weights without the biases."""
        vectors = [weight.detach().numpy().reshape(-1) for weight in self._weights]
        return sum(float(np.dot(vector, vector)) for vector in vectors)

    @abc.abstractmethod
    def _update(self, grads: list[Tensor], lr: float) -> None:
        """Update the parameters with the gradient of the penalized loss."""


class _SGD(SolverBase):
    """Gradient descent; the velocity is that of scikit-learn, divided by the negative rate."""

    def __init__(self, network: MLP, settings: Settings, loss: Loss) -> None:
        super().__init__(network, settings, loss)
        self._momentum = settings.momentum
        self._nesterov = settings.nesterovs_momentum and settings.momentum > 0.0
        self._velocities = _zeros_like(self.parameters) if settings.momentum > 0.0 else []

    def set_learning_rate(self, value: float) -> None:
        """Set the learning rate; the velocity does not change."""
        if self._velocities:
            torch._foreach_mul_(self._velocities, self.learning_rate / value)
        super().set_learning_rate(value)

    def _update(self, grads: list[Tensor], lr: float) -> None:
        torch._fused_sgd_(
            self.parameters,
            grads,
            self._velocities,
            weight_decay=0.0,
            momentum=self._momentum,
            lr=lr,
            dampening=0.0,
            nesterov=self._nesterov,
            maximize=False,
            is_first_step=False,
        )


class _Adam(SolverBase):
    r"""Adam with the constant outside of the bias correction, unlike that of torch.

    .. math::
        \theta \leftarrow \theta - \eta\, \frac{\sqrt{1 - \beta_2^t}}{1 - \beta_1^t}\,
            \frac{m_t}{\sqrt{v_t} + \epsilon}

    This is torch's formula with the constant :math:`\epsilon / \sqrt{1 - \beta_2^t}`.

    References:
        Kingma and Ba 2015, "Adam: A Method for Stochastic Optimization", end of section 2.
    """

    def __init__(self, network: MLP, settings: Settings, loss: Loss) -> None:
        super().__init__(network, settings, loss)
        self._betas = (settings.beta_1, settings.beta_2)
        self._epsilon = settings.epsilon
        self._count = 0
        self._moments = _zeros_like(self.parameters)
        self._squares = _zeros_like(self.parameters)
        self._step = torch.zeros((), dtype=torch.float32)

    def _update(self, grads: list[Tensor], lr: float) -> None:
        self._count += 1
        self._step.fill_(self._count)
        beta_1, beta_2 = self._betas
        epsilon = self._epsilon / math.sqrt(1.0 - beta_2**self._count)
        options = AdamWOptions(lr, beta_1, beta_2, epsilon, 0.0)
        steps = [self._step] * len(grads)
        fused_adamw_(
            options, AdamWTensors(self.parameters, grads, self._moments, self._squares, steps)
        )


class _Delegated(SolverBase):
    """An optimizer of mlpkit; ``adamw`` and ``muon`` have decoupled weight decay, not a penalty."""

    def __init__(self, network: MLP, settings: Settings, loss: Loss) -> None:
        super().__init__(network, settings, loss)
        is_decoupled = settings.is_decoupled
        betas = (settings.beta_1, settings.beta_2) if is_decoupled else None
        config = OptimizerConfig(
            name=settings.solver,
            lr=settings.learning_rate_init,
            weight_decay=settings.alpha if is_decoupled else 0.0,
            betas=betas,
            eps=settings.epsilon,
        )
        self.alpha = 0.0 if is_decoupled else settings.alpha
        self._inner: Optimizer = build_optimizer(network, config)
        self.param_groups = self._inner.param_groups

    def _update(self, grads: list[Tensor], lr: float) -> None:  # noqa: ARG002 - read from the groups
        self._inner.step()


class LBFGS(SolverBase):
    """SciPy's L-BFGS-B, which scikit-learn uses too; one step is the whole minimization.

    Attributes:
        result: What SciPy returned; None before the step.
    """

    def __init__(self, network: MLP, settings: Settings, loss: Loss) -> None:
        super().__init__(network, settings, loss)
        self._network = network
        self._latest = (0, math.nan)  # number of iterations, and the latest loss
        self._is_interrupted = False
        self.result: OptimizeResult | None = None

    def _update(self, grads: list[Tensor], lr: float) -> None:  # noqa: ARG002 - it has no rate
        settings = self.settings
        run = cast("Callable[..., OptimizeResult]", minimize)  # its stubs do not know all options
        with self._noting_interrupts():
            self.result = run(
                self._evaluation(),
                nn.utils.parameters_to_vector(self.parameters).double().numpy(),
                method="L-BFGS-B",
                jac=True,
                callback=self._end_iteration,
                options={
                    "maxfun": settings.max_fun,
                    "maxiter": settings.max_iter,
                    "gtol": settings.tol,
                },
            )
        self._copy(torch.from_numpy(self.result.x))

    def _copy(self, vector: Tensor) -> None:
        """Copy a vector of all parameters into the parameters."""
        parts = torch.split(vector, [one.numel() for one in self.parameters])
        values = [part.view_as(one) for part, one in zip(parts, self.parameters, strict=True)]
        torch._foreach_copy_(self.parameters, values)

    def _evaluation(self) -> Callable[[_Vector], tuple[float, _Vector]]:
        """Return the function of all parameters whose value is the penalized loss and gradient."""
        batch, weight, parameters = self.batch.examples, self.batch.weight, self.parameters
        assert batch is not None, "the trainer has read the batch"
        penalized = set(map(id, self._weights))
        decay = (
            self.alpha
            / weight
            * np.concatenate(
                [np.full(one.numel(), float(id(one) in penalized)) for one in parameters]
            )
        )
        factors = torch.full((len(batch.targets),), 1.0 / weight, dtype=parameters[0].dtype)
        if batch.weights is not None:
            factors = factors * batch.weights
        passes = find_backpropagation(self._network)
        if passes is not None and not passes.can_run(batch.inputs):
            passes = None

        def evaluate(values: _Vector) -> tuple[float, _Vector]:
            self._copy(torch.from_numpy(values))
            for parameter in parameters:
                parameter.grad = None
            if passes is None:
                with torch.enable_grad():
                    losses = self.loss.objective.loss(self._network(batch.inputs), batch.targets)
                torch.autograd.backward(losses, factors)
            else:
                outputs = passes.forward(batch.inputs)
                losses, gradient = loss_and_gradient(
                    self.loss.objective, outputs, batch.targets, factors
                )
                passes.backward(gradient)
            grads = [cast("Tensor", parameter.grad).reshape(-1) for parameter in parameters]
            total = torch.cat(grads).double().numpy() * self.loss.grad_factor
            total += decay * values
            penalty = 0.5 * float(np.dot(decay * values, values))
            value = self.loss.loss_factor * torch.dot(losses.detach(), factors).item() + penalty
            self._latest = (self._latest[0], value)
            return value, total

        return evaluate

    def _end_iteration(self, _vector: _Vector) -> None:
        number, loss = self._latest
        self._latest = (number + 1, loss)
        if self.settings.verbose:
            print(f"Iteration {number + 1}, loss = {loss:.8f}")  # noqa: T201 - verbose
        if self._is_interrupted:
            raise StopIteration  # SciPy returns what it has reached

    @contextmanager
    def _noting_interrupts(self) -> Iterator[None]:
        """Store that Ctrl-C was pressed; the trainer acts on it only after the whole step."""
        previous = signal.getsignal(signal.SIGINT)
        if not callable(previous) or threading.current_thread() is not threading.main_thread():
            yield
            return

        def note(signum: int, frame: FrameType | None) -> None:
            self._is_interrupted = True
            previous(signum, frame)

        signal.signal(signal.SIGINT, note)
        try:
            yield
        finally:
            if signal.getsignal(signal.SIGINT) is note:  # the trainer may have restored its own
                signal.signal(signal.SIGINT, previous)


_KINDS: Final[dict[str, type[SolverBase]]] = {"sgd": _SGD, "adam": _Adam, "lbfgs": LBFGS}


def build_solver(network: MLP, settings: Settings, loss: Loss) -> SolverBase:
    """Return the solver of the settings for a network."""
    return _KINDS.get(settings.solver, _Delegated)(network, settings, loss)
