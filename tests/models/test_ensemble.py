"""Ensemble against the mean of what its members predict, computed with NumPy."""

from __future__ import annotations

from pathlib import Path
from typing import cast

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import load_file, save_file
from sklearn.metrics import log_loss  # type: ignore[import-untyped]
from tests.models.kinds import (
    KINDS,
    AnyModel,
    KindName,
    images,
    make_model,
    make_tabular,
    rows,
    targets,
)
from torch import Tensor

from mlpkit.data import LabeledTensors, TableEncoder, digits
from mlpkit.errors import ArtifactError
from mlpkit.export import _onnx
from mlpkit.export._deployed import Deployed, raw_examples
from mlpkit.models import (
    Ensemble,
    MultilabelClassifier,
    Regressor,
    SoftmaxClassifier,
    load_model,
)
from mlpkit.nn import MLP
from mlpkit.training import TrainerConfig, fit_many

CLASSIFIERS: list[KindName] = ["classifier", "labels", "one label"]
REGRESSORS: list[KindName] = ["regressor", "vector", "with std"]


def members(kind: KindName, count: int = 3) -> list[AnyModel]:
    """Models with different weights, and temperatures if they are classifiers."""
    found = [make_model(kind) for _ in range(count)]
    for number, model in enumerate(found):
        model.network.reset_parameters(torch.Generator().manual_seed(number))
        if not isinstance(model, Regressor):
            model.temperature.fill_(1.0 + number)
    return found


def probabilities(models: list[AnyModel], x: Tensor) -> np.ndarray:
    """Mean of the probabilities, in float64."""
    each = [m.predict_proba(x).double().numpy() for m in models if not isinstance(m, Regressor)]
    return cast("np.ndarray", np.mean(each, 0))


@pytest.mark.parametrize("kind", CLASSIFIERS)
def test_a_classifier_averages_the_probabilities_of_its_members(kind: KindName) -> None:
    """At their temperatures; the output is a logit or log-probability of the average."""
    models, x = members(kind), images(20)
    ensemble, expected = Ensemble(models), probabilities(members(kind), x)
    found = ensemble.predict_proba(x, batch_size=7).numpy()
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-7)
    np.testing.assert_allclose(ensemble.predict_log_proba(x).numpy(), np.log(expected), atol=1e-5)
    with torch.no_grad():
        outputs = ensemble(x).numpy()
    if kind == "classifier":
        np.testing.assert_allclose(outputs, np.log(expected), atol=1e-5)
        assert np.array_equal(ensemble.predict(x).numpy(), expected.argmax(1))
    else:
        np.testing.assert_allclose(outputs, np.log(expected / (1 - expected)), atol=1e-4)
        assert np.array_equal(ensemble.predict(x).numpy(), expected > 0.4)


@pytest.mark.parametrize("kind", CLASSIFIERS)
def test_probabilities_in_float64_are_computed_in_float64(kind: KindName) -> None:
    models, x = members(kind), images(20).double()
    ensemble = Ensemble([model.double() for model in models])
    found = ensemble.predict_proba(x)
    assert found.dtype is torch.float64
    np.testing.assert_allclose(found.numpy(), probabilities(models, x), rtol=1e-12)
    np.testing.assert_allclose(ensemble.predict_proba(x[:3]), found[:3], rtol=1e-12)


@pytest.mark.parametrize("kind", REGRESSORS)
def test_a_regressor_averages_the_predictions_of_its_members(kind: KindName) -> None:
    models, x = members(kind), images(20)
    each = np.stack([model.predict(x).double().numpy() for model in models])
    ensemble = Ensemble(models)
    np.testing.assert_allclose(ensemble.predict(x, batch_size=7).numpy(), each.mean(0), rtol=1e-5)
    if kind == "with std":
        stds = [m.predict_std(x).double().numpy() for m in models if isinstance(m, Regressor)]
        variance = (np.square(stds) + np.square(each)).mean(0) - np.square(each.mean(0))
        np.testing.assert_allclose(ensemble.predict_std(x).numpy(), np.sqrt(variance), rtol=2e-3)
    else:
        with pytest.raises(ValueError, match="predicts_std must be True for a std"):
            ensemble.predict_std(x)


