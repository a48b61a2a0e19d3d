"""What can be trained."""

from __future__ import annotations

import torch
from torch import nn

from mlpkit._checks import Unquoted, error_message

__all__ = ["check_model"]


def check_model(argument: str, model: object) -> nn.Module:
    """Return a model that can be trained.

    Raises:
        TypeError: If it is not a module, or has a part that TorchScript has compiled. Such a part
            cannot be evaluated in inference mode if its parameters require gradients.
    """
    if not isinstance(model, nn.Module):
        raise TypeError(error_message(argument, "a torch.nn.Module", model))
    for module in model.modules():
        if isinstance(module, torch.jit.ScriptModule):
            rule = "a module without parts in TorchScript"
            cure = "pass the module that torch.jit.script or torch.jit.trace was given"
            got = Unquoted(type(module).__name__)
            raise TypeError(error_message(argument, rule, got, cure))
    return model
