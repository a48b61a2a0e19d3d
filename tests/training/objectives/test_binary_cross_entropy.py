"""The binary cross-entropy of each example against torch and the definition."""

from __future__ import annotations

import copy
import math
import pickle

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mlpkit import _serialization
from mlpkit.data import Batch, LabeledTensors
from mlpkit.training import (
    BinaryCrossEntropy,
    CrossEntropy,
    Mixup,
    Objective,
    OptimizerConfig,
    OutputObjective,
    Trainer,
    TrainerConfig,
)
from mlpkit.training.objectives import task_of

WEIGHTS = [None, 2.5, (0.5, 1.0, 7.0, 2.0)]


def expected_loss(
    outputs: Tensor, targets: Tensor, pos_weight: float | tuple[float, ...] | None
) -> Tensor:
    """Oracle: torch's loss, averaged over the labels."""
    factor = None if pos_weight is None else torch.tensor(pos_weight, dtype=outputs.dtype)
    losses = F.binary_cross_entropy_with_logits(
        outputs, targets, pos_weight=factor, reduction="none"
    )
    return losses.flatten(1).mean(1) if losses.ndim > 1 else losses


@pytest.mark.parametrize("pos_weight", WEIGHTS, ids=str)
@pytest.mark.parametrize("soft", [False, True])
class TestBinaryCrossEntropy:
    def test_equals_torch_in_value_and_gradient(
        self, soft: bool, pos_weight: float | tuple[float, ...] | None
    ) -> None:
        logits = torch.randn(6, 4, dtype=torch.float64, requires_grad=True)
        targets = torch.rand(6, 4, dtype=torch.float64)
        targets = targets if soft else targets.round()
        actual = BinaryCrossEntropy(pos_weight=pos_weight).loss(logits, targets)
        expected = expected_loss(logits, targets, pos_weight)
        torch.testing.assert_close(actual, expected, rtol=0, atol=0)
        upstream = torch.rand(6, dtype=torch.float64)
        (got,) = torch.autograd.grad(actual, logits, upstream)
        (wanted,) = torch.autograd.grad(expected, logits, upstream)
        torch.testing.assert_close(got, wanted, rtol=0, atol=0)

    def test_equals_a_loop_over_the_definition(
        self, soft: bool, pos_weight: float | tuple[float, ...] | None
    ) -> None:
        logits = torch.randn(6, 4, dtype=torch.float64)
        targets = torch.rand(6, 4, dtype=torch.float64)
        targets = targets if soft else targets.round()
        actual = BinaryCrossEntropy(pos_weight=pos_weight).loss(logits, targets)
        factors = np.broadcast_to(np.array(1.0 if pos_weight is None else pos_weight), 4)
        for row in range(6):
            terms = []
            for label in range(4):
                p = 1.0 / (1.0 + math.exp(-float(logits[row, label])))
                y = float(targets[row, label])
                terms.append(-factors[label] * y * math.log(p) - (1 - y) * math.log(1 - p))
            assert actual[row].item() == pytest.approx(sum(terms) / 4, rel=1e-12)

    def test_passes_gradcheck(
        self, soft: bool, pos_weight: float | tuple[float, ...] | None
    ) -> None:
        targets = torch.rand(6, 4, dtype=torch.float64)
        targets = targets if soft else targets.round()
        logits = torch.randn(6, 4, dtype=torch.float64, requires_grad=True)
        objective = BinaryCrossEntropy(pos_weight=pos_weight)

        def loss(z: Tensor) -> Tensor:
            return objective.loss(z, targets)

        assert torch.autograd.gradcheck(loss, logits)

    def test_many_networks_have_the_losses_of_each(
        self, soft: bool, pos_weight: float | tuple[float, ...] | None
    ) -> None:
        """fit_many computes the losses of all networks under torch.vmap."""
        objective = BinaryCrossEntropy(pos_weight=pos_weight)
        logits, targets = torch.randn(3, 6, 4), torch.rand(3, 6, 4)
        targets = targets if soft else targets.round()
        expected = torch.stack(
            [objective.loss(*each) for each in zip(logits, targets, strict=True)]
        )
        torch.testing.assert_close(torch.vmap(objective.loss)(logits, targets), expected)
        gradients = torch.func.grad(lambda z: objective.loss(z, targets[0]).sum())(logits[0])
        leaf = logits[0].clone().requires_grad_()
        torch.autograd.backward(objective.loss(leaf, targets[0]).sum())
        torch.testing.assert_close(gradients, leaf.grad)
        fresh = BinaryCrossEntropy(pos_weight=pos_weight)  # its first tensor within a transform
        torch.func.grad(lambda z: fresh.loss(z, targets[0]).sum())(logits[0])
        torch.testing.assert_close(fresh.loss(logits[0], targets[0]), expected[0])


