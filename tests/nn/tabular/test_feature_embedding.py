"""FeatureEmbedding against its parts, in training, in a file and in ONNX."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from mlpkit.data import LabeledTensors
from mlpkit.nn import (
    MLP,
    CategoryEmbedding,
    FeatureEmbedding,
    NumberEmbedding,
    OneHot,
    PeriodicEmbedding,
    PiecewiseLinearEmbedding,
    RobustScaling,
    quantile_edges,
)
from mlpkit.training import OptimizerConfig, TrainerConfig, fit_many

COUNTS = (0, 3, 0, 40, 2)
KINDS: list[NumberEmbedding] = ["none", "periodic", "piecewise_linear"]


def rows(count: int = 64) -> Tensor:
    """Numbers in the columns 0 and 2, codes in the others."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(count, 5, generator=generator) * torch.tensor([100.0, 1, 0.01, 1, 1])
    for column, number in enumerate(COUNTS):
        if number:
            x[:, column] = torch.randint(number, (count,), generator=generator).float()
    return x


def embedding(numbers: NumberEmbedding, seed: int = 0) -> FeatureEmbedding:
    generator = torch.Generator().manual_seed(seed)
    return FeatureEmbedding(rows(), COUNTS, numbers=numbers, generator=generator)


@pytest.mark.parametrize("numbers", KINDS)
def test_equals_its_parts(numbers: NumberEmbedding) -> None:
    """Numbers first, then one-hot columns, then vectors; the factors multiply all."""
    generator, x = torch.Generator().manual_seed(0), rows()
    scaling = RobustScaling.for_data(x[:, [0, 2]])
    scaled = scaling(x[:, [0, 2]])
    first: nn.Module = nn.Identity()
    if numbers == "periodic":
        first = PeriodicEmbedding(2, generator=generator)
    elif numbers == "piecewise_linear":
        first = PiecewiseLinearEmbedding(quantile_edges(scaled), generator=generator)
    vectors = CategoryEmbedding((40,), embedding_dim=8, generator=generator)
    expected = torch.cat([first(scaled), OneHot((3, 2))(x[:, [1, 4]]), vectors(x[:, [3]])], 1)
    module = embedding(numbers)
    assert module.out_features == expected.shape[1]
    assert torch.equal(module(x), expected)
    with torch.no_grad():
        module.scaling.weight.fill_(2.0)
    assert torch.equal(module(x), 2 * expected)


@pytest.mark.parametrize(
    ("counts", "width"), [(None, 5), ((2, 2, 2, 2, 2), 5), ((50,) * 5, 40)], ids=str
)
def test_tables_of_one_kind(counts: tuple[int, ...] | None, width: int) -> None:
    assert FeatureEmbedding(rows(), counts, numbers="none").out_features == width


@pytest.mark.parametrize("numbers", KINDS)
def test_fit_many_trains_it(numbers: NumberEmbedding) -> None:
    """Each parameter of each member changes, at its learning rate, and the loss falls."""
    x = rows()
    data = LabeledTensors(x, (x[:, 0] > 0).long() + (x[:, 1] == 2).long())
    models = [
        nn.Sequential(embedding(numbers, seed), MLP(embedding(numbers).out_features, (16,), 3))
        for seed in range(2)
    ]
    before = [[value.detach().clone() for value in model.parameters()] for model in models]
    config = TrainerConfig(
        epochs=6, batch_size=16, optimizer=OptimizerConfig(lr=0.01), device="cpu", progress=False
    )
    for result in fit_many(models, data, config=config):
        assert result.history[-1].train_loss < result.history[0].train_loss
    for model, values in zip(models, before, strict=True):
        for old, value in zip(values, model.parameters(), strict=True):
            assert not torch.equal(old, value)


def test_its_groups_have_every_parameter_once_and_no_decay() -> None:
    module = embedding("periodic")
    groups = module.param_groups(weight_decay=0.1)
    found = [id(one) for group in groups for one in group.params]
    assert sorted(found) == sorted(map(id, module.parameters()))
    assert [(group["weight_decay"], group["lr_factor"]) for group in groups] == [
        (0.0, 0.1),
        (0.0, 1.0),
        (0.0, 6.0),
    ]


def test_its_state_is_finite_and_loads_into_another() -> None:
    for numbers in KINDS:
        module, other = embedding(numbers), embedding(numbers, seed=1)
        assert all(bool(value.isfinite().all()) for value in module.state_dict().values())
        other.load_state_dict(module.state_dict())
        assert torch.equal(module(rows()), other(rows()))


def test_a_number_of_pieces() -> None:
    """It is a limit, and the attribute is what the data have."""
    assert FeatureEmbedding(rows(), COUNTS, num_pieces=4).num_pieces == 4
    assert FeatureEmbedding(torch.arange(60.0)[:, None] // 20).num_pieces == 2  # 0, 1 and 2
    assert FeatureEmbedding(rows(), COUNTS, numbers="none").num_pieces == 1
    assert FeatureEmbedding(rows(), (2, 2, 2, 2, 2)).num_pieces == 1


def test_refuses_counts_that_do_not_fit() -> None:
    with pytest.raises(ValueError, match="num_categories must be one for each of 5 features"):
        FeatureEmbedding(rows(), (0, 3))
    with pytest.raises(ValueError, match=r"num_categories\[0\] must be a non-negative integer"):
        FeatureEmbedding(rows(), (-1, 3, 0, 40, 2))
    with pytest.raises(ValueError, match="did you mean 'periodic'"):
        FeatureEmbedding(rows(), COUNTS, numbers="periodc")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="inputs must be of shape"):
        FeatureEmbedding(torch.zeros(5))


class Both(nn.Module):
    """Both embeddings of numbers and all other layers."""

    def __init__(self) -> None:
        super().__init__()
        self.parts = nn.ModuleList([embedding("periodic"), embedding("piecewise_linear")])

    def forward(self, x: Tensor) -> Tensor:
        """Return the outputs of both."""
        return torch.cat([part(x) for part in self.parts], -1)


def unusual(count: int) -> Tensor:
    """Rows with unknown categories and an outlier."""
    x = rows(count)
    x[0, 1], x[0, 3], x[-1, 0] = -1.0, 77.0, 1e6
    return x


def test_an_exported_program_equals_it() -> None:
    shapes = ({0: torch.export.Dim("N")},)
    program = torch.export.export(Both(), (rows(8),), dynamic_shapes=shapes).module()
    for count in (1, 50):
        x = unusual(count)
        torch.testing.assert_close(program(x), Both()(x))


@pytest.mark.long
def test_onnx(tmp_path: Path) -> None:
    """Onnxruntime computes the same, for unknown categories and outliers too."""
    for package in ("onnx", "onnxscript"):
        pytest.importorskip(package, reason="the extra mlpkit[onnx] is not installed")
    runtime = pytest.importorskip("onnxruntime")
    model, path = Both().eval(), tmp_path / "model.onnx"
    shapes = ({0: torch.export.Dim("N")},)
    program = torch.onnx.export(model, (rows(8),), dynamo=True, dynamic_shapes=shapes)
    assert program is not None
    program.save(path)
    session = runtime.InferenceSession(path)
    for count in (1, 50):
        x = unusual(count)
        (found,) = session.run(None, {session.get_inputs()[0].name: x.numpy()})
        torch.testing.assert_close(torch.from_numpy(found), model(x), rtol=1e-4, atol=1e-4)
