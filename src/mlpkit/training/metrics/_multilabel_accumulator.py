"""Accumulation of the metrics of a classifier with several labels over batches, on the device."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from mlpkit._checks import check_int, error_message
from mlpkit.training.metrics._calibration_bins import CalibrationBins
from mlpkit.training.metrics._classification_accumulator import class_metrics
from mlpkit.training.metrics._loss_sums import LossSums, checked_losses, no_examples
from mlpkit.training.metrics._results import Evaluation, MultilabelMetrics
from mlpkit.training.objectives import BinaryCrossEntropy, check_label_targets, widened

__all__ = ["MultilabelAccumulator"]


class MultilabelAccumulator:
    r"""Accumulates loss, accuracy, metrics of each label and calibration of a classifier.

    A label is predicted as present if the sigmoid of its logit is above its threshold. All values
    are summed on the device of the logits, in float64 (float32 on MPS) and int64. :meth:`update`
    does not synchronize with the device.

    The expected calibration error assigns the probabilities of all labels to ``num_bins`` bins of
    equal width, open on the left, and compares the fraction of present labels and the mean
    probability in each bin:

    .. math::
        \mathrm{ECE} = \sum_{b} \frac{n_b}{N L}\, |\mathrm{present}_b - \mathrm{prob}_b|

    Args:
        classes: Names of the labels; None means their indices.
        thresholds: Probability above which a label is predicted as present, ``()`` or ``(L,)``;
            None means 0.5.
        num_bins: Number of bins of the calibration error, at least 1.

    Example:
        >>> import torch
        >>> from mlpkit.training.metrics import MultilabelAccumulator
        >>> metrics = MultilabelAccumulator()
        >>> metrics.update(torch.tensor([[2.0, -1.0]]), torch.tensor([[1.0, 1.0]]))
        >>> evaluation = metrics.compute()
        >>> evaluation.accuracy, evaluation.exact_match
        (0.5, 0.0)
    """

    def __init__(
        self,
        classes: Sequence[str] | None = None,
        *,
        thresholds: Tensor | None = None,
        num_bins: int = 15,
    ) -> None:
        self._classes = None if classes is None else tuple(classes)
        self._thresholds = thresholds
        self._num_bins = check_int("num_bins", num_bins, minimum=1)
        self._binary_cross_entropy = BinaryCrossEntropy()
        self._sums: _MultilabelSums | None = None

    def update(
        self,
        logits: Tensor,
        targets: Tensor,
        weights: Tensor | None = None,
        *,
        losses: Tensor | None = None,
    ) -> None:
        """Add one batch.

        Args:
            logits: Outputs of the model, ``(N, L)``, or ``(N,)`` for one label.
            targets: 1 for present and 0 for absent labels, floating-point, of the same shape. A
                probability counts as present above 0.5.
            weights: Weight of each example in loss and accuracy, ``(N,)``; None means 1.
            losses: Loss of each example, ``(N,)``; None means the binary cross-entropy.

        Raises:
            TypeError: If the targets are not floating-point.
            ValueError: If a shape does not match.
        """
        check_label_targets(logits, targets)
        with torch.no_grad():
            losses = checked_losses(
                self._binary_cross_entropy, logits, targets, weights=weights, losses=losses
            )
            if logits.ndim == 1:
                logits, targets = logits[:, None], targets[:, None]
            if self._sums is None:
                self._check_labels(logits.shape[1])
                self._sums = _MultilabelSums(logits.shape[1], self._num_bins, logits.device)
            probabilities = torch.sigmoid(widened(logits))
            threshold = 0.5 if self._thresholds is None else self._thresholds
            self._sums.add(logits, targets, probabilities > threshold, losses, weights)

    def _check_labels(self, num_labels: int) -> None:
        if self._classes is not None and len(self._classes) != num_labels:
            rule = f"one name for each of the {num_labels} labels"
            cure = "pass as many names as the model has outputs"
            raise ValueError(error_message("classes", rule, self._classes, cure))
        if self._thresholds is not None and self._thresholds.shape not in ((), (num_labels,)):
            rule = f"one number, or one for each of the {num_labels} labels"
            cure = f"pass a tensor of shape ({num_labels},)"
            shape = tuple(self._thresholds.shape)
            raise ValueError(error_message("thresholds", rule, shape, cure))

    def compute(self) -> Evaluation:
        """Return the metrics of all batches so far; synchronizes with the device.

        Raises:
            ValueError: If there was no example, or all weights are zero.
        """
        if self._sums is None or self._sums.num_examples == 0:
            raise no_examples()
        return self._sums.fetch(self._classes)


class _MultilabelSums:
    """Sums on the device from which all metrics of labels follow."""

    def __init__(self, num_labels: int, num_bins: int, device: torch.device) -> None:
        self.num_examples = 0
        self._losses = LossSums(device)
        self._right = torch.zeros_like(self._losses.loss)  # mean over labels, summed over examples
        self._exact = torch.zeros_like(self._losses.loss)
        self._bins = CalibrationBins(num_bins, device)
        # rows: present and predicted, predicted, present
        self._counts = torch.zeros(3, num_labels, dtype=torch.int64, device=device)

    def add(
        self,
        logits: Tensor,
        targets: Tensor,
        predicted: Tensor,
        losses: Tensor,
        weights: Tensor | None,
    ) -> None:
        """Add a batch; ``predicted`` is the decision for each label, bool, ``(N, L)``."""
        wide = self._losses.loss.dtype
        self.num_examples += len(logits)
        weights = self._losses.add(losses, weights)
        present = targets > 0.5
        is_right = predicted == present
        right, exact = is_right.to(wide).mean(dim=1), is_right.all(dim=1).to(wide)
        self._right += right.sum() if weights is None else (right * weights).sum()
        self._exact += exact.sum() if weights is None else (exact * weights).sum()
        self._counts += torch.stack(
            [(present & predicted).sum(0), predicted.sum(0), present.sum(0)]
        )
        self._bins.add(torch.sigmoid(logits.to(wide)).flatten(), targets.to(wide).flatten())

    def fetch(self, classes: Sequence[str] | None) -> Evaluation:
        """Return the metrics."""
        loss, weight = self._losses.fetch(), float(self._losses.weight)
        hits, predicted, support = self._counts.tolist()
        return Evaluation(
            loss=loss,
            num_examples=self.num_examples,
            multilabel=MultilabelMetrics(
                accuracy=float(self._right) / weight,
                exact_match=float(self._exact) / weight,
                calibration_error=self._bins.fetch(),
                per_label=class_metrics(
                    hits=hits, predicted=predicted, support=support, names=classes
                ),
            ),
        )