@pytest.mark.parametrize("pos_weight", [None, 3.0, (3.0,)], ids=str)
def test_one_label_without_an_axis(pos_weight: float | tuple[float, ...] | None) -> None:
    logits, targets = torch.randn(5), torch.tensor([0.0, 1.0, 1.0, 0.0, 1.0])
    objective = BinaryCrossEntropy(pos_weight=pos_weight)
    expected = expected_loss(logits, targets, pos_weight)
    torch.testing.assert_close(objective.loss(logits, targets), expected)
    column = objective.loss(logits[:, None], targets[:, None])
    torch.testing.assert_close(column, expected)


def test_calls_the_model_once_with_the_inputs() -> None:
    model, inputs, targets = nn.Linear(3, 4), torch.randn(5, 3), torch.rand(5, 4)
    expected = expected_loss(model(inputs), targets, None)
    batch = Batch(inputs, targets, None, torch.arange(5))
    torch.testing.assert_close(BinaryCrossEntropy()(model, batch), expected)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_logits_are_widened_first(dtype: torch.dtype) -> None:
    logits, targets = (20 * torch.randn(5, 3)).to(dtype), torch.rand(5, 3).round()
    expected = expected_loss(logits.float(), targets, 4.0)
    actual = BinaryCrossEntropy(pos_weight=4.0).loss(logits, targets.to(dtype))
    torch.testing.assert_close(actual, expected, rtol=0, atol=0)


def test_large_logits_neither_overflow_nor_lose_the_gradient() -> None:
    logits = torch.tensor([[1e4, -1e4]], requires_grad=True)
    loss = BinaryCrossEntropy().loss(logits, torch.tensor([[0.0, 1.0]]))
    assert loss.item() == 1e4
    torch.autograd.backward(loss.sum())
    assert logits.grad is not None
    assert logits.grad.tolist() == [[0.5, -0.5]]


def test_mixup_mixes_the_labels() -> None:
    """Binary cross-entropy is linear in the target: the loss against the mixed labels."""
    model, inputs = nn.Linear(5, 3), torch.randn(8, 5)
    targets = torch.rand(8, 3).round()
    objective = Mixup(1.0, objective=BinaryCrossEntropy(pos_weight=2.0))
    torch.manual_seed(2)
    actual = objective(model, Batch(inputs, targets, None, torch.arange(8)))
    torch.manual_seed(2)
    mixed = objective.mix(inputs)
    soft = torch.lerp(targets[mixed.partners], targets, mixed.lam.float())
    torch.testing.assert_close(actual, expected_loss(model(mixed.inputs), soft, 2.0))
    assert task_of(objective, targets) == "multilabel"


