"""Uses of mlpkit.models that a type checker accepts, with the inferred types; never run."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import assert_type

import torch
from torch import Tensor, nn

import mlpkit
from mlpkit.data import digits
from mlpkit.models import SoftmaxClassifier
from mlpkit.nn import MLP, MLPConfig, MLPOptions, ParamGroup
from mlpkit.training import Trainer

train, val, test = digits()
x = test.inputs

# A classifier for a data set, with the options of the network as one object.
model = SoftmaxClassifier.for_data(train)
assert_type(model, SoftmaxClassifier)
assert_type(mlpkit.SoftmaxClassifier.for_data(train), SoftmaxClassifier)
SoftmaxClassifier.for_data(train, (256, 256))
SoftmaxClassifier.for_data(train, hidden_features=[256])
SoftmaxClassifier.for_data(train, (), generator=torch.Generator())
SoftmaxClassifier.for_data(train, (32,), None)
SoftmaxClassifier.for_data(train, (32,), MLPOptions(activation="maxout", dropout=0.5))
SoftmaxClassifier.for_data(train, (32,), options=MLPOptions(activation=nn.ELU, norm="batch"))
config = MLPConfig(in_features=64, hidden_features=(32,), out_features=10, residual=True)
SoftmaxClassifier.for_data(train, (32,), config)

# Around a network.
network = MLP(64, (32,), 10)
assert_type(SoftmaxClassifier.with_network(network, train), SoftmaxClassifier)
SoftmaxClassifier(network, classes=["a"] * 10)
SoftmaxClassifier(
    network,
    classes=tuple("abcdefghij"),
    mean=torch.zeros(64),
    std=16,
    input_shape=(8, 8),
)

# What it has and what it computes.
assert_type(model.network, MLP)
assert_type(model.classes, tuple[str, ...])
assert_type(model.input_shape, tuple[int, ...])
assert_type(model.mean, Tensor)
assert_type(model.std, Tensor)
assert_type(model.temperature, Tensor)
assert_type(model.max_norm, float | None)
assert_type(model(x), Tensor)
assert_type(model.forward(x), Tensor)
assert_type(model.standardize(x), Tensor)
assert_type(model.predict(x), Tensor)
assert_type(model.predict(x, batch_size=64), Tensor)
assert_type(model.predict_proba(x), Tensor)
assert_type(model.calibrate(train), float)
assert_type(model.param_groups(0.01), list[ParamGroup])
assert_type(model.apply_max_norm_(), None)
assert_type(model.eval(), SoftmaxClassifier)

# Saved and loaded by a str or a Path.
assert_type(model.save("model"), Path)
assert_type(SoftmaxClassifier.load("model"), SoftmaxClassifier)
SoftmaxClassifier.load(Path("model"), device="cpu")
SoftmaxClassifier.load("model/model.safetensors", device=torch.device("cpu"))

# It is a module, and the trainer takes it.
as_function: Callable[[Tensor], Tensor] = model
as_module: nn.Module = model
Trainer(model).fit(train, val)
