"""MLP in torch's tools: copy, pickle, export, compile, functional calls and vmap."""

from __future__ import annotations

import copy
import io
import pickle
import warnings

import pytest
import torch
from torch import Tensor, nn

from mlpkit.nn import MLP, Activation, ActivationConfig, MLPOptions, PReLU


def network(*, training: bool = False) -> MLP:
    """Return a network with nearly every option."""
    activations: list[Activation] = ["prelu", ActivationConfig("maxout", num_pieces=3), "swiglu"]
    model = MLP(
        12,
        (5, 5, 5),
        2,
        activation=activations,
        output_activation=PReLU(2),
        norm="batch",
        dropout=0.5,
        input_dropout=0.2,
        residual=True,
        max_norm=2.0,
        flatten=True,
    )
    return model.train(training)


def test_deepcopy_is_equal_and_shares_nothing() -> None:
    """The same output and configuration, with separate memory."""
    model = network()
    twin = copy.deepcopy(model)
    x = torch.randn(3, 12)
    assert torch.equal(twin(x), model(x))
    own = {parameter.data_ptr() for parameter in model.parameters()}
    assert own.isdisjoint(parameter.data_ptr() for parameter in twin.parameters())
    assert twin.config == model.config
    twin.reset_parameters()
    assert not torch.equal(twin(x), model(x))


def test_pickle_round_trip() -> None:
    """The same bits, configuration and options."""
    model = network()
    twin: MLP = pickle.loads(pickle.dumps(model))
    x = torch.randn(3, 12)
    assert torch.equal(twin(x), model(x))
    assert twin.config == model.config
    assert twin.max_norm == 2.0


def test_a_network_built_by_a_lambda_can_be_pickled() -> None:
    """The factory is not stored."""
    model = MLP(6, (5,), 2, activation=lambda width: PReLU(width))
    twin: MLP = pickle.loads(pickle.dumps(model))
    assert torch.equal(twin(torch.ones(6)), model(torch.ones(6)))


def test_state_dict_round_trip_through_a_file_that_cannot_run_code() -> None:
    """By torch.load(weights_only=True) and a strict load_state_dict."""
    model, twin = network(), network()
    buffer = io.BytesIO()
    torch.save(model.state_dict(), buffer)
    buffer.seek(0)
    twin.load_state_dict(torch.load(buffer, weights_only=True))
    x = torch.randn(3, 12)
    assert torch.equal(twin(x), model(x))


def test_torch_prelu_checkpoints_load() -> None:
    """The slopes of torch.nn.PReLU have the same key and shape."""
    sequential = nn.Sequential(nn.Linear(6, 5), nn.PReLU(5, init=0.4), nn.Linear(5, 2))
    model = MLP(6, (5,), 2, activation=ActivationConfig("prelu", per_unit=True))
    names = {"0.": "layers.0.linear.", "1.": "layers.0.activation.", "2.": "head."}
    state = {names[key[:2]] + key[2:]: value for key, value in sequential.state_dict().items()}
    model.load_state_dict(state)
    x = torch.randn(7, 6)
    torch.testing.assert_close(model(x), sequential(x))


@pytest.mark.parametrize("shape", [(12,), (3, 4), (1, 4, 3)])
def test_export_with_a_dynamic_batch(shape: tuple[int, ...]) -> None:
    """One program for every batch size, with and without flatten."""
    model = network()
    batch = torch.export.Dim("batch", min=1, max=4096)
    program = torch.export.export(model, (torch.randn(4, *shape),), dynamic_shapes=({0: batch},))
    for size in (1, 7):
        x = torch.randn(size, *shape)
        torch.testing.assert_close(program.module()(x), model(x))


@pytest.mark.parametrize("training", [False, True])
def test_compile_is_one_graph_and_equal(training: bool) -> None:
    """In value and gradient, without a graph break by the checks of the input."""
    model = network(training=training)
    for dropout in (*(layer.dropout for layer in model.layers), model.head_dropout):
        dropout.p = 0.0
    twin = copy.deepcopy(model)
    compiled = torch.compile(twin, backend="aot_eager", fullgraph=True)
    x = torch.randn(8, 3, 4)
    output, expected = compiled(x), model(x)
    torch.testing.assert_close(output, expected)
    torch.autograd.backward([output.sum(), expected.sum()])
    for found, wanted in zip(twin.parameters(), model.parameters(), strict=True):
        torch.testing.assert_close(found.grad, wanted.grad)
    for buffer, other in zip(twin.buffers(), model.buffers(), strict=True):
        torch.testing.assert_close(buffer, other)


def test_functional_call_uses_the_weights_given() -> None:
    """The weights of another network give its output, and the module is not changed."""
    model, other = network(), network()
    x = torch.randn(3, 12)
    before = model(x)
    output: Tensor = torch.func.functional_call(model, other.state_dict(), (x,))
    assert torch.equal(output, other(x))
    assert torch.equal(model(x), before)


