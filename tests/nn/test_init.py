"""Weight scales against scipy's quadrature, closed forms, published values and networks."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from typing import ClassVar, get_args

import numpy as np
import pytest
import torch
from scipy import integrate, stats
from torch import Tensor, nn

from mlpkit.nn import (
    ActivationConfig,
    ActivationName,
    Maxout,
    PReLU,
    build_activation,
    expansion,
    layer_scale,
    reset_linear_,
    second_moment,
    second_moment_gain,
)

NAMES: tuple[ActivationName, ...] = get_args(ActivationName)
GATES: dict[ActivationName, ActivationName] = {
    "glu": "sigmoid",
    "reglu": "relu",
    "geglu": "gelu",
    "swiglu": "silu",
}
# A relative deviation of the second moment grows by this factor per layer, so the noise of a
# finite width dominates within 20 layers, even averaged over 64 initializations.
UNSTEADY: dict[ActivationName, float] = {
    "mish": 1.052,
    "gelu": 1.084,
    "glu": 1.131,
    "silu": 1.147,
    "hardswish": 1.202,
    "softshrink": 1.331,
    "tanhshrink": 1.521,
    "reglu": 2.000,
    "geglu": 2.112,
    "swiglu": 2.165,
}
STEADY = [name for name in NAMES if name not in UNSTEADY and name != "threshold"]


def slow_second_moment(function: Callable[[float], float], variance: float = 1.0) -> float:
    """E f(sqrt(t) Z)^2 by scipy's adaptive quadrature, with the kinks as break points."""
    std = math.sqrt(variance)
    kinks = sorted(
        {kink / std for kink in (-6, -3, -1, -0.5, 0, 0.5, 1, 3, 6) if abs(kink) < 12 * std}
    )
    total = 0.0
    for low, high in zip([-12, *kinks], [*kinks, 12], strict=True):
        piece, _ = integrate.quad(
            lambda z: function(std * z) ** 2 * stats.norm.pdf(z), low, high, epsabs=1e-12
        )
        total += float(piece)
    return total


def scalar(name: ActivationName) -> Callable[[float], float]:
    """The activation as a function of one number."""
    module = build_activation(name, 1).eval()
    return lambda x: float(module(torch.tensor([x], dtype=torch.float64)).item())


def is_bounded_by_one(name: ActivationName) -> bool:
    """Whether all values are between -1 and 1; then E f^2 < 1 at every scale of the weights."""
    module = build_activation(name, 1).eval()
    x = torch.linspace(-1e3, 1e3, 2001)[:, None].expand(-1, expansion(module))
    return bool((module(x).abs() <= 1).all())


@pytest.mark.parametrize(
    ("name", "gain"),
    [
        ("relu", 1.41421),
        ("leaky_relu", 1.41414),
        ("prelu", 1.37199),
        ("tanh", 1.59254),
        ("sigmoid", 1.84623),
        ("gelu", 1.53353),
        ("silu", 1.67653),
        ("elu", 1.24520),
        ("selu", 1.0),
        ("mish", 1.48685),
        ("softplus", 1.04187),
        ("hardswish", 1.73666),
        ("identity", 1.0),
    ],
)
def test_the_gains_of_the_survey(name: ActivationName, gain: float) -> None:
    assert second_moment_gain(name) == pytest.approx(gain, abs=5e-6)


@pytest.mark.parametrize(
    ("pieces", "gain"),
    [(1, 1.0), (2, 1.0), (3, 0.88538), (4, 0.80288), (5, 0.74535), (8, 0.64556), (10, 0.60722)],
)
def test_the_gains_of_maxout_in_the_survey(pieces: int, gain: float) -> None:
    assert second_moment_gain(Maxout(pieces)) == pytest.approx(gain, abs=5e-6)


def test_relu_has_the_gain_of_he() -> None:
    assert second_moment_gain("relu") == pytest.approx(math.sqrt(2), abs=1e-9)
    assert second_moment_gain(nn.ReLU()) == second_moment_gain("relu")
    assert second_moment_gain(torch.relu) == pytest.approx(math.sqrt(2), abs=1e-9)