def test_logits_far_from_zero_keep_their_digits() -> None:
    """The mean is computed from logarithms: no probability underflows."""
    model = make_model("one label")
    assert model.network.head is not None
    torch.nn.init.zeros_(model.network.head.weight)
    torch.nn.init.constant_(model.network.head.bias, -300.0)
    assert Ensemble([model])(images(1)).item() == pytest.approx(-300.0)


@pytest.mark.parametrize("kind", KINDS)
def test_one_member_predicts_and_evaluates_as_itself(kind: KindName) -> None:
    (model,) = members(kind, 1)
    x = images(30)
    data = LabeledTensors(x, targets(kind, 30))
    ensemble = Ensemble([model])
    torch.testing.assert_close(ensemble.predict(x), model.predict(x))
    found, expected = ensemble.evaluate(data).to_dict(), model.evaluate(data).to_dict()
    assert found.keys() == expected.keys()
    for name, value in found.items():
        if isinstance(value, float):
            assert value == pytest.approx(expected[name], rel=1e-4), name
    assert isinstance(found["loss"], float)


def test_the_loss_is_the_cross_entropy_of_the_calibrated_average() -> None:
    models, x, classes = members("classifier"), images(60), targets("classifier", 60)
    data, ensemble = LabeledTensors(x, classes), Ensemble(models)
    before, average = ensemble.evaluate(data).loss, probabilities(models, x)
    average /= average.sum(1, keepdims=True)  # each was rounded
    assert before == pytest.approx(log_loss(classes, average), rel=1e-4)
    temperature = ensemble.calibrate(data)
    assert isinstance(temperature, float)
    scaled = average ** (1 / temperature)
    scaled /= scaled.sum(1, keepdims=True)
    np.testing.assert_allclose(ensemble.predict_proba(x).numpy(), scaled, rtol=1e-4)
    after = ensemble.evaluate(data).loss
    assert after == pytest.approx(log_loss(classes, scaled), rel=1e-4)
    assert after < before


@pytest.mark.parametrize("kind", ["labels", "one label"])
def test_labels_are_calibrated_one_by_one(kind: KindName) -> None:
    """As a classifier whose logits are those of the average."""
    (model,) = members(kind, 1)
    assert isinstance(model, MultilabelClassifier)
    val = LabeledTensors(images(50), targets(kind, 50))
    ensemble = Ensemble([model])
    found = ensemble.calibrate(val)  # on top of the temperature 1 of the member
    np.testing.assert_allclose(np.array(found), np.array(model.calibrate(val)), rtol=1e-4)


@pytest.mark.parametrize("kind", KINDS)
def test_a_saved_ensemble_is_the_same(tmp_path: Path, kind: KindName) -> None:
    ensemble, x = Ensemble(members(kind)), images(5)
    if kind in CLASSIFIERS:
        ensemble.temperature.fill_(0.7)
    path = ensemble.save(tmp_path / "model")
    assert sorted(found.name for found in path.iterdir()) == ["config.json", "model.safetensors"]
    for found in (Ensemble.load(path), load_model(path)):
        assert isinstance(found, Ensemble)
        assert len(found) == 3
        assert not found.training
        assert torch.equal(found(x), ensemble.eval()(x))
        assert torch.equal(found.predict(x), ensemble.predict(x))
        assert found.classes == ensemble.classes
    with pytest.raises(ArtifactError, match=r"got one saved by Ensemble\.save; load it with Ens"):
        type(make_model(kind)).load(path)
    with pytest.raises(ArtifactError, match=r"must be a model saved by Ensemble\.save, got one"):
        Ensemble.load(make_model(kind).save(tmp_path / "one"))


