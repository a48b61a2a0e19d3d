"""Uses of mlpkit.nn that a type checker rejects; never run.

Each comment is an assertion: mypy warns about one that is not needed (warn_unused_ignores).
"""

from __future__ import annotations

import torch
from torch import nn

from mlpkit.nn import (
    MLP,
    ActivationConfig,
    Maxout,
    MLPConfig,
    MLPOptions,
    PReLU,
    activation_statistics,
    homogeneous,
    layer_scale,
    merge_affine,
)

model = MLP(6, (4, 3), 1)
x = torch.zeros(3, 6)

# What comes out is a tensor and nothing else.
text: str = model(x)  # type: ignore[assignment]
model(x).logits  # type: ignore[attr-defined]  # noqa: B018
model([[1.0]])  # type: ignore[arg-type]
model()  # type: ignore[call-arg]
model(x, x)  # type: ignore[call-arg]
model.features(3)  # type: ignore[arg-type]

# Sizes.
MLP(6, 4, 1)  # type: ignore[arg-type]
MLP(6, (4.0,), 1)  # type: ignore[arg-type]
MLP(6, "43", 1)  # type: ignore[arg-type]
MLP("6", (4,), 1)  # type: ignore[arg-type]
MLP(6, (4,))  # type: ignore[call-arg]
MLP(6, (4,), 1, "relu")  # type: ignore[call-arg]

# Options: a misspelled name, a misspelled value, the wrong type.
MLP(6, (4,), 1, dropuot=0.5)  # type: ignore[call-arg]
MLP(6, (4,), 1, activation="rleu")  # type: ignore[arg-type]
MLP(6, (4,), 1, activation=["relu", "tahn"])  # type: ignore[list-item]
MLP(6, (4,), 1, activation=torch.relu)  # type: ignore[arg-type]
MLP(6, (4,), 1, activation=int)  # type: ignore[arg-type]
MLP(6, (4,), 1, activation=None)  # type: ignore[arg-type]
MLP(6, (4,), 1, norm="bacth")  # type: ignore[arg-type]
MLP(6, (4,), 1, norm=nn.BatchNorm1d)  # type: ignore[arg-type]
MLP(6, (4,), 1, dropout="0.5")  # type: ignore[arg-type]
MLP(6, (4,), 1, init="he")  # type: ignore[arg-type]
MLP(6, (4,), 1, residual="yes")  # type: ignore[arg-type]
MLP(6, (4,), 1, max_norm="2")  # type: ignore[arg-type]
MLP(6, (4,), 1, generator=0)  # type: ignore[arg-type]
MLP(6, (4,), 1, dtype="float32")  # type: ignore[arg-type]
MLP(6, (4,), 1, output_activation="softmax")  # type: ignore[arg-type]

# What may be None must be looked at first.
model.head.weight  # type: ignore[union-attr]  # noqa: B018
model.layers["0"]  # type: ignore[call-overload]
model.num_parameters = 3  # type: ignore[misc]
model.reset_parameters(0)  # type: ignore[arg-type]

# Configurations.
MLPConfig(6, (4,), 1)  # type: ignore[call-arg]
MLPConfig(in_features=6, hidden_features=(4,))  # type: ignore[call-arg]
MLPConfig(in_features=6, hidden_features=(4,), out_features=1, activation=nn.ReLU())  # type: ignore[arg-type]
model.config.in_features = 7  # type: ignore[misc]
MLP.from_config({"in_features": 6})  # type: ignore[arg-type]
ActivationConfig("rleu")  # type: ignore[arg-type]
ActivationConfig("maxout", pieces=5)  # type: ignore[call-arg]

# Options: not a mapping, not by position, frozen, and a configuration holds no class.
MLPOptions("relu")  # type: ignore[call-arg]
MLPOptions(activation="rleu")  # type: ignore[arg-type]
MLPOptions(dropuot=0.5)  # type: ignore[call-arg]
MLPOptions(dropout="0.5")  # type: ignore[arg-type]
MLPOptions().norm = "layer"  # type: ignore[misc]
MLP.from_options(6, (4,), 1)  # type: ignore[call-arg]
MLP.from_options(6, (4,), 1, {"norm": "layer"})  # type: ignore[arg-type]
MLP.from_options(6, (4,), 1, MLPOptions(), norm="layer")  # type: ignore[call-arg]
MLPConfig(in_features=6, hidden_features=(4,), out_features=1, activation=nn.ReLU)  # type: ignore[arg-type]

# Modules and tools.
PReLU(num_parameters="4")  # type: ignore[arg-type]
Maxout(num_pieces=2.5)  # type: ignore[arg-type]
merge_affine(nn.Sequential())  # type: ignore[arg-type]
homogeneous(nn.ReLU())  # type: ignore[arg-type]
activation_statistics(model, x, 0.05)  # type: ignore[call-arg]
activation_statistics(nn.Linear(6, 1), x)  # type: ignore[arg-type]
layer_scale("rleu")  # type: ignore[arg-type]
