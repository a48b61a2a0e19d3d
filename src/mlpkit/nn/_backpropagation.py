"""Backpropagation through an MLP, layer by layer, faster than through autograd's graph."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Final

import torch
from torch import Tensor, nn
from torch.nn.modules import module as torch_modules

from mlpkit._side_stream import SideStream
from mlpkit.nn._hidden import HiddenLayer
from mlpkit.nn._products import AffineProducts

if TYPE_CHECKING:
    from mlpkit.nn._mlp import MLP

__all__ = ["Backpropagation"]


# Methods that somebody may have replaced on one object.
_OWN: Final = frozenset({"checked_input", "features", "forward", "preactivation"})


class Backpropagation:
    r"""Forward and backward pass of an MLP in training, without a graph of its own.

    With :math:`h_l = \phi_l(Z_l)` and :math:`Z_l = h_{l-1} W_l^\top + b_l` the gradient of the
    loss goes down through the layers,

    .. math::
        G_l = \frac{\partial L}{\partial h_l} \odot \phi_l'(Z_l), \qquad
        \frac{\partial L}{\partial W_l} = G_l^\top h_{l-1}, \quad
        \frac{\partial L}{\partial b_l} = \sum_n G_{l,n}, \quad
        \frac{\partial L}{\partial h_{l-1}} = G_l W_l,

    and the matrix products, where nearly all of the time goes, are written into memory that the
    next step uses again. ReLU is differentiated here too; any other activation, norm and dropout
    are differentiated by autograd, each by itself.

    Args:
        network: The network, in training mode.
        within: The modules around it, whose hooks would be missed.
        prepare: What is done to the inputs first; no gradient passes it.
        same_bits: Whether all results have the bits that autograd gives. Otherwise some sums are
            made in another order, oneDNN's or that of a matrix-vector product: the difference is
            rounding.

    Shape:
        - Input: ``(N, in_features)`` after ``prepare`` and flattening.
        - Output, and its gradient: ``(N, out_features)``.

    Raises:
        ValueError: In ``forward``, if the inputs do not have ``in_features`` features.

    Example:
        >>> import torch
        >>> from mlpkit.nn import MLP, Backpropagation
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
        within: Sequence[nn.Module] = (),
        prepare: Callable[[Tensor], Tensor] | None = None,
        same_bits: bool = False,
    ) -> None:
        self._network = network
        self._prepare = prepare
        self._parameters = list(network.parameters())
        self._device = self._parameters[0].device
        on_cpu = self._device.type == "cpu"
        self._beside = None if on_cpu or same_bits else SideStream(self._device)
        self._layers = [
            _Layer(layer, is_first=index == 0, same_bits=same_bits, beside=self._beside)
            for index, layer in enumerate(network.layers)
        ]
        self._head_dropout = _Recorded(network.head_dropout) if network.head_dropout.p > 0 else None
        self._head = (
            None
            if network.head is None
            else AffineProducts(
                network.head,
                has_input_gradient=bool(self._layers),
                same_bits=same_bits,
                beside=self._beside,
            )
        )
        last = network.output_activation
        self._output = None if last is None else _Recorded(last)
        self._bypassed = [*within, *_bypassed(network)]
        self._made_of = _makeup(self._bypassed)
        # Dicts that torch keeps for the life of a module: all are empty while nobody hooks.
        self._hooks = [hooks for each in self._bypassed for hooks in _hooks(each)]
        self._hooks += _global_hooks()

    @staticmethod
    def knows(network: MLP) -> bool:
        """Return whether the network is made of the layers that are differentiated here."""
        linears = [layer.linear for layer in network.layers]
        linears += [] if network.head is None else [network.head]
        dropouts = [network.head_dropout, *(layer.dropout for layer in network.layers)]
        parameters = list(network.parameters())
        named = list(network.named_parameters(remove_duplicate=False))
        dtypes = {parameter.dtype for parameter in parameters}
        devices = {parameter.device for parameter in parameters}
        return (
            bool(linears)
            and len(named) == len(parameters)  # of tied layers the gradients add up
            and len(devices) == 1
            and devices.pop().type in ("cpu", "cuda")
            and dtypes in ({torch.float32}, {torch.float64})
            and all(type(linear) is nn.Linear for linear in linears)
            and all(type(layer) is HiddenLayer for layer in network.layers)
            and all(type(dropout) is nn.Dropout for dropout in dropouts)
            and not any(getattr(module, "inplace", False) for module in network.modules())
            and all(
                module._compiled_call_impl is None and _OWN.isdisjoint(vars(module))
                for module in _bypassed(network)
            )
        )

    def applies(self, inputs: Tensor) -> bool:
        """Return whether nothing hangs on the network that only autograd's way would see."""
        network = self._network
        is_flat = self._prepare is not None or network.flatten or inputs.ndim == 2
        return (
            inputs.device == self._device
            and inputs.ndim > 1
            and is_flat
            and network.training
            and not inputs.requires_grad
            and not any(self._hooks)
            and self._made_of == _makeup(self._bypassed)
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
        """Return the output of the network; its memory is used again by the next call."""
        network = self._network
        h = network.checked_input(inputs if self._prepare is None else self._prepare(inputs))
        kind = self._device.type
        low = torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else None
        for layer in self._layers:
            h = layer.forward(h, low)
        if self._head is not None:
            x = h if self._head_dropout is None else self._head_dropout.forward(h)
            h = self._head.forward(x, low=low, relu=False)
        if self._output is not None:
            h = self._output.forward(h)
        return h

    @torch.no_grad()
    def backward(self, grad_output: Tensor) -> None:
        """Set the gradient of every parameter, given that of the latest output.

        The parameters must have no gradient yet. The memory of ``.grad`` is used again by the
        next call.
        """
        self._go_back(grad_output)
        if self._beside is not None:
            self._beside.join()

    def _go_back(self, grad: Tensor) -> None:
        if self._output is not None:
            grad = self._output.backward(grad)
        if self._head is not None:
            of_features = self._head.backward(grad)
            if of_features is None:
                return
            grad = of_features
            if self._head_dropout is not None:
                grad = self._head_dropout.backward(grad)
        for layer in reversed(self._layers):
            of_input = layer.backward(grad)
            if of_input is None:
                return
            grad = of_input


class _Layer:
    """One hidden layer: dropout, linear, norm, activation, skip."""

    def __init__(
        self,
        layer: HiddenLayer,
        *,
        is_first: bool,
        same_bits: bool,
        beside: SideStream | None,
    ) -> None:
        # No gradient passes the inputs of the network, so autograd need not see their dropout.
        self._input_dropout = layer.dropout if is_first and layer.dropout.p > 0 else None
        self._dropout = _Recorded(layer.dropout) if layer.dropout.p > 0 and not is_first else None
        self._products = AffineProducts(
            layer.linear, has_input_gradient=not is_first, same_bits=same_bits, beside=beside
        )
        self._is_relu = layer.norm is None and type(layer.activation) is nn.ReLU
        steps = [step for step in (layer.norm, layer.activation) if step is not None]
        self._activation = None if self._is_relu else _Recorded(*steps)
        self._skip = layer.skip
        self._h: Tensor | None = None

    def forward(self, h: Tensor, low: torch.dtype | None) -> Tensor:
        """Return what leaves the layer."""
        x = h if self._input_dropout is None else self._input_dropout(h)
        x = x if self._dropout is None else self._dropout.forward(x)
        z = self._products.forward(x, low=low, relu=self._is_relu)
        self._h = z if self._activation is None else self._activation.forward(z)
        return self._h + h if self._skip else self._h

    def backward(self, grad: Tensor) -> Tensor | None:
        """Return the gradient of what entered the layer; None for the inputs of the network."""
        assert self._h is not None, "backward follows forward"
        if self._activation is not None:
            of_z = self._activation.backward(grad.to(self._h.dtype))
        else:
            of_z = torch.ops.aten.threshold_backward(grad.to(self._h.dtype), self._h, 0)
        of_x = self._products.backward(of_z)
        if of_x is None:
            return None
        of_input = of_x if self._dropout is None else self._dropout.backward(of_x)
        return grad + of_input if self._skip else of_input


class _Recorded:
    """Modules that autograd differentiates, by themselves."""

    def __init__(self, *modules: nn.Module) -> None:
        self._modules = modules
        self._leaf: Tensor | None = None
        self._out: Tensor | None = None

    def forward(self, x: Tensor) -> Tensor:
        """Return what leaves the modules."""
        self._leaf = x.detach().requires_grad_()
        with torch.enable_grad():
            out = self._leaf
            for module in self._modules:
                out = module(out)
        self._out = out
        return out.detach()

    def backward(self, grad: Tensor) -> Tensor:
        """Return the gradient of what entered, and add that of the modules' parameters."""
        leaf, out = self._leaf, self._out
        assert leaf is not None, "backward follows forward"
        assert out is not None, "backward follows forward"
        self._leaf = self._out = None
        if out.requires_grad:
            torch.autograd.backward(out, grad.to(out.dtype))
        # A step function, for one, passes no gradient on.
        return torch.zeros_like(leaf) if leaf.grad is None else leaf.grad


def _bypassed(network: MLP) -> list[nn.Module]:
    """Return the modules whose ``forward`` is not called."""
    modules: list[nn.Module] = [network, network.layers, network.head_dropout]
    modules += [] if network.head is None else [network.head]
    for layer in network.layers:
        modules += [layer, layer.linear, layer.dropout, layer.activation]
    return modules


def _makeup(modules: Sequence[nn.Module]) -> list[object]:
    """Return what the passes were built on: the type, parts and options of each module."""
    made_of: list[object] = []
    for module in modules:  # asked in every step, so without a call that is not needed
        own = module.__dict__
        get = own.get
        made_of += (module.__class__, get("p"), get("skip"), get("inplace"), get("forward"))
        made_of += map(id, own["_modules"].values())
        made_of += map(id, own["_parameters"].values())
    return made_of


def _hooks(module: nn.Module) -> list[Mapping[int, object]]:
    return [
        vars(module)[name]
        for name in (
            "_forward_hooks",
            "_forward_pre_hooks",
            "_backward_hooks",
            "_backward_pre_hooks",
        )
    ]


def _global_hooks() -> list[Mapping[int, object]]:
    return [
        torch_modules._global_forward_hooks,
        torch_modules._global_forward_pre_hooks,
        torch_modules._global_backward_hooks,
        torch_modules._global_backward_pre_hooks,
    ]
