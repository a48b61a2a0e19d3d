"""Conversion of a Sequential to an MLP."""

from __future__ import annotations

import pytest
import torch
import torchvision  # type: ignore[import-untyped]  # it has no types
from torch import Tensor, nn

from mlpkit.interop import from_sequential
from mlpkit.nn import GLU, MLP, Maxout


def scramble(sequential: nn.Sequential) -> nn.Sequential:
    """Randomize the running statistics, slopes, biases and norms."""
    with torch.no_grad():
        for value in sequential.state_dict().values():
            if value.is_floating_point() and value.ndim == 1:
                value.add_(torch.rand(value.shape))
    return sequential


NETWORKS = {
    "linear": nn.Sequential(nn.Linear(6, 3)),
    "6-4-3-1": nn.Sequential(
        nn.Linear(6, 4), nn.Sigmoid(), nn.Linear(4, 3), nn.Sigmoid(), nn.Linear(3, 1), nn.Sigmoid()
    ),
    "batch norm": nn.Sequential(
        nn.Dropout(0.2),
        nn.Linear(6, 5, bias=False),
        nn.BatchNorm1d(5),
        nn.ReLU(inplace=True),
        nn.Dropout(0.5),
        nn.Linear(5, 4, bias=False),
        nn.BatchNorm1d(4),
        nn.GELU(approximate="tanh"),
        nn.Linear(4, 3),
    ),
    "layer norm": nn.Sequential(
        nn.Linear(6, 5), nn.LayerNorm(5), nn.LeakyReLU(0.3), nn.Dropout(0.1), nn.Linear(5, 3)
    ),
    "rms norm": nn.Sequential(nn.Linear(6, 5), nn.RMSNorm(5), nn.Softplus(2.0), nn.Linear(5, 3)),
    "no biases": nn.Sequential(nn.Linear(6, 5, bias=False), nn.Tanh(), nn.Linear(5, 3, bias=False)),
    "slopes": nn.Sequential(
        nn.Linear(6, 5), nn.PReLU(), nn.Linear(5, 4), nn.PReLU(4, 0.1), nn.Linear(4, 3), nn.ELU(0.5)
    ),
    "wider before": nn.Sequential(
        nn.Linear(6, 15),
        Maxout(3),
        nn.Linear(5, 8),
        GLU(),
        nn.Linear(4, 6),
        nn.GLU(),
        nn.Linear(3, 3),
    ),
    "nested": nn.Sequential(
        nn.Sequential(nn.Linear(6, 5), nn.Identity(), nn.ReLU()),
        nn.Sequential(nn.Linear(5, 4), nn.Linear(4, 3)),
    ),
    "torchvision": torchvision.ops.MLP(6, [5, 3], norm_layer=nn.LayerNorm, inplace=False),
    "double": nn.Sequential(nn.Linear(6, 5), nn.SiLU(), nn.Linear(5, 3)).double(),
}


@pytest.mark.parametrize("name", NETWORKS)
def test_the_outputs_are_those_of_the_sequential(name: str) -> None:
    """Outputs and gradients are equal; the Sequential and the random state do not change."""
    sequential = scramble(NETWORKS[name]).eval()
    state, before = (
        torch.get_rng_state(),
        {k: v.clone() for k, v in sequential.state_dict().items()},
    )
    network = from_sequential(sequential)
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(before[key], value) for key, value in sequential.state_dict().items())
    assert not network.training
    x = torch.randn(7, 6, dtype=next(network.parameters()).dtype)
    one, two = (model(x.requires_grad_()) for model in (network, sequential))
    torch.testing.assert_close(one, two, rtol=1e-6, atol=1e-6)
    gradients = [torch.autograd.grad(output.square().sum(), x)[0] for output in (one, two)]
    torch.testing.assert_close(*gradients, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", NETWORKS)
def test_the_configuration_builds_the_same_network(name: str) -> None:
    """A network built from the config and the state_dict has the same outputs."""
    network = from_sequential(scramble(NETWORKS[name]).eval())
    again = MLP.from_config(network.config, dtype=next(network.parameters()).dtype).eval()
    again.load_state_dict(network.state_dict())
    x = torch.randn(7, 6, dtype=next(network.parameters()).dtype)
    assert torch.equal(again(x), network(x))


def test_training_is_equal() -> None:
    """After one step with batch norm in training mode, both networks have equal outputs."""
    sequential = nn.Sequential(nn.Linear(6, 5), nn.BatchNorm1d(5), nn.ReLU(), nn.Linear(5, 3))
    network = from_sequential(sequential)
    assert network.training
    x = torch.randn(9, 6)
    for model in (network, sequential):
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        model(x).square().mean().backward()
        optimizer.step()
    torch.testing.assert_close(network.eval()(x), sequential.eval()(x), rtol=1e-5, atol=1e-6)


def test_dropout_and_flatten_become_options() -> None:
    """The rates become those of the input and of each hidden layer; Flatten becomes flatten."""
    sequential = nn.Sequential(
        nn.Flatten(), nn.Dropout(0.2), nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, 4), nn.ReLU(),
        nn.Dropout(0.5), nn.Linear(4, 3),
    )  # fmt: skip
    network = from_sequential(sequential)
    assert (network.config.input_dropout, network.config.dropout) == (0.2, (0.0, 0.5))
    x = torch.randn(7, 2, 3)
    torch.testing.assert_close(network.eval()(x), sequential.eval()(x))


