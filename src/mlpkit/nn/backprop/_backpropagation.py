"""Backpropagation through an MLP layer by layer, without autograd's graph."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Final

import torch
from torch import Tensor, nn
from torch.nn.modules import module as torch_modules

from mlpkit._devices import SideStream
from mlpkit.nn._hidden_layer import HiddenLayer
from mlpkit.nn._mlp import MLP
from mlpkit.nn.backprop._layer_passes import LayerPasses
from mlpkit.nn.backprop._products import AffineProducts

__all__ = ["Backpropagation", "global_hooks"]


# Methods whose replacement on an object changes what the network computes.
_METHODS: Final = frozenset({"_validate_input", "features", "forward", "preactivation"})


class Backpropagation:
    r"""Forward and backward pass of an MLP in training mode, without autograd's graph.

    With :math:`h_l = \phi_l(Z_l)` and :math:`Z_l = h_{l-1} W_l^\top + b_l`, the gradients of the
    loss L are computed from the last layer to the first:

    .. math::
        G_l = \frac{\partial L}{\partial h_l} \odot \phi_l'(Z_l), \qquad
        \frac{\partial L}{\partial W_l} = G_l^\top h_{l-1}, \quad
        \frac{\partial L}{\partial b_l} = \sum_n G_{l,n}, \quad
        \frac{\partial L}{\partial h_{l-1}} = G_l W_l.

    The matrix products take nearly all of the time. Their results are written into buffers that the
    next step reuses. The derivative of ReLU is computed here as well. Norms, dropout and all other
    activations are differentiated by autograd, each with a separate graph.

    Args:
        network: The network, in training mode.
        wrappers: The modules that contain the network and are not called either; a hook on one of
            them makes :meth:`can_run` False.
        preprocess: Applied to the inputs before the network; it is not differentiated.
        bit_exact: Whether all results have the same bits as autograd's. If False, some sums are
            computed in another order, by oneDNN or as matrix-vector products, so that results may
            differ by rounding.

    Shape:
        - Input: ``(N, in_features)`` after ``preprocess`` and flattening.
        - Output, and its gradient: ``(N, out_features)``.

    Raises:
        ValueError: In ``forward``, if the inputs do not have ``in_features`` features.

    Example:
        >>> import torch
        >>> from mlpkit.nn import MLP
        >>> from mlpkit.nn.backprop import Backpropagation
        >>> model = MLP(4, (8,), 3, generator=torch.Generator().manual_seed(0))
        >>> passes = Backpropagation(model)
        >>> inputs = torch.ones(2, 4)
        >>> logits = passes.forward(inputs)
        >>> passes.backward(torch.ones(2, 3))  # the gradient of logits.sum()
        >>> model.head.bias.grad
        tensor([2., 2., 2.])

    References:
        Goodfellow, Bengio, Courville 2016, Deep Learning, section 6.5, algorithms 6.3 and 6.4.
    """

    def __init__(
        self,
        network: MLP,
        *,
        wrappers: Sequence[nn.Module] = (),
        preprocess: Callable[[Tensor], Tensor] | None = None,
        bit_exact: bool = False,
    ) -> None:
        self._network = network
        self._preprocess = preprocess
        self._parameters = list(network.parameters())
        self._device = self._parameters[0].device
        self._dtype = self._parameters[0].dtype
        on_cpu = self._device.type == "cpu"
        self._side_stream = side_stream = None if on_cpu or bit_exact else SideStream(self._device)
        self._passes = LayerPasses(
            network,
            lambda linear, inner: AffineProducts(
                linear, has_input_gradient=inner, bit_exact=bit_exact, side_stream=side_stream
            ),
        )
        self._skipped_modules = [*wrappers, *_skipped_modules(network)]
        self._built_on = _signature(self._skipped_modules)
        # Dicts that torch keeps for the lifetime of a module; all are empty without hooks.
        self._hooks = [hooks for each in self._skipped_modules for hooks in _hooks(each)]
        self._hooks += global_hooks()

    @staticmethod
    def supports(network: MLP) -> bool:
        """Return whether the network consists of the layers that this class differentiates."""
        if type(network) is not MLP:  # a wrapper may not even have these attributes
            return False
        linears = [layer.linear for layer in network.layers]
        linears += [] if network.head is None else [network.head]
        dropouts = [network.head_dropout, *(layer.dropout for layer in network.layers)]
        parameters = list(network.parameters())
        named = list(network.named_parameters(remove_duplicate=False))
        dtypes = {parameter.dtype for parameter in parameters}
        devices = {parameter.device for parameter in parameters}
        return (
            bool(linears)
            and len(named) == len(parameters)  # gradients of tied parameters would have to be added
            and len(devices) == 1
            and devices.pop().type in ("cpu", "cuda")
            and dtypes in ({torch.float32}, {torch.float64})
            and all(type(linear) is nn.Linear for linear in linears)
            and all(linear._parameters.keys() == {"weight", "bias"} for linear in linears)
            and all(type(layer) is HiddenLayer for layer in network.layers)
            and all(type(dropout) is nn.Dropout for dropout in dropouts)
            and not any(getattr(module, "inplace", False) for module in network.modules())
            and all(
                module._compiled_call_impl is None and _METHODS.isdisjoint(vars(module))
                for module in _skipped_modules(network)
            )
        )

    def can_run(self, inputs: Tensor) -> bool:
        """Return whether the network is unchanged and has nothing that requires autograd."""
        network = self._network
        is_flat = self._preprocess is not None or network.flatten or inputs.ndim == 2
        return (
            inputs.device == self._device
            and inputs.ndim > 1
            and is_flat
            and (self._preprocess is not None or _has_dtype(inputs, self._dtype))
            and network.training
            and not inputs.requires_grad
            and not any(self._hooks)
            and self._built_on == _signature(self._skipped_modules)
            and not torch.is_anomaly_enabled()
            and all(
                parameter.requires_grad
                and not parameter._backward_hooks
                and not parameter._post_accumulate_grad_hooks
                for parameter in self._parameters
            )
        )

    @torch.no_grad()
    def forward(self, inputs: Tensor) -> Tensor:
        """Return the output of the network; the next call overwrites it."""
        network = self._network
        h = network._validate_input(
            inputs if self._preprocess is None else self._preprocess(inputs)
        )
        kind = self._device.type
        autocast_dtype = torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else None
        return self._passes.forward(h, autocast_dtype)

    @torch.no_grad()
    def backward(self, grad_output: Tensor) -> None:
        """Set ``.grad`` of every parameter, given the gradient of the latest output.

        The ``.grad`` of every parameter must be None; the next call overwrites the tensors.
        """
        self._passes.backward(grad_output)
        if self._side_stream is not None:
            self._side_stream.join()


def _has_dtype(inputs: Tensor, dtype: torch.dtype) -> bool:
    """Return whether products with weights of ``dtype`` accept the inputs; else autograd raises."""
    return inputs.dtype is dtype or torch.is_autocast_enabled(inputs.device.type)


def _skipped_modules(network: MLP) -> list[nn.Module]:
    """Return the modules whose ``forward`` is not called by the passes."""
    modules: list[nn.Module] = [network, network.layers, network.head_dropout]
    modules += [] if network.head is None else [network.head]
    for layer in network.layers:
        modules += [layer, layer.linear, layer.dropout, layer.activation]
    return modules


def _signature(modules: Sequence[nn.Module]) -> list[object]:
    """Return types, submodules, parameters and options; if they change, the passes are invalid."""
    found: list[object] = []
    for module in modules:  # runs in every step, so __dict__ is read directly
        attributes = module.__dict__
        get = attributes.get
        found += (module.__class__, get("p"), get("skip"), get("inplace"), get("forward"))
        found += map(id, attributes["_modules"].values())
        found += map(id, attributes["_parameters"].values())
    return found


def _hooks(module: nn.Module) -> list[Mapping[int, object]]:
    """Return the dicts of the hooks of one module."""
    return [
        vars(module)[name]
        for name in (
            "_forward_hooks",
            "_forward_pre_hooks",
            "_backward_hooks",
            "_backward_pre_hooks",
        )
    ]


def global_hooks() -> list[Mapping[int, object]]:
    """Return the dicts of the hooks that apply to all modules."""
    return [
        torch_modules._global_forward_hooks,
        torch_modules._global_forward_pre_hooks,
        torch_modules._global_backward_hooks,
        torch_modules._global_backward_pre_hooks,
    ]