@pytest.mark.parametrize("variance", [0.3, 1.0, 4.0])
@pytest.mark.parametrize(
    "name", [n for n in NAMES if n not in (*GATES, "maxout", "prelu", "rrelu", "threshold")]
)
def test_an_element_wise_activation_against_scipy(name: ActivationName, variance: float) -> None:
    """The trapezoid rule has a larger error for hardshrink, which is discontinuous."""
    expected = slow_second_moment(scalar(name), variance)
    tolerance = 1e-3 if name == "hardshrink" else 1e-6
    assert second_moment(name, variance) == pytest.approx(expected, rel=tolerance)


@pytest.mark.parametrize("variance", [0.3, 1.0, 4.0])
@pytest.mark.parametrize("name", sorted(GATES))
def test_a_gated_unit_against_scipy(name: ActivationName, variance: float) -> None:
    """The value and the gate are independent, so E (v g)^2 = E v^2 E g^2."""
    gate = slow_second_moment(scalar(GATES[name]), variance)
    assert second_moment(name, variance) == pytest.approx(variance * gate, rel=1e-6)


@pytest.mark.parametrize("pieces", [1, 2, 3, 5, 8])
def test_maxout_against_the_tails_of_its_distribution(pieces: int) -> None:
    """E M^2 is the integral of 2 x (P(M > x) + P(M < -x)) over x > 0, and scales with t."""
    expected, _ = integrate.quad(
        lambda x: 2 * x * (1 - stats.norm.cdf(x) ** pieces + stats.norm.cdf(-x) ** pieces), 0, 12
    )
    assert second_moment(Maxout(pieces), 3.0) == pytest.approx(3 * expected, rel=1e-7)


def test_maxout_of_three_and_four_pieces_in_closed_form() -> None:
    assert second_moment(Maxout(3)) == pytest.approx(1 + math.sqrt(3) / (2 * math.pi), rel=1e-9)
    assert second_moment(Maxout(4)) == pytest.approx(1 + math.sqrt(3) / math.pi, rel=1e-9)


def test_prelu_uses_its_current_slopes() -> None:
    """Equation 15 of the PReLU paper for one slope, and its mean over the slopes of all units."""
    module = PReLU(3)
    with torch.no_grad():
        module.weight.copy_(torch.tensor([0.0, 0.5, 1.0]))
    expected = sum((1 + slope**2) / 2 for slope in (0.0, 0.5, 1.0)) / 3
    assert second_moment(module) == pytest.approx(expected)
    assert second_moment(nn.PReLU(2, init=0.5)) == pytest.approx((1 + 0.25) / 2)
    assert second_moment(ActivationConfig("prelu", init=0.5)) == pytest.approx((1 + 0.25) / 2)
    assert layer_scale(PReLU(3, init=0.5)).preactivation_variance == pytest.approx(2 / 1.25)


def test_random_relu_uses_its_random_slope() -> None:
    z = torch.randn(1_000_000, generator=torch.Generator().manual_seed(0))
    sampled = nn.RReLU()(z).square().mean().item()
    assert second_moment("rrelu") == pytest.approx(sampled, rel=5e-3)


@pytest.mark.parametrize("name", [name for name in NAMES if name != "threshold"])
def test_the_scale_of_a_layer_makes_the_second_moment_one_if_possible(
    name: ActivationName,
) -> None:
    variance, after = layer_scale(name)
    assert second_moment(name, variance) == pytest.approx(after, rel=1e-9)
    if is_bounded_by_one(name):
        assert variance == 1.0
        assert after < 1
        assert second_moment(name, 1e4) < 1
    else:
        assert after == pytest.approx(1.0, rel=1e-9)


@pytest.mark.parametrize(
    ("name", "variance"),
    [
        ("identity", 1.0),
        ("relu", 2.0),
        ("leaky_relu", 2 / (1 + 1e-4)),
        ("prelu", 2 / (1 + 0.25**2)),
        ("maxout", 1.0),
        ("reglu", math.sqrt(2)),
        ("selu", 1.0),
    ],
)
def test_the_scale_of_a_layer_in_closed_form(name: ActivationName, variance: float) -> None:
    assert layer_scale(name).preactivation_variance == pytest.approx(variance, rel=1e-7)


def test_a_function_and_a_module_have_the_scale_of_their_name() -> None:
    for activation in (nn.SiLU(), nn.functional.silu, ActivationConfig("silu")):
        assert layer_scale(activation) == pytest.approx(layer_scale("silu"))
    assert second_moment_gain(lambda x: torch.relu(x) ** 2) == pytest.approx(0.81650, abs=5e-6)


