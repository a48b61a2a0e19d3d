"""Optimizers by name against torch's own and against the published update rules."""

from __future__ import annotations

import copy
import inspect
import io
from typing import get_args

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.optim import SGD, Adam, AdamW, Muon, Optimizer, RMSprop

from mlpkit import _serialization
from mlpkit._protocols import HasParamGroups
from mlpkit.data import LabeledTensors
from mlpkit.nn import MLP, ParamGroup
from mlpkit.training import (
    OptimizerConfig,
    OptimizerName,
    Schedule,
    Trainer,
    TrainerConfig,
    build_optimizer,
    fit_many,
)
from mlpkit.training.optim import set_initial_lr
from mlpkit.training.optim._muon_with_adamw import MuonWithAdamW
from mlpkit.training.optim._optimizers import OPTIMIZERS, set_lr, set_momentum


def network() -> nn.Sequential:
    return nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, 3))


def train(model: nn.Module, optimizer: Optimizer, steps: int = 5, seed: int = 3) -> list[Tensor]:
    """Make some steps on fixed random data, and return the parameters."""
    generator = torch.Generator().manual_seed(seed)
    for _ in range(steps):
        inputs = torch.randn(8, 4, generator=generator)

        def closure(inputs: Tensor = inputs) -> float:
            optimizer.zero_grad()
            loss: Tensor = model(inputs).square().sum()
            torch.autograd.backward(loss)
            return loss.item()

        optimizer.step(closure)
    return [parameter.detach().clone() for parameter in model.parameters()]


def assert_same(actual: list[Tensor], expected: list[Tensor]) -> None:
    for left, right in zip(actual, expected, strict=True):
        torch.testing.assert_close(left, right, rtol=0, atol=0)


def test_three_defaults_are_not_those_of_torch() -> None:
    """Oracle: the signatures of torch; the class documents these differences."""
    kinds: dict[OptimizerName, type[Optimizer]] = {
        "adam": Adam,
        "adamw": AdamW,
        "rmsprop": RMSprop,
        "sgd": SGD,
    }
    options = ("lr", "momentum", "nesterov", "betas", "eps", "alpha", "centered", "weight_decay")
    found = {
        (name, option): (getattr(OptimizerConfig(name=name), option), parameters[option].default)
        for name, kind in kinds.items()
        for parameters in [inspect.signature(kind).parameters]
        for option in options
        if option in parameters
    }
    assert {key: pair for key, pair in found.items() if pair[0] != pair[1]} == {
        ("sgd", "momentum"): (0.9, 0.0),
        ("adamw", "weight_decay"): (0.0, 0.01),
        ("rmsprop", "lr"): (0.001, 0.01),
    }


