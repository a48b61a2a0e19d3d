"""A network whose parameters are divided among the processes."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from mlpkit._checks import Unquoted, error_message
from mlpkit._protocols import collect_max_norms
from mlpkit.training._ranks import Ranks
from mlpkit.training._shards import part_like, whole

__all__ = ["accept_whole_state", "check_can_be_sharded", "copy_whole", "sharded_copy"]


def check_can_be_sharded(model: nn.Module) -> None:
    """Raise if the parameters of a model cannot be divided among processes.

    Raises:
        ValueError: If modules share a parameter, or there is a max-norm constraint.
    """
    cure = "or set sharding=False"
    if collect_max_norms(model):
        rule = "a model without max_norm for sharding"
        raise ValueError(error_message("model", rule, type(model).__name__, cure))
    names: dict[int, str] = {}
    for name, parameter in model.named_parameters(remove_duplicate=False):
        first = names.setdefault(id(parameter), name)
        if first != name:
            rule = "a model in which no two modules share a parameter for sharding"
            got = Unquoted(f"one whose {first} is its {name}")
            raise ValueError(error_message("model", rule, got, cure))
        if parameter.ndim == 0:
            rule = "a model whose parameters have an axis for sharding"
            got = Unquoted(f"{name} without one")
            raise ValueError(error_message("model", rule, got, cure))


def sharded_copy(model: nn.Module, device: torch.device, ranks: Ranks) -> nn.Module:
    """Return a copy of a model of which each process has a part of every parameter.

    Each module that has a matrix is a unit: its parameters are gathered when it computes, and freed
    then. So is each module of torch that reads the parameters of its children, with all of them.
    All other parameters belong to the root.

    Args:
        model: The model, on the CPU; every process gets the weights of the first one.
        device: Device of the parts.
        ranks: The processes.
    """
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard

    ranks.share_tensors([*model.parameters(), *model.buffers()])
    if device.type == "cuda":
        torch.cuda.set_device(device)  # fully_shard uses the current device
    mesh = init_device_mesh(device.type, (ranks.size,))
    network = copy.deepcopy(model)
    units = _units(network)
    for module in [*units, network]:
        module.register_forward_hook(_own_memory)
    for module in reversed(units):  # inner modules first
        fully_shard(module, mesh=mesh)
    # Also the root frees what it has gathered: between two passes all parameters are parts.
    fully_shard(network, mesh=mesh, reshard_after_forward=True)
    network.to(device)  # the buffers
    network.register_load_state_dict_pre_hook(_divide_weights)  # type: ignore[no-untyped-call]
    return network


def _units(network: nn.Module) -> list[nn.Module]:
    """Return the modules within a network whose parameters are gathered together."""
    readers = (nn.MultiheadAttention, nn.TransformerEncoderLayer)  # of their children's parameters
    read = {
        child
        for module in network.modules()
        if isinstance(module, readers)
        for child in module.modules()
        if child is not module
    }
    return [
        module
        for module in network.modules()
        if module is not network
        and module not in read
        and (
            isinstance(module, readers) or any(p.ndim > 1 for p in module.parameters(recurse=False))
        )
    ]


def _own_memory(_module: nn.Module, _args: object, output: object) -> object:
    """Return an output with copies in place of views; a hook.

    After a change of a view in place, ``fully_shard`` does not gather the parameters for the
    backward pass; it warns of every view.
    """
    if isinstance(output, Tensor):
        return output.clone() if output.requires_grad and output._is_view() else output
    if type(output) is tuple:  # as that of attention; a subclass may have names
        return tuple(_own_memory(_module, _args, one) for one in output)
    return output


def _divide_weights(
    module: nn.Module, state_dict: dict[str, Any], _prefix: str, *_others: object
) -> None:
    """Let a sharded module load whole weights; a hook."""
    own = module.state_dict()
    for name, value in state_dict.items():
        if isinstance(value, Tensor) and isinstance(own.get(name), Tensor):
            state_dict[name] = part_like(value, own[name])


def accept_whole_state(optimizer: Optimizer) -> None:
    """Let an optimizer of sharded parameters load the state of one of whole parameters."""
    optimizer.register_load_state_dict_pre_hook(_divide_state)


def _divide_state(optimizer: Optimizer, state_dict: dict[str, Any]) -> dict[str, Any]:
    saved = [index for group in state_dict["param_groups"] for index in group["params"]]
    own = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    parameters = dict(zip(saved, own, strict=False))  # torch compares the groups
    state = {
        index: {
            name: part_like(value, parameters[index])
            if isinstance(value, Tensor) and value.shape == parameters[index].shape
            else value
            for name, value in values.items()
        }
        for index, values in state_dict["state"].items()
    }
    return {**state_dict, "state": state}


@torch.no_grad()
def copy_whole(network: nn.Module, model: nn.Module) -> None:
    """Give a model the weights of its sharded copy; all processes call this together."""
    targets: Mapping[str, object] = model.state_dict()
    others: dict[str, object] = {}
    for name, value in network.state_dict().items():
        target = targets[name]
        if isinstance(target, Tensor):
            target.copy_(whole(value))
        else:
            others[name] = value
    if others:
        model.load_state_dict(others, strict=False)
    for name, buffer in network.named_buffers():
        if name not in targets:  # it is not persistent
            model.get_buffer(name).copy_(buffer)
