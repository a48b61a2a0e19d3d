"""`restore_best`: the model ends with the weights that had the best validation, bit for bit."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from tests.training.scenario import differences, examples, network
from torch import Tensor

from mlpkit.training import (
    AveragingConfig,
    Callback,
    CheckpointConfig,
    EpochRow,
    Monitor,
    OptimizerConfig,
    Trainer,
    TrainerConfig,
    fit_many,
    load_checkpoint,
)

TRAIN, VAL = examples(), examples(20, seed=1)
# So large a rate that the best epoch is not the last one.
CONFIG = TrainerConfig(
    epochs=8,
    batch_size=8,
    optimizer=OptimizerConfig(lr=0.3),
    restore_best=True,
    progress=False,
)


def loss_of(trainer: Trainer) -> float:
    return trainer.evaluate(VAL).loss


@pytest.mark.parametrize("averaging", [None, AveragingConfig(decay=0.5)])
def test_the_model_ends_with_the_best_weights(averaging: AveragingConfig | None) -> None:
    """Its loss has the bits of the best row, without any file, also with batch norm averaged."""
    trainer = Trainer(network(), replace(CONFIG, averaging=averaging))
    result = trainer.fit(TRAIN, VAL)
    best = result.state.best_epoch
    assert best is not None
    assert best < 7, "the test needs a best epoch that is not the last one"
    assert loss_of(trainer) == result.history[best].val_loss == result.state.best_value
    with torch.no_grad():
        for parameter in trainer.model.parameters():
            parameter.zero_()
    trainer.load_best()
    assert loss_of(trainer) == result.state.best_value


def test_it_changes_nothing_else() -> None:
    """The history has the bits of a run without it."""
    results = [
        Trainer(network(), replace(CONFIG, restore_best=restore)).fit(TRAIN, VAL)
        for restore in (True, False)
    ]
    rows = [[row.to_dict() for row in result.history] for result in results]
    assert differences(rows[0], rows[1]) == []


def test_an_epoch_that_is_not_validated_can_be_the_best() -> None:
    """The weights of the lowest training loss; validation happens in every third epoch only."""

    class Keep(Callback):
        def __init__(self) -> None:
            self.states: list[dict[str, Tensor]] = []

        def on_epoch_end(self, trainer: Trainer, row: EpochRow) -> None:  # noqa: ARG002
            state = trainer.model.state_dict()
            self.states.append({name: value.clone() for name, value in state.items()})

    keep = Keep()
    config = replace(CONFIG, monitor=Monitor("grad_norm", "max"), validate_every=3)
    trainer = Trainer(network(), config, callbacks=[keep])
    result = trainer.fit(TRAIN, VAL)
    assert result.state.best_epoch is not None
    best = keep.states[result.state.best_epoch]
    assert differences(best, trainer.model.state_dict()) == []
    assert result.history[result.state.best_epoch].val_loss is None


def test_the_checkpoint_has_the_best_and_the_trained_weights(tmp_path: Path) -> None:
    """A finished run that is resumed ends with the best weights again."""
    config = replace(CONFIG, checkpoints=CheckpointConfig(folder=tmp_path))
    trainer = Trainer(network(), config)
    result = trainer.fit(TRAIN, VAL)
    assert result.last is not None
    assert result.best is not None
    last, best = load_checkpoint(result.last), load_checkpoint(result.best)
    assert last.best_state is not None
    assert differences(dict(last.best_state), trainer.model.state_dict()) == []
    assert differences(best.model_state, dict(last.best_state)) == []
    assert differences(last.model_state, trainer.model.state_dict()), "the last are others"
    again = Trainer(network(1), config)
    again.fit(TRAIN, VAL, resume="auto")
    assert differences(trainer.model.state_dict(), again.model.state_dict()) == []


def test_it_needs_validation_data() -> None:
    with pytest.raises(ValueError, match="val must be given for restore_best on val_loss"):
        Trainer(network(), CONFIG).fit(TRAIN)
    trainer = Trainer(network(), replace(CONFIG, monitor="train_loss"))
    assert trainer.fit(TRAIN).state.best_epoch is not None


def on_the_first_step(action: Callable[[Trainer], None]) -> Callback:
    class First(Callback):
        def on_step_end(self, trainer: Trainer, step: object) -> None:  # noqa: ARG002
            action(trainer)

    return First()


def test_a_run_without_a_complete_epoch_keeps_its_weights() -> None:
    trainer = Trainer(network(), CONFIG, callbacks=[on_the_first_step(Trainer.stop)])
    result = trainer.fit(TRAIN, VAL)
    assert (result.stop_reason, result.state.best_epoch) == ("callback", None)
    assert loss_of(trainer) == result.history[-1].val_loss


@pytest.mark.parametrize("averaging", [None, AveragingConfig(decay=0.5)])
def test_several_networks_have_their_best_weights(averaging: AveragingConfig | None) -> None:
    models = [network(seed) for seed in range(3)]
    config = replace(CONFIG, averaging=averaging)
    for model, result in zip(models, fit_many(models, TRAIN, VAL, config=config), strict=True):
        assert loss_of(Trainer(model, config)) == result.state.best_value
