"""Uses of mlpkit.models that a type checker accepts, with the inferred types; never run."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import assert_type

import torch
from torch import Tensor, nn

import mlpkit
from mlpkit.data import digits
from mlpkit.models import (
    Ensemble,
    MultilabelClassifier,
    Regressor,
    SoftmaxClassifier,
    load_model,
)
from mlpkit.nn import MLP, MLPConfig, MLPOptions, ParamGroup, TabularMLP
from mlpkit.training import Evaluation, MeanSquaredError, Objective, Trainer

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

SoftmaxClassifier.for_data(train, standardize="feature")
SoftmaxClassifier.for_data(train, None, standardize=None)

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
assert_type(model.network, MLP | TabularMLP)
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

# A classifier of labels.
labels = MultilabelClassifier.for_data(train, (32,), pos_weight="balanced", standardize="global")
assert_type(labels, MultilabelClassifier)
MultilabelClassifier.for_data(train, pos_weight=(1.0, 2.0))
MultilabelClassifier.with_network(network, train, pos_weight=2.0)
MultilabelClassifier(network, classes=["a"] * 10, thresholds=0.3, target_shape=(10,))
MultilabelClassifier(network, classes=["a"] * 10, thresholds=[0.3] * 10, pos_weight=[1.0] * 10)
assert_type(labels.predict(x), Tensor)
assert_type(labels.predict_proba(x, batch_size=64), Tensor)
assert_type(labels.calibrate(test), tuple[float, ...])
assert_type(labels.fit_thresholds(test), tuple[float, ...])
assert_type(labels.thresholds, Tensor)
assert_type(labels.evaluate(test), Evaluation)
assert_type(MultilabelClassifier.load("labels"), MultilabelClassifier)

# A regressor.
regressor = Regressor.for_data(train, predicts_std=True, generator=torch.Generator())
assert_type(regressor, Regressor)
assert_type(Regressor.with_network(network, train, standardize=None), Regressor)
Regressor(network, target_mean=torch.zeros(10), target_std=2.0, target_shape=(10,))
assert_type(regressor.predict(x), Tensor)
assert_type(regressor.predict_std(x, batch_size=64), Tensor)
assert_type(regressor.target_names, tuple[str, ...] | None)
assert_type(regressor.choose_objective(), Objective)
assert_type(regressor.choose_objective(MeanSquaredError()), Objective)
assert_type(regressor.save("model"), Path)
Trainer(regressor).fit(train, val)

# Any of them.
assert_type(load_model("model"), SoftmaxClassifier | MultilabelClassifier | Regressor | Ensemble)
assert_type(load_model(Path("model"), device="cpu").evaluate(test), Evaluation)
