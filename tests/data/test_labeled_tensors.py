"""Data sets in memory: content, selection, split and fingerprint."""

from __future__ import annotations

import copy
import pickle
from pathlib import Path
from typing import cast

import numpy as np
import pandas as pd
import pytest
import torch
from torch.utils.data import DataLoader

from mlpkit.data import LabeledTensors, TableEncoder, mnist

CLASSES = ("cat", "dog", "eel")


@pytest.fixture
def data() -> LabeledTensors:
    """Seven examples of three classes, whose inputs hold the index of the example."""
    inputs = torch.arange(7, dtype=torch.uint8).view(7, 1, 1).expand(7, 2, 2).contiguous()
    targets = torch.tensor([0, 1, 2, 0, 1, 0, 0])
    return LabeledTensors(inputs, targets, CLASSES, weights=torch.arange(7.0))


def numbers(data: LabeledTensors) -> list[int]:
    """Return the indices of the examples, as stored in the inputs."""
    return data.inputs.flatten(1)[:, 0].tolist()


def test_only_class_indices_are_converted() -> None:
    inputs = torch.zeros(3, 28, 28, dtype=torch.uint8)
    data = LabeledTensors(inputs, torch.tensor([0, 1, 2], dtype=torch.uint8), CLASSES)
    assert data.inputs is inputs
    assert data.targets.dtype is torch.int64
    assert data.targets.tolist() == [0, 1, 2]


def test_float_targets_have_classes_only_with_one_column_per_class() -> None:
    soft = torch.full((4, 3), 1 / 3)
    assert LabeledTensors(torch.zeros(4, 2), soft).num_classes is None
    assert LabeledTensors(torch.zeros(4, 2), soft, CLASSES).num_classes == 3
    with pytest.raises(ValueError, match=r"targets must be of shape \(N, 3\).*got \(4, 2\)"):
        LabeledTensors(torch.zeros(4, 2), torch.zeros(4, 2), CLASSES)


def test_class_counts_are_those_of_numpy(data: LabeledTensors) -> None:
    assert data.class_counts.tolist() == np.bincount(data.targets.numpy(), minlength=3).tolist()
    unnamed = LabeledTensors(torch.zeros(2, 1), torch.tensor([0, 4]))
    assert unnamed.num_classes == 5
    assert unnamed.class_counts.tolist() == [1, 0, 0, 0, 1]


def test_repr_describes_the_content(data: LabeledTensors) -> None:
    expected = "LabeledTensors(7 examples of uint8 (2, 2), 3 classes, weighted, on cpu)"
    assert repr(data) == expected
    regression = LabeledTensors(torch.zeros(2, 5), torch.zeros(2, 3))
    expected = "LabeledTensors(2 examples of float32 (5,), targets float32 (3,), on cpu)"
    assert repr(regression) == expected


def test_one_example_is_a_pair(data: LabeledTensors) -> None:
    for index in (2, -5, np.int64(2)):
        image, target = data[index]
        assert image.tolist() == [[2, 2], [2, 2]]
        assert int(target) == 2
    with pytest.raises(IndexError):
        data[7]
    assert [int(target) for _, target in data] == data.targets.tolist()


def test_slices_share_memory_and_indices_copy(data: LabeledTensors) -> None:
    """Every kind of index selects inputs, targets and weights and keeps the class names."""
    assert data[1:3].inputs.data_ptr() == data.inputs[1:].data_ptr()
    for chosen in (
        data[1:7:2],
        data[[1, 3, 5]],
        data[torch.tensor([1, 3, 5])],
        data.subset(np.array([1, 3, 5], dtype=np.int32)),
        data.subset(torch.tensor([False, True] * 3 + [False])),
    ):
        assert numbers(chosen) == [1, 3, 5]
        assert chosen.targets.tolist() == [1, 0, 0]
        assert chosen.weights is not None
        assert chosen.weights.tolist() == [1.0, 3.0, 5.0]
        assert chosen.classes == CLASSES
    assert len(data.subset([])) == 0
    assert numbers(data.subset([6, 6])) == [6, 6]