@pytest.mark.parametrize("fused", [False, True])
class TestAgainstTorch:
    def test_adamw_to_the_last_bit(self, fused: bool) -> None:
        model = network()
        other = copy.deepcopy(model)
        config = OptimizerConfig(lr=0.01, weight_decay=0.1, betas=(0.8, 0.95), fused=fused)
        own = AdamW(
            other.parameters(), lr=0.01, weight_decay=0.1, betas=(0.8, 0.95), fused=fused or None
        )
        assert_same(train(model, build_optimizer(model, config)), train(other, own))

    def test_adam_to_the_last_bit(self, fused: bool) -> None:
        model = network()
        other = copy.deepcopy(model)
        config = OptimizerConfig(
            name="adam", lr=0.01, weight_decay=0.1, betas=(0.8, 0.95), eps=1e-6, fused=fused
        )
        own = Adam(
            other.parameters(),
            lr=0.01,
            weight_decay=0.1,
            betas=(0.8, 0.95),
            eps=1e-6,
            fused=fused or None,
        )
        assert_same(train(model, build_optimizer(model, config)), train(other, own))

    def test_rmsprop_to_the_last_bit(self, fused: bool) -> None:
        model = network()
        other = copy.deepcopy(model)
        config = OptimizerConfig(
            name="rmsprop",
            lr=0.01,
            weight_decay=0.1,
            alpha=0.9,
            eps=1e-6,
            momentum=0.5,
            centered=True,
            fused=fused,  # has no effect
        )
        own = RMSprop(
            other.parameters(),
            lr=0.01,
            weight_decay=0.1,
            alpha=0.9,
            eps=1e-6,
            momentum=0.5,
            centered=True,
        )
        assert_same(train(model, build_optimizer(model, config)), train(other, own))

    @pytest.mark.parametrize(("momentum", "nesterov"), [(0.0, False), (0.9, False), (0.9, True)])
    def test_sgd_to_the_last_bit(self, momentum: float, nesterov: bool, fused: bool) -> None:
        model = network()
        other = copy.deepcopy(model)
        config = OptimizerConfig(
            name="sgd",
            lr=0.01,
            weight_decay=0.1,
            momentum=momentum,
            nesterov=nesterov,
            fused=fused,
        )
        own = SGD(
            other.parameters(),
            lr=0.01,
            weight_decay=0.1,
            momentum=momentum,
            nesterov=nesterov,
            fused=fused or None,
        )
        assert_same(train(model, build_optimizer(model, config)), train(other, own))

    def test_muon_for_hidden_matrices_and_adamw_for_the_rest(self, fused: bool) -> None:
        model = network()
        other = copy.deepcopy(model)
        config = OptimizerConfig(
            name="muon", lr=0.01, adamw_lr=0.003, weight_decay=0.1, ns_steps=3, fused=fused
        )
        named = dict(other.named_parameters())
        hidden = [named.pop("0.weight"), named.pop("2.weight")]
        rest = list(named.values())
        muon = Muon(hidden, lr=0.01, weight_decay=0.1, ns_steps=3, adjust_lr_fn="match_rms_adamw")
        adamw = AdamW(rest, lr=0.003, weight_decay=0.1, fused=fused or None)
        halves: list[Optimizer] = [muon, adamw]
        optimizer = build_optimizer(model, config)
        for seed in range(4):
            train(model, optimizer, 1, seed)
            generator = torch.Generator().manual_seed(seed)
            other.zero_grad()
            torch.autograd.backward(other(torch.randn(8, 4, generator=generator)).square().sum())
            for one in halves:
                one.step()
        assert_same(list(model.parameters()), list(other.parameters()))


def test_adamw_is_the_published_algorithm() -> None:
    """Loshchilov and Hutter 2019, algorithm 2, for one number."""
    model = nn.Linear(1, 1, bias=False).double()
    theta, m, v = model.weight.item(), 0.0, 0.0
    lr, decay, beta1, beta2 = 0.1, 0.05, 0.9, 0.999
    optimizer = build_optimizer(model, OptimizerConfig(lr=lr, weight_decay=decay))
    for t, gradient in enumerate([3.0, -1.0, 0.5], start=1):
        model.weight.grad = torch.tensor([[gradient]], dtype=torch.float64)
        optimizer.step()
        m = beta1 * m + (1 - beta1) * gradient
        v = beta2 * v + (1 - beta2) * gradient**2
        update = (m / (1 - beta1**t)) / ((v / (1 - beta2**t)) ** 0.5 + 1e-8)
        theta -= lr * decay * theta + lr * update
        assert model.weight.item() == pytest.approx(theta, rel=1e-12)


@pytest.mark.parametrize("name", get_args(OptimizerName))
@pytest.mark.parametrize("fused", [False, True])
def test_a_saved_state_goes_on_exactly(name: OptimizerName, fused: bool) -> None:
    """Through torch.save with weights_only, into a new model and a new optimizer."""
    config = OptimizerConfig(name=name, lr=0.01, weight_decay=0.1, fused=fused)
    model = network()
    optimizer = build_optimizer(model, config)
    train(model, optimizer, 3, seed=1)
    file = io.BytesIO()
    torch.save((model.state_dict(), optimizer.state_dict()), file)
    expected = train(model, optimizer, 3, seed=2)
    file.seek(0)
    weights, state = torch.load(file, weights_only=True)
    fresh = network()
    fresh.load_state_dict(weights)
    again = build_optimizer(fresh, OptimizerConfig(name=name, lr=99.0, fused=fused))
    again.load_state_dict(state)
    assert_same(train(fresh, again, 3, seed=2), expected)