def test_a_scale_outside_the_search_range_is_one() -> None:
    """For 0.01 x the solution is 10,000; the variance of the pre-activations is 1 instead."""
    assert layer_scale(lambda x: 0.01 * x) == pytest.approx((1.0, 1e-4))
    assert layer_scale(lambda x: 10 * x) == pytest.approx((1.0, 100.0))
    assert layer_scale(lambda x: x + 5.0) == pytest.approx((1.0, 26.0))


def test_of_two_solutions_the_one_nearest_to_one_is_returned() -> None:
    """X exp(-x^2 / 2) has V(t) = t / (1 + 2 t)^(3/2), which increases and then decreases."""

    def bump(x: Tensor) -> Tensor:
        return 3 * x * torch.exp(-x.square() / 2)

    for variance in (0.2, 1.0, 5.0):
        expected = 9 * variance / (1 + 2 * variance) ** 1.5
        assert second_moment(bump, variance) == pytest.approx(expected, rel=1e-6)
    variance, after = layer_scale(bump)
    # V(t) = 1 is 81 t^2 = (1 + 2 t)^3, which also has a negative root.
    roots = [float(root) for root in np.roots([8, -69, 6, 1]) if root > 0]
    assert len(roots) == 2
    assert variance == pytest.approx(min(roots, key=lambda root: abs(math.log(root))))
    assert after == pytest.approx(1.0)


# --- modules of a class without a name


class Swish(nn.Module):
    """An element-wise module of a class without a name."""

    def forward(self, x: Tensor) -> Tensor:
        return x * x.sigmoid()


class Largest(nn.Module):
    """Maxout as a class without a name."""

    expansion = 5

    def forward(self, x: Tensor) -> Tensor:
        return x.reshape(*x.shape[:-1], -1, 5).amax(-1)


@pytest.mark.parametrize("width", [1, 64, 512])
def test_a_custom_module_is_sampled(width: int) -> None:
    assert second_moment(Swish(), width=width) == pytest.approx(second_moment("silu"), rel=0.01)
    expected = second_moment(Maxout(5))
    assert second_moment(Largest(), width=width) == pytest.approx(expected, rel=0.01)


def test_a_custom_module_may_mix_features() -> None:
    """A layer norm after a ReLU makes the second moment 1 at any scale of the input."""
    module = nn.Sequential(nn.ReLU(), nn.LayerNorm(64))
    assert second_moment(module, 9.0, width=64) == pytest.approx(1.0, rel=1e-3)


def test_sampling_changes_neither_the_module_nor_the_global_generator() -> None:
    module = nn.Sequential(nn.BatchNorm1d(8), Swish(), nn.Dropout(0.5))
    before = copy.deepcopy(module.state_dict())
    state = torch.get_rng_state()
    first = layer_scale(module, width=8)
    assert layer_scale(module, width=8) == first
    assert torch.equal(torch.get_rng_state(), state)
    assert module.training
    for key, value in module.state_dict().items():
        assert torch.equal(value, before[key]), key
        assert value.dtype is before[key].dtype


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float64])
def test_the_dtype_of_a_custom_module_does_not_matter(dtype: torch.dtype) -> None:
    module = nn.Sequential(nn.LayerNorm(8), Swish()).to(dtype)
    wanted = second_moment(nn.Sequential(nn.LayerNorm(8), Swish()), width=8)
    assert second_moment(module, width=8) == pytest.approx(wanted)


def test_it_works_with_meta_as_the_default_device() -> None:
    with torch.device("meta"):
        assert second_moment(PReLU(3, init=0.5)) == pytest.approx(0.625)
        assert second_moment("gelu", 1.5) == second_moment(nn.GELU(), 1.5)
        assert second_moment(Swish()) == pytest.approx(second_moment("silu"), rel=0.01)
        with pytest.raises(
            ValueError, match="activation must be on a device other than meta, got Sequ"
        ):
            second_moment(nn.Sequential(nn.LayerNorm(8)), width=8)


@pytest.mark.parametrize(
    ("function", "shown"),
    [(torch.zeros_like, "0"), (lambda x: x.exp().exp(), "inf"), (lambda x: x.log(), "nan")],
    ids=["zero", "infinite", "nan"],
)
def test_a_second_moment_that_is_not_positive_and_finite_is_refused(
    function: Callable[[Tensor], Tensor], shown: str
) -> None:
    rule = (
        "activation must be a function with a positive, finite second moment for normal inputs, "
        f"got .*second moment is {shown};"
    )
    for measure in (second_moment, second_moment_gain, layer_scale):
        with pytest.raises(ValueError, match=rule):
            measure(function)


