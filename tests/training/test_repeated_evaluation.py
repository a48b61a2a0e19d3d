"""Every evaluation of one step sees the same function, and the step updates buffers once."""

from __future__ import annotations

import copy

import torch
import torch.nn.functional as F
from tests.training.scenario import differences, examples, network
from torch import Tensor, nn

from mlpkit.training import BatchLike, OptimizerConfig, Trainer, TrainerConfig
from mlpkit.training._repeated_evaluation import RepeatedEvaluation


def test_an_evaluation_is_repeated_exactly() -> None:
    model = network()
    inputs = examples().inputs
    other = copy.deepcopy(model)
    torch.manual_seed(3)
    expected = other(inputs)
    random_state = torch.get_rng_state()
    torch.manual_seed(3)
    evaluation = RepeatedEvaluation(model, torch.device("cpu"))
    with evaluation.repeated():
        for _ in range(3):
            assert torch.equal(evaluation.evaluate(lambda: model(inputs)), expected)
    assert differences(model.state_dict(), other.state_dict()) == []
    assert torch.equal(torch.get_rng_state(), random_state)


def test_a_step_of_a_run_sees_one_function() -> None:
    """Dropout masks are the same; batch norm is updated once; loss and norm are those before."""
    model, data = network(), examples()
    masks: list[Tensor] = []
    model[3].register_forward_hook(lambda _module, _inputs, output: masks.append(output == 0.0))
    losses: list[Tensor] = []

    def objective(model: nn.Module, batch: BatchLike) -> Tensor:
        losses.append(F.cross_entropy(model(batch.inputs), batch.targets, reduction="none"))
        return losses[-1]

    config = TrainerConfig(epochs=1, optimizer=OptimizerConfig(name="lbfgs"), progress=False)
    row = Trainer(model, config, objective=objective).fit(data).history[-1]
    assert len(losses) > 5
    zeros = torch.stack([mask.all(dim=1) for mask in masks])
    assert zeros.any() or len(masks) == len(losses)
    assert isinstance(model[1], nn.BatchNorm1d)
    assert model[1].num_batches_tracked is not None
    assert model[1].num_batches_tracked.item() == 1
    assert row.train_loss == losses[0].mean().item()
    assert losses[-1].mean() < losses[0].mean()