@pytest.mark.parametrize("name", get_args(OptimizerName))
def test_a_schedule_drives_every_group(name: OptimizerName) -> None:
    model = network()
    optimizer = build_optimizer(model, OptimizerConfig(name=name, lr=0.5))
    before = [parameter.clone() for parameter in model.parameters()]
    set_lr(optimizer, 0.0)
    train(model, optimizer, 2)
    assert_same(list(model.parameters()), before)
    set_lr(optimizer, 0.25)
    assert [group["lr"] for group in optimizer.param_groups] == [0.125] * len(
        optimizer.param_groups
    )
    if name == "lbfgs":
        return
    set_momentum(optimizer, 0.7)
    for group in optimizer.param_groups:
        assert group["momentum"] == 0.7 if "momentum" in group else group["betas"] == (0.7, 0.999)


def test_a_rate_that_is_a_tensor_is_filled_in_place() -> None:
    """A captured CUDA graph reads this very tensor."""
    rate = torch.tensor(0.5)
    optimizer = AdamW(nn.Linear(2, 2).parameters(), lr=rate, fused=True)
    set_initial_lr(optimizer)
    set_lr(optimizer, 0.5)
    assert optimizer.param_groups[0]["lr"] is rate
    assert rate.item() == 0.25
    set_lr(optimizer, 1.0)
    assert rate.item() == 0.5


def test_the_base_rate_is_remembered_once() -> None:
    optimizer = SGD(nn.Linear(2, 2).parameters(), lr=0.5)
    set_initial_lr(optimizer)
    set_lr(optimizer, 0.1)
    set_initial_lr(optimizer)
    set_lr(optimizer, 1.0)
    assert optimizer.param_groups[0]["lr"] == 0.5