def test_a_function_that_changes_the_shape_is_refused() -> None:
    with pytest.raises(ValueError, match="activation must be an element-wise function, got <"):
        second_moment(lambda x: x.sum())


def test_a_variance_that_is_not_positive_is_refused() -> None:
    with pytest.raises(ValueError, match="preactivation_variance must be a finite number greater"):
        second_moment("relu", 0.0)


# --- drawing weights


def test_weights_are_normal_with_the_given_scale_and_the_bias_is_zero() -> None:
    linear = nn.Linear(400, 300)
    reset_linear_(linear, preactivation_variance=3.0, input_second_moment=0.5)
    std = math.sqrt(3 / (400 * 0.5))
    sample = linear.weight.detach().double().flatten().numpy() / std
    assert stats.kstest(sample, "norm").pvalue > 1e-3
    assert linear.bias.count_nonzero() == 0


def test_the_preactivations_have_the_given_variance() -> None:
    linear = nn.Linear(1000, 1000, bias=False, dtype=torch.float64)
    reset_linear_(linear, preactivation_variance=3.0, input_second_moment=0.25)
    z = linear(0.5 * torch.randn(64, 1000, dtype=torch.float64))
    assert z.square().mean().item() == pytest.approx(3.0, rel=0.02)


def test_the_same_generator_draws_the_same_weights() -> None:
    first, second, other = nn.Linear(5, 4), nn.Linear(5, 4), nn.Linear(5, 4)
    state = torch.get_rng_state()
    for linear, seed in ((first, 1), (second, 1), (other, 2)):
        reset_linear_(linear, generator=torch.Generator().manual_seed(seed))
    assert torch.equal(first.weight, second.weight)
    assert not torch.equal(first.weight, other.weight)
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float64])
def test_every_floating_dtype_can_be_drawn(dtype: torch.dtype) -> None:
    linear = nn.Linear(300, 300, dtype=dtype)
    reset_linear_(linear, generator=torch.Generator().manual_seed(0))
    assert linear.weight.dtype is dtype
    assert linear.weight.double().var().item() == pytest.approx(1 / 300, rel=0.02)


def test_a_weight_on_the_meta_device_is_accepted() -> None:
    linear = nn.Linear(3, 2, device="meta")
    reset_linear_(linear, generator=torch.Generator().manual_seed(0))
    assert linear.weight.is_meta


def test_a_scale_that_is_not_positive_is_refused() -> None:
    with pytest.raises(
        ValueError, match="input_second_moment must be a finite number greater than"
    ):
        reset_linear_(nn.Linear(3, 2), input_second_moment=0.0)


# --- deep networks


WIDTH, DEPTH, INITIALIZATIONS = 1024, 20, 64


def test_the_elasticity_of_every_activation() -> None:
    """If d ln V / d ln t exceeds 1 in absolute value, deviations grow from layer to layer."""
    for name in (*STEADY, *UNSTEADY):
        variance, _ = layer_scale(name)
        high, low = second_moment(name, variance * 1.1), second_moment(name, variance / 1.1)
        elasticity = math.log(high / low) / (2 * math.log(1.1))
        if name in UNSTEADY:
            assert elasticity == pytest.approx(UNSTEADY[name], abs=5e-3), name
        else:
            assert elasticity < 1.045, name


