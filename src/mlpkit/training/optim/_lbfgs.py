"""L-BFGS with weight decay, whose line search avoids values that are not finite."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Final, TypeVar, overload

import torch
from torch import Tensor, nn
from torch.optim import LBFGS

from mlpkit._checks import Unquoted, error_message
from mlpkit._protocols import ParamGroup
from mlpkit.training.optim._eager_optimizers import EagerOptimizer

__all__ = ["EagerLBFGS", "LineSearchError"]

_STEP: Final[Callable[[LBFGS, Callable[[], float]], Tensor | float]] = inspect.unwrap(LBFGS.step)
_Loss = TypeVar("_Loss", bound=float | Tensor)
_HISTORY: Final = ("old_dirs", "old_stps", "ro")


class LineSearchError(ArithmeticError):
    """A step of L-BFGS met values that are not finite; parameters and state did not change."""

    def __init__(self, loss: float, grad_norm: float) -> None:
        super().__init__(f"loss {loss}, gradient norm {grad_norm}")
        self.loss = loss
        self.grad_norm = grad_norm


class EagerLBFGS(EagerOptimizer, LBFGS):
    r""":class:`torch.optim.LBFGS` with a strong Wolfe line search and weight decay.

    A step minimizes, with the weight decay :math:`\lambda_p` of each parameter,

    .. math::
        f(\theta) = L(\theta) + \tfrac{1}{2} \sum_p \lambda_p \lVert \theta_p \rVert^2,

    where the closure computes :math:`L` and its gradient. A trial point whose loss or gradient is
    not finite counts as :math:`f = \infty` with an unknown gradient: torch's line search bisects
    the interval then, instead of interpolating. A large finite penalty would overflow in
    the interpolation, or determine it.

    If a step raises, parameters and state are those from before the step.

    Args:
        groups: The parameters, with equal factors on the learning rate.
        lr: First step size that each line search tries.
        max_iter: Number of iterations per step.
        history_size: Number of updates from which the inverse Hessian is approximated.
        tolerance_grad: A step ends if no element of the gradient is larger.
        tolerance_change: A step ends if parameters or loss change less.

    Raises:
        ValueError: If the groups have different factors.
    """

    def __init__(
        self,
        groups: Sequence[ParamGroup],
        *,
        lr: float,
        max_iter: int,
        history_size: int,
        tolerance_grad: float,
        tolerance_change: float,
    ) -> None:
        factors = sorted({group.lr_factor for group in groups})
        if len(factors) > 1:
            rule = "equal in all parameter groups for optimizer 'lbfgs'"
            raise ValueError(error_message("lr_factor", rule, Unquoted(f"{factors}")))
        super().__init__(
            [parameter for group in groups for parameter in group.params],
            lr=lr * factors[0],
            max_iter=max_iter,
            history_size=history_size,
            tolerance_grad=tolerance_grad,
            tolerance_change=tolerance_change,
            line_search_fn="strong_wolfe",
        )
        # one number for each parameter
        decays = tuple(group.weight_decay for group in groups for _ in group.params)
        self.param_groups[0]["weight_decay"] = decays

    @overload
    def step(self, closure: None = None) -> None: ...

    @overload
    def step(self, closure: Callable[[], _Loss]) -> _Loss: ...

    def step(self, closure: Callable[[], _Loss] | None = None) -> _Loss | None:
        """Make one step of at most ``max_iter`` iterations.

        Args:
            closure: Computes the gradients, and returns the loss as a float or a tensor; called
                several times, at different parameters.

        Returns:
            The loss at the parameters from before the step, without the weight decay.

        Raises:
            LineSearchError: If the loss or its gradient is not finite there, at all trial points,
                or if the step does not end at finite parameters.
        """
        if closure is None:
            raise TypeError(error_message("closure", "given for optimizer 'lbfgs'", closure))
        if float(self.param_groups[0]["lr"]) == 0.0:  # torch's line search would divide by zero
            with torch.enable_grad():
                return closure()
        first: _Loss | None = None
        bad: LineSearchError | None = None

        def penalized() -> float:
            nonlocal first, bad
            loss = closure()
            with torch.no_grad():
                number = float(loss.detach() if isinstance(loss, Tensor) else loss)
                value = number + self._add_weight_decay()
                grads = [one.grad for one in self._parameters() if one.grad is not None]
                norm = float(nn.utils.get_total_norm(grads))
                is_finite = math.isfinite(value) and math.isfinite(norm)
                if first is None and not is_finite:
                    raise LineSearchError(number, norm)
                first = loss if first is None else first
                if is_finite:
                    return value
                bad = LineSearchError(number, norm) if bad is None else bad
                for grad in grads:
                    grad.fill_(math.nan)
                return math.inf

        before = [parameter.detach().clone() for parameter in self._parameters()]
        state = self._history()
        try:
            with torch.no_grad():
                _STEP(self, penalized)
            self._check_progress(before, bad)
        except ZeroDivisionError:  # the interval of a line search is empty
            self._restore(before, state)
            raise bad or LineSearchError(math.inf, math.inf) from None
        except BaseException:
            self._restore(before, state)
            raise
        self._state().pop("al", None)  # scratch memory
        return first

    def _parameters(self) -> Iterator[nn.Parameter]:
        return iter(self.param_groups[0]["params"])

    def _state(self) -> dict[str, object]:
        """Return the state, which torch assigns to the first parameter."""
        state: dict[str, object] = self.state[next(self._parameters())]
        return state

    def _history(self) -> dict[str, object]:
        """Return a copy of the state, whose history is shortened to the present ``history_size``.

        A step changes the lists and the previous gradient in place.
        """
        state = self._state()
        for name in _HISTORY:
            if isinstance(kept := state.get(name), list):
                state[name] = kept[-self.param_groups[0]["history_size"] :]
        return {
            name: value.clone() if isinstance(value, Tensor) else _copied(value)
            for name, value in state.items()
        }

    @torch.no_grad()
    def _restore(self, parameters: Sequence[Tensor], state: dict[str, object]) -> None:
        for parameter, value in zip(self._parameters(), parameters, strict=True):
            parameter.copy_(value)
        self.state[next(self._parameters())] = state

    def _check_progress(self, before: Sequence[Tensor], bad: LineSearchError | None) -> None:
        """Raise if the step ended at values that are not finite, or found no finite trial point."""
        if not all(map(_is_finite, [*self._parameters(), self._state()])):
            raise bad or LineSearchError(math.inf, math.nan)
        if bad is not None and all(map(torch.equal, before, self._parameters())):
            raise bad  # the next step would try the same points

    def _add_weight_decay(self) -> float:
        """Add the gradient of the weight decay, and return its part of the loss."""
        total = 0.0
        decays = self.param_groups[0]["weight_decay"]
        for parameter, decay in zip(self._parameters(), decays, strict=True):
            if decay and parameter.grad is not None:
                parameter.grad.add_(parameter, alpha=decay)
                total += 0.5 * decay * float(torch.sum(parameter * parameter))
        return total


def _copied(value: object) -> object:
    return list(value) if isinstance(value, list) else value


def _is_finite(value: object) -> bool:
    """Return whether all numbers in a parameter or a state are finite."""
    if isinstance(value, Mapping):
        return all(map(_is_finite, value.values()))
    if isinstance(value, list):
        return all(map(_is_finite, value))
    if isinstance(value, Tensor):
        return bool(torch.isfinite(value).all())
    return not isinstance(value, float) or math.isfinite(value)