def test_a_changed_file_is_refused(tmp_path: Path) -> None:
    path = Ensemble(members("classifier")).save(tmp_path) / "model.safetensors"
    tensors = load_file(path)
    from safetensors import safe_open

    with safe_open(path, "pt") as file:
        metadata = file.metadata()
    for change, message in (
        ({"members.1.mean": torch.zeros(())}, "other bytes; the file is damaged"),
        ({"members.3.mean": torch.zeros(())}, "got a difference in members.3.mean"),
        ({"members.1.temperature": torch.zeros(2)}, "other bytes"),
    ):
        save_file({**tensors, **change}, path, metadata)
        with pytest.raises(ArtifactError, match=message):
            Ensemble.load(path)
    del tensors["members.2.network.head.weight"]
    save_file(tensors, path, metadata)
    with pytest.raises(ArtifactError, match=r"got a difference in network\.head\.weight"):
        Ensemble.load(path)


def test_members_share_one_encoder_in_the_file(tmp_path: Path) -> None:
    frame = pd.DataFrame({"a": [1.0, 2.0, 3.0, 4.0], "b": ["x", "y", "x", "y"]})
    encoder = TableEncoder.fit(frame)
    models = [SoftmaxClassifier(MLP(3, (4,), 2), classes=("n", "p")) for _ in range(2)]
    for model in models:
        model.encoder = encoder
    found = Ensemble.load(Ensemble(models).save(tmp_path))
    assert found.encoder == encoder
    assert [member.encoder for member in found] == [encoder, encoder]
    assert (tmp_path / "config.json").read_text().count('"columns"') == 1
    models[1].encoder = None
    with pytest.raises(ValueError, match=r"members\[1\] must be with the same encoder"):
        Ensemble(models)


def test_the_members_of_fit_many() -> None:
    """An ensemble of trained classifiers has a smaller loss than their mean, by convexity."""
    train, val, test = digits()
    models = [
        SoftmaxClassifier.for_data(train, (16,), generator=torch.Generator().manual_seed(seed))
        for seed in range(3)
    ]
    fit_many(models, train, val, config=TrainerConfig(epochs=2, device="cpu", progress=False))
    each = [model.evaluate(test).loss for model in models]
    assert Ensemble(models).evaluate(test).loss < np.mean(each)


def test_refuses_members_that_do_not_belong_together() -> None:
    first, other = make_model(), make_model("regressor")
    with pytest.raises(ValueError, match="members must be one model or more"):
        Ensemble([])
    with pytest.raises(TypeError, match=r"members\[0\] must be a SoftmaxClassifier, a Multi"):
        Ensemble([MLP(2, (), 1)])  # type: ignore[list-item]
    with pytest.raises(TypeError, match="members must be a sequence of models"):
        Ensemble(first)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"members\[1\] must be another model than those before"):
        Ensemble([first, first])
    message = r"members\[1\] must be with the same class as members\[0\], SoftmaxClassifier, got Re"
    with pytest.raises(ValueError, match=message):
        Ensemble([first, other])
    names = SoftmaxClassifier(MLP(12, (), 3), classes=("a", "c", "b"), input_shape=(4, 3))
    message = r"the same classes as members\[0\], \['a', 'b', 'c'\], got \['a', 'c', 'b'\]"
    with pytest.raises(ValueError, match=message):
        Ensemble([first, names])
    shape = SoftmaxClassifier(MLP(12, (), 3), classes=("a", "b", "c"), input_shape=(3, 4))
    with pytest.raises(ValueError, match=r"the same input_shape as members\[0\], \(4, 3\), got"):
        Ensemble([first, shape])
    labels = members("labels", 2)
    assert isinstance(labels[1], MultilabelClassifier)
    labels[1].thresholds.fill_(0.9)
    with pytest.raises(ValueError, match=r"with the same thresholds as members\[0\]"):
        Ensemble(labels)


