"""The demo page: template, style sheet, scripts and one model, combined into one HTML file."""

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
from mlpkit._class_names import check_same_classes
from mlpkit._files import write_atomically
from mlpkit._serialization import JSONValue
from mlpkit.data import LabeledTensors
from mlpkit.data.images import full_ink_value
from mlpkit.demo._network import Weights, describe_network
from mlpkit.models import SoftmaxClassifier, find_pooling

__all__ = ["write_demo"]

SCRIPTS = ("forward.js", "digit.js", "board.js", "charts.js", "page.js")


def write_demo(
    model: SoftmaxClassifier,
    path: str | Path,
    *,
    title: str | None = None,
    examples: LabeledTensors | None = None,
    credit: str | None = None,
    ink: float | None = None,
) -> Path:
    """Write a web page that classifies drawings with a model, and return its path.

    The page is one file that contains the model. It opens without a server and makes no network
    requests. It shows the preprocessed drawing, the activation of every hidden unit, the weights of
    each unit, and the probability of each class, which equals that of
    :meth:`mlpkit.SoftmaxClassifier.predict_proba`.

    Drawings are preprocessed like the images of MNIST: the ink is scaled to a box of 20/28 of the
    side of the image, with its center of mass in the middle. For 8x8 images the box is the whole
    image, as in the 8x8 digits.

    Args:
        model: A classifier of gray images on a background of 0, with ``input_shape``
            ``(height, width)`` or ``(1, height, width)``.
        path: The HTML file, which is replaced if it exists.
        title: Heading of the page; None is ``Draw a digit`` if the classes are digits, else
            ``Draw a picture``.
        examples: Raw inputs with their classes, which the page can show: the first 20 as buttons,
            all one after the other. Each 28x28 image of uint8 adds about one kilobyte. None for no
            examples.
        credit: The source and the license of the examples, which the page shows below them.
        ink: Raw value of full ink, above 0, for example 255 for uint8 images. None infers 1, 16 or
            255 from the mean and standard deviation of the model and from the examples.

    Raises:
        TypeError: If ``model``, ``examples``, ``title`` or ``credit`` is of another type.
        ValueError: If the inputs of the model are not gray images, or their mean is so large that
            the page could not subtract it exactly; if an activation is not a named one or a weight
            is not finite; if the examples do not fit the model or have other classes, or a credit
            is given without examples; or if ``ink`` is None and cannot be inferred.
        OSError: If the file cannot be written; an older one is then unchanged.

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
        Recognition, Proceedings of the IEEE 86(11), section III.A (the preprocessing of MNIST).
    """
    if not isinstance(model, SoftmaxClassifier):
        raise TypeError(error_message("model", "a SoftmaxClassifier", model))
    if examples is not None and not isinstance(examples, LabeledTensors):
        raise TypeError(error_message("examples", "LabeledTensors or None", examples))
    if title is not None and not isinstance(title, str):
        raise TypeError(error_message("title", "a string or None", title))
    if credit is not None and not isinstance(credit, str):
        raise TypeError(error_message("credit", "a string or None", credit))
    if credit is not None and examples is None:
        raise ValueError(error_message("credit", "None without examples", credit))
    rows, columns = _image_shape(model)
    white = _full_ink(model, examples) if ink is None else check_float("ink", ink, above=0.0)
    weights = Weights()
    description: dict[str, JSONValue] = {
        "title": _default_title(model) if title is None else title,
        "classes": list(model.classes),
        "parameters": model.network.num_parameters,
        "pooling": _pooling(model),
        "picture": {
            "rows": rows,
            "columns": columns,
            "white": white,
            **_centering(rows, columns),
        },
        "examples": None if examples is None else _examples(model, examples),
        "credit": credit,
        **describe_network(model, weights),
    }
    page = _render(str(description["title"]), description, weights)
    return write_atomically(path, lambda file: file.write(page.encode(errors="backslashreplace")))


