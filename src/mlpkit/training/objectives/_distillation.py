"""Knowledge distillation: training on the outputs of another network."""

from __future__ import annotations

import copy
import hashlib

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mlpkit._checks import check_float, error_message
from mlpkit.training.batches import BatchLike
from mlpkit.training.objectives._cross_entropy import CrossEntropy
from mlpkit.training.objectives._objective import Task, outputs_of, widened

__all__ = ["Distillation"]


class Distillation:
    r"""Weighted mean of cross-entropy and divergence from a teacher's probabilities, in nats.

    .. math::
        \ell_i = \alpha\, T^2\, \mathrm{KL}\!\left(
            \operatorname{softmax}(t_i / T) \,\middle\|\, \operatorname{softmax}(z_i / T)
        \right) + (1 - \alpha)\, \mathrm{CE}(z_i, y_i)

    with student logits :math:`z`, teacher logits :math:`t` and targets :math:`y`. The factor
    :math:`T^2` makes the magnitude of the gradients of the soft targets independent of the
    temperature. The divergence has the same gradient as the paper's cross-entropy, and is 0 if the
    student equals the teacher.

    A teacher module is copied. The copy stays in evaluation mode, is not trained, and is moved to
    the device of the data; the module itself is not changed. The teacher receives the same inputs
    as the student, including augmentation. Stored logits are looked up by the position of each
    example in its data set: they need no forward pass, and belong to the inputs without
    augmentation.

    Args:
        teacher: A module that returns logits, or its logits for the whole data set, ``(M, C)``,
            floating-point. For stored probabilities ``p`` pass ``p.log()``.
        temperature: :math:`T`, above 0; a higher temperature makes the probabilities more uniform.
        alpha: Weight of the divergence, in [0, 1]; at 1 the targets are not used.
        label_smoothing: Fraction of every target that is spread over the classes, in [0, 1].

    Shape:
        - student logits: ``(N, C)``; teacher logits the same.
        - output: ``(N,)``.

    Raises:
        TypeError: If the teacher is neither a module nor a floating-point tensor.
        ValueError: If a number is out of range, or the shapes of the logits differ.

    Example:
        >>> import torch
        >>> from torch import nn
        >>> from mlpkit.training import Distillation, Trainer
        >>> teacher, student = nn.Linear(784, 10), nn.Linear(784, 10)
        >>> trainer = Trainer(student, objective=Distillation(teacher, temperature=4.0))

    References:
        Hinton, Vinyals and Dean 2015, "Distilling the Knowledge in a Neural Network", section 2.
    """

    def __init__(
        self,
        teacher: nn.Module | Tensor,
        *,
        temperature: float = 4.0,
        alpha: float = 0.9,
        label_smoothing: float = 0.0,
    ) -> None:
        self.temperature = check_float("temperature", temperature, above=0.0)
        self.alpha = check_float("alpha", alpha, minimum=0.0, maximum=1.0)
        self.label_smoothing = check_float(
            "label_smoothing", label_smoothing, minimum=0.0, maximum=1.0
        )
        self._cross_entropy = CrossEntropy(label_smoothing=self.label_smoothing)
        self._network: nn.Module | None = None
        self._logits: Tensor | None = None
        self._device: torch.device | None = None
        self._has_read_indices = False
        given: object = teacher
        if isinstance(given, nn.Module):
            self._network = copy.deepcopy(given).eval().requires_grad_(requires_grad=False)
        elif isinstance(given, Tensor) and given.is_floating_point() and given.ndim == 2:
            self._logits = given.detach()
        else:
            if isinstance(given, Tensor):
                given = f"a {given.dtype} tensor of shape {tuple(given.shape)}"
            rule = "a module, or floating-point logits of shape (M, C)"
            raise TypeError(error_message("teacher", rule, given))

    @property
    def task(self) -> Task:
        """``"classification"``."""
        return "classification"

    def __repr__(self) -> str:
        if self._network is None:
            name, tensors = "logits", {"": self._logits}
        else:
            name, tensors = type(self._network).__name__, self._network.state_dict()
        digest = hashlib.sha256()
        for key, tensor in tensors.items():
            if isinstance(tensor, Tensor):
                digest.update(f"{key} {tensor.dtype} {tuple(tensor.shape)} ".encode())
                raw = tensor.detach().cpu().contiguous().flatten().view(torch.uint8)
                digest.update(raw.numpy().tobytes())
        return (
            f"Distillation(teacher={name} sha256:{digest.hexdigest()[:16]}, "
            f"temperature={self.temperature}, alpha={self.alpha}, "
            f"label_smoothing={self.label_smoothing})"
        )

    def __call__(self, model: nn.Module, batch: BatchLike) -> Tensor:
        """Return the loss of each example."""
        logits = widened(outputs_of(model, batch.inputs))
        teacher_logits = self._teach(batch).to(logits.dtype)
        if teacher_logits.shape != logits.shape:
            rule = f"of the same shape as the student's, {tuple(logits.shape)}"
            raise ValueError(
                error_message("the teacher's logits", rule, tuple(teacher_logits.shape))
            )
        soft_targets = F.softmax(teacher_logits / self.temperature, dim=1)
        log_probabilities = F.log_softmax(logits / self.temperature, dim=1)
        divergence = F.kl_div(log_probabilities, soft_targets, reduction="none").sum(dim=1)
        soft = self.temperature**2 * divergence
        if self.alpha == 1.0:
            return soft
        hard = self._cross_entropy.loss(logits, batch.targets)
        return self.alpha * soft + (1.0 - self.alpha) * hard

    @torch.no_grad()
    def _teach(self, batch: BatchLike) -> Tensor:
        """Return the teacher's logits for a batch, ``(N, C)``."""
        device = batch.inputs.device
        if self._network is not None:
            if device != self._device:
                self._network.to(device)
                self._device = device
            logits: Tensor = self._network(batch.inputs)
            return logits
        if self._logits is None:
            raise RuntimeError(
                "the teacher has neither a network nor logits; this is a bug in mlpkit"
            )
        if self._logits.device != device:
            self._logits = self._logits.to(device)
        if not self._has_read_indices or device.type == "cpu":  # on the CPU reading is cheap
            self._check_indices(batch.indices)
        return self._logits[batch.indices]

    def check_num_examples(self, num_examples: int) -> None:
        """Raise unless there is one row of stored logits for each training example.

        :meth:`Trainer.fit` calls it before the first step.

        Args:
            num_examples: Number of examples of the training set.

        Raises:
            ValueError: If the numbers differ, for instance because the logits belong to the data
                before it was split.
        """
        if self._logits is not None and len(self._logits) != num_examples:
            rule = f"one row of logits for each of the {num_examples} training examples"
            cure = "compute them on the training set itself, in its order"
            raise ValueError(error_message("teacher", rule, len(self._logits), cure))

    def _check_indices(self, indices: Tensor) -> None:
        """Raise unless the indices of a batch are positions in the stored logits."""
        assert self._logits is not None, "only stored logits are indexed"
        self._has_read_indices = True
        low, high = (int(bound) for bound in torch.aminmax(indices))
        if low < 0:
            rule = "positions in the data set for a teacher of stored logits"
            cure = "train on LabeledTensors or Batches; a DataLoader does not tell its positions"
            raise ValueError(error_message("indices of a batch", rule, low, cure))
        if high >= len(self._logits):
            rule = f"logits for every example of the data set ({high + 1} seen)"
            raise ValueError(error_message("teacher", rule, len(self._logits)))
