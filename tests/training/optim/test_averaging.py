"""Averages of the weights against the sum that defines them."""

from __future__ import annotations

import copy
import io

import pytest
import torch
from torch import Tensor, nn

from mlpkit import _serialization
from mlpkit.training import AveragingConfig, WeightAverage
from mlpkit.training.optim import AverageState


def network() -> nn.Module:
    return nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 2)).double()


def walk(model: nn.Module) -> None:
    """Move every parameter, and the running statistics, as a training step would."""
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter))
        model(torch.randn(5, 3, dtype=torch.float64))


def snapshot(model: nn.Module) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in model.state_dict().items()}


@pytest.mark.parametrize("start_step", [0, 4])
@pytest.mark.parametrize("every", [1, 3])
@pytest.mark.parametrize("decay", [None, 0.0, 0.5, 0.999])
def test_equals_the_weighted_mean_of_the_steps(
    decay: float | None, every: int, start_step: int
) -> None:
    """Computed from the definition, with all weights of the past kept."""
    model = network()
    config = AveragingConfig(decay=decay, start_step=start_step, every=every)
    average = WeightAverage(model, config)
    taken: list[dict[str, Tensor]] = []
    for step in range(14):
        walk(model)
        average.update(model, step)
        if step >= start_step and (step - start_step) % every == 0:
            taken.append(snapshot(model))
    assert average.num_averaged == len(taken)
    factor = 1.0 if decay is None else decay
    shares = [factor**age for age in reversed(range(len(taken)))]
    with average.applied(model):
        for name, value in model.state_dict().items():
            if value.is_floating_point():
                terms = [share * past[name] for share, past in zip(shares, taken, strict=True)]
                expected = torch.stack(terms).sum(dim=0) / sum(shares)
            else:
                expected = taken[-1][name]
            torch.testing.assert_close(value, expected, rtol=1e-9, atol=1e-12)


def test_the_first_averaged_step_is_taken_whole() -> None:
    """There is no trace of the initial weights, whatever the decay."""
    model = network()
    average = WeightAverage(model, AveragingConfig(decay=0.9999))
    walk(model)
    average.update(model, 0)
    expected = snapshot(model)
    walk(model)
    average.copy_to(model)
    for name, value in model.state_dict().items():
        assert torch.equal(value, expected[name]), name


def test_long_after_the_start_it_is_the_plain_exponential_average() -> None:
    """The one of torch, get_ema_multi_avg_fn, moves by 1 - decay; so does this, in the limit."""
    config = AveragingConfig(decay=0.99)
    assert config.share(1) == 1.0
    assert config.share(100_000) == pytest.approx(1.0 - 0.99, rel=1e-12)
    tiny = AveragingConfig(decay=1.0 - 1e-12)
    assert tiny.share(10) == pytest.approx(0.1, rel=1e-4)


def test_applied_gives_everything_back_bit_for_bit() -> None:
    model = network()
    average = WeightAverage(model, AveragingConfig(decay=0.9))
    for step in range(3):
        walk(model)
        average.update(model, step)
    before = snapshot(model)
    kept = {name: value.clone() for name, value in average.state_dict()["tensors"].items()}

    def fail() -> None:
        with average.applied(model):
            assert not torch.equal(model.state_dict()["0.weight"], before["0.weight"])
            walk(model)
            raise KeyError("inside")

    with pytest.raises(KeyError, match="inside"):
        fail()
    for name, value in model.state_dict().items():
        assert torch.equal(value, before[name]), name
    for name, value in average.state_dict()["tensors"].items():
        assert torch.equal(value, kept[name]), name


def test_before_the_first_averaged_step_the_model_keeps_its_weights() -> None:
    model = network()
    average = WeightAverage(model, AveragingConfig(start_step=100))
    walk(model)
    average.update(model, 0)
    before = snapshot(model)
    with average.applied(model):
        assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    average.copy_to(model)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_updating_leaves_the_model_alone() -> None:
    model = network()
    average = WeightAverage(model, AveragingConfig())
    walk(model)
    before = snapshot(model)
    average.update(model, 0)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_a_saved_average_goes_on_exactly() -> None:
    """Through torch.save with weights_only, into a new model and a new average."""
    model = network()
    average = WeightAverage(model, AveragingConfig(decay=0.7))
    for step in range(3):
        walk(model)
        average.update(model, step)
    file = io.BytesIO()
    torch.save(average.state_dict(), file)
    file.seek(0)
    state: AverageState = torch.load(file, weights_only=True)
    again = WeightAverage(network(), AveragingConfig(decay=0.7))
    again.load_state_dict(state)
    for step in range(3, 6):
        walk(model)
        average.update(model, step)
        again.update(model, step)
    assert again.num_averaged == 6
    for name, value in average.state_dict()["tensors"].items():
        assert torch.equal(value, again.state_dict()["tensors"][name]), name


def test_weights_of_half_precision_are_averaged_in_float32() -> None:
    """In bfloat16 itself an average of 300 equal steps of 1/256 would stand still."""
    model = nn.Linear(1, 1, bias=False).to(torch.bfloat16)
    average = WeightAverage(model, AveragingConfig(decay=None))
    for step in range(300):
        model.weight.data.fill_(1.0 if step % 2 else 2.0)
        average.update(model, step)
    (value,) = average.state_dict()["tensors"].values()
    assert value.dtype == torch.float32
    assert value.item() == pytest.approx(1.5, rel=1e-5)


def test_shared_weights_are_averaged_once() -> None:
    layer = nn.Linear(2, 2)
    model = nn.Sequential(layer, layer)
    average = WeightAverage(model, AveragingConfig(decay=None))
    average.update(model, 0)
    assert sorted(average.state_dict()["tensors"]) == ["0.bias", "0.weight"]


def test_is_a_plain_configuration() -> None:
    config = AveragingConfig(decay=None, start_step=10, every=2)
    assert _serialization.from_json(AveragingConfig, _serialization.to_json(config)) == config


class TestRefusals:
    def test_numbers_out_of_range(self) -> None:
        with pytest.raises(
            ValueError, match=r"decay .* less than 1, got 1\.0; None is the uniform"
        ):
            AveragingConfig(decay=1.0)
        with pytest.raises(ValueError, match="start_step must be a non-negative integer, got -1"):
            AveragingConfig(start_step=-1)
        with pytest.raises(ValueError, match="every must be a positive integer, got 0"):
            AveragingConfig(every=0)

    def test_another_model(self) -> None:
        average = WeightAverage(network(), AveragingConfig())
        with pytest.raises(ValueError, match=r"model must be the model .*other names: .*0\.bias"):
            average.update(nn.ReLU(), 0)

    def test_a_state_of_another_model(self) -> None:
        average = WeightAverage(nn.Linear(3, 2), AveragingConfig())
        other = copy.deepcopy(WeightAverage(nn.Linear(4, 2), AveragingConfig()).state_dict())
        with pytest.raises(ValueError, match=r"state must be .*got differences in weight"):
            average.load_state_dict(other)
