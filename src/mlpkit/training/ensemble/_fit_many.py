"""Several networks of one structure trained at once, as if each had a training of its own."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from mlpkit._checks import error_message
from mlpkit._devices import available_device, evaluation_mode
from mlpkit._protocols import HasMaxNorm
from mlpkit.errors import NonFiniteError, TrainingInterrupted
from mlpkit.training._config import TrainerConfig
from mlpkit.training._determinism import deterministic_algorithms
from mlpkit.training._engine import StepResult
from mlpkit.training._nonfinite import NonFiniteStep
from mlpkit.training._progress_bar import ProgressBar
from mlpkit.training._run import Run
from mlpkit.training._signals import StopSignals
from mlpkit.training._trainer import FitResult
from mlpkit.training.batches import (
    BatchLike,
    BatchSource,
    TrainingData,
    as_batches,
)
from mlpkit.training.checkpoints import RandomStream
from mlpkit.training.ensemble._joined_batches import JoinedBatch, JoinedBatches
from mlpkit.training.ensemble._network_stack import NetworkStack
from mlpkit.training.ensemble._updates import build_update
from mlpkit.training.fast import StackedPasses
from mlpkit.training.metrics import Evaluation, evaluate
from mlpkit.training.objectives import CrossEntropy, Objective

__all__ = ["fit_many"]

# What all networks must have in common: it decides the steps and the epochs.
_COMMON = (
    *("epochs", "batch_size", "eval_batch_size", "gradient_accumulation_steps", "label_smoothing"),
    *("device", "deterministic", "validate_every"),
)
# What has no meaning, or another one, for several networks at once: name, and the value it keeps.
_REFUSED: Mapping[str, object] = {
    "precision": "fp32",
    "cuda_graph": False,
    "mixup": None,
    "early_stopping": None,
    "checkpoints": None,
    "max_seconds": None,
}


def fit_many(
    models: Sequence[nn.Module],
    train: TrainingData,
    val: TrainingData | None = None,
    *,
    config: TrainerConfig | Sequence[TrainerConfig],
    objective: Objective | None = None,
) -> list[FitResult]:
    r"""Train K networks of one structure in one program, each as a ``Trainer`` would alone.

    The networks are a committee, a sweep over learning rates, or the same training from several
    seeds. With the weights of layer l stacked to :math:`W^{(l)} \in \mathbb{R}^{K \times H \times
    D}`, one product serves all of them,

    .. math::
        z^{(l)}_{k} = W^{(l)}_{k} h^{(l-1)}_{k} + b^{(l)}_{k}, \qquad
        L = \sum_{k=1}^{K} L_k, \qquad \nabla_{W_k} L = \nabla_{W_k} L_k,

    so K small networks cost little more than the products themselves. It pays where a network is
    small; one whose products fill the processor alone gains nothing.

    Weights, history and validation figures are those of ``Trainer(models[k], configs[k],
    objective=objective).fit(train, val)`` up to the rounding of float32: each network has the order
    of the examples and the dropout of its own ``seed``, its own learning rate, schedule, weight
    decay, clipping, averaging and class weights. The tests hold weights to 1e-5 and figures to 1e-5
    of their value over a dozen steps; over a long training the difference grows as any rounding
    does, fastest with AdamW where a gradient is little but rounding, and with Muon, which
    orthogonalizes in bfloat16. The seconds in the history are those of the whole program.

    The models are trained in place, and are in evaluation mode afterwards, however it ends.
    Networks with one ``seed`` share the batches, which is faster than an order for each.

    Args:
        models: Modules of the same structure, whose parameters and buffers differ in value alone.
            Each is moved to the device of the configuration.
        train: What to train on: ``LabeledTensors``, or ``Batches``, whose order all share.
        val: What to validate on; None validates nothing.
        config: The settings, one for all or one for each. They may differ in
            ``averaging``, ``class_weights``, ``clip_grad_norm``, ``momentum_schedule``,
            ``monitor``, ``optimizer``, ``schedule`` and ``seed``. ``checkpoints``,
            ``early_stopping``, ``max_seconds``, ``mixup`` and reduced precision are refused.
        objective: Loss of each example; None is cross-entropy with ``config.label_smoothing``. One
            of your own must be made of what :func:`torch.vmap` knows, without random numbers.

    Returns:
        How each training ended, in the order of ``models``.

    Raises:
        NonFiniteError: If a loss or a gradient of a network became NaN or infinite; ``network``
            says which. No network has made that step.
        TrainingInterrupted: If SIGTERM or Ctrl-C came; the models hold the last whole step.
        TypeError: If an argument is not what it should be.
        ValueError: If the networks cannot be trained together, with the reason.

    Example:
        The probabilities of a committee are the mean of its members':

        >>> import torch
        >>> from mlpkit import SoftmaxClassifier
        >>> from mlpkit.data import digits
        >>> from mlpkit.training import OptimizerConfig, TrainerConfig, fit_many
        >>> train, val, test = digits()
        >>> models = [
        ...     SoftmaxClassifier.for_data(
        ...         train, (32,), generator=torch.Generator().manual_seed(seed)
        ...     )
        ...     for seed in range(4)
        ... ]
        >>> optimizer = OptimizerConfig(lr=0.01)
        >>> config = TrainerConfig(epochs=5, optimizer=optimizer, progress=False)
        >>> results = fit_many(models, train, val, config=config)
        >>> [len(result.history) for result in results]
        [5, 5, 5, 5]
        >>> members = torch.stack([model.predict_proba(test.inputs) for model in models])
        >>> committee = members.mean(dim=0)
        >>> bool((committee.argmax(dim=1) == test.targets).float().mean() > 0.9)
        True

    References:
        Hansen and Salamon 1990, "Neural Network Ensembles", IEEE PAMI 12, pages 993-1001.
    """
    networks = _modules(models)
    configs = _configs(config, len(networks))
    first = configs[0]
    device = available_device(first.device)
    if objective is None:
        objective = CrossEntropy(label_smoothing=first.label_smoothing)
    elif first.label_smoothing:
        cure = "give your objective its label_smoothing itself"
        rule = "0.0 with an objective of your own"
        raise ValueError(error_message("label_smoothing", rule, first.label_smoothing, cure))
    orders = JoinedBatches(train, configs, device)
    held_out = None
    if val is not None:
        size = first.eval_batch_size
        held_out = as_batches("val", val, batch_size=size, shuffle=False, seed=first.seed)
    for model in networks:
        model.to(device).train()
    try:
        batch = next(orders.epoch(0))[0]
        stack = NetworkStack(networks, objective)
        _check_batch(networks[0], objective, batch.own[0])
        stack.probe(batch.whole, shared=orders.shared)
        # Passes of their own set gradients, and cannot add to those of another batch.
        adds_up = first.gradient_accumulation_steps > 1
        passes = None if adds_up else stack.passes(batch.whole, shared=orders.shared)
        with (
            StopSignals() as signals,
            deterministic_algorithms(device, active=first.deterministic),
            stack,
        ):
            together = EnsembleStepper(stack, configs, objective, orders, held_out, device, passes)
            return together.train(signals)
    finally:
        for model in networks:
            model.eval()


def _modules(models: object) -> list[nn.Module]:
    if not isinstance(models, Sequence) or isinstance(models, nn.Module):
        raise TypeError(error_message("models", "a sequence of torch.nn.Module", models))
    if not models:
        raise ValueError(error_message("models", "at least one network", models))
    for number, model in enumerate(models):
        if not isinstance(model, nn.Module):
            raise TypeError(error_message(f"models[{number}]", "a torch.nn.Module", model))
    return list(models)


def _configs(config: object, count: int) -> list[TrainerConfig]:
    """Return the settings of each network, after a look at what they have in common."""
    configs = list(config) if isinstance(config, Sequence) else [config] * count
    if len(configs) != count:
        rule = f"one for all, or one for each of the {count} models"
        raise ValueError(error_message("config", rule, f"{len(configs)} of them"))
    checked = []
    for number, one in enumerate(configs):
        if not isinstance(one, TrainerConfig):
            raise TypeError(error_message("config", "a TrainerConfig, or one for each model", one))
        for name, kept in _REFUSED.items():
            if getattr(one, name) != kept:
                cure = "train the networks one after the other with Trainer"
                rule = f"{kept!r} for several networks at once"
                raise ValueError(error_message(name, rule, getattr(one, name), cure))
        for name in _COMMON:
            wanted = getattr(configs[0], name)
            if getattr(one, name) != wanted:
                rule = f"the same for all networks ({wanted!r})"
                raise ValueError(
                    error_message(f"config[{number}].{name}", rule, getattr(one, name))
                )
        checked.append(one)
    return checked


@torch.no_grad()
def _check_batch(model: nn.Module, objective: Objective, batch: BatchLike) -> None:
    """Let what is wrong with the data raise as it would in a training of its own."""
    with evaluation_mode(model):
        losses = objective(model, batch)
    if losses.shape != (len(batch.targets),):
        rule = f"a function that returns one loss for each example, ({len(batch.targets)},)"
        cure = 'leave the mean to the training, for instance with reduction="none"'
        raise ValueError(error_message("objective", rule, tuple(losses.shape), cure))


class EnsembleStepper:
    """The training of all networks: a step makes one of each."""

    def __init__(
        self,
        stack: NetworkStack,
        configs: Sequence[TrainerConfig],
        objective: Objective,
        orders: JoinedBatches,
        val: BatchSource | None,
        device: torch.device,
        passes: StackedPasses | None,
    ) -> None:
        self._stack = stack
        self._orders = orders
        self._objective = objective
        self._config = configs[0]
        self._device = device
        self._passes = passes
        self._update = build_update(stack, configs)
        self._runs = [
            Run(
                model,
                config,
                objective,
                optimizer,
                train=source,
                val=val,
                callbacks=(),
                device=device,
            )
            for model, config, optimizer, source in zip(
                stack.models, configs, self._update.optimizers, orders.sources, strict=True
            )
        ]
        self._generators = [_generator(config.seed) for config in configs]
        weights = [config.class_weights for config in configs]
        self._class_weights = [
            None if one is None else torch.tensor(one, device=device) for one in weights
        ]
        norms = [math.inf if one.clip_grad_norm is None else one.clip_grad_norm for one in configs]
        self._clip_grad_norms = (
            torch.tensor(norms, device=device) if any(map(math.isfinite, norms)) else None
        )
        self._max_normed = [
            model
            for model in stack.models
            if isinstance(model, HasMaxNorm) and model.max_norm is not None
        ]

    def train(self, signals: StopSignals) -> list[FitResult]:
        """Make the steps: read this to know what a training of many does."""
        runs, config = self._runs, self._config
        with ProgressBar(runs[0].total_steps, shown=config.progress) as bar:
            for epoch in range(config.epochs):
                for model in self._stack.models:
                    model.train()
                for window in self._orders.epoch(epoch):
                    self._update.set_rates(runs)
                    results = self._step(window)
                    for number, (run, result) in enumerate(zip(runs, results, strict=True)):
                        run.advance([joined.own[number] for joined in window], result)
                    bar.move_to(runs[0].state.step)
                    if signals.signum is not None:
                        raise TrainingInterrupted(signals.signum, None)
                self._finish_epoch(bar)
            bar.close(runs[0].state.step)
        for run in runs:
            run.load_averaged_weights()
        return [
            FitResult(
                stop_reason="completed",
                state=run.state,
                history=run.history,
                last=None,
                best=None,
            )
            for run in runs
        ]

    def _step(self, window: Sequence[JoinedBatch]) -> list[StepResult]:
        """Make the next step of every network."""
        weights = [self._weights(joined) for joined in window]
        totals = _totals(window, weights)
        losses: Tensor | None = None
        gradients: list[Tensor | None] = [None] * len(self._stack.parameters)
        for joined, weight in zip(window, weights, strict=True):
            loss, parts = self._loss_and_gradients(joined.whole, weight, totals)
            gradients = [_sum(old, new) for old, new in zip(gradients, parts, strict=True)]
            losses = loss if losses is None else losses + loss
        assert losses is not None
        norms = self._look(losses, gradients)
        if self._clip_grad_norms is not None:
            _clip(gradients, self._clip_grad_norms, norms)
        self._update.step(gradients)
        for model in self._max_normed:
            model.apply_max_norm_()
        each_total = (
            [totals] * len(self._runs) if isinstance(totals, float) else list(totals.unbind())
        )
        return list(map(StepResult, losses.unbind(), each_total, norms.unbind()))

    def _loss_and_gradients(
        self, batch: BatchLike, weight: Tensor | None, totals: float | Tensor
    ) -> tuple[Tensor, Sequence[Tensor | None]]:
        """Return the part of a batch in each network's loss, ``(K,)``, and in the gradients."""
        if self._passes is not None:
            each, parts = self._passes.losses_and_gradients(batch, weight, totals)
            return _mean(each, weight, totals), parts
        each = self._stack.losses(batch, self._generators, shared=self._orders.shared)
        loss = _mean(each, weight, totals)
        stacks = list(self._stack.parameters.values())
        return loss.detach(), torch.autograd.grad(loss.sum(), stacks, allow_unused=True)

    def _look(self, losses: Tensor, gradients: Sequence[Tensor | None]) -> Tensor:
        """Return the gradient norm of each network, or raise for the first that is not finite.

        The sum over the networks has no part in it: what is NaN in one reaches no other.
        """
        each = torch.stack(
            [
                torch.linalg.vector_norm(one.flatten(1), dim=1)
                for one in gradients
                if one is not None
            ]
        )
        norms: Tensor = torch.linalg.vector_norm(each, dim=0)  # (P, K) -> (K,)
        for number, (loss, norm) in enumerate(torch.stack([losses, norms], dim=1).tolist()):
            if not (math.isfinite(loss) and math.isfinite(norm)):
                run = self._runs[number]
                raise self._error(number, NonFiniteStep(run.state.step, loss, norm))
        return norms

    def _error(self, number: int, bad: NonFiniteStep) -> NonFiniteError:
        known = self._runs[number].nonfinite_error(bad)
        error = NonFiniteError(
            step=known.step,
            epoch=known.epoch,
            loss=known.loss,
            lr=known.lr,
            grad_norm=known.grad_norm,
            checkpoint=None,
            network=number,
        )
        for note in getattr(known, "__notes__", ()):
            error.add_note(note)
        return error

    def _weights(self, joined: JoinedBatch) -> Tensor | None:
        """Return the weight of each example in each network's loss, ``(K, N)`` or ``(N,)``."""
        whole = joined.whole
        if all(one is None for one in self._class_weights):
            return whole.weights
        by_class = torch.stack(
            [
                torch.ones(len(batch.targets), device=self._device)
                if one is None
                else batch.targets @ one
                if batch.targets.is_floating_point()
                else one[batch.targets]
                for batch, one in zip(joined.own, self._class_weights, strict=True)
            ]
        )
        return by_class if whole.weights is None else by_class * whole.weights

    def _finish_epoch(self, bar: ProgressBar) -> None:
        """Validate each network and note its row."""
        config = self._config
        for run in self._runs:
            run.tick()
        epoch = self._runs[0].state.epoch + 1
        is_due = epoch == config.epochs or epoch % config.validate_every == 0
        for number, run in enumerate(self._runs):
            row = run.row(self._validate(number, run) if is_due else None)
            run.close_epoch(row)
        for run in self._runs:
            run.tick(training=False)
        if bar.is_shown:
            rows = [run.history[-1] for run in self._runs]
            mean = math.fsum(row.train_loss for row in rows) / len(rows)
            bar.say(f"epoch {epoch}, mean loss {mean:.4f} of {len(rows)} networks")

    def _validate(self, number: int, run: Run) -> Evaluation | None:
        if run.val is None:
            return None
        # One after the other: a batch of evaluation fills the processor by itself.
        with run.average_applied():
            evaluation = evaluate(
                run.model,
                run.val,
                self._objective,
                precision="fp32",
                device=self._device,
                classes=None,
            )
        if not math.isfinite(evaluation.loss):
            bad = run.nonfinite_step("the validation loss", evaluation.loss)
            raise self._error(number, bad)
        return evaluation


