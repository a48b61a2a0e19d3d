"""The cross-entropy of each example against torch and the definition."""

from __future__ import annotations

import math
import re

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mlpkit import _serialization
from mlpkit.data import Batch
from mlpkit.training import (
    BinaryCrossEntropy,
    CrossEntropy,
    MeanSquaredError,
    Objective,
    OutputObjective,
)


def make_targets(kind: str, num_classes: int = 4, rows: int = 6) -> Tensor:
    """Targets of each kind that a classifier can learn from."""
    indices = torch.randint(0, num_classes, (rows,))
    if kind == "indices":
        return indices
    if kind == "one-hot":
        return F.one_hot(indices, num_classes).double()
    return torch.rand(rows, num_classes, dtype=torch.float64).softmax(dim=1)


@pytest.mark.parametrize("smoothing", [0.0, 0.1, 1.0])
@pytest.mark.parametrize("kind", ["indices", "one-hot", "soft"])
class TestCrossEntropy:
    def test_equals_torch_in_value_and_gradient(self, kind: str, smoothing: float) -> None:
        logits = torch.randn(6, 4, dtype=torch.float64, requires_grad=True)
        targets = make_targets(kind)
        actual = CrossEntropy(label_smoothing=smoothing).loss(logits, targets)
        expected = F.cross_entropy(logits, targets, label_smoothing=smoothing, reduction="none")
        torch.testing.assert_close(actual, expected, rtol=0, atol=0)
        upstream = torch.rand(6, dtype=torch.float64)
        (got,) = torch.autograd.grad(actual, logits, upstream)
        (wanted,) = torch.autograd.grad(expected, logits, upstream)
        torch.testing.assert_close(got, wanted, rtol=0, atol=0)

    def test_equals_a_loop_over_the_definition(self, kind: str, smoothing: float) -> None:
        logits, targets = torch.randn(6, 4, dtype=torch.float64), make_targets(kind)
        actual = CrossEntropy(label_smoothing=smoothing).loss(logits, targets)
        for row, z in enumerate(logits.tolist()):
            normalizer = math.log(sum(math.exp(value) for value in z))
            expected = 0.0
            for c in range(4):
                y = float(targets[row] == c) if kind == "indices" else float(targets[row, c])
                expected -= ((1 - smoothing) * y + smoothing / 4) * (z[c] - normalizer)
            assert actual[row].item() == pytest.approx(expected, rel=1e-12)

    def test_passes_gradcheck(self, kind: str, smoothing: float) -> None:
        objective, targets = CrossEntropy(label_smoothing=smoothing), make_targets(kind)
        logits = torch.randn(6, 4, dtype=torch.float64, requires_grad=True)

        def loss(z: Tensor) -> Tensor:
            return objective.loss(z, targets)

        assert torch.autograd.gradcheck(loss, logits)


def test_calls_the_model_once_with_the_inputs() -> None:
    model, inputs, targets = nn.Linear(3, 4), torch.randn(5, 3), torch.randint(0, 4, (5,))
    expected = F.cross_entropy(model(inputs), targets, reduction="none")
    torch.testing.assert_close(
        CrossEntropy()(model, Batch(inputs, targets, None, torch.arange(5))), expected
    )


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_logits_are_widened_first(dtype: torch.dtype) -> None:
    logits, targets = torch.randn(5, 3).to(dtype), torch.randint(0, 3, (5,))
    expected = F.cross_entropy(logits.float(), targets, reduction="none")
    torch.testing.assert_close(CrossEntropy().loss(logits, targets), expected, rtol=0, atol=0)


def test_softmax_of_the_lecture() -> None:
    """The softmax of [1.2, 5.1, 2.7] gives its class 1 a probability of 0.90."""
    loss = CrossEntropy().loss(torch.tensor([[1.2, 5.1, 2.7]]), torch.tensor([1]))
    assert math.exp(-loss.item()) == pytest.approx(0.90, abs=0.005)