@pytest.mark.parametrize(
    ("count", "tolerance"), [(16, 0.2), pytest.param(64, 0.1, marks=pytest.mark.long)]
)
def test_the_second_moment_is_preserved_through_twenty_layers(count: int, tolerance: float) -> None:
    """Averaged over 64 initializations, within 10 % in every one of 20 layers of width 1024.

    The mean over a quarter of them has twice the standard error. A scale that is wrong by 1 % in
    each layer is wrong by 22 % after twenty.

    The weights of one draw serve all activations, each with its own scale: W is drawn with
    pre-activation variance 1, and an activation sees sqrt(t / q) W h, as if it had been drawn for
    it. For a bounded activation the second moment is that of the first hidden layer.
    """
    generator = torch.Generator().manual_seed(0)
    modules = [build_activation(name, WIDTH) for name in STEADY]
    scales = [layer_scale(name) for name in STEADY]
    linear = nn.Linear(WIDTH, 2 * WIDTH, bias=False)  # maxout takes two pieces for each unit
    mean = torch.zeros(DEPTH, len(STEADY))
    inputs = torch.randn(WIDTH, generator=generator)
    inputs /= inputs.square().mean().sqrt()
    with torch.no_grad():
        for _ in range(count):
            hidden, moments = inputs.expand(len(STEADY), -1), [1.0] * len(STEADY)
            for depth in range(DEPTH):
                reset_linear_(linear, generator=generator)
                z = linear(hidden)
                rows = []
                for index, (module, scale) in enumerate(zip(modules, scales, strict=True)):
                    std = math.sqrt(scale.preactivation_variance / moments[index])
                    rows.append(module(std * z[index, : WIDTH * expansion(module)]))
                    moments[index] = scale.second_moment
                hidden = torch.stack(rows)
                mean[depth] += hidden.square().mean(1) / count
    for index, name in enumerate(STEADY):
        relative = mean[:, index] / scales[index].second_moment
        assert relative.sub(1).abs().max().item() < tolerance, (name, relative.tolist())


@pytest.mark.parametrize(
    "config",
    [
        ActivationConfig("maxout", num_pieces=3),
        ActivationConfig("maxout", num_pieces=5),
        ActivationConfig("leaky_relu", negative_slope=0.3),
        ActivationConfig("prelu", init=0.5, per_unit=True),
        ActivationConfig("elu", alpha=0.5),
        ActivationConfig("hardtanh", min_val=-2.0, max_val=2.0),
        ActivationConfig("softplus", beta=2.0),
    ],
    ids=repr,
)
def test_the_second_moment_is_preserved_with_other_options(config: ActivationConfig) -> None:
    """W h given h is normal with independent entries, so it is sampled without a matrix."""
    generator = torch.Generator().manual_seed(0)
    module, scale = build_activation(config, WIDTH), layer_scale(config)
    moment, expected = torch.ones(INITIALIZATIONS), 1.0
    for _ in range(DEPTH):
        std = (scale.preactivation_variance * moment / expected).sqrt()
        shape = (INITIALIZATIONS, WIDTH * expansion(module))
        with torch.no_grad():
            h = module(std[:, None] * torch.randn(shape, generator=generator))
        moment, expected = h.square().mean(1), scale.second_moment
        assert moment.mean().item() == pytest.approx(expected, rel=0.1)


@pytest.mark.parametrize("name", sorted(UNSTEADY))
def test_the_second_moment_is_preserved_at_infinite_width(
    name: ActivationName,
) -> None:
    """Without the noise of a finite width the second moment of every layer is 1."""
    variance, _ = layer_scale(name)
    moment = 1.0
    for _ in range(DEPTH):
        moment = second_moment(name, variance * moment)
    assert moment == pytest.approx(1.0, rel=1e-6)


# --- what mutants of the source have shown to be untested


@pytest.mark.parametrize("kind", [PReLU, nn.PReLU], ids=["mlpkit", "torch"])
def test_the_scale_of_a_prelu_follows_its_current_slopes(
    kind: type[PReLU] | type[nn.PReLU],
) -> None:
    """Not the slope that it was made with."""
    module = kind(2, init=0.25)
    with torch.no_grad():
        module.weight.copy_(torch.tensor([0.5, 1.0]))
    expected = 2 / (1 + (0.25 + 1.0) / 2)
    assert layer_scale(module) == pytest.approx((expected, 1.0))
    assert layer_scale(PReLU(2, init=0.5, device="meta")).preactivation_variance == pytest.approx(
        2 / 1.25
    )


def test_a_slope_of_zero_is_that_of_relu() -> None:
    """A second moment of exactly 1 at a power of 2 is found as well."""
    prelu = ActivationConfig("prelu", init=0.0)
    assert second_moment(prelu) == 0.5
    assert layer_scale(prelu) == pytest.approx((2.0, 1.0))


