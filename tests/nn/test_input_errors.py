"""Inputs of a wrong dtype, layout or device raise messages whose cures work."""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable
from typing import cast

import pytest
import torch
from torch import Tensor, nn

from mlpkit import MLP, SoftmaxClassifier, Trainer, TrainerConfig
from mlpkit.data import LabeledTensors
from mlpkit.nn import NormName
from mlpkit.training import fit_many

with warnings.catch_warnings():
    warnings.simplefilter("ignore", UserWarning)  # torch calls the layout a prototype
    SPARSE = [torch.eye(3, 4).to_sparse(), torch.eye(3, 4).to_sparse_csr()]
DTYPES = (torch.float16, torch.bfloat16, torch.float32, torch.float64)


def follow(message: str, x: object) -> Tensor:
    """Execute the expression in the cure of a message."""
    cure = message.rpartition("; ")[2]
    found = re.search(r"(torch\.\w+\(x.*\)|x\.\w+\([^)]*\))( makes one|,|$)", cure)
    assert found is not None, message
    cured = eval(found[1], {"torch": torch, "x": x})  # noqa: S307 - from this package
    assert isinstance(cured, Tensor)
    return cured


def message_of(model: Callable[[Tensor], Tensor], x: object, kind: type[Exception]) -> str:
    """Return the message that a model raises for an input."""
    with pytest.raises(kind) as caught:
        model(cast("Tensor", x))
    assert type(caught.value) is kind
    return str(caught.value)


@pytest.mark.parametrize("widths", [(8,), ()], ids=["hidden", "linear"])
@pytest.mark.parametrize("shape", [(3, 4), (4,), (2, 3, 4), (0, 4)])
@pytest.mark.parametrize("dtype", DTYPES)
def test_the_cure_for_another_floating_dtype_works(
    widths: tuple[int, ...], shape: tuple[int, ...], dtype: torch.dtype
) -> None:
    """The message names both dtypes, and the converted input is accepted."""
    model = MLP(4, widths, 2, dtype=dtype)
    for other in DTYPES:
        x = torch.randn(shape).to(other)
        if other is dtype:
            model(x)
            continue
        message = message_of(model, x, TypeError)
        expected = f"x must be of the dtype of the network ({dtype}), got {other}; convert it with"
        assert message.startswith(expected)
        assert model(follow(message, x)).dtype is dtype


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("kind", [torch.uint8, torch.int64, torch.int16, torch.bool])
def test_the_cure_for_integers_works(dtype: torch.dtype, kind: torch.dtype) -> None:
    model = MLP(4, (8,), 2, dtype=dtype)
    x = torch.ones(3, 4, dtype=kind)
    message = message_of(model, x, TypeError)
    assert message.startswith(f"x must be a floating tensor, got {kind}; convert it with x.")
    assert model(follow(message, x)).dtype is dtype


@pytest.mark.parametrize("x", SPARSE, ids=["coo", "csr"])
def test_the_cure_for_sparse_tensors_works(x: Tensor) -> None:
    for model in (MLP(4, (8,), 2), MLP(4, (), 2)):
        message = message_of(model, x, TypeError)
        assert message.startswith(f"x must be a dense tensor, got {x.layout}; convert it with")
        assert torch.equal(model(follow(message, x)), model(torch.eye(3, 4)))


def test_the_cure_for_complex_numbers_works() -> None:
    """Real and imaginary parts are twice as many features."""
    x = torch.randn(3, 2, dtype=torch.complex64)
    model = MLP(4, (8,), 2)
    message = message_of(model, x, TypeError)
    assert message.startswith("x must be a floating tensor, got torch.complex64; pass real and")
    assert model(torch.view_as_real(x).flatten(-2)).shape == (3, 2)
    assert "torch.view_as_real(x).flatten(-2)" in message


def test_the_cure_for_a_list_works() -> None:
    model = MLP(2, (8,), 2, dtype=torch.float64)
    message = message_of(model, [[1, 2]], TypeError)
    assert model(follow(message, [[1, 2]])).shape == (1, 2)


def test_another_device_is_named() -> None:
    """Both devices are in the message."""
    message = message_of(MLP(4, (8,), 2), torch.zeros(3, 4, device="meta"), ValueError)
    expected = "x must be on the device of the network (cpu), got 'meta'; move it with x.to('cpu')"
    assert message == expected
    model = MLP(4, (8,), 2, device="meta")
    message = message_of(model, torch.zeros(3, 4), ValueError)
    assert message.startswith("x must be on the device of the network (meta), got 'cpu'; give")
    assert model.to_empty(device="cpu")(torch.zeros(3, 4)).shape == (3, 2)


def test_autocast_accepts_its_dtypes() -> None:
    """Half precision into a float32 network and the reverse."""
    with torch.autocast("cpu", dtype=torch.bfloat16):
        for dtype in (torch.bfloat16, torch.float32):
            for other in (torch.bfloat16, torch.float32):
                out = MLP(4, (8,), 2, dtype=dtype)(torch.randn(3, 4).to(other))
                assert out.dtype is torch.bfloat16