class TestRefusedTargets:
    def test_minus_100_is_no_way_to_skip_an_example(self) -> None:
        """By default torch ignores it in silence."""
        with pytest.raises(
            ValueError, match=r"targets must be class indices in \[0, 3\), got \[-100"
        ):
            CrossEntropy().loss(torch.zeros(2, 3), torch.tensor([1, -100]))

    @pytest.mark.parametrize("index", [3, -1])
    def test_an_index_out_of_range(self, index: int) -> None:
        with pytest.raises(ValueError, match=r"targets must be class indices in \[0, 3\)"):
            CrossEntropy().loss(torch.zeros(1, 3), torch.tensor([index]))

    @pytest.mark.parametrize("dtype", [torch.int32, torch.uint8, torch.bool])
    def test_other_integers(self, dtype: torch.dtype) -> None:
        with pytest.raises(TypeError, match=rf"targets must be int64 .*, got {dtype}; .*\.long"):
            CrossEntropy().loss(torch.zeros(2, 3), torch.ones(2, dtype=dtype))

    @pytest.mark.parametrize("shape", [(3,), (2, 1), ()])
    def test_indices_of_another_shape(self, shape: tuple[int, ...]) -> None:
        with pytest.raises(ValueError, match=r"targets must be class indices of shape \(2,\), got"):
            CrossEntropy().loss(torch.zeros(2, 3), torch.zeros(shape, dtype=torch.int64))

    @pytest.mark.parametrize("shape", [(2,), (2, 4), (3, 3)])
    def test_distributions_of_another_shape(self, shape: tuple[int, ...]) -> None:
        with pytest.raises(ValueError, match=r"shape of the logits, \(2, 3\), got"):
            CrossEntropy().loss(torch.zeros(2, 3), torch.zeros(shape))

    @pytest.mark.parametrize("num_classes", [0, 1])
    def test_logits_of_fewer_than_two_classes(self, num_classes: int) -> None:
        with pytest.raises(ValueError, match=r"at least two classes.*output per class, or pass"):
            CrossEntropy().loss(torch.zeros(2, num_classes), torch.zeros(2, dtype=torch.int64))

    @pytest.mark.parametrize(
        ("targets", "outputs", "expected"),
        [
            (torch.tensor([0.5, -2.0]), 1, "Regressor"),
            (torch.tensor([[0.5], [-2.0]]), 1, "Regressor"),
            (torch.tensor([[0.5, 7.0], [-2.0, 1.0]]), 2, "Regressor"),
            (torch.tensor([0.0, 1.0]), 1, "MultilabelClassifier"),
            (torch.tensor([[0.0], [1.0]]), 1, "MultilabelClassifier"),
            (torch.tensor([[0.0, 0.0], [1.0, 1.0]]), 2, "MultilabelClassifier"),
            (torch.tensor([0, 1]), 1, None),
        ],
        ids=str,
    )
    def test_the_cure_names_the_objective_that_works(
        self, targets: Tensor, outputs: int, expected: str | None
    ) -> None:
        logits = torch.zeros(2, outputs)
        with pytest.raises(ValueError, match="; ") as caught:
            CrossEntropy().loss(logits, targets)
        message = str(caught.value)
        found = re.search(
            r"objective=(\w+\(\))(?: and (targets(?:\[:, None\])?(?:\.float\(\))?))?", message
        )
        assert found is not None
        assert expected is None or f"train a mlpkit.{expected}, or" in message
        names = {"MeanSquaredError": MeanSquaredError, "BinaryCrossEntropy": BinaryCrossEntropy}
        objective: OutputObjective = eval(found[1], names)  # noqa: S307 - from this package
        given = eval(found[2] or "targets", {"targets": targets})  # noqa: S307 - from this package
        assert objective.loss(logits, given).shape == (2,)

    def test_whole_numbers_may_be_class_indices(self) -> None:
        with pytest.raises(ValueError, match=r"for class indices pass targets\.long\(\)$"):
            CrossEntropy().loss(torch.zeros(2, 3), torch.tensor([0.0, 2.0]))
        with pytest.raises(ValueError, match=r"one output for each entry of a target$"):
            CrossEntropy().loss(torch.zeros(2, 3), torch.tensor([0.0, 2.5]))

    @pytest.mark.parametrize("shape", [(3,), (2, 3, 4)])
    def test_logits_that_are_not_rows(self, shape: tuple[int, ...]) -> None:
        with pytest.raises(ValueError, match=r"logits must be of shape \(N, C\), got"):
            CrossEntropy().loss(torch.zeros(shape), torch.zeros(2, dtype=torch.int64))

    def test_smoothing_out_of_range(self) -> None:
        with pytest.raises(ValueError, match=r"label_smoothing .* at most 1, got 1\.5"):
            CrossEntropy(label_smoothing=1.5)


def test_it_is_an_objective_of_outputs_and_a_plain_configuration() -> None:
    smoothed = CrossEntropy(label_smoothing=0.1)
    assert isinstance(smoothed, Objective)
    assert isinstance(smoothed, OutputObjective)
    assert _serialization.from_json(CrossEntropy, _serialization.to_json(smoothed)) == smoothed
