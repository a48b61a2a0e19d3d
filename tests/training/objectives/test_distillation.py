"""Distillation against the definition, and the teacher that must stay as it is."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from scipy.special import log_softmax, softmax
from torch import Tensor, nn

from mlpkit.data import Batch
from mlpkit.training.objectives import CrossEntropy, Distillation, Objective


def batch(rows: int = 5, indices: Tensor | None = None) -> Batch:
    where = torch.arange(rows) if indices is None else indices
    return Batch(torch.randn(rows, 3), torch.randint(0, 4, (rows,)), None, where)


def network() -> nn.Module:
    return nn.Sequential(nn.Linear(3, 8), nn.BatchNorm1d(8), nn.Dropout(0.5), nn.Linear(8, 4))


def reference(z: Tensor, t: Tensor, y: Tensor, temperature: float, alpha: float) -> list[float]:
    """The definition, one example and one class at a time, in NumPy."""
    losses = []
    for row in range(len(z)):
        p = softmax(t[row].double().numpy() / temperature)
        log_q = log_softmax(z[row].double().numpy() / temperature)
        divergence = float(np.sum(p * (np.log(p) - log_q)))
        hard = -float(log_softmax(z[row].double().numpy())[int(y[row])])
        losses.append(alpha * temperature**2 * divergence + (1 - alpha) * hard)
    return losses


@pytest.mark.parametrize("alpha", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("temperature", [0.5, 1.0, 20.0])
@pytest.mark.parametrize("stored", [False, True])
def test_equals_the_definition(temperature: float, alpha: float, stored: bool) -> None:
    student, teacher, one = nn.Linear(3, 4).double(), nn.Linear(3, 4).double(), batch()
    one = one._replace(inputs=one.inputs.double())
    logits = teacher(one.inputs).detach()
    objective = Distillation(logits if stored else teacher, temperature=temperature, alpha=alpha)
    actual = objective(student, one)
    expected = reference(student(one.inputs).detach(), logits, one.targets, temperature, alpha)
    assert actual.tolist() == pytest.approx(expected, rel=1e-9, abs=1e-12)


def test_the_gradient_is_that_of_the_papers_cross_entropy() -> None:
    """Hinton et al. 2015, section 2: T^2 times the cross-entropy with the soft targets."""
    student, teacher, one = nn.Linear(3, 4).double(), nn.Linear(3, 4).double(), batch()
    one = one._replace(inputs=one.inputs.double())
    loss = Distillation(teacher, temperature=3.0, alpha=1.0)(student, one).sum()
    torch.autograd.backward(loss)
    soft = F.softmax(teacher(one.inputs).detach() / 3.0, dim=1)
    paper = 9.0 * F.cross_entropy(student(one.inputs) / 3.0, soft, reduction="sum")
    (expected,) = torch.autograd.grad(paper, student.weight)
    torch.testing.assert_close(student.weight.grad, expected)


def test_is_zero_where_the_student_equals_the_teacher() -> None:
    teacher = nn.Linear(3, 4)
    losses = Distillation(teacher, alpha=1.0)(teacher, batch())
    assert losses.tolist() == pytest.approx([0.0] * 5, abs=1e-5)


def test_the_targets_are_smoothed_like_cross_entropys() -> None:
    student, one = nn.Linear(3, 4), batch()
    objective = Distillation(nn.Linear(3, 4), alpha=0.0, label_smoothing=0.2)
    expected = CrossEntropy(label_smoothing=0.2)(student, one)
    torch.testing.assert_close(objective(student, one), expected)


def test_the_teacher_stays_in_evaluation_mode_and_gets_no_gradient() -> None:
    """Its batch norm and dropout must not even run in training mode."""
    teacher, student, one = network(), network(), batch()
    assert teacher.training
    before = copy.deepcopy(teacher.state_dict())
    objective = Distillation(teacher)
    first = objective._teach(one)  # the copy that the objective keeps
    torch.autograd.backward(objective(student, one).sum())
    torch.testing.assert_close(objective._teach(one), first, rtol=0, atol=0)
    assert not first.requires_grad
    assert teacher.training, "the module given is left alone"
    assert all(parameter.grad is None for parameter in teacher.parameters())
    assert all(parameter.requires_grad for parameter in teacher.parameters())
    for name, value in teacher.state_dict().items():
        torch.testing.assert_close(value, before[name], rtol=0, atol=0)
    expected = copy.deepcopy(teacher).eval()(one.inputs)
    torch.testing.assert_close(first, expected, rtol=0, atol=0)


def test_a_student_may_be_its_own_teacher() -> None:
    """Self-distillation: the student trains on, the teacher stays what it was."""
    student, one = network(), batch()
    objective = Distillation(student)
    before = objective._teach(one)
    student.train()
    with torch.no_grad():
        for parameter in student.parameters():
            parameter.add_(1.0)
    torch.testing.assert_close(objective._teach(one), before, rtol=0, atol=0)


def test_stored_logits_are_looked_up_by_the_position_of_each_example() -> None:
    logits, one = torch.randn(10, 4), batch(3, torch.tensor([7, 0, 7]))
    student = nn.Linear(3, 4)
    actual = Distillation(logits, temperature=2.0)(student, one)
    chosen = torch.stack([logits[7], logits[0], logits[7]])
    expected = reference(student(one.inputs).detach(), chosen, one.targets, 2.0, 0.9)
    assert actual.tolist() == pytest.approx(expected, rel=1e-4)


def test_probabilities_of_zero_are_taken_as_their_logarithm() -> None:
    logits = torch.tensor([[1.0, 0.0, 0.0, 0.0]]).log()
    student, one = nn.Linear(3, 4), batch(1)
    actual = Distillation(logits, temperature=2.0, alpha=1.0)(student, one)
    expected = -4.0 * F.log_softmax(student(one.inputs) / 2.0, dim=1)[:, 0]
    torch.testing.assert_close(actual, expected)


def test_the_repr_tells_one_teacher_from_another() -> None:
    """A resumed training is refused if the teacher changed."""
    teacher = nn.Linear(3, 4)
    assert repr(Distillation(teacher)) == repr(Distillation(copy.deepcopy(teacher)))
    assert repr(Distillation(teacher)) != repr(Distillation(nn.Linear(3, 4)))
    assert repr(Distillation(torch.zeros(2, 4))) != repr(Distillation(torch.ones(2, 4)))
    assert "temperature=4.0, alpha=0.9" in repr(Distillation(teacher))
    assert isinstance(Distillation(teacher), Objective)


class TestRefusals:
    def test_a_teacher_that_is_none(self) -> None:
        with pytest.raises(
            TypeError, match=r"teacher must be a module.*got 'a torch\.int64 tensor"
        ):
            Distillation(torch.zeros(2, 3, dtype=torch.int64))

    def test_numbers_out_of_range(self) -> None:
        with pytest.raises(ValueError, match=r"temperature .* greater than 0, got 0\.0"):
            Distillation(nn.Linear(1, 1), temperature=0.0)
        with pytest.raises(ValueError, match=r"alpha .* at most 1, got 1\.1"):
            Distillation(nn.Linear(1, 1), alpha=1.1)

    def test_a_teacher_with_other_classes(self) -> None:
        expected = r"logits must be of the same shape as the student's, \(5, 4\), got \(5, 7\)"
        with pytest.raises(ValueError, match=expected):
            Distillation(nn.Linear(3, 7))(nn.Linear(3, 4), batch())

    def test_logits_of_a_smaller_data_set(self) -> None:
        expected = r"teacher must be logits for every example of the data set \(5 seen\), got 4"
        with pytest.raises(ValueError, match=expected):
            Distillation(torch.zeros(4, 4))(nn.Linear(3, 4), batch())
