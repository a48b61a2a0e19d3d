"""Uses of mlpkit.models that a type checker rejects; never run.

Each comment is an assertion: mypy reports one that is not needed (warn_unused_ignores).
"""

from __future__ import annotations

from torch import nn

from mlpkit.data import digits
from mlpkit.models import MultilabelClassifier, Regressor, SoftmaxClassifier, load_model
from mlpkit.nn import MLP, MLPOptions

train, val, test = digits()
model = SoftmaxClassifier.for_data(train)
network = MLP(64, (32,), 10)

# The options of the network are one object.
SoftmaxClassifier.for_data()  # type: ignore[call-arg]
SoftmaxClassifier.for_data(train.inputs)  # type: ignore[arg-type]
SoftmaxClassifier.for_data(train, 32)  # type: ignore[arg-type]
SoftmaxClassifier.for_data(train, (32,), "tanh")  # type: ignore[arg-type]
SoftmaxClassifier.for_data(train, (32,), {"norm": "batch"})  # type: ignore[arg-type]
SoftmaxClassifier.for_data(train, (32,), activation="tanh")  # type: ignore[call-arg]
SoftmaxClassifier.for_data(train, (32,), MLPOptions(), train)  # type: ignore[call-arg, arg-type]
SoftmaxClassifier.for_data(train, (32,), generator=0)  # type: ignore[arg-type]

# The network is an MLP, and its classes have names.
SoftmaxClassifier(network)  # type: ignore[call-arg]
SoftmaxClassifier(nn.Linear(64, 10), classes=("a",) * 10)  # type: ignore[arg-type]
SoftmaxClassifier(network, classes=10)  # type: ignore[arg-type]
SoftmaxClassifier(network, classes=range(10))  # type: ignore[arg-type]
SoftmaxClassifier(network, classes=("a",) * 10, mean="0")  # type: ignore[arg-type]

# Inputs are tensors.
model([[1.0]])  # type: ignore[arg-type]
model(test)  # type: ignore[arg-type]
model.predict(test)  # type: ignore[arg-type]
model.predict_proba(test.inputs, 64)  # type: ignore[call-arg]
model.calibrate(test.inputs)  # type: ignore[arg-type]
model.calibrate(val)  # type: ignore[arg-type]
text: str = model(test.inputs)  # type: ignore[assignment]

# Files.
model.save()  # type: ignore[call-arg]
model.save(3)  # type: ignore[arg-type]
SoftmaxClassifier.load("model", map_location="cpu")  # type: ignore[call-arg]

# What is standardized together, and weights of labels.
SoftmaxClassifier.for_data(train, standardize="column")  # type: ignore[arg-type]
SoftmaxClassifier.for_data(train, standardize=True)  # type: ignore[arg-type]
MultilabelClassifier.for_data(train, pos_weight="equal")  # type: ignore[arg-type]
MultilabelClassifier.for_data(train, thresholds=0.3)  # type: ignore[call-arg]
MultilabelClassifier(network)  # type: ignore[call-arg]

# A regressor has no classes, and any model may be loaded.
Regressor(network, classes=("a",))  # type: ignore[call-arg]
Regressor.for_data(train).predict_proba(train.inputs)  # type: ignore[operator]
Regressor.for_data(train, target_mean=0.0)  # type: ignore[call-arg]
load_model("model").predict_proba(train.inputs)  # type: ignore[operator]
load_model(3)  # type: ignore[arg-type]
