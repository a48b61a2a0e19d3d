"""Learning from the outputs of another network."""

from __future__ import annotations

import copy
import hashlib

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mlpkit._checks import check_float, error_message
from mlpkit.training.batches import BatchLike
from mlpkit.training.objectives._objectives import CrossEntropy, Task, widened

__all__ = ["Distillation"]


class Distillation:
    r"""Cross-entropy mixed with the divergence from a teacher's softened probabilities, in nats.

    .. math::
        \ell_i = \alpha\, T^2\, \mathrm{KL}\!\left(
            \operatorname{softmax}(t_i / T) \,\middle\|\, \operatorname{softmax}(z_i / T)
        \right) + (1 - \alpha)\, \mathrm{CE}(z_i, y_i)

    with student logits :math:`z`, teacher logits :math:`t` and targets :math:`y`. The factor
    :math:`T^2` keeps the gradients of the soft targets of the same size whatever the temperature.
    The divergence has the gradient of the paper's cross-entropy and is 0 where the student equals
    the teacher.

    A teacher that is a module is copied: the copy is in evaluation mode, never trained, gets no
    gradient and moves to the device of the data; the module itself is left alone. It sees the
    same inputs as the student, augmentation included. Stored logits are looked up by the position
    of each example in its data set, so they are those of the plain inputs and cost no forward pass.

    Args:
        teacher: A module that gives logits, or its logits for the whole data set, ``(M, C)``,
            floating-point. For stored probabilities ``p`` give ``p.log()``.
        temperature: :math:`T`, above 0; the higher, the softer.
        alpha: Share of the teacher, in [0, 1]; at 1 the targets are not used.
        label_smoothing: Share of every target that is spread over the classes, in [0, 1].

    Shape:
        - student logits: ``(N, C)``; teacher logits the same.
        - output: ``(N,)``.

    Raises:
        TypeError: If the teacher is neither a module nor a floating-point tensor.
        ValueError: If a number is out of range, or the teacher's logits do not fit the student's.

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
        logits = widened(model(batch.inputs))
        teacher_logits = self._teach(batch).to(logits.dtype)
        if teacher_logits.shape != logits.shape:
            rule = f"of the shape of the student's, {tuple(logits.shape)}"
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
            raise RuntimeError("a teacher is a network or logits")
        if self._logits.device != device:
            self._logits = self._logits.to(device)
        try:
            return self._logits[batch.indices]
        except IndexError as error:  # raised on the CPU only, where looking costs nothing
            rule = f"logits for every example of the data set ({int(batch.indices.max()) + 1} seen)"
            raise ValueError(error_message("teacher", rule, len(self._logits))) from error
