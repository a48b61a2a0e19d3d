"""The base of the models: raw inputs are standardized, then the network sees them."""

from __future__ import annotations

import copy
import pickle
import warnings

import numpy as np
import pytest
import torch
from tests.models.kinds import make_tabular, rows
from torch import Tensor, nn

from mlpkit.models._standardized_model import StandardizedModel
from mlpkit.nn import MLP


def make_model(
    *, mean: float | Tensor = 33.0, std: float | Tensor = 78.0, max_norm: float | None = None
) -> StandardizedModel:
    """Return a small model of 4 x 3 images, with random weights."""
    generator = torch.Generator().manual_seed(1)
    network = MLP(12, (8, 6), 3, max_norm=max_norm, generator=generator)
    return StandardizedModel(network, mean=mean, std=std, input_shape=(4, 3)).eval()


@pytest.fixture
def x() -> Tensor:
    """Some images."""
    return torch.randint(0, 256, (5, 4, 3), dtype=torch.uint8)


def test_the_output_is_that_of_the_network_on_standardized_inputs(x: Tensor) -> None:
    """Oracle: the formula of the docstring in NumPy, then the bare network."""
    model = make_model()
    standardized = (x.numpy().reshape(5, 12).astype(np.float32) - 33.0) / 78.0
    expected = model.network(torch.from_numpy(standardized.astype(np.float32)))
    torch.testing.assert_close(model(x), expected)


def test_each_feature_can_have_its_own_mean_and_std(x: Tensor) -> None:
    """A vector of means acts on its own feature, given flat or in the shape of an example."""
    mean, std = torch.rand(12) * 100, torch.rand(12) * 50 + 1
    expected = (x.flatten(1).float() - mean) / std
    for shape in ((12,), (4, 3)):
        model = make_model(mean=mean.reshape(shape), std=std.reshape(shape))
        torch.testing.assert_close(model.standardize(x), expected)


def test_every_accepted_shape_gives_the_same_output(x: Tensor) -> None:
    """Images, images with a channel axis, flat vectors, and one example."""
    model = make_model()
    expected = model(x)
    for other in (x[:, None], x.flatten(1), x.float()):
        torch.testing.assert_close(model(other), expected)
    torch.testing.assert_close(model(x[2]), expected[2])


def test_a_wrong_shape_is_named(x: Tensor) -> None:
    """The message has the shape wanted and the shape given."""
    with pytest.raises(ValueError, match=r"^x must be of shape \(N, 4, 3\) .*, got \(5, 3, 4\)$"):
        make_model()(x.transpose(1, 2))


def test_other_layouts_devices_and_kinds_are_refused(x: Tensor) -> None:
    """Each cure gives an input that is accepted."""
    model = make_model()
    flat = x.flatten(1).float()
    with pytest.raises(TypeError, match=r"^x must be a dense tensor, .* with x\.to_dense\(\)$"):
        model(flat.to_sparse())
    torch.testing.assert_close(model(flat.to_sparse().to_dense()), model(x))
    with pytest.raises(ValueError, match=r"^x must be on the device of the model \(cpu\), got 'me"):
        model(flat.to("meta"))
    with pytest.raises(TypeError, match=r"^x must be of real numbers, got .*; use x\.abs\(\)"):
        model(flat.to(torch.complex64))
    with pytest.raises(TypeError, match=r"^x must be a tensor of raw inputs, got array.*as_tensor"):
        model(x.numpy())  # type: ignore[arg-type]  # bad on purpose


def test_a_symbolic_trace_is_equal(x: Tensor) -> None:
    """To the bit, for every dtype."""
    model = make_model()
    traced = torch.fx.symbolic_trace(model)
    for raw in (x, x.float(), x.double() / 7, x.int()):
        assert torch.equal(traced(raw), model(raw))


def test_without_an_input_shape_it_takes_vectors() -> None:
    model = StandardizedModel(MLP(12, (), 3))
    assert model.input_shape == (12,)
    x = torch.randn(2, 12)
    torch.testing.assert_close(model(x), model.network(x))


def test_it_has_the_parameter_groups_and_the_max_norm_of_its_network() -> None:
    """An optimizer and the trainer see them."""
    model = make_model(max_norm=0.25)
    groups = model.param_groups(0.1)
    expected = model.network.param_groups(0.1)
    assert [[id(one) for one in group.params] for group in groups] == [
        [id(one) for one in group.params] for group in expected
    ]
    assert [group.weight_decay for group in groups] == [0.1, 0.0]
    assert model.max_norm == 0.25
    model.apply_max_norm_()
    for module in model.modules():
        if isinstance(module, nn.Linear):
            assert float(module.weight.detach().norm(dim=1).max()) <= 0.25 + 1e-6


def test_the_statistics_are_buffers() -> None:
    """They are saved, move with the model, and are no parameters."""
    model = make_model(mean=torch.arange(12.0))
    state = model.state_dict()
    assert torch.equal(state["mean"], torch.arange(12.0))
    assert float(state["std"]) == 78.0
    assert model.double().standardize(torch.zeros(1, 12)).dtype == torch.float64
    assert not {"mean", "std"} & dict(model.named_parameters()).keys()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"network": nn.Linear(12, 3)}, r"network must be an mlpkit\.nn\.MLP or TabularMLP, got"),
        ({"input_shape": (5, 3)}, r"^input_shape must be a shape of 12 features, got \(5, 3\)"),
        ({"mean": torch.zeros(5)}, r"^mean must be one number or one for each of 12 features"),
        ({"std": 0.0}, r"^std must be positive, got 0.0"),
        ({"mean": float("nan")}, r"^mean must be finite, got nan"),
    ],
)
def test_bad_arguments(change: dict[str, object], message: str) -> None:
    arguments = {"network": MLP(12, (), 3), **change}
    with pytest.raises((TypeError, ValueError), match=message):
        StandardizedModel(**arguments)  # type: ignore[arg-type]  # bad on purpose


