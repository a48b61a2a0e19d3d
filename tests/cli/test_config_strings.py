"""Configurations as words: what is read, what is shown, and that both agree."""

from __future__ import annotations

import pytest

from mlpkit.cli._config_strings import from_word, to_word
from mlpkit.errors import ConfigError
from mlpkit.nn import ActivationConfig
from mlpkit.training import AveragingConfig, EarlyStopping, OptimizerConfig, Schedule


@pytest.mark.parametrize(
    ("word", "config"),
    [
        ("relu", ActivationConfig("relu")),
        ("maxout:num_pieces=5", ActivationConfig("maxout", num_pieces=5)),
        ("prelu:init=0.1,per_unit=true", ActivationConfig("prelu", init=0.1, per_unit=True)),
        ("adamw", OptimizerConfig()),
        ("sgd:lr=0.1,nesterov=true", OptimizerConfig(name="sgd", lr=0.1, nesterov=True)),
        ("adamw:betas=0.7/0.9", OptimizerConfig(betas=(0.7, 0.9))),
        ("step:step_size=10,gamma=0.5", Schedule(kind="step", step_size=10, gamma=0.5)),
        ("3:min_delta=0.01", EarlyStopping(patience=3, min_delta=0.01)),
        ("none:start_step=5", AveragingConfig(decay=None, start_step=5)),
    ],
)
def test_words_and_configurations(
    word: str,
    config: ActivationConfig | OptimizerConfig | Schedule | EarlyStopping | AveragingConfig,
) -> None:
    """A word is read as its configuration, and shown again as a word that means the same."""
    assert from_word(type(config), word) == config
    assert from_word(type(config), to_word(config)) == config


def test_what_is_at_its_default_is_not_shown() -> None:
    """The word is the shortest that means the same."""
    assert to_word(OptimizerConfig()) == "adamw"
    assert to_word(OptimizerConfig(lr=0.5, betas=(0.9, 0.99))) == "adamw:lr=0.5,betas=0.9/0.99"
    assert to_word(ActivationConfig("maxout", num_pieces=2)) == "maxout"


def test_mistakes_are_named() -> None:
    """A misspelled option gets the nearest right one, a missing = is shown."""
    with pytest.raises(ConfigError, match=r"got 'num_pieses'; did you mean 'num_pieces'\?"):
        from_word(ActivationConfig, "maxout:num_pieses=5")
    with pytest.raises(ValueError, match=r"got 'fast' as an option"):
        from_word(OptimizerConfig, "sgd:fast")
    with pytest.raises(ValueError, match=r"got 'rleu'; did you mean 'relu'\?"):
        from_word(ActivationConfig, "rleu")