def test_a_split_is_complete_disjoint_stratified_and_reproducible() -> None:
    """Class counts are the exact shares within 1, and every example is in one part."""
    generator = torch.Generator().manual_seed(1)
    targets = torch.multinomial(torch.tensor([5.0, 3.0, 1.0]), 1_003, True, generator=generator)
    data = LabeledTensors(torch.arange(1_003.0), targets, CLASSES)
    for lengths in ([700, 200, 103], [0.7, 0.2, 0.1], [0.5, 0.5], [1_003]):
        parts = data.split(lengths, seed=3)
        joined = torch.cat([part.inputs for part in parts])
        assert torch.equal(joined.sort().values, data.inputs)
        for part in parts:
            assert torch.equal(part.inputs, part.inputs.sort().values)
            exact = data.class_counts * len(part) / 1_003
            assert ((part.class_counts - exact).abs() < 1).all()
            assert torch.equal(part.targets, data.targets[part.inputs.long()])
    first, again, other = (data.split([500, 503], seed=seed)[0].inputs for seed in (3, 3, 4))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_which_example_goes_where_is_random_within_a_class() -> None:
    """Over many seeds, every example is held out about equally often."""
    data = LabeledTensors(torch.arange(12), torch.tensor([0, 1, 1] * 4))
    times = torch.zeros(12)
    for seed in range(1_200):
        times[data.split([9, 3], seed=seed)[1].inputs] += 1
    assert times.min() > 230
    assert times.max() < 370


def test_a_regression_is_split_without_strata() -> None:
    data = LabeledTensors(torch.arange(10.0), torch.arange(10.0))
    train, val = data.split([0.8, 0.2])
    assert sorted(train.inputs.tolist() + val.inputs.tolist()) == list(range(10))


def test_the_fingerprint_covers_every_part(data: LabeledTensors) -> None:
    inputs, targets = data.inputs, data.targets
    changed = inputs.clone()
    changed[4, 1, 1] += 1
    variants = [
        data,
        LabeledTensors(inputs, targets, CLASSES),
        LabeledTensors(inputs, targets),
        LabeledTensors(inputs.view(7, 4), targets),
        LabeledTensors(inputs.view(torch.int8), targets),
        LabeledTensors(changed, targets),
        LabeledTensors(inputs, targets.roll(1)),
        LabeledTensors(inputs, targets, weights=torch.ones(7)),
        data[:6],
    ]
    assert len({variant.fingerprint for variant in variants}) == len(variants)


def test_the_fingerprint_depends_on_the_content_alone(data: LabeledTensors) -> None:
    """Another memory layout, a copy and a pickled object have the same fingerprint."""
    strided = torch.stack([data.inputs, data.inputs], dim=1)[:, 0]
    copied = LabeledTensors(strided, data.targets.clone(), list(CLASSES), weights=data.weights)
    assert copied.fingerprint == data.fingerprint
    assert pickle.loads(pickle.dumps(data)).fingerprint == data.fingerprint
    half = LabeledTensors(torch.ones(2, dtype=torch.bfloat16), torch.zeros(2))
    assert len(half.fingerprint) == 32


def test_to_the_same_device_is_itself(data: LabeledTensors) -> None:
    assert data.to("cpu") is data
    elsewhere = data.to("meta")
    assert elsewhere.device.type == "meta"
    assert elsewhere.targets.device.type == "meta"
    assert elsewhere.weights is not None


def test_a_data_loader_takes_the_torch_dataset(data: LabeledTensors) -> None:
    loader = DataLoader(data.as_torch_dataset(), batch_size=7)
    inputs, targets, weights = next(iter(loader))
    assert torch.equal(inputs, data.inputs)
    assert torch.equal(targets, data.targets)
    assert torch.equal(weights, torch.arange(7.0))
    unweighted = LabeledTensors(data.inputs, data.targets).as_torch_dataset()
    assert len(unweighted[0]) == 2


@pytest.mark.mnist
def test_a_stratified_split_of_mnist(mnist_root: Path) -> None:
    """In a split into 50,000 and 10,000 the class shares are exact within one example."""
    train = mnist(mnist_root, val_size=0).train
    first, second = train.split([50_000, 10_000])
    exact = train.class_counts * 10_000 / 60_000
    assert ((second.class_counts - exact).abs() < 1).all()
    assert torch.equal(first.class_counts + second.class_counts, train.class_counts)


def test_a_split_counts_only_the_classes_that_occur() -> None:
    """Classes 0 and 10^12 are split as classes 0 and 1 are."""
    near, inputs = torch.arange(10) % 2, torch.arange(10)
    parts = LabeledTensors(inputs, near * 10**12).split([6, 4], seed=5)
    for part, expected in zip(
        parts, LabeledTensors(inputs, near).split([6, 4], seed=5), strict=True
    ):
        assert torch.equal(part.inputs, expected.inputs)


def test_the_seed_of_a_split_is_a_non_negative_integer(data: LabeledTensors) -> None:
    with pytest.raises(TypeError, match=r"seed must be a non-negative integer, got 1\.5"):
        data.split([3, 4], seed=cast("int", 1.5))
    with pytest.raises(ValueError, match="seed must be a non-negative integer, got -1"):
        data.split([3, 4], seed=-1)


