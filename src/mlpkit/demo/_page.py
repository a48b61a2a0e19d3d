"""The page: its template, style and scripts put together with one model, in one file."""

from __future__ import annotations

import base64
import hashlib
import html
import json
import string
from importlib.resources import files
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from mlpkit._checks import check_float, error_message
from mlpkit._files import write_atomically
from mlpkit._serialization import JSONValue
from mlpkit.data import LabeledTensors
from mlpkit.demo._network import Weights, describe_network
from mlpkit.models import SoftmaxClassifier

__all__ = ["write_demo"]

SCRIPTS = ("forward.js", "digit.js", "board.js", "charts.js", "page.js")
COMMON_INKS = (1.0, 16.0, 255.0)


def write_demo(
    model: SoftmaxClassifier,
    path: str | Path,
    *,
    title: str | None = None,
    examples: LabeledTensors | None = None,
    ink: float | None = None,
) -> Path:
    """Write a web page in which people draw for a model and watch it think; return its path.

    The page is one file that holds the model, opens without a server, and never uses the network.
    It shows the drawing as the model gets it, every hidden unit, the weights behind each of them,
    and the probability of each class, equal to those of
    :meth:`mlpkit.SoftmaxClassifier.predict_proba`.
    Drawings are centerd as the pictures of MNIST are: the ink in a box of 20/28 of the side, its
    center of mass in the middle; for the 8x8 digits, which fill their field, the box is the field.

    Args:
        model: A classifier of gray pictures: ``input_shape`` is ``(height, width)``, and the
            background is 0.
        path: The HTML file, which is replaced whole if it exists.
        title: Heading of the page; None is ``Draw a digit``, or ``Draw a picture`` where the
            classes are not digits.
        examples: Raw inputs, with their classes, to step through in the page; a hundred are
            plenty, and each 28x28 picture adds a kilobyte. None for none.
        ink: Raw value of full ink, above 0, for instance 255 for uint8 pictures. None finds it
            among 1, 16 and 255 from the mean and standard deviation of the model and from the
            examples.

    Raises:
        TypeError: If ``model`` or ``examples`` is something else.
        ValueError: If the model takes no gray pictures, has an activation without a name or a
            weight that is not finite, if the examples do not fit it, or if ``ink`` is None and
            nothing tells its value.
        OSError: If the file cannot be written; an older one is then untouched.

    Example:
        >>> import tempfile
        >>> from pathlib import Path
        >>> from mlpkit import MLP, SoftmaxClassifier
        >>> from mlpkit.demo import write_demo
        >>> digits = tuple("0123456789")
        >>> model = SoftmaxClassifier(
        ...     MLP(64, (32,), 10), classes=digits, mean=4.9, std=6.0, input_shape=(8, 8)
        ... )
        >>> folder = tempfile.TemporaryDirectory()
        >>> write_demo(model, Path(folder.name) / "demo.html").name
        'demo.html'
        >>> folder.cleanup()

    References:
        LeCun, Bottou, Bengio, Haffner (1998), Gradient-Based Learning Applied to Document
        Recognition, Proceedings of the IEEE 86(11), section III.A (how MNIST was centerd).
    """
    if not isinstance(model, SoftmaxClassifier):
        raise TypeError(error_message("model", "a SoftmaxClassifier", model))
    if examples is not None and not isinstance(examples, LabeledTensors):
        raise TypeError(error_message("examples", "LabeledTensors or None", examples))
    if title is not None and not isinstance(title, str):
        raise TypeError(error_message("title", "a text or None", title))
    rows, columns = _picture_shape(model)
    weights = Weights()
    description: dict[str, JSONValue] = {
        "title": _default_title(model) if title is None else title,
        "classes": list(model.classes),
        "parameters": sum(parameter.numel() for parameter in model.network.parameters()),
        "picture": {
            "rows": rows,
            "columns": columns,
            "white": _ink(model, examples) if ink is None else check_float("ink", ink, above=0.0),
            **_centering(rows, columns),
        },
        "examples": None if examples is None else _examples(model, examples),
        **describe_network(model, weights),
    }
    page = _assembled(str(description["title"]), description, weights)
    return write_atomically(path, lambda file: file.write(page.encode()))


def _picture_shape(model: SoftmaxClassifier) -> tuple[int, int]:
    """Return rows and columns of the pictures that a model takes."""
    shape = model.input_shape
    if len(shape) == 3 and shape[0] == 1:
        shape = shape[1:]
    if len(shape) != 2 or min(shape) < 2:
        cure = "only what takes gray pictures can be drawn for, with input_shape=(height, width)"
        raise ValueError(
            error_message("model.input_shape", "(height, width)", model.input_shape, cure)
        )
    return shape[0], shape[1]