@pytest.mark.parametrize(("lower", "upper"), [(0.0, 0.5), (0.25, 0.75), (0.5, 0.5), (0.0, 1.0)])
def test_the_random_slope_is_uniform(lower: float, upper: float) -> None:
    """E a^2 = Var a + (E a)^2 of a uniform distribution."""
    expected = (1 + (upper - lower) ** 2 / 12 + ((lower + upper) / 2) ** 2) / 2
    config = ActivationConfig("rrelu", lower=lower, upper=upper)
    assert second_moment(config) == pytest.approx(expected)
    assert second_moment(config, 3.0) == pytest.approx(3 * expected)


@pytest.mark.parametrize("variance", [1 / 63, 1 / 40, 1 / 20, 0.3, 0.9, 1.1, 3.0, 20.0, 40.0, 63.0])
def test_every_scale_in_the_search_range_is_found(variance: float) -> None:
    """From 1/64 to 64."""
    slope = 1 / math.sqrt(variance)
    assert layer_scale(lambda x: slope * x) == pytest.approx((variance, 1.0))


class Cube(nn.Module):
    """A module of a class without a name whose second moment is in the tails: E x^4 = 3."""

    def forward(self, x: Tensor) -> Tensor:
        return x * x.abs()


def test_a_sample_has_the_tails_of_the_normal_distribution() -> None:
    for width in (1, 64):
        assert second_moment(Cube(), width=width) == pytest.approx(3.0, rel=0.01)
        assert second_moment(Cube(), 4.0, width=width) == pytest.approx(48.0, rel=0.01)
    assert second_moment_gain(Cube()) == pytest.approx(1 / math.sqrt(3), rel=0.01)


class Seen(nn.Module):
    """Remembers the shape of its inputs."""

    shapes: ClassVar[list[torch.Size]] = []

    def forward(self, x: Tensor) -> Tensor:
        self.shapes.append(x.shape)
        return x


@pytest.mark.parametrize("measure", [second_moment, second_moment_gain, layer_scale])
def test_a_module_without_a_name_sees_one_feature_or_the_given_width(
    measure: Callable[..., object],
) -> None:
    """Of 2**16 values."""
    for options, width in (({}, 1), ({"width": 4}, 4)):
        Seen.shapes.clear()
        measure(Seen(), **options)
        assert {shape[-1] for shape in Seen.shapes} == {width}
        assert {shape.numel() for shape in Seen.shapes} == {2**16}
    with pytest.raises(ValueError, match=r"^width must be a positive integer, got 0"):
        measure(Seen(), width=0)
    measure("relu", width=1)


def test_the_activation_that_is_refused_is_named() -> None:
    def nothing(x: Tensor) -> Tensor:
        return torch.zeros_like(x)

    for measure in (second_moment, second_moment_gain, layer_scale):
        with pytest.raises(ValueError, match=r"^activation must be .* got <function .*nothing"):
            measure(nothing)
    with pytest.raises(ValueError, match=r"^activation must be an element-wise .* got <built-in"):
        layer_scale(torch.sum)
    for measure in (second_moment, second_moment_gain, layer_scale):
        with pytest.raises(ValueError, match=r"^activation must be .* got ActivationConfig\('thr"):
            measure(ActivationConfig("threshold", threshold=30.0, value=0.0))


@pytest.mark.parametrize("value", [0.0, -1.0, math.inf, math.nan])
@pytest.mark.parametrize("name", ["preactivation_variance", "input_second_moment"])
def test_scales_of_weights_are_positive_and_finite(name: str, value: float) -> None:
    linear = nn.Linear(3, 2)
    before = linear.weight.detach().clone()
    with pytest.raises(ValueError, match=f"^{name} must be a finite number greater than 0"):
        reset_linear_(linear, **{name: value})  # type: ignore[arg-type]  # mypy sees a generator
    assert torch.equal(linear.weight, before)


def test_weights_are_those_of_torch_with_the_same_generator() -> None:
    """Oracle: normal_; by default for standardized inputs and outputs."""
    linear, expected = nn.Linear(5, 4), torch.empty(4, 5)
    reset_linear_(linear, generator=torch.Generator().manual_seed(1))
    expected.normal_(0.0, math.sqrt(1 / 5), generator=torch.Generator().manual_seed(1))
    assert torch.equal(linear.weight, expected)
    torch.manual_seed(3)
    reset_linear_(linear, preactivation_variance=2.0, input_second_moment=0.5)
    torch.manual_seed(3)
    assert torch.equal(linear.weight, expected.normal_(0.0, math.sqrt(2.0 / (5 * 0.5))))
    assert linear.weight.requires_grad