class _Casting(nn.Linear):
    def forward(self, input: Tensor) -> Tensor:  # noqa: A002 - torch's word
        return super().forward(input.to(self.weight.dtype))


def test_a_layer_that_converts_its_input_is_not_refused() -> None:
    """As sharded, quantized and adapted layers do."""
    model = MLP(4, (8,), 2)
    model.layers[0].linear = _Casting(4, 8)
    assert model(torch.randn(3, 4).double()).dtype is torch.float32


def test_an_error_of_another_cause_is_raised_as_it_is() -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("no memory")

    model = MLP(4, (8,), 2)
    for part in (model.layers[0].activation, model.head):
        assert part is not None
        handle = part.register_forward_hook(fail)
        with pytest.raises(RuntimeError, match=r"^no memory$"):
            model(torch.randn(3, 4))
        handle.remove()


@pytest.mark.parametrize("widths", [(8,), ()], ids=["hidden", "linear"])
def test_training_raises_the_same_message(widths: tuple[int, ...]) -> None:
    """Also where hand-written gradients replace the forward pass, for one network and several."""
    data = LabeledTensors(torch.randn(6, 4).double(), torch.arange(6) % 2)
    config = TrainerConfig(epochs=1, batch_size=3, device="cpu", progress=False)
    expected = r"^x must be of the dtype of the network \(torch.float32\), got torch.float64; conv"
    with pytest.raises(TypeError, match=expected):
        Trainer(MLP(4, widths, 2), config).fit(data)
    with pytest.raises(TypeError, match=expected):
        fit_many([MLP(4, widths, 2), MLP(4, widths, 2)], data, config=config)


@pytest.mark.skipif(torch.backends.mps.is_available(), reason="a machine with MPS")
def test_a_device_that_the_machine_lacks_is_refused() -> None:
    """Without the text of torch's dispatcher."""
    expected = "^device must be a device that this machine has, such as \"cpu\", got 'mps'; torch "
    classifier = SoftmaxClassifier(MLP(4, (), 2), classes=("a", "b"))
    data = LabeledTensors(torch.zeros(2, 4), torch.tensor([0, 1]))
    attempts: list[Callable[[], object]] = [
        lambda: MLP(4, (8,), 2, device="mps"),
        lambda: MLP(4, (8,), 2, device=torch.device("mps")),
        lambda: classifier.evaluate(data, device="mps"),
        lambda: SoftmaxClassifier.load("nowhere", device="mps"),
        lambda: data.to("mps"),
        lambda: Trainer(MLP(4, (8,), 2), TrainerConfig(device="mps")),
    ]
    for attempt in attempts:
        with pytest.raises(ValueError, match=expected) as caught:
            attempt()
        assert "aten::" not in str(caught.value)
    with pytest.raises(ValueError, match=r"^device must be the name of a torch device"):
        MLP(4, (8,), 2, device="nonsense")
    with pytest.raises(TypeError, match=r"^device must be a torch\.device or its name, got 1\.5"):
        MLP(4, (8,), 2, device=1.5)  # type: ignore[arg-type]  # bad on purpose


def nested(layout: torch.layout) -> Tensor:
    return torch.nested.nested_tensor([torch.ones(2, 4), torch.ones(3, 4)], layout=layout)


NESTED: list[tuple[torch.layout, MLP]] = [
    (torch.strided, MLP(4, (3,), 2)),
    (torch.strided, MLP(4, (3,), None)),
    (torch.strided, MLP(12, (3,), 2, flatten=True)),
    (torch.jagged, MLP(12, (3,), 2, flatten=True)),
    (torch.jagged, MLP(4, (3,), 2, norm="batch")),
    (torch.jagged, MLP(4, (3,), 2, norm="batch").eval()),
]


@pytest.mark.filterwarnings("ignore:The PyTorch API of nested tensors")
@pytest.mark.parametrize(("layout", "model"), NESTED)
def test_the_cure_for_nested_tensors_works(layout: torch.layout, model: MLP) -> None:
    """Rows of different sizes are accepted as jagged tensors, where each row is independent."""
    x = nested(layout)
    message = r"^x must be a dense tensor, got a nested one; pad it with "
    with pytest.raises(TypeError, match=message) as caught:
        model(x)
    code = str(caught.value).partition("pad it with ")[2]
    padded = eval(code, {"torch": torch, "x": x})  # noqa: S307 - from this package
    assert model(padded).shape[0] == 2


@pytest.mark.parametrize("norm", [None, "layer", "rms"])
def test_jagged_tensors_without_batch_norm_are_accepted(norm: NormName | None) -> None:
    """Each row equals that of a dense tensor."""
    model = MLP(4, (3,), 2, norm=norm)
    for row in model(nested(torch.jagged)).unbind():
        torch.testing.assert_close(row, model(torch.ones(len(row), 4)))