def _default_title(model: SoftmaxClassifier) -> str:
    are_digits = all(len(name) == 1 and name.isdigit() for name in model.classes)
    return "Draw a digit" if are_digits else "Draw a picture"


def _centering(rows: int, columns: int) -> dict[str, JSONValue]:
    """Return how a drawing is put into the field: MNIST's way, or that of the 8x8 digits."""
    side = min(rows, columns)
    if side <= 8:
        return {"box": side, "by": "box"}
    return {"box": max(1, round(side * 20 / 28)), "by": "mass"}


def _ink(model: SoftmaxClassifier, examples: LabeledTensors | None) -> float:
    """Return the least common ink that the model and the examples allow.

    Values in [0, M] with mean m have variance at most m (M - m), so M is at least m + s^2 / m
    (Bhatia and Davis, 2000).
    """
    mean, std = (
        value.double().cpu().expand(model.network.in_features).clone()
        for value in (model.mean, model.std)
    )
    bounds = [0.0 if examples is None else float(examples.inputs.max())]
    if bool((mean > 0).any()):
        bounds.append(float((mean + std.square() / mean)[mean > 0].max()))
    elif float(std.max()) in COMMON_INKS[1:]:  # raw values are only divided by the ink
        bounds.append(float(std.max()))
    found = [ink for ink in COMMON_INKS if 0 < max(bounds) <= ink * 1.001]
    if not found:
        cure = "its value is not told by mean and std of the model; 255 for uint8 pictures"
        raise ValueError(error_message("ink", "the raw value of full ink", None, cure))
    return found[0]


def _examples(model: SoftmaxClassifier, examples: LabeledTensors) -> dict[str, JSONValue]:
    inputs = examples.inputs.cpu()
    if len(inputs) == 0 or inputs[0].numel() != model.network.in_features:
        rule = f"pictures of shape {model.input_shape}"
        raise ValueError(error_message("examples", rule, examples))
    targets = examples.targets.cpu()
    if targets.is_floating_point():
        if targets.shape[1:] != (len(model.classes),):
            rule = f"classes or distributions over {len(model.classes)} classes"
            raise ValueError(error_message("targets of examples", rule, tuple(targets.shape)))
        targets = targets.argmax(-1)
    if int(targets.max()) >= len(model.classes):
        rule = f"less than {len(model.classes)}, the classes of the model"
        raise ValueError(error_message("targets of examples", rule, int(targets.max())))
    encoding, data = _encoded(inputs)
    return {
        "encoding": encoding,
        "inputs": base64.b64encode(data).decode(),
        "targets": [int(target) for target in targets],
    }


def _encoded(inputs: Tensor) -> tuple[str, bytes]:
    """Return the values as bytes where that loses nothing, else as float32."""
    values = inputs.reshape(-1)
    if bool((values == values.clamp(0, 255).to(torch.uint8)).all()):
        return "uint8", values.to(torch.uint8).numpy().tobytes()
    return "float32", values.to(torch.float32).numpy().astype(np.dtype("<f4")).tobytes()


def _assembled(title: str, description: dict[str, JSONValue], weights: Weights) -> str:
    """Return the page; the browser itself forbids it every other source and every connection."""
    style = _part("style.css")
    scripts = [_part(name) for name in SCRIPTS]
    policy = "; ".join(
        (
            "default-src 'none'",
            "img-src data:",
            f"style-src {_source_hash(style)}",
            f"script-src {' '.join(_source_hash(script) for script in scripts)}",
            "base-uri 'none'",
            "form-action 'none'",
        )
    )
    return string.Template(_part("page.html")).substitute(
        policy=policy,
        title=html.escape(title),
        style=style,
        description=_inline_json(description),
        weights=base64.b64encode(weights.to_bytes()).decode(),
        scripts="\n".join(f"<script>{script}</script>" for script in scripts),
    )


def _part(name: str) -> str:
    return files("mlpkit.demo").joinpath(name).read_text(encoding="utf-8")


def _source_hash(text: str) -> str:
    """Return a text as Content-Security-Policy names it."""
    digest = hashlib.sha256(text.encode()).digest()
    return f"'sha256-{base64.b64encode(digest).decode()}'"


def _inline_json(value: dict[str, JSONValue]) -> str:
    """Return JSON that cannot end the script element it stands in, whatever it holds."""
    text = json.dumps(value, ensure_ascii=True, allow_nan=False)
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")
