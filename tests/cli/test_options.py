"""The options have exactly the fields of the configurations."""

from __future__ import annotations

import dataclasses

from mlpkit.cli._options import NetworkOptions, TrainingOptions
from mlpkit.nn import MLPConfig
from mlpkit.training import TrainerConfig


def test_options_have_the_fields_of_their_configuration() -> None:
    """Every field of a configuration is an option with the same default."""
    for options, config in ((NetworkOptions, MLPConfig), (TrainingOptions, TrainerConfig)):
        fields = {field.name: field for field in dataclasses.fields(options)}
        assert set(fields) == {field.name for field in dataclasses.fields(config)}
    assert dataclasses.asdict(TrainingOptions()) == dataclasses.asdict(TrainerConfig())
    network = {"in_features": 3, "hidden_features": (4,), "out_features": 2}
    assert dataclasses.asdict(NetworkOptions(**network)) == dataclasses.asdict(  # type: ignore[arg-type]
        MLPConfig(**network)  # type: ignore[arg-type]  # one dict for both
    )