def _generator(seed: int) -> torch.Generator:
    """Return a generator that draws what the stream of a training with this seed draws."""
    cpu = torch.device("cpu")
    generator = torch.Generator()
    generator.set_state(RandomStream(seed, cpu).state_dict()["cpu"])
    return generator


def _sum(old: Tensor | None, new: Tensor | None) -> Tensor | None:
    """Return the sum of two gradients, in the memory order of the parameters.

    The fused optimizers take it for granted; what torch accumulates by itself has it.
    """
    if old is None or new is None:
        found = new if old is None else old
        return None if found is None else found.contiguous()
    return old + new.contiguous()


def _mean(each: Tensor, weight: Tensor | None, totals: float | Tensor) -> Tensor:
    """Return the weighted sum of each network's losses by its total, ``(K, N)`` to ``(K,)``."""
    return (each if weight is None else weight * each).sum(1) / totals


def _totals(window: Sequence[JoinedBatch], weights: Sequence[Tensor | None]) -> float | Tensor:
    """Return the total weight of a step, for each network where they differ, ``(K,)``."""
    total: float | Tensor = 0.0
    for joined, weight in zip(window, weights, strict=True):
        if weight is None:
            total = total + float(len(joined.own[0].targets))
        else:
            total = total + weight.expand(len(joined.own), -1).sum(1)
    return total


def _clip(gradients: Sequence[Tensor | None], limits: Tensor, norms: Tensor) -> None:
    """Scale down the gradients of the networks whose norm is beyond their limit, in place."""
    factors = (limits / (norms + 1e-6)).clamp(max=1.0)  # as nn.utils.clip_grads_with_norm_
    for gradient in gradients:
        if gradient is not None:
            gradient.mul_(factors.view(-1, *[1] * (gradient.ndim - 1)))