class TestRefused:
    @pytest.mark.parametrize("shape", [(4, 3), (4, 1), (4,)])
    def test_integers_are_refused_with_a_cure_that_works(self, shape: tuple[int, ...]) -> None:
        logits, targets = torch.zeros(shape), torch.ones(4, dtype=torch.int64)
        objective: OutputObjective = BinaryCrossEntropy()
        with pytest.raises(TypeError, match=r"targets must be floating-point") as caught:
            objective.loss(logits, targets)
        _, _, cure = str(caught.value).partition("; ")
        if shape == (4, 3):
            assert cure == "for class indices pass objective=CrossEntropy()"
            objective = CrossEntropy()
        else:
            targets = eval(cure.removeprefix("pass "), {"targets": targets})  # noqa: S307 - from this package
        assert objective.loss(logits, targets).shape == (4,)

    @pytest.mark.parametrize(
        ("logits", "targets"), [((4, 1), (4,)), ((4,), (4, 1))], ids=["column", "row"]
    )
    def test_another_shape_is_refused_with_a_cure_that_works(
        self, logits: tuple[int, ...], targets: tuple[int, ...]
    ) -> None:
        given = torch.ones(targets)
        with pytest.raises(ValueError, match=r"targets must be of the same shape as") as caught:
            BinaryCrossEntropy().loss(torch.zeros(logits), given)
        _, _, cure = str(caught.value).partition("; pass ")
        given = eval(cure, {"targets": given})  # noqa: S307 - from this package
        assert BinaryCrossEntropy().loss(torch.zeros(logits), given).shape == (4,)

    @pytest.mark.parametrize("shape", [(2, 4), (3, 3), ()])
    def test_nothing_is_broadcast(self, shape: tuple[int, ...]) -> None:
        with pytest.raises(ValueError, match=r"shape as the logits, \(2, 3\), got .*; give the mo"):
            BinaryCrossEntropy().loss(torch.zeros(2, 3), torch.zeros(shape))

    @pytest.mark.parametrize("shape", [(), (2, 3, 4)])
    def test_logits_that_are_not_rows(self, shape: tuple[int, ...]) -> None:
        with pytest.raises(ValueError, match=r"logits must be of shape \(N, L\) or \(N,\), got"):
            BinaryCrossEntropy().loss(torch.zeros(shape), torch.zeros(shape))

    @pytest.mark.parametrize("value", [-0.1, 1.5, math.nan, math.inf])
    def test_targets_that_are_no_probabilities(self, value: float) -> None:
        targets = torch.tensor([[0.0, value]])
        with pytest.raises(ValueError, match=r"targets must be in \[0, 1\], got \["):
            BinaryCrossEntropy().loss(torch.zeros(1, 2), targets)

    @pytest.mark.parametrize("value", [0.0, -1.0, math.nan, math.inf, (1.0, 0.0)], ids=str)
    def test_pos_weight_out_of_range(self, value: float | tuple[float, ...]) -> None:
        with pytest.raises(ValueError, match=r"pos_weight.* must be a finite number greater than"):
            BinaryCrossEntropy(pos_weight=value)

    @pytest.mark.parametrize("value", [True, "balanced", "2"])
    def test_pos_weight_of_another_type(self, value: object) -> None:
        with pytest.raises(TypeError, match=r"pos_weight must be a "):
            BinaryCrossEntropy(pos_weight=value)  # type: ignore[arg-type]

    @pytest.mark.parametrize("shape", [(2, 3), (2,)])
    def test_pos_weight_for_other_labels(self, shape: tuple[int, ...]) -> None:
        count = 3 if len(shape) == 2 else 1
        with pytest.raises(ValueError, match=f"pos_weight must be .* each of the {count} labels"):
            BinaryCrossEntropy(pos_weight=(1.0, 2.0)).loss(torch.zeros(shape), torch.zeros(shape))


@pytest.mark.parametrize(
    "given", [[1, 2.5], (1, 2.5), np.array([1, 2.5]), torch.tensor([1, 2.5])], ids=lambda v: type(v)
)
def test_pos_weight_is_stored_as_plain_numbers(given: tuple[float, ...]) -> None:
    objective = BinaryCrossEntropy(pos_weight=given)
    assert objective.pos_weight == (1.0, 2.5)
    assert repr(objective) == "BinaryCrossEntropy(pos_weight=(1.0, 2.5))"
    assert repr(BinaryCrossEntropy(pos_weight=torch.tensor(3))) == (  # type: ignore[arg-type]
        "BinaryCrossEntropy(pos_weight=3.0)"
    )


def test_it_is_an_objective_of_outputs_and_a_plain_configuration() -> None:
    weighted = BinaryCrossEntropy(pos_weight=(1.0, 2.0))
    weighted.loss(torch.zeros(3, 2), torch.ones(3, 2))
    assert isinstance(weighted, Objective)
    assert isinstance(weighted, OutputObjective)
    again = _serialization.from_json(BinaryCrossEntropy, _serialization.to_json(weighted))
    for other in (again, copy.deepcopy(weighted), pickle.loads(pickle.dumps(weighted))):
        assert other == weighted
        assert hash(other) == hash(weighted)
        assert other.loss(torch.zeros(3, 2), torch.ones(3, 2)).shape == (3,)


def test_a_bare_module_learns_labels() -> None:
    """Training and evaluation end to end, with validation after each epoch."""
    inputs = torch.randn(256, 4)
    targets = (inputs[:, :2] > 0).float()
    data = LabeledTensors(inputs, targets)
    adamw = OptimizerConfig(lr=0.03)
    config = TrainerConfig(epochs=20, batch_size=32, optimizer=adamw, progress=False)
    trainer = Trainer(nn.Linear(4, 2), config, objective=BinaryCrossEntropy(pos_weight=(1.5, 1.0)))
    trainer.fit(data, data)
    evaluation = trainer.evaluate(data)
    assert evaluation.task == "multilabel"
    assert evaluation.accuracy > 0.9
    assert evaluation.objective_loss is not None
