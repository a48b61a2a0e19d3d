"""A classifier in the form that is exported: raw inputs to logits and probabilities."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from mlpkit._checks import error_message
from mlpkit.models import SoftmaxClassifier

__all__ = ["INPUT", "OUTPUTS", "Deployed", "any_number_shapes", "raw_examples", "sample_batch"]

INPUT = "input"
OUTPUTS = ("logits", "probabilities")
INPUT_DTYPES = (torch.uint8, torch.int16, torch.int32, torch.int64, torch.float32, torch.float64)
NUM_RANDOM_EXAMPLES = 32


class Deployed(nn.Module):
    """A copy of a classifier on the CPU, in float32 and in eval mode.

    Args:
        model: The classifier, which is not modified.
    """

    def __init__(self, model: SoftmaxClassifier) -> None:
        super().__init__()
        model = copy.deepcopy(model).cpu().eval()
        dtype = next(model.network.parameters()).dtype
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

    def forward(self, input: Tensor) -> tuple[Tensor, Tensor]:  # noqa: A002 - its name in the file
        """Return logits and probabilities of raw inputs of shape ``(N, *input_shape)``."""
        logits = self.model(input)
        return logits, torch.softmax(logits / self.model.temperature, -1)

    if TYPE_CHECKING:

        def __call__(self, input: Tensor) -> tuple[Tensor, Tensor]: ...  # noqa: A002


def raw_examples(model: SoftmaxClassifier, examples: Tensor | None) -> Tensor:
    """Validate examples, or generate random ones for None; return ``(N, *input_shape)`` on the CPU.

    Random examples have the mean and standard deviation of the model. They are uint8 if the input
    shape has two or more dimensions, as for images, else float32.
    """
    if not isinstance(model, SoftmaxClassifier):
        raise TypeError(error_message("model", "a SoftmaxClassifier", model))
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


def _random_examples(model: SoftmaxClassifier) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    shape = (NUM_RANDOM_EXAMPLES, model.network.in_features)
    spread = torch.randn(shape, generator=generator)
    values = model.mean.detach().cpu().float() + spread * model.std.detach().cpu().float()
    if len(model.input_shape) > 1:
        values = values.round().clamp(0, 255).to(torch.uint8)
    return values.reshape(-1, *model.input_shape)


def sample_batch(raw: Tensor) -> Tensor:
    """Return two examples for tracing: exporters treat a batch size of 1 as a constant."""
    return raw[torch.arange(2) % len(raw)]


def any_number_shapes() -> dict[str, dict[int, object]]:
    """Return the dynamic shapes of a program for any batch size."""
    return {INPUT: {0: torch.export.Dim("N")}}
