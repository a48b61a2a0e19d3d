"""Simultaneous training of several networks with the same architecture."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import nn

from mlpkit._checks import Unquoted, error_message
from mlpkit._class_names import check_same_classes
from mlpkit._devices import available_device, evaluation_mode
from mlpkit.training._batch_norm_batches import check_known_sizes
from mlpkit.training._config import FilledConfig, TrainerConfig
from mlpkit.training._default_objective import choose_objective
from mlpkit.training._determinism import deterministic_algorithms
from mlpkit.training._fit_result import FitResult
from mlpkit.training._model import check_model
from mlpkit.training._nonfinite import NonFiniteStep, nonfinite_error
from mlpkit.training._predictor import find_thresholds, reset_calibration, task_of_model
from mlpkit.training._progress import mean_row, show_progress
from mlpkit.training._run import eval_batches
from mlpkit.training._run_config import (
    check_monitored_data,
    check_validation_data,
    run_config,
)
from mlpkit.training._signals import StopSignals, interruption
from mlpkit.training._stepper import reestimate_on
from mlpkit.training._tracker import Tracker
from mlpkit.training.batches import BatchLike, BatchSource, Examples, TrainingData
from mlpkit.training.ensemble._ensemble_stepper import (
    EnsembleStepper,
    NonFiniteNetworkStep,
    dropout_generator,
)
from mlpkit.training.ensemble._joined_batches import JoinedBatches
from mlpkit.training.ensemble._network_stack import NetworkStack
from mlpkit.training.metrics import CustomMetrics, Evaluation, MetricLike, evaluate
from mlpkit.training.objectives import Objective, check_losses
from mlpkit.training.optim import BestWeights, WeightSwapper

__all__ = ["fit_many"]

# Settings that must be equal for all networks, which share the steps, the epochs and the output.
_COMMON = (
    *("epochs", "batch_size", "eval_batch_size", "gradient_accumulation_steps", "label_smoothing"),
    *("device", "deterministic", "gradients", "validate_every", "drop_last", "progress"),
    "sync_every",
)
# Settings that are not supported for several networks, with the value that each must have.
_UNSUPPORTED: Mapping[str, object] = {
    "precision": "fp32",
    "cuda_graph": False,
    "mixup": None,
    "early_stopping": None,
    "checkpoints": None,
    "max_seconds": None,
    "reduce_lr_on_plateau": None,
    "steps_per_epoch": None,
    "max_steps": None,
    "train_metrics": False,
    "sharding": False,
    "sync_batch_norm": False,
}


def fit_many(
    models: Sequence[nn.Module],
    train: TrainingData | Sequence[Examples],
    val: TrainingData | Sequence[Examples] | None = None,
    *,
    config: TrainerConfig | Sequence[TrainerConfig],
    objective: Objective | None = None,
    metrics: Mapping[str, MetricLike] | None = None,
) -> list[FitResult]:
    r"""Train K networks with the same architecture simultaneously, each as by a ``Trainer``.

    The networks can be an ensemble, a sweep over learning rates, repetitions with several seeds, or
    the folds of a cross-validation. With the weights of layer l stacked to
    :math:`W^{(l)} \in \mathbb{R}^{K \times H \times D}`, one batched product computes the layer of
    all networks,

    .. math::
        z^{(l)}_{k} = W^{(l)}_{k} h^{(l-1)}_{k} + b^{(l)}_{k}, \qquad
        L = \sum_{k=1}^{K} L_k, \qquad \nabla_{W_k} L = \nabla_{W_k} L_k,

    so the overhead of a step does not grow with K. This saves time if the networks are small; it
    does not if the products of one network already occupy the processor.

    Weights, history and validation metrics equal those of ``Trainer(models[k], configs[k],
    objective=objective).fit(train, val)``, or ``fit(train[k], val[k])``, up to the rounding of
    float32: each network has the order of the examples, the dropout masks, the learning rate,
    schedule, weight decay, clipping, averaging and class weights of its configuration. The tests
    require weights and metrics to agree within 1e-5 over a dozen steps. The difference grows with
    the number of steps; it grows fastest with AdamW, if a gradient consists of rounding errors, and
    with Muon, which orthogonalizes in bfloat16. The durations in the history are those of all
    networks together.

    The models are trained in place. They are in evaluation mode afterwards, also after an
    exception. Networks with the same ``seed`` and the same examples share the batches, which is
    faster than one order per network.

    Args:
        models: Modules with the same architecture, whose parameters and buffers differ only in
            their values. They are moved to the device of the configuration.
        train: Examples to train on: ``LabeledTensors``, or ``Batches``, whose order is the same for
            all networks. A sequence has the ``LabeledTensors`` of each network, which must be
            equally many examples.
        val: Examples to validate on, likewise for all networks or for each; None validates nothing.
        config: The settings, one for all networks or one per network. They may differ in
            ``averaging``, ``class_weights``, ``clip_grad_norm``, ``momentum_schedule``,
            ``monitor``, ``optimizer``, ``restore_best``, ``schedule`` and ``seed``.
            ``checkpoints``, ``early_stopping``, ``max_seconds``, ``max_steps``, ``mixup``,
            ``reduce_lr_on_plateau``, ``steps_per_epoch``, the optimizer lbfgs and reduced precision
            are not supported.
        objective: Loss of each example; None means the default, as for :class:`Trainer`. A custom
            objective must use only functions that :func:`torch.vmap` supports, and draw no random
            numbers.
        metrics: Metrics of the outputs of each network by name, as for :class:`Trainer`.

    Returns:
        The result of each run, in the order of ``models``.

    Raises:
        NonFiniteError: If a loss or a gradient of a network became NaN or infinite; ``network`` is
            its number. No network has made that step.
        TrainingInterrupted: If SIGTERM arrived; the models have the weights of the last complete
            step.
        TrainingKeyboardInterrupt: The same for Ctrl-C; a subclass of KeyboardInterrupt.
        TypeError: If an argument has the wrong type.
        ValueError: If the networks cannot be trained together; the message states the reason.

    Example:
        The probabilities of an ensemble are the mean over its members:

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
        >>> ensemble = members.mean(dim=0)
        >>> bool((ensemble.argmax(dim=1) == test.targets).float().mean() > 0.9)
        True

    References:
        Hansen and Salamon 1990, "Neural Network Ensembles", IEEE PAMI 12, pages 993-1001.
    """
    networks = _modules(models)
    custom = CustomMetrics(metrics)
    given = _configs(config, len(networks))
    device = available_device(given[0].device)
    objective = _common_objective(given[0], networks, objective)
    trains = _data_of_each("train", train, len(networks))
    vals: Sequence[TrainingData | None] = [None] * len(networks)
    if val is not None:
        vals = _data_of_each("val", val, len(networks))
    if isinstance(train, Sequence):
        _check_same_length(train)
        check_same_classes({f"train[{number}]": part for number, part in enumerate(train)})
    configs = []
    for number, (model, one, part, held_out) in enumerate(
        zip(networks, given, trains, vals, strict=True)
    ):
        try:
            check_same_classes({f"models[{number}]": model, "train": part, "val": held_out})
            check_validation_data(objective, part, held_out)
            configs.append(run_config(one, model, objective, part, custom))
            check_monitored_data(configs[number], held_out)
        except (TypeError, ValueError) as error:
            if isinstance(train, Sequence) or isinstance(val, Sequence):
                error.add_note(f"train and val are those of network {number}")
            raise
    first = configs[0]
    batches = JoinedBatches(trains, configs, device)
    check_known_sizes(networks[0], batches.sources[0])
    val_batches = [None if one is None else eval_batches("val", one, first) for one in vals]
    for model in networks:
        model.to(device).train()
    try:
        batch = next(batches.epoch(0))[0]
        stack = NetworkStack(networks, objective)
        _check_batch(networks[0], objective, batch.per_network[0])
        stack.probe(batch.combined, shared=batches.shared)
        # Hand-written gradients cannot be accumulated over microbatches.
        is_fast = first.gradients == "auto" and first.gradient_accumulation_steps == 1
        seeds = [one.seed for one in configs]
        if len(set(seeds)) == 1:  # all networks have the same masks
            seeds = seeds[:1]
        generators = [dropout_generator(seed) for seed in seeds]
        gradients = None
        if is_fast:
            gradients = stack.hand_written_gradients(
                batch.combined, generators, shared=batches.shared
            )
        for model in networks:
            reset_calibration(model)
        with (
            StopSignals() as signals,
            deterministic_algorithms(device, active=first.deterministic),
            stack,
        ):
            stepper = EnsembleStepper(
                stack,
                configs,
                total_steps=batches.num_steps * first.epochs,
                device=device,
                shared=batches.shared,
                generators=generators,
                gradients=gradients,
            )
            runs = [
                _network_run(number, model, one, objective, source, held_out, device, custom)
                for number, (model, one, source, held_out) in enumerate(
                    zip(networks, configs, batches.sources, val_batches, strict=True)
                )
            ]
            _train(stepper, runs, batches, signals)
            for run in runs:
                run.weights.load_final_weights(run.best)
    finally:
        for model in networks:
            model.eval()
    return [
        FitResult(
            stop_reason="completed",
            state=run.tracker.state,
            history=run.tracker.history,
            last=None,
            best=None,
        )
        for run in runs
    ]


def _modules(models: object) -> list[nn.Module]:
    if not isinstance(models, Sequence) or isinstance(models, nn.Module):
        raise TypeError(error_message("models", "a sequence of torch.nn.Module", models))
    if not models:
        raise ValueError(error_message("models", "at least one network", models))
    return [check_model(f"models[{number}]", model) for number, model in enumerate(models)]


def _configs(config: object, count: int) -> list[TrainerConfig]:
    """Return the settings of each network, after checking that they can be trained together."""
    configs = list(config) if isinstance(config, Sequence) else [config] * count
    if len(configs) != count:
        rule = f"one configuration, or one for each of the {count} models"
        raise ValueError(
            error_message("config", rule, Unquoted(f"a sequence of length {len(configs)}"))
        )
    checked = []
    for number, one in enumerate(configs):
        if not isinstance(one, TrainerConfig):
            raise TypeError(error_message("config", "a TrainerConfig, or one for each model", one))
        for name, required in _UNSUPPORTED.items():
            if getattr(one, name) != required:
                cure = "train the networks one after another with Trainer"
                rule = f"{required!r} for several networks"
                raise ValueError(error_message(name, rule, getattr(one, name), cure))
        if one.optimizer is not None and one.optimizer.name == "lbfgs":
            rule = "an optimizer without a line search for several networks"
            cure = "train the networks one after another with Trainer"
            raise ValueError(error_message("optimizer.name", rule, one.optimizer.name, cure))
        for name in _COMMON:
            wanted = getattr(configs[0], name)
            if getattr(one, name) != wanted:
                rule = f"the same for all networks ({wanted!r})"
                raise ValueError(
                    error_message(f"config[{number}].{name}", rule, getattr(one, name))
                )
        checked.append(one)
    return checked


def _data_of_each(
    argument: str, data: TrainingData | Sequence[Examples], count: int
) -> Sequence[TrainingData]:
    """Return the examples of each network, given those of all or one item for each network.

    Raises:
        TypeError: If an item is not like ``LabeledTensors``.
        ValueError: If there is not one item for each network.
    """
    if not isinstance(data, Sequence):
        return [data] * count
    items: Sequence[object] = data
    for number, one in enumerate(items):
        if not isinstance(one, Examples):
            got, cure = Unquoted(type(one).__name__), "wrap tensors in LabeledTensors"
            raise TypeError(error_message(f"{argument}[{number}]", "LabeledTensors", got, cure))
    if len(data) != count:
        rule = f"examples for all networks, or one item for each of the {count} models"
        got, cure = Unquoted(f"{len(data)} items"), "give as many items as models"
        raise ValueError(error_message(argument, rule, got, cure))
    return data


def _check_same_length(train: Sequence[Examples]) -> None:
    """Raise unless all networks are trained on equally many examples."""
    for number, one in enumerate(train):
        if len(one) != len(train[0]):
            rule = f"as many examples as train[0], {len(train[0])}"
            cure = "leave out examples until all parts have the same length"
            raise ValueError(error_message(f"train[{number}]", rule, len(one), cure))


def _common_objective(
    config: TrainerConfig, models: Sequence[nn.Module], given: Objective | None
) -> Objective:
    """Return the objective of all models.

    Raises:
        ValueError: If the models have different default objectives.
    """
    objectives = [choose_objective(config, model, given) for model in models]
    for number, one in enumerate(objectives):
        if one != objectives[0]:
            rule = f"a model with the same default objective as models[0], {objectives[0]!r}"
            cure = "build all models with for_data from the same examples"
            raise ValueError(error_message(f"models[{number}]", rule, repr(one), cure))
    return objectives[0]


@torch.no_grad()
def _check_batch(model: nn.Module, objective: Objective, batch: BatchLike) -> None:
    """Raise the errors that :class:`Trainer` would raise for this batch."""
    with evaluation_mode(model):
        losses = objective(model, batch)
    check_losses(losses, batch.targets)


@dataclass(frozen=True, slots=True)
class _NetworkRun:
    """The training run of one network."""

    number: int
    model: nn.Module
    config: FilledConfig
    objective: Objective
    tracker: Tracker
    weights: WeightSwapper
    device: torch.device
    best: BestWeights | None
    val: BatchSource | None
    metrics: CustomMetrics  # shared by all runs, which are validated one after another


def _network_run(
    number: int,
    model: nn.Module,
    config: FilledConfig,
    objective: Objective,
    train: BatchSource,
    val: BatchSource | None,
    device: torch.device,
    metrics: CustomMetrics,
) -> _NetworkRun:
    tracker = Tracker(
        config,
        objective,
        device=device,
        model_task=task_of_model(model),
        metrics=metrics.names,
    )

    def reestimate() -> None:
        epoch = tracker.current_epoch
        reestimate_on(model, train, epoch, precision=config.precision, device=device)

    weights = WeightSwapper(model, config.averaging, reestimate=reestimate)
    best = BestWeights() if config.restore_best else None
    return _NetworkRun(
        number, model, config, objective, tracker, weights, device, best, val, metrics
    )


def _train(
    stepper: EnsembleStepper,
    runs: Sequence[_NetworkRun],
    batches: JoinedBatches,
    signals: StopSignals,
) -> None:
    """Run the loop over epochs and steps; a step updates every network."""
    config, state = runs[0].config, runs[0].tracker.state
    total_steps = batches.num_steps * config.epochs
    with show_progress(
        total_steps,
        shown=config.progress,
        epochs=config.epochs,
        label_smoothing=config.label_smoothing,
        caption=f"mean of {len(runs)} networks",
    ) as progress:
        for epoch in range(config.epochs):
            for microbatches in batches.epoch(epoch):
                for run in runs:
                    if run.tracker.task is None:
                        run.tracker.start(microbatches[0].per_network[run.number].targets)
                try:
                    results = stepper.step(state.step, microbatches)
                except NonFiniteNetworkStep as found:
                    raise nonfinite_error(
                        found.step,
                        stepper.rates(found.network),
                        epoch=epoch,
                        checkpoint=None,
                        network=found.network,
                    ) from None
                for run, result in zip(runs, results, strict=True):
                    run.tracker.update(
                        [joined.per_network[run.number] for joined in microbatches], result
                    )
                    run.weights.update(run.tracker.state.step - 1)
                progress.update(state.step)
                if signals.signum is not None:
                    raise interruption(signals.signum, None)
            _finish_epoch(stepper, runs)
            if progress.is_shown:
                row = mean_row([run.tracker.history[-1] for run in runs])
                mean = f"mean loss {row.train_loss:.4f} of {len(runs)} networks"
                progress.end_epoch(row, f"epoch {state.epoch}, {mean}")


def _finish_epoch(stepper: EnsembleStepper, runs: Sequence[_NetworkRun]) -> None:
    """Validate each network and append its history row."""
    for run in runs:
        run.tracker.tick()
    for run in runs:
        tracker, rates = run.tracker, stepper.rates(run.number)
        tracker.tick(is_training=False)  # the networks before this one were validated
        try:
            lr = rates.lr(tracker.state.step - 1)
            _, is_best = tracker.finish_epoch(partial(_validate, run), lr=lr)
        except NonFiniteStep as found:
            raise nonfinite_error(
                found,
                rates,
                epoch=tracker.state.epoch,
                checkpoint=None,
                network=run.number,
            ) from None
        if run.best is not None:
            run.best.decide(run.model, is_best=is_best, averaged=run.weights.averaged())


def _validate(run: _NetworkRun) -> Evaluation | None:
    """Evaluate one network with its averaged weights."""
    if run.val is None:
        return None
    with run.weights.averaged():
        evaluation = evaluate(
            run.model,
            run.val,
            run.objective,
            precision="fp32",
            device=run.device,
            classes=None,
            thresholds=find_thresholds(run.model),
            model_task=task_of_model(run.model),
            custom=run.metrics,
        )
        if run.best is not None:
            run.best.propose(run.model)
        return evaluation