def test_vmap_over_an_ensemble_equals_a_loop() -> None:
    """With the stacked weights of three networks."""
    models = [MLP(6, (5, 5), 2, activation="maxout", residual=True) for _ in range(3)]
    parameters, buffers = torch.func.stack_module_state(list[nn.Module](models))
    x = torch.randn(7, 6)

    def run(weights: dict[str, Tensor], state: dict[str, Tensor]) -> Tensor:
        output: Tensor = torch.func.functional_call(models[0], (weights, state), (x,))
        return output

    together = torch.func.vmap(run)(parameters, buffers)
    torch.testing.assert_close(together, torch.stack([model(x) for model in models]))


def test_a_network_on_the_meta_device_can_be_materialized() -> None:
    """Moved by to_empty and reset, it equals a network that was built on the device."""
    model = MLP(6, (5, 5), 2, activation="prelu", norm="batch", residual=True, device="meta")
    assert {tensor.device.type for tensor in model.state_dict().values()} == {"meta"}
    model.to_empty(device="cpu")
    model.reset_parameters(torch.Generator().manual_seed(5))
    fresh = MLP(
        6,
        (5, 5),
        2,
        activation="prelu",
        norm="batch",
        residual=True,
        generator=torch.Generator().manual_seed(5),
    )
    for key, tensor in fresh.state_dict().items():
        assert torch.equal(model.state_dict()[key], tensor), key


def test_the_default_device_and_dtype_are_followed() -> None:
    """As for the modules of torch."""
    with torch.device("meta"):
        assert MLP(6, (5,), 2, activation="prelu").layers[0].linear.weight.is_meta
    torch.set_default_dtype(torch.float64)
    try:
        model = MLP(6, (5,), 2, activation="prelu", norm="layer")
    finally:
        torch.set_default_dtype(torch.float32)
    assert {parameter.dtype for parameter in model.parameters()} == {torch.float64}


def test_autocast_keeps_its_dtype_through_the_hidden_layers() -> None:
    """A float32 slope does not promote bfloat16 values."""
    model = MLP(6, (5, 5), 2, activation="prelu")
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert model.features(torch.randn(3, 6)).dtype is torch.bfloat16
        assert model(torch.randn(3, 6)).dtype is torch.bfloat16


def test_building_does_not_change_the_callers_modules() -> None:
    """An instance keeps its mode, hooks and in-place flag."""
    relu = nn.ReLU(inplace=True)
    model = MLP(6, (5, 5), 2, activation=relu, residual=True)
    assert relu.inplace
    assert not any(getattr(layer.activation, "inplace", False) for layer in model.layers)


def test_a_traced_network_is_equal() -> None:
    """TensorBoard's add_graph traces the network."""
    model = MLP(6, (4, 3), 2, norm="layer", dropout=0.5).eval()
    x = torch.randn(5, 6)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # torch deprecates torch.jit
        warnings.simplefilter("ignore", DeprecationWarning)  # likewise, in earlier versions
        warnings.simplefilter("ignore", torch.jit.TracerWarning)  # type: ignore[attr-defined]  # shape checks
        traced = torch.jit.trace(model, x)  # type: ignore[no-untyped-call]  # torch types it so
        torch.testing.assert_close(traced(x), model(x))


TRACED: list[MLPOptions] = [
    MLPOptions(),
    MLPOptions(norm="batch", dropout=0.5, residual=True),
    MLPOptions(norm="layer", flatten=True),
    MLPOptions(norm="rms", output_activation="sigmoid"),
    *(
        MLPOptions(activation=activation)
        for activation in (
            "prelu",
            ActivationConfig("prelu", per_unit=True),
            ActivationConfig("maxout", num_pieces=3),
            "glu",
            "reglu",
            "geglu",
            "swiglu",
        )
    ),
]


@pytest.mark.parametrize("options", TRACED, ids=str)
def test_a_symbolic_trace_is_equal(options: MLPOptions) -> None:
    """By torch.fx, in evaluation mode, to the bit and in every gradient; it has no own modules."""
    model = MLP.from_options(12, (8, 8), 3, options).eval()
    traced = torch.fx.symbolic_trace(model)
    x = torch.randn(5, 3, 4) if options.flatten else torch.randn(5, 12)
    assert torch.equal(traced(x), model(x))
    targets = [node.target for node in traced.graph.nodes if node.op == "call_module"]
    kinds = {type(traced.get_submodule(str(target))).__module__ for target in targets}
    assert all(kind.startswith("torch.nn") for kind in kinds)
    torch.autograd.backward(traced(x).square().sum())
    found = [parameter.grad for parameter in model.parameters()]
    model.zero_grad()
    torch.autograd.backward(model(x).square().sum())
    for one, parameter in zip(found, model.parameters(), strict=True):
        assert one is not None
        torch.testing.assert_close(one, parameter.grad)


@pytest.mark.parametrize("flatten", [False, True])
def test_a_symbolic_trace_of_a_module_around_a_network(flatten: bool) -> None:
    model = nn.Sequential(nn.Linear(4, 12), MLP(12, (8,), 3, flatten=flatten), nn.Softmax(-1))
    x = torch.randn(5, 4)
    assert torch.equal(torch.fx.symbolic_trace(model)(x), model(x))