def test_classes_in_another_order_keep_their_examples() -> None:
    """Oracle: the name of each example; distributions move their columns."""
    inputs, targets = torch.rand(5, 2), torch.tensor([0, 2, 1, 0, 2])
    data = LabeledTensors(inputs, targets, ("a", "b", "c"), weights=torch.rand(5))
    names = [("a", "b", "c")[index] for index in targets.tolist()]
    order = ("c", "x", "a", "b")
    moved = data.with_classes(order)
    assert [order[index] for index in moved.targets.tolist()] == names
    assert moved.classes == order
    assert moved.inputs is data.inputs
    assert moved.weights is data.weights
    assert moved.fingerprint != data.fingerprint
    soft = LabeledTensors(inputs, torch.rand(5, 3).softmax(1), ("a", "b", "c"))
    columns = soft.with_classes(order).targets
    for column, name in enumerate(("a", "b", "c")):
        assert torch.equal(columns[:, order.index(name)], soft.targets[:, column])
    assert not columns[:, 1].any()
    assert moved.with_classes(("a", "b", "c", "x")).targets.tolist() == targets.tolist()


def test_a_pickle_of_a_slice_has_no_other_examples() -> None:
    """A pickle of torch has the whole memory of a tensor that is a part of another one."""
    large = torch.arange(20_000.0).view(1_000, 20)
    data = LabeledTensors(large, torch.arange(1_000) % 3, weights=large[:, 0])
    for part in (data[5:9], data[::300], data[5:9].with_classes(("a", "b", "c"))):
        content = pickle.dumps(part)
        assert len(content) < 5_000
        for found in (pickle.loads(content), copy.deepcopy(part), copy.copy(part)):
            assert found.fingerprint == part.fingerprint
            assert found.classes == part.classes
    assert pickle.loads(pickle.dumps(data)).fingerprint == data.fingerprint


def test_classes_can_be_named_later() -> None:
    data = LabeledTensors(torch.rand(3, 2), torch.tensor([0, 2, 1]))
    named = data.with_classes(["a", "b", "c"])
    assert (named.classes, named.targets.tolist()) == (("a", "b", "c"), [0, 2, 1])
    with pytest.raises(ValueError, match=r"targets must be class indices in \[0, 2\), got 2"):
        data.with_classes(("a", "b"))
    with pytest.raises(ValueError, match=r"classes must be names that include .*; add \['c'\]"):
        named.with_classes(("b", "a"))
    with pytest.raises(TypeError, match="classes must be a sequence of strings, got None"):
        data.with_classes(None)  # type: ignore[arg-type]  # bad on purpose


def table_frame(count: int = 30, seed: int = 0) -> pd.DataFrame:
    """Return a frame with numbers, text, classes and weights."""
    generator = np.random.default_rng(seed)
    return pd.DataFrame(
        {
            "x": generator.normal(size=count),
            "kind": generator.choice(["p", "q"], count),
            "y": generator.choice(["no", "yes"], count),
            "w": generator.random(count),
        }
    )


def test_a_frame_keeps_its_encoder_in_each_part() -> None:
    frame = table_frame()
    train = LabeledTensors.from_frame(frame[:20], target="y", weights="w")
    encoder = train.encoder
    assert encoder is not None
    assert encoder == TableEncoder.fit(frame[:20], target="y", ignore=["w"])
    assert encoder.feature_names == ("x", "kind=p", "kind=q")
    assert torch.equal(train.inputs, encoder.transform(frame[:20]))
    assert train.classes == ("no", "yes")
    assert [train.classes[index] for index in train.targets] == frame["y"][:20].tolist()
    assert train.weights is not None
    assert train.weights.tolist() == frame["w"][:20].tolist()
    for part in (train[:3], train.subset([0]), train.split([0.5, 0.5])[1], train.to("cpu")):
        assert part.encoder is encoder
    assert train.with_classes(("yes", "no", "maybe")).encoder is encoder
    assert pickle.loads(pickle.dumps(train)).encoder == encoder
    test = LabeledTensors.from_frame(frame[20:], encoder=encoder)
    assert test.encoder is encoder
    assert torch.equal(test.inputs, encoder.transform(frame[20:]))
    assert LabeledTensors(torch.zeros(2, 1), torch.zeros(2)).encoder is None


def test_a_csv_file_gives_what_its_frame_gives(tmp_path: Path) -> None:
    frame = table_frame().assign(code=["01", "2"] * 15)
    frame.to_csv(tmp_path / "train.csv", index=False)
    frame[:5].to_csv(tmp_path / "test.csv", index=False)
    train = LabeledTensors.from_csv(tmp_path / "train.csv", target="x")
    assert train.targets.dtype is torch.float32
    assert train.classes is None
    encoded = LabeledTensors.from_frame(frame, target="x", task="regression", weights=frame["w"])
    encoder = encoded.encoder
    assert encoder is not None
    test = LabeledTensors.from_csv(tmp_path / "test.csv", encoder=encoder)
    assert torch.equal(test.inputs, encoded.inputs[:5])  # "01" is no number here
    assert torch.equal(test.targets, encoded.targets[:5])