class TestWeightDecay:
    def test_an_mlp_says_which_parameters_decay(self) -> None:
        model = MLP(4, [5], 3, activation="prelu", norm="batch")
        assert isinstance(model, HasParamGroups)
        optimizer = build_optimizer(model, OptimizerConfig(weight_decay=0.3))
        decay = {
            id(parameter): group["weight_decay"]
            for group in optimizer.param_groups
            for parameter in group["params"]
        }
        by_name = {name: decay[id(parameter)] for name, parameter in model.named_parameters()}
        for name, value in by_name.items():
            decays = name.endswith("weight") and "norm" not in name and "activation" not in name
            assert value == (0.3 if decays else 0.0), name

    def test_any_other_model_decays_everywhere_as_in_torch(self) -> None:
        optimizer = build_optimizer(network(), OptimizerConfig(weight_decay=0.3))
        assert [group["weight_decay"] for group in optimizer.param_groups] == [0.3]

    def test_muon_keeps_the_decay_of_each_group(self) -> None:
        model = MLP(4, [5, 6], 3)
        optimizer = build_optimizer(model, OptimizerConfig(name="muon", weight_decay=0.3))
        assert isinstance(optimizer, MuonWithAdamW)
        decays = [
            (group["weight_decay"], sorted(parameter.ndim for parameter in group["params"]))
            for group in optimizer.param_groups
        ]
        assert sorted(decays) == [(0.0, [1, 1, 1]), (0.3, [2]), (0.3, [2, 2])]

    def test_a_wrapper_decays_as_the_network_inside(self) -> None:
        """It decays the weights of the network and all parameters of its own."""

        class Wrapper(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.network, self.scale = MLP(4, [5], 3), nn.Linear(3, 3)

            def forward(self, x: Tensor) -> Tensor:
                outputs: Tensor = self.scale(self.network(x))
                return outputs

        model = Wrapper()
        for wrapper in (model, nn.Sequential(MLP(4, [5], 3), nn.Linear(3, 3))):
            optimizer = build_optimizer(wrapper, OptimizerConfig(weight_decay=0.3))
            shapes = {
                group["weight_decay"]: sorted(tuple(one.shape) for one in group["params"])
                for group in optimizer.param_groups
                if group["weight_decay"] == 0.0
            }
            assert shapes == {0.0: [(3,), (5,)]}
            decayed = [
                tuple(one.shape)
                for group in optimizer.param_groups
                if group["weight_decay"] == 0.3
                for one in group["params"]
            ]
            assert sorted(decayed) == [(3,), (3, 3), (3, 5), (5, 4)]

    def test_a_frozen_parameter_is_left_out(self) -> None:
        model = network()
        model[0].requires_grad_(requires_grad=False)
        optimizer = build_optimizer(model, OptimizerConfig())
        assert sum(len(group["params"]) for group in optimizer.param_groups) == 4

    def test_groups_that_miss_a_parameter_are_refused(self) -> None:
        class Forgetful(nn.Linear):
            def param_groups(self, weight_decay: float) -> list[dict[str, object]]:
                return [{"params": [self.weight], "weight_decay": weight_decay}]

        expected = r"model\.param_groups must be .* each of the 2 trainable .* once, got 1"
        with pytest.raises(ValueError, match=expected):
            build_optimizer(Forgetful(2, 2), OptimizerConfig())


class SlowHead(nn.Module):
    """A network whose head has a smaller learning rate and whose biases do not decay."""

    def __init__(self) -> None:
        super().__init__()
        self.body, self.head = nn.Linear(4, 6), nn.Linear(6, 3)

    def forward(self, x: Tensor) -> Tensor:
        outputs: Tensor = self.head(self.body(x).relu())
        return outputs

    def param_groups(self, weight_decay: float) -> list[ParamGroup]:
        head = ParamGroup(self.head.parameters(), weight_decay=0.0, lr_factor=0.1)
        return [ParamGroup(self.body.parameters(), weight_decay=weight_decay), head]


class TestLearningRateFactor:
    @pytest.mark.parametrize("name", ["adamw", "sgd"])
    def test_each_group_has_its_rate_and_its_base(self, name: OptimizerName) -> None:
        model = SlowHead()
        optimizer = build_optimizer(model, OptimizerConfig(name=name, lr=0.5, weight_decay=0.2))
        found = [
            (group["lr"], group["initial_lr"], group["weight_decay"])
            for group in optimizer.param_groups
        ]
        assert found == [(0.5, 0.5, 0.2), (pytest.approx(0.05), pytest.approx(0.05), 0.0)]
        set_lr(optimizer, 0.5)
        assert [group["lr"] for group in optimizer.param_groups] == pytest.approx([0.25, 0.025])

    def test_muon_multiplies_both_of_its_rates(self) -> None:
        model = SlowHead()
        config = OptimizerConfig(name="muon", lr=0.5, adamw_lr=0.3)
        optimizer = build_optimizer(model, config)
        rates = {
            id(one): group["lr"] for group in optimizer.param_groups for one in group["params"]
        }
        expected = [("body.weight", 0.5), ("body.bias", 0.3), ("head.weight", 0.03)]
        for parameter, rate in expected:
            assert rates[id(model.get_parameter(parameter))] == pytest.approx(rate), parameter

    def test_a_run_is_that_of_torch_with_these_groups(self) -> None:
        """The trainer applies the factor in every step, under a schedule."""
        inputs, targets = torch.randn(16, 4), torch.randint(0, 3, (16,))
        model = SlowHead()
        other = copy.deepcopy(model)
        config = TrainerConfig(
            epochs=6,
            batch_size=16,
            optimizer=OptimizerConfig(name="sgd", lr=0.5, momentum=0.0),
            schedule=Schedule(kind="linear"),
            label_smoothing=0.0,
            progress=False,
        )
        Trainer(model, config).fit(LabeledTensors(inputs, targets))
        for step in range(6):
            rate = 0.5 * (1 - step / 6)
            loss = F.cross_entropy(other(inputs), targets)
            gradients = torch.autograd.grad(loss, list(other.parameters()))
            factors = [1.0, 1.0, 0.1, 0.1]
            with torch.no_grad():
                for one, gradient, factor in zip(
                    other.parameters(), gradients, factors, strict=True
                ):
                    one.sub_(gradient, alpha=rate * factor)
        torch.testing.assert_close(model.state_dict(), other.state_dict())

    def test_an_mlp_has_factor_1(self) -> None:
        model = MLP(4, [5], 3)
        assert [group.lr_factor for group in model.param_groups(0.1)] == [1.0, 1.0]
        optimizer = build_optimizer(model, OptimizerConfig(lr=0.3, weight_decay=0.1))
        assert [group["lr"] for group in optimizer.param_groups] == [0.3, 0.3]

    def test_a_bare_optimizer_of_torch_accepts_the_groups(self) -> None:
        """It keeps the factor among its options and makes steps at its own rate."""
        model = SlowHead()
        other = copy.deepcopy(model)
        optimizer = AdamW(model.param_groups(0.2), lr=0.5)
        plain = AdamW(
            [
                {"params": list(other.body.parameters()), "weight_decay": 0.2},
                {"params": list(other.head.parameters()), "weight_decay": 0.0},
            ],
            lr=0.5,
        )
        assert [group["lr"] for group in optimizer.param_groups] == [0.5, 0.5]
        for one, expected in zip(train(model, optimizer), train(other, plain), strict=True):
            assert torch.equal(one, expected)

    def test_parameters_come_in_any_form_that_torch_takes(self) -> None:
        """One parameter, or a generator, of a model or of several networks together."""

        class Mixed(nn.Linear):
            def param_groups(self, weight_decay: float) -> list[dict[str, object]]:
                biases = (self.bias for _ in range(1))
                return [{"params": self.weight, "weight_decay": weight_decay}, {"params": biases}]

        models = [Mixed(2, 2), Mixed(2, 2)]
        for model in (models[0], nn.Sequential(models[0], nn.Sequential(models[1]))):
            groups = build_optimizer(model, OptimizerConfig(weight_decay=0.1)).param_groups
            found = [(group["weight_decay"], len(group["params"])) for group in groups]
            assert found == [(0.1, 1), (0.0, 1)] * (len(groups) // 2)
        data = LabeledTensors(torch.randn(8, 2), torch.arange(8) % 2)
        fit_many(models, data, config=TrainerConfig(epochs=1, progress=False))

    def test_an_option_that_would_be_ignored_is_refused(self) -> None:
        class Own(nn.Linear):
            def param_groups(self, weight_decay: float) -> list[dict[str, object]]:
                return [{"params": self.parameters(), "weight_decay": weight_decay, "lr": 0.1}]

        expected = r"model\.param_groups must be .*, got \['lr'\]; .* times lr_factor"
        with pytest.raises(ValueError, match=expected):
            build_optimizer(Own(2, 2), OptimizerConfig())

    def test_a_factor_out_of_range_is_refused(self) -> None:
        class Zero(nn.Linear):
            def param_groups(self, weight_decay: float) -> list[dict[str, object]]:
                decay = {"weight_decay": weight_decay, "lr_factor": 0.0}
                return [{"params": list(self.parameters()), **decay}]

        with pytest.raises(ValueError, match=r"lr_factor of a group .* greater than 0, got 0\.0"):
            build_optimizer(Zero(2, 2), OptimizerConfig())
        with pytest.raises(ValueError, match=r"lr_factor .* greater than 0, got -1\.0"):
            ParamGroup([], weight_decay=0.0, lr_factor=-1.0)


def test_the_table_names_every_optimizer_and_its_settings_can_be_read() -> None:
    assert sorted(OPTIMIZERS) == sorted(get_args(OptimizerName))
    assert OptimizerConfig(name="muon").momentum == 0.95
    assert OptimizerConfig(name="sgd").nesterov is False
    assert OptimizerConfig().betas == (0.9, 0.999)
    assert OptimizerConfig(name="rmsprop").alpha == 0.99
    assert [OptimizerConfig(name=name).lr for name in ("adamw", "lbfgs")] == [1e-3, 1.0]
    for name in get_args(OptimizerName):
        config = OptimizerConfig(name=name, weight_decay=0.1)
        assert _serialization.from_json(OptimizerConfig, _serialization.to_json(config)) == config
        assert _serialization.from_toml(OptimizerConfig, _serialization.to_toml(config)) == config


class TestRefusals:
    def test_a_setting_of_another_optimizer(self) -> None:
        with pytest.raises(ValueError, match=r"momentum must be None for 'adamw', got 0\.9"):
            OptimizerConfig(momentum=0.9)
        with pytest.raises(ValueError, match=r"adamw_lr must be None for 'sgd', got 0\.1"):
            OptimizerConfig(name="sgd", adamw_lr=0.1)

    def test_numbers_out_of_range(self) -> None:
        with pytest.raises(ValueError, match=r"lr .* at least 0, got -0\.1"):
            OptimizerConfig(lr=-0.1)
        with pytest.raises(ValueError, match=r"betas\[1\] .* less than 1, got 1\.0"):
            OptimizerConfig(betas=(0.9, 1.0))
        with pytest.raises(ValueError, match=r"ns_steps must be at most 99, got 100"):
            OptimizerConfig(name="muon", ns_steps=100)
        with pytest.raises(ValueError, match=r"momentum must be above 0 for nesterov, got 0\.0"):
            OptimizerConfig(name="sgd", momentum=0.0, nesterov=True)
        with pytest.raises(ValueError, match=r"name must be one of .*, got 'adagrad'"):
            _serialization.from_toml(OptimizerConfig, 'name = "adagrad"')

    def test_a_model_without_parameters(self) -> None:
        with pytest.raises(ValueError, match="model must be a model with at least one parameter"):
            build_optimizer(nn.ReLU(), OptimizerConfig())

    def test_muon_for_a_linear_model(self) -> None:
        expected = "model must be a model with at least one hidden weight matrix .*, got 'Linear'"
        with pytest.raises(ValueError, match=expected):
            build_optimizer(nn.Linear(2, 2), OptimizerConfig(name="muon"))

    def test_fused_kernels_where_there_are_none(self) -> None:
        expected = (
            r"fused must be False .*, got a torch\.float32 parameter on meta; set fused=False"
        )
        with pytest.raises(ValueError, match=expected):
            build_optimizer(nn.Linear(2, 2, device="meta"), OptimizerConfig())

    def test_groups_with_different_rates_for_lbfgs(self) -> None:
        expected = r"lr_factor must be equal in all parameter groups .*, got \[0\.1, 1\.0\]"
        with pytest.raises(ValueError, match=expected):
            build_optimizer(SlowHead(), OptimizerConfig(name="lbfgs"))

    def test_a_momentum_schedule_without_momentum(self) -> None:
        optimizer = torch.optim.Adagrad(nn.Linear(2, 2).parameters())
        expected = r"optimizer must be an optimizer with momentum .*'Adagrad'"
        with pytest.raises(ValueError, match=expected):
            set_momentum(optimizer, 0.9)


class TestMuonGroups:
    """Hidden matrices are those before the last one; embeddings are no matrices of a layer."""

    @staticmethod
    def hidden(model: nn.Module) -> set[str]:
        optimizer = build_optimizer(model, OptimizerConfig(name="muon"))
        found = {
            id(parameter)
            for group in optimizer.param_groups
            if group["use_muon"]
            for parameter in group["params"]
        }
        return {name for name, parameter in model.named_parameters() if id(parameter) in found}

    def test_the_head_of_a_network_before_another_layer_is_hidden(self) -> None:
        alone = MLP(4, (3, 3), 2)
        assert self.hidden(alone) == {"layers.0.linear.weight", "layers.1.linear.weight"}
        followed = nn.Sequential(MLP(4, (3,), 5), nn.ReLU(), nn.Linear(5, 2))
        assert self.hidden(followed) == {"0.layers.0.linear.weight", "0.head.weight"}
        backbone = nn.Sequential(MLP(4, (3,), None), nn.Linear(3, 2))
        assert self.hidden(backbone) == {"0.layers.0.linear.weight"}

    def test_embeddings_use_adamw(self) -> None:
        for embedding in (nn.Embedding(10, 4), nn.EmbeddingBag(10, 4)):
            model = nn.Sequential(embedding, MLP(4, (3,), 2))
            assert self.hidden(model) == {"1.layers.0.linear.weight"}

    def test_a_frozen_output_layer_stays_the_output_layer(self) -> None:
        model = MLP(4, (3, 3), 2)
        assert model.head is not None
        model.head.requires_grad_(False)
        assert self.hidden(model) == {"layers.0.linear.weight", "layers.1.linear.weight"}