FAR = {
    "int64": torch.arange(201)[:, None] + torch.tensor([1_700_000_000, 1_700_000_000_000]),
    "float64": torch.arange(201.0).double()[:, None] + torch.tensor([1.7e9, 1.7e12]).double(),
}
FAR_MEAN = torch.tensor([1.7e9 + 100, 1.7e12 + 100], dtype=torch.float64)
FAR_STD = float(np.std(np.arange(201)))


def far_model(dtype: torch.dtype = torch.float32) -> StandardizedModel:
    """Return a model of two columns whose means float32 cannot represent."""
    network = MLP(2, (3,), 2, generator=torch.Generator().manual_seed(2), dtype=dtype)
    return StandardizedModel(network, mean=FAR_MEAN, std=FAR_STD)


@pytest.mark.parametrize("name", list(FAR))
def test_a_mean_that_the_weights_cannot_represent_is_subtracted_exactly(name: str) -> None:
    """The values stay apart and are centered; oracle: NumPy in float64."""
    inputs = FAR[name]
    expected = (inputs.numpy().astype(np.float64) - FAR_MEAN.numpy()) / FAR_STD
    model = far_model()
    found = model.standardize(inputs)
    np.testing.assert_allclose(found.numpy(), expected, atol=2e-4)
    assert len(torch.unique(found, dim=0)) == 201
    traced = torch.fx.symbolic_trace(model)
    copies = [copy.deepcopy(model), pickle.loads(pickle.dumps(model)), traced]
    empty = far_model().to("meta").to_empty(device="cpu")
    empty.load_state_dict(model.state_dict())
    other = StandardizedModel(MLP(2, (3,), 2), mean=torch.zeros(2), std=FAR_STD)
    other.load_state_dict(model.state_dict())  # it had no remainder
    for each in [*copies, empty, other]:
        assert torch.equal(each(inputs), model(inputs))
    near = StandardizedModel(MLP(2, (3,), 2), mean=torch.zeros(2))
    model.load_state_dict(near.state_dict())
    assert model.mean_remainder is None
    assert torch.equal(model(torch.ones(1, 2)), near(torch.ones(1, 2)))


def test_a_mean_keeps_its_value_in_another_dtype() -> None:
    """From float64 to float32 it gets a remainder, and back again it is nearly the same."""
    inputs, model = FAR["float64"], far_model(torch.float64)
    assert model.mean_remainder is None
    expected = model.standardize(inputs)
    found = model.float().standardize(inputs)
    torch.testing.assert_close(found, expected.float(), rtol=0, atol=2e-4)
    assert "mean_remainder" in model.state_dict()
    torch.testing.assert_close(model.double().standardize(inputs), expected, rtol=0, atol=2e-4)


def test_other_models_have_no_remainder() -> None:
    """Their state_dict has no key for it."""
    for dtype in (torch.float16, torch.bfloat16, torch.float32, torch.float64):
        model = make_model(mean=torch.rand(12) * 255).to(dtype)
        assert model.mean_remainder is None
        assert {"mean", "std"} == {key for key in model.state_dict() if "network" not in key}


@pytest.mark.parametrize("shape", [(4, 3), (1, 4, 3), (12,)])
def test_it_exports_with_any_number_of_examples(x: Tensor, shape: tuple[int, ...]) -> None:
    """In each shape of the inputs, of which flattened images have as many axes as one image."""
    model = make_model()
    given = x.reshape(5, *shape)
    program = torch.export.export(model, (given,), dynamic_shapes=({0: torch.export.Dim("N")},))
    for n in (2, 4, 5, 64):
        inputs = given.repeat(13, *[1] * len(shape))[:n]
        torch.testing.assert_close(program.module()(inputs), model(inputs))


def test_only_methods_that_predict_examine_the_range_of_the_inputs(x: Tensor) -> None:
    """And a caller can, such as the trainer when a run begins."""
    model = make_model()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model(x / 255)
        model.check_input_range(x)
    with pytest.warns(UserWarning, match=r"pass raw inputs, for pixels between 0 and 1 x [*] 255"):
        model.check_input_range(x / 255)
    with pytest.warns(UserWarning, match="pass raw inputs") as caught:
        make_model().check_input_range(x / 255)
    assert caught[0].filename == __file__


def test_the_rows_of_a_tabular_network_are_not_standardized() -> None:
    """Whatever their type: the embedding scales them. Whole numbers are no pixels."""
    model, x = make_tabular(), rows()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for given in (x, x.double(), x.round().long()):
            assert model.standardize(given) is given
            model.predict(given)
        make_tabular().check_input_range(torch.randint(0, 256, (50, 3)).float())
    assert torch.equal(model.network(x), model(x))
    groups = model.param_groups(0.1)
    assert {value for group in groups for value in group.params} == set(model.parameters())


def test_a_tabular_network_has_no_statistics_and_no_images() -> None:
    network = make_tabular().network
    for name, value in (("mean", 1.0), ("std", torch.ones(3) * 2)):
        with pytest.raises(ValueError, match=f"{name} must be . for a TabularMLP, which scales"):
            StandardizedModel(network, **{name: value})  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"input_shape must be \(network\.in_features,\) for a"):
        StandardizedModel(network, input_shape=(1, 3))
    assert StandardizedModel(network).input_shape == (3,)
