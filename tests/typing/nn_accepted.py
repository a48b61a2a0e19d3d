"""Uses of mlpkit.nn that a type checker accepts, with the types that it sees; never run."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import assert_type

import torch
from torch import Tensor, nn

from mlpkit.nn import (
    GEGLU,
    GLU,
    MLP,
    Activation,
    ActivationConfig,
    ActivationName,
    ActivationStatistics,
    BatchNorm,
    HiddenLayer,
    HiddenLayers,
    HomogeneousLayer,
    HomogeneousNetwork,
    InitName,
    LayerScale,
    LayerStatistics,
    Maxout,
    MLPConfig,
    MLPOptions,
    NormName,
    ParamGroup,
    PReLU,
    ReGLU,
    Summary,
    SummaryRow,
    SwiGLU,
    activation_config,
    activation_statistics,
    build_activation,
    expansion,
    homogeneous,
    layer_scale,
    merge_affine,
    reset_linear_,
    second_moment,
    second_moment_gain,
)

x = torch.zeros(3, 6)

# A network and what it returns.
model = MLP(6, (4, 3), 1)
assert_type(model, MLP)
assert_type(model(x), Tensor)
assert_type(model.forward(x), Tensor)
assert_type(model.features(x), Tensor)
assert_type(model.num_parameters, int)
assert_type(model.in_features, int)
assert_type(model.hidden_features, tuple[int, ...])
assert_type(model.out_features, int | None)
assert_type(model.max_norm, float | None)
assert_type(model.init, InitName)
assert_type(model.head, nn.Linear | None)
assert_type(model.output_activation, nn.Module | None)
assert_type(model.config, MLPConfig)
assert_type(model.eval(), MLP)
assert_type(model.to("cpu"), MLP)
assert_type(list(model.named_activations()), list[tuple[str, nn.Module]])

# Its layers.
assert_type(model.layers, HiddenLayers)
assert_type(model.layers[0], HiddenLayer)
assert_type(model.layers[0:1], HiddenLayers)
assert_type(iter(model.layers), Iterator[HiddenLayer])
for layer in model.layers:
    assert_type(layer(x), Tensor)
    assert_type(layer.preactivation(x), Tensor)
    assert_type(layer.linear, nn.Linear)
    assert_type(layer.norm, nn.Module | None)
    assert_type(layer.activation, nn.Module)
    assert_type(layer.skip, bool)
    assert_type(layer.out_features, int)

# Widths in any sequence; every option.
MLP(6, [], None)
MLP(6, range(1, 4), 1)
MLP(6, torch.Size([4, 3]), 1)
MLP(
    6,
    [4, 4],
    1,
    activation="maxout",
    output_activation=nn.Sigmoid(),
    norm="batch",
    dropout=[0.1, 0],
    input_dropout=0,
    bias=False,
    residual=True,
    init="torch",
    max_norm=2,
    flatten=True,
    device="cpu",
    dtype=torch.float64,
    generator=torch.Generator(),
)

# Activations: names, configurations, instances, classes, factories, and one for each layer.
MLP(6, [4], 1, activation=nn.ReLU)
MLP(6, [4], 1, activation=PReLU, output_activation=nn.Sigmoid)
MLP(6, [4, 3], 1, activation=[nn.ELU, nn.PReLU])
assert_type(build_activation(nn.GELU, 4), nn.Module)
MLP(6, [4], 1, activation=ActivationConfig("maxout", num_pieces=5))
MLP(6, [4], 1, activation=nn.ReLU())
MLP(6, [4], 1, activation=lambda width: PReLU(width))
MLP(6, [4], 1, activation=partial(PReLU, init=0.1))
MLP(6, [4, 3], 1, activation=["relu", Maxout(3)])
mixed: list[Activation] = ["relu", ActivationConfig("elu"), nn.Tanh(), lambda _: nn.ReLU()]
MLP(6, [4, 3, 2, 1], 1, activation=mixed)
names: tuple[ActivationName, ...] = ("relu", "tanh")
MLP(6, [4, 3], 1, activation=names)

# Optimizers take the groups as they are.
groups = model.param_groups(weight_decay=0.1)
assert_type(groups, list[ParamGroup])
torch.optim.AdamW(groups, lr=1e-3)
torch.optim.SGD(model.param_groups(0.0), lr=0.1, momentum=0.9)
assert_type(model.apply_max_norm_(), None)
assert_type(model.reset_parameters(torch.Generator()), None)

# Configurations.
config = MLPConfig(in_features=6, hidden_features=(4, 3), out_features=None)
assert_type(
    config.activation,
    ActivationName | ActivationConfig | tuple[ActivationName | ActivationConfig, ...],
)
assert_type(config.norm, NormName | None)
assert_type(config.dropout, float | tuple[float, ...])
assert_type(config.to_json(), str)
assert_type(config.to_toml(), str)
assert_type(MLPConfig.from_json("{}"), MLPConfig)
assert_type(MLPConfig.from_toml("", source="net.toml"), MLPConfig)
assert_type(MLP.from_config(config), MLP)

# The options as one object.
options = MLPOptions(activation=nn.ReLU, dropout=0.5, norm="batch")
MLPOptions(activation=("relu", nn.Tanh(), lambda width: PReLU(width)), dropout=(0.1, 0.2, 0.3))
assert_type(options.norm, NormName | None)
assert_type(options.dropout, float | tuple[float, ...])
assert_type(options.activation, Activation | tuple[Activation, ...])
assert_type(MLP.from_options(6, [4], 1, options, generator=torch.Generator()), MLP)
as_options: MLPOptions = config


class Mine(MLP):
    """A subclass stays what it is."""


assert_type(Mine.from_config(config, dtype=torch.float64), Mine)
assert_type(Mine.from_options(6, (), None, options), Mine)

# The modules by themselves.
for module in (PReLU(4), Maxout(num_pieces=3), GLU(), ReGLU(), GEGLU(), SwiGLU()):
    assert_type(module(x), Tensor)
assert_type(BatchNorm(6).num_features, int)
assert_type(PReLU(4).weight, nn.Parameter)
assert_type(build_activation("relu", 4), nn.Module)
assert_type(expansion(Maxout(2)), int)
assert_type(activation_config(nn.ReLU()), ActivationConfig)

# Weight scales.
assert_type(layer_scale("relu"), LayerScale)
assert_type(second_moment(torch.sin), float)
assert_type(second_moment_gain(nn.Tanh()), float)
assert_type(reset_linear_(nn.Linear(2, 2), preactivation_variance=2.0), None)

# What shows how a network works.
assert_type(model.summary(), Summary)
assert_type(model.summary().rows, tuple[SummaryRow, ...])
assert_type(merge_affine(model), nn.Linear)
assert_type(homogeneous(model), HomogeneousNetwork)
assert_type(homogeneous(nn.Linear(2, 2)), HomogeneousNetwork)
assert_type(homogeneous(model).layers, tuple[HomogeneousLayer, ...])
assert_type(homogeneous(model).weights, tuple[Tensor, ...])
assert_type(homogeneous(model)(x), Tensor)
assert_type(homogeneous(model).layers[0](x), Tensor)
assert_type(activation_statistics(model, x), ActivationStatistics)
assert_type(activation_statistics(model, x).layers, tuple[LayerStatistics, ...])

# It is a module among modules, and a function of a tensor.
as_function: Callable[[Tensor], Tensor] = model
as_module: nn.Module = model
nn.Sequential(model, nn.Softmax(dim=-1))