def test_several_targets_of_a_frame_have_names() -> None:
    frame = table_frame()
    data = LabeledTensors.from_frame(frame, target=["x", "w"])
    assert data.classes == ("x", "w")
    assert data.targets.shape == (30, 2)
    labels = LabeledTensors.from_frame(frame.assign(a=1, b=frame["x"] > 0, a2=0), ["b", "a"][:1])
    assert labels.classes == ("False", "True")


def test_the_constructor_takes_an_encoder() -> None:
    frame = pd.DataFrame({"x": [1.0, 2.0, 4.0], "c": ["a", "b", "a"]})
    encoder = TableEncoder.fit(frame)
    inputs, targets = encoder.transform(frame), torch.tensor([0.5, 1.0, 2.0])
    data = LabeledTensors(inputs, targets, encoder=encoder)
    assert data.encoder is data.subset([2, 0]).encoder is encoder
    with pytest.raises(ValueError, match=r"inputs must be of shape \(N, 3\), as the encoder has"):
        LabeledTensors(inputs[:, :2], targets, encoder=encoder)
    with pytest.raises(TypeError, match="encoder must be a TableEncoder or None"):
        LabeledTensors(inputs, targets, encoder=cast("TableEncoder", encoder.to_dict()))


def test_arguments_that_differ_from_the_encoder_are_refused(tmp_path: Path) -> None:
    frame = table_frame()
    encoder = TableEncoder.fit(frame, target="y")
    for options in ({"target": "w"}, {"task": "regression"}, {"classes": ("yes", "no")}):
        with pytest.raises(ValueError, match=r"must be .*, as in encoder, got"):
            LabeledTensors.from_frame(frame, encoder=encoder, **options)
    assert len(LabeledTensors.from_frame(frame, "y", encoder=encoder, classes=["no", "yes"])) == 30
    with pytest.raises(TypeError, match="target must be the name of the column to predict"):
        LabeledTensors.from_frame(frame)
    frame.to_csv(tmp_path / "x.csv")
    for weights in (None, "w"):
        with pytest.raises(TypeError, match="encoder must be a TableEncoder"):
            LabeledTensors.from_frame(frame, encoder="y", weights=weights)  # type: ignore[arg-type]
        with pytest.raises(TypeError, match="encoder must be a TableEncoder"):
            LabeledTensors.from_csv(tmp_path / "x.csv", encoder="y", weights=weights)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="encoder must be fitted with a target"):
        LabeledTensors.from_frame(frame, encoder=TableEncoder.fit(frame))
    with pytest.raises(ValueError, match="weights must be the name of a column of numbers"):
        LabeledTensors.from_frame(frame, "y", weights="kind")
    for target, given in (("y", None), (["y"], None), (None, encoder)):
        with pytest.raises(ValueError, match="weights must be the name of a column besides the t"):
            LabeledTensors.from_frame(frame, target, encoder=given, weights="y")


def test_another_file_is_read_by_the_rules_of_the_training_file(tmp_path: Path) -> None:
    """Booleans as 0 and 1, targets as float64, a decimal comma in the last line alone."""
    path = tmp_path / "table.csv"
    path.write_text("x,sold\n" + "1,True\n2,FALSE\n" * 3)
    train = LabeledTensors.from_csv(path, target="sold")
    assert train.classes == ("False", "True")
    path.write_text("x;sold\n1;0\n2,5; 1\n")
    test = LabeledTensors.from_csv(path, encoder=train.encoder)
    assert test.targets.tolist() == [0, 1]
    assert test.inputs.tolist() == [[1.0], [2.5]]
    path.write_text("x,time\n" + "".join(f"{n},{1_700_000_000 + n}\n" for n in range(30)))
    train = LabeledTensors.from_csv(path, target="time")
    path.write_text("x,time\n1,0\n2,1\n")
    test = LabeledTensors.from_csv(path, encoder=train.encoder)
    assert test.targets.dtype is train.targets.dtype is torch.float64


def test_data_are_no_part_of_an_autograd_graph() -> None:
    inputs = torch.rand(4, 2, requires_grad=True)
    weights = inputs.mean(1)
    data = LabeledTensors(2 * inputs, weights + 1.0, weights=weights)
    tensors = (data.inputs, data.targets, data.weights)
    assert not any(tensor is None or tensor.requires_grad for tensor in tensors)


def test_the_names_of_a_regression_are_no_classes() -> None:
    data = LabeledTensors(torch.rand(4, 2), torch.rand(4, 2), ("length", "width"))
    assert repr(data) == "LabeledTensors(4 examples of float32 (2,), targets float32 (2,), on cpu)"