def test_regressors_have_no_probabilities() -> None:
    ensemble, x = Ensemble(members("regressor")), images(2)
    for call in (ensemble.predict_proba, ensemble.predict_log_proba):
        with pytest.raises(TypeError, match="members must be classifiers for predict_"):
            call(x)
    with pytest.raises(TypeError, match="members must be classifiers for calibrate"):
        ensemble.calibrate(LabeledTensors(x, torch.zeros(2)))
    with pytest.raises(TypeError, match="members must be regressors for predict_std"):
        Ensemble(members("classifier")).predict_std(x)


@pytest.mark.parametrize("kind", KINDS)
def test_its_deployed_form_has_the_outputs_of_a_member(kind: KindName) -> None:
    """What the exporters trace."""
    ensemble, x = Ensemble(members(kind)), images(4)
    deployed = Deployed(ensemble)
    found = dict(zip(deployed.output_names, deployed(x), strict=True))
    if kind in CLASSIFIERS:
        torch.testing.assert_close(found["probabilities"], ensemble.predict_proba(x))
    else:
        torch.testing.assert_close(found["prediction"], ensemble.predict(x))
    if kind == "with std":
        torch.testing.assert_close(found["std"], ensemble.predict_std(x))


@pytest.mark.long
@pytest.mark.parametrize("kind", KINDS)
def test_onnx(tmp_path: Path, kind: KindName) -> None:
    """export_onnx compares onnxruntime with the ensemble before it writes the file."""
    for package in ("onnx", "onnxscript", "onnxruntime"):
        pytest.importorskip(package, reason="the extra mlpkit[onnx] is not installed")
    path = _onnx.export_onnx(Ensemble(members(kind)), tmp_path / "model.onnx")
    assert path.stat().st_size > 0


@pytest.mark.parametrize("kind", ["classifier", "with std"])
def test_tabular_members(tmp_path: Path, kind: KindName) -> None:
    """As a file and as the program that is exported; the rows have codes, also unknown ones."""
    ensemble, x = Ensemble([make_tabular(kind, seed) for seed in range(2)]), rows()
    loaded = load_model(ensemble.save(tmp_path))
    assert torch.equal(loaded(x), ensemble(x))
    examples = raw_examples(ensemble, None)
    assert set(examples[:, 1].tolist()) == {-1.0, 0.0, 1.0, 2.0, 3.0}
    assert examples[:, 0].std() > 50  # in the units of the rows
    shapes = ({0: torch.export.Dim("N")},)
    program = torch.export.export(Deployed(ensemble), (examples[:2],), dynamic_shapes=shapes)
    for found, expected in zip(
        program.module()(examples), Deployed(ensemble)(examples), strict=True
    ):
        torch.testing.assert_close(found, expected)


@pytest.mark.long
@pytest.mark.parametrize("kind", KINDS)
def test_onnx_of_tabular_members(tmp_path: Path, kind: KindName) -> None:
    """export_onnx compares onnxruntime with the ensemble before it writes the file."""
    for package in ("onnx", "onnxscript", "onnxruntime"):
        pytest.importorskip(package, reason="the extra mlpkit[onnx] is not installed")
    ensemble = Ensemble([make_tabular(kind, seed) for seed in range(2)])
    assert _onnx.export_onnx(ensemble, tmp_path / "model.onnx").exists()


def test_inputs_are_checked_as_those_of_a_member() -> None:
    ensemble = Ensemble(members("classifier"))
    for wrong in (np.zeros((2, 4)), torch.zeros(2, 4).to_sparse()):
        with pytest.raises(TypeError, match="x must be a"):
            ensemble.predict(wrong)  # type: ignore[arg-type]  # no dense tensor


def test_a_warning_of_other_units_names_the_line_of_the_call() -> None:
    train = digits().train
    ensemble = Ensemble([SoftmaxClassifier.for_data(train, ()) for _ in range(2)])
    with pytest.warns(UserWarning, match=r"for pixels between 0 and 1 x \* 16") as caught:
        ensemble.predict(train.inputs / 16)
    assert caught[0].filename == __file__