def _image_shape(model: SoftmaxClassifier) -> tuple[int, int]:
    """Return the rows and columns of the input images of a model."""
    shape = model.input_shape
    if len(shape) == 3 and shape[0] == 1:
        shape = shape[1:]
    if len(shape) != 2 or min(shape) < 2:
        cure = "use a classifier of gray images"
        raise ValueError(
            error_message("model.input_shape", "(height, width)", model.input_shape, cure)
        )
    return shape[0], shape[1]


def _pooling(model: SoftmaxClassifier) -> dict[str, JSONValue] | None:
    found = find_pooling(model)
    if found is None:
        return None
    return {"factor": found.factor, "parameters": found.num_parameters}


def _default_title(model: SoftmaxClassifier) -> str:
    are_digits = all(len(name) == 1 and name.isdigit() for name in model.classes)
    return "Draw a digit" if are_digits else "Draw a picture"


def _centering(rows: int, columns: int) -> dict[str, JSONValue]:
    """Return the centering of a drawing: that of MNIST, or for small images of the 8x8 digits."""
    side = min(rows, columns)
    if side <= 8:
        return {"box": side, "by": "box"}
    return {"box": max(1, round(side * 20 / 28)), "by": "mass"}


def _full_ink(model: SoftmaxClassifier, examples: LabeledTensors | None) -> float:
    """Infer the raw value of full ink from the model's statistics and the largest example."""
    largest = 0.0 if examples is None else float(examples.inputs.max())
    return full_ink_value(model.mean, model.std, largest=largest)


def _examples(model: SoftmaxClassifier, examples: LabeledTensors) -> dict[str, JSONValue]:
    check_same_classes({"model": model, "examples": examples})
    inputs = examples.inputs.cpu()
    if len(inputs) == 0 or inputs[0].numel() != model.network.in_features:
        rule = f"images of shape {model.input_shape}"
        raise ValueError(error_message("examples", rule, examples))
    targets = examples.targets.cpu()
    if targets.is_floating_point():
        if targets.shape[1:] != (len(model.classes),):
            rule = f"class indices or distributions over {len(model.classes)} classes"
            raise ValueError(error_message("targets of examples", rule, tuple(targets.shape)))
        targets = targets.argmax(-1)
    if int(targets.max()) >= len(model.classes):
        rule = f"less than {len(model.classes)}, the number of classes of the model"
        raise ValueError(error_message("targets of examples", rule, int(targets.max())))
    encoding, data = _encode(inputs)
    return {
        "encoding": encoding,
        "inputs": base64.b64encode(data).decode(),
        "targets": [int(target) for target in targets],
    }


def _encode(inputs: Tensor) -> tuple[str, bytes]:
    """Return the values as uint8 if that is lossless, else as little-endian float32."""
    values = inputs.reshape(-1)
    if bool((values == values.clamp(0, 255).to(torch.uint8)).all()):
        return "uint8", values.to(torch.uint8).numpy().tobytes()
    return "float32", values.to(torch.float32).numpy().astype(np.dtype("<f4")).tobytes()


def _render(title: str, description: dict[str, JSONValue], weights: Weights) -> str:
    """Return the page; its Content-Security-Policy forbids other scripts and all connections."""
    style = _read_resource("style.css")
    scripts = [_read_resource(name) for name in SCRIPTS]
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
    return string.Template(_read_resource("page.html")).substitute(
        policy=policy,
        title=html.escape(title),
        style=style,
        description=_inline_json(description),
        weights=base64.b64encode(weights.to_bytes()).decode(),
        scripts="\n".join(f"<script>{script}</script>" for script in scripts),
    )


def _read_resource(name: str) -> str:
    return files("mlpkit.demo").joinpath(name).read_text(encoding="utf-8")


def _source_hash(text: str) -> str:
    """Return the source expression of an inline script or style for Content-Security-Policy."""
    digest = hashlib.sha256(text.encode()).digest()
    return f"'sha256-{base64.b64encode(digest).decode()}'"


def _inline_json(value: dict[str, JSONValue]) -> str:
    """Return JSON that is safe in a script element: it contains none of <, > and &."""
    text = json.dumps(value, ensure_ascii=True, allow_nan=False)
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")
