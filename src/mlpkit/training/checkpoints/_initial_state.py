"""Weights, and optionally the optimizer, of a checkpoint as the beginning of a new run."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import cast

from torch import Tensor, nn
from torch.optim import Optimizer

from mlpkit._checks import Unquoted, error_message
from mlpkit._serialization import Saved
from mlpkit.training.checkpoints._checkpoint import checkpoint_of

__all__ = ["load_initial_state"]


def load_initial_state(
    path: Path, content: Mapping[str, Saved], model: nn.Module, optimizer: Optimizer | None
) -> None:
    """Give a model the weights of a checkpoint, and an optimizer its state.

    Without an optimizer the weights are those that the run validated. With one they are those of
    the latest step, to which its state belongs; the options of the optimizer do not change.

    Args:
        path: Path of the checkpoint, for error messages.
        content: Its content.
        model: The model; it is not changed if an error is raised.
        optimizer: The optimizer, whose state is replaced; None for the weights only.

    Raises:
        ValueError: If the checkpoint belongs to a model with other parameters, or to another
            optimizer.
    """
    found = checkpoint_of(path, content)
    weights = dict(found.model_state if optimizer is None else found.trained_state)
    _check_same_shapes(path, weights, model)
    if optimizer is not None:
        _load_optimizer(path, content, optimizer)
    model.load_state_dict(weights)


def _check_same_shapes(path: Path, weights: Mapping[str, Tensor], model: nn.Module) -> None:
    saved, now = _shapes(weights), _shapes(model.state_dict())
    differing = sorted(
        name for name in saved.keys() | now.keys() if saved.get(name) != now.get(name)
    )
    if differing:
        rule = "a checkpoint of a model with the same parameters"
        got = Unquoted(f"{path}, which differs in {', '.join(differing)}")
        raise ValueError(error_message("init_from", rule, got, "build the model as it was built"))


def _shapes(state: Mapping[str, object]) -> dict[str, object]:
    """Return the shape of each tensor; the name alone counts for a state that is no tensor."""
    return {
        name: tuple(value.shape) if isinstance(value, Tensor) else ""
        for name, value in state.items()
    }


def _load_optimizer(path: Path, content: Mapping[str, Saved], optimizer: Optimizer) -> None:
    kind = cast("dict[str, str]", content["fingerprint"])["optimizer"]
    saved = cast("dict[str, object]", content["optimizer"])
    saved_groups = cast("list[dict[str, list[int]]]", saved["param_groups"])
    groups = optimizer.state_dict()["param_groups"]
    sizes = [[len(group["params"]) for group in one] for one in (saved_groups, groups)]
    if kind != type(optimizer).__qualname__ or sizes[0] != sizes[1]:
        rule = f"a checkpoint of {type(optimizer).__qualname__} with groups of {sizes[1]} tensors"
        got = Unquoted(f"{path} of {kind} with groups of {sizes[0]}")
        cure = "leave out init_optimizer"
        raise ValueError(error_message("init_from", rule, got, cure))
    optimizer.load_state_dict({"state": saved["state"], "param_groups": groups})