class _Reversed(nn.Sequential):
    def forward(self, input: Tensor) -> Tensor:  # noqa: A002 - torch's word
        return self[0](self[1](input))  # type: ignore[no-any-return]  # torch leaves a call untyped


_TWICE = nn.Linear(4, 4)
REFUSED = [
    (nn.Sequential(), r"sequential must be a network with a Linear layer, got \[\]"),
    (
        nn.Sequential(nn.Linear(4, 3), nn.Softmax(-1)),
        r"sequential\.1 must be .*other than a softmax.*Softmax",
    ),
    (nn.Sequential(nn.ReLU(), nn.Linear(4, 3)), r"sequential\.0 must be .*order.*got ReLU"),
    (
        nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.BatchNorm1d(3), nn.Linear(3, 2)),
        r"sequential\.2 must be .*order.*got BatchNorm1d",
    ),
    (
        nn.Sequential(nn.Linear(4, 3), nn.Dropout(0.5), nn.ReLU(), nn.Linear(3, 2)),
        r"sequential\.2 must be .*order.*got ReLU",
    ),
    (
        nn.Sequential(nn.Linear(4, 3), nn.Dropout(0.5)),
        r"sequential\.1 must be followed by a Linear layer, got Dropout.*; pass nn\.Sequential\(",
    ),
    (
        nn.Sequential(nn.Linear(4, 3), nn.LayerNorm(3)),
        r"sequential\.1 must be followed by a Linear layer",
    ),
    (nn.Sequential(nn.Conv2d(1, 2, 3)), r"sequential\.0 must be .*got Conv2d"),
    (
        nn.Sequential(nn.Sequential(nn.Linear(4, 3), nn.Conv2d(1, 2, 3))),
        r"sequential\.0\.1 must be a Linear, Dropout.*got Conv2d",
    ),
    (nn.Sequential(_TWICE, nn.ReLU(), _TWICE), r"sequential\.2 must be a layer that is used once"),
    (
        nn.Sequential(
            nn.Linear(4, 3), nn.LayerNorm(3), nn.ReLU(), nn.Linear(3, 3), nn.Linear(3, 2)
        ),
        r"sequential\.3 must be followed by the norm of the first hidden layer, 'layer'",
    ),
    (
        nn.Sequential(
            nn.Linear(4, 3), nn.LayerNorm(3), nn.Linear(3, 3), nn.RMSNorm(3), nn.Linear(3, 2)
        ),
        r"sequential\.3 must be the norm of the first hidden layer, 'layer', got RMSNorm",
    ),
    (
        nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3, eps=1e-3), nn.ReLU(), nn.Linear(3, 2)),
        r"sequential\.1 must be a norm .*default options, got BatchNorm1d\(3, eps=0.001",
    ),
    (
        nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3, affine=False), nn.Linear(3, 2)),
        r"sequential\.1 must be a norm .*default options, got BatchNorm1d",
    ),
    (
        nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(5, 2)),
        r"sequential\.2 must be .*3 inputs",
    ),
    (nn.Sequential(nn.Linear(4, 3), Maxout(2), nn.Linear(1, 2)), r"sequential\.0 .*multiple of 2"),
    (nn.Sequential(nn.Flatten(0), nn.Linear(4, 3)), r"sequential\.0 must be a Flatten of all dim"),
    (nn.Sequential(nn.Linear(4, 4), nn.GLU(0), nn.Linear(2, 2)), r"sequential\.1 must be a GLU of"),
    (
        nn.Sequential(nn.Linear(4, 4), nn.PReLU(2), nn.Linear(4, 2)),
        r"sequential\.1 must be a PReLU with one slope",
    ),
    (_Reversed(nn.Linear(4, 4), nn.ReLU()), r"sequential must be a Sequential with the forward"),
    (
        nn.Sequential(
            nn.utils.parametrizations.orthogonal(nn.Linear(4, 4)), nn.ReLU(), nn.Linear(4, 2)
        ),
        r"sequential\.0 must be .*ParametrizedLinear",
    ),
]


@pytest.mark.parametrize(("sequential", "message"), REFUSED)
def test_modules_without_an_equivalent_raise(sequential: nn.Sequential, message: str) -> None:
    """The error names the module by its path in the Sequential."""
    with pytest.raises(ValueError, match=message):
        from_sequential(sequential)


def test_a_hook_that_changes_the_output_raises() -> None:
    """The comparison of the outputs detects the hook."""
    sequential = nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2))
    sequential[1].register_forward_hook(lambda _module, _args, output: output + 1.0)
    with pytest.raises(ValueError, match=r"sequential must be a network whose modules alone"):
        from_sequential(sequential)


def test_other_modules_raise() -> None:
    """The argument must be a Sequential."""
    module: object = nn.Linear(4, 3)
    with pytest.raises(TypeError, match=r"sequential must be a torch.nn.Sequential, got Linear"):
        from_sequential(module)  # type: ignore[arg-type]  # the mistake
