"""A model in the form that is exported: from raw inputs to everything that it predicts."""

from __future__ import annotations

import copy
import json
from typing import TYPE_CHECKING, TypeAlias

import torch
from torch import Tensor, nn

from mlpkit._checks import error_message
from mlpkit.models import Ensemble, MultilabelClassifier, Regressor, SoftmaxClassifier
from mlpkit.nn import RobustScaling, TabularMLP

__all__ = [
    "INPUT",
    "Deployed",
    "ExportableModel",
    "any_number_shapes",
    "raw_examples",
    "sample_batch",
]

ExportableModel: TypeAlias = SoftmaxClassifier | MultilabelClassifier | Regressor | Ensemble

INPUT = "input"
INPUT_DTYPES = (torch.uint8, torch.int16, torch.int32, torch.int64, torch.float32, torch.float64)
NUM_RANDOM_EXAMPLES = 32


class Deployed(nn.Module):
    """A copy of a model on the CPU, in float32 and in eval mode.

    Args:
        model: The model, which is not modified.

    Attributes:
        output_names: Name of each output.
        metadata: What a file says besides the network, as JSON by key.
    """

    def __init__(self, model: ExportableModel) -> None:
        super().__init__()
        model = copy.deepcopy(model).cpu().eval()
        dtype = next(model.parameters()).dtype
        for module in list(model.modules()):
            if isinstance(module, nn.RMSNorm) and module.eps is None:
                # RMSNorm uses the machine epsilon of the dtype in which it computes. float() would
                # change it for float64; half precision computes in float32.
                module.eps = torch.finfo(torch.promote_types(dtype, torch.float32)).eps
            for name, part in module.named_children():
                if isinstance(part, nn.RReLU):  # exporters do not support it; equal in eval mode
                    setattr(module, name, nn.LeakyReLU((part.lower + part.upper) / 2))
        self.model = model.float()
        self.requires_grad_(requires_grad=False)
        self.eval()
        self.output_names = _output_names(model)
        self.metadata = _metadata(model)

    def forward(self, input: Tensor) -> tuple[Tensor, ...]:  # noqa: A002 - its name in the file
        """Return all outputs for raw inputs of shape ``(N, *input_shape)``."""
        outputs = self.model(input)
        model, one = self.model, _one(self.model)
        if isinstance(one, Regressor):
            if not one.predicts_std:
                return (outputs,)
            return one.means(outputs), one.stds(outputs)
        assert not isinstance(model, Regressor), "an ensemble has the task of its members"
        return outputs, model.probabilities(outputs)

    if TYPE_CHECKING:

        def __call__(self, input: Tensor) -> tuple[Tensor, ...]: ...  # noqa: A002


def _one(model: ExportableModel) -> SoftmaxClassifier | MultilabelClassifier | Regressor:
    """Return the first member of an ensemble, which has its kind; else the model."""
    return next(iter(model)) if isinstance(model, Ensemble) else model


def _output_names(model: ExportableModel) -> tuple[str, ...]:
    model = _one(model)
    if isinstance(model, Regressor):
        return ("prediction", "std") if model.predicts_std else ("prediction",)
    return ("logits", "probabilities")


def _metadata(model: ExportableModel) -> dict[str, str]:
    """Return the kind of the model and what its outputs mean, as JSON by key."""
    values: dict[str, object]
    model = _one(model)
    if isinstance(model, Regressor):
        values = {"kind": "Regressor", "targets": model.target_names}
    elif isinstance(model, MultilabelClassifier):
        thresholds = model.thresholds.tolist()
        values = {
            "kind": "MultilabelClassifier",
            "classes": model.classes,
            "thresholds": thresholds,
        }
    else:
        values = {"kind": "SoftmaxClassifier", "classes": model.classes}
    return {key: json.dumps(value) for key, value in values.items()}


def raw_examples(model: ExportableModel, examples: Tensor | None) -> Tensor:
    """Validate examples, or generate random ones for None; return ``(N, *input_shape)`` on the CPU.

    Random examples have the mean and standard deviation of the model. They are uint8 if the input
    shape has two or more dimensions, as for images, and the mean standard deviation is at least 1;
    else float32.
    """
    given: object = model
    if not isinstance(given, ExportableModel):
        rule = "a SoftmaxClassifier, a MultilabelClassifier, a Regressor or an Ensemble"
        raise TypeError(error_message("model", rule, given))
    if examples is None:
        return _random_examples(model)
    if not isinstance(examples, Tensor):
        raise TypeError(error_message("examples", "a tensor of raw inputs or None", examples))
    if examples.dtype not in INPUT_DTYPES:
        rule = f"of dtype {', '.join(str(dtype) for dtype in INPUT_DTYPES)}"
        raise TypeError(error_message("examples", rule, examples.dtype))
    fits = examples.ndim > 1 and len(examples) > 0
    if not (fits and examples.shape[1:] in (model.input_shape, (1, *model.input_shape))):
        expected = ", ".join(["N", *(str(size) for size in model.input_shape)])
        raise ValueError(
            error_message("examples", f"of shape ({expected}), N >= 1", tuple(examples.shape))
        )
    return examples.detach().cpu().reshape(-1, *model.input_shape)


def _random_examples(model: ExportableModel) -> Tensor:
    generator, model = torch.Generator().manual_seed(0), _one(model)
    shape = (NUM_RANDOM_EXAMPLES, model.network.in_features)
    spread = torch.randn(shape, generator=generator)
    values = model.mean.detach().cpu().float() + spread * model.std.detach().cpu().float()
    if isinstance(model.network, TabularMLP):
        values = _random_rows(model.network, spread, generator)
    is_whole = float(model.std.float().mean()) >= 1.0  # not pixels between 0 and 1
    if len(model.input_shape) > 1 and is_whole:
        values = values.round().clamp(0, 255).to(torch.uint8)
    return values.reshape(-1, *model.input_shape)


def _random_rows(network: TabularMLP, spread: Tensor, generator: torch.Generator) -> Tensor:
    """Return numbers around their medians, and codes, some of unknown categories, (N, F)."""
    counts = torch.tensor(network.embedding.num_categories)
    codes = torch.rand(spread.shape, generator=generator) * (counts + 2)
    rows = torch.where(counts > 0, codes.floor() - 1, spread)
    for scaling in network.modules():
        if isinstance(scaling, RobustScaling):
            center, factor = (each.cpu().float() for each in (scaling.center, scaling.factor))
            rows[:, counts == 0] = center + spread[:, counts == 0] / factor.where(factor > 0, 1.0)
    return rows


def sample_batch(raw: Tensor) -> Tensor:
    """Return two examples for tracing: exporters treat a batch size of 1 as a constant."""
    return raw[torch.arange(2) % len(raw)]


def any_number_shapes() -> dict[str, dict[int, object]]:
    """Return the dynamic shapes of a program for any batch size."""
    return {INPUT: {0: torch.export.Dim("N")}}
