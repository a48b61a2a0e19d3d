"""Show the type of each argument and attribute as the source writes it, linked to public names.

Sphinx evaluates annotations, which replaces an alias by the union behind it and a public class by
the path of its private file. Here each name of the source text is looked up in the namespace of the
function, and shown under its public name. A literal of few values is shown as these values.
"""

from __future__ import annotations

import dataclasses
import functools
import importlib
import inspect
import re
import sys
import types
import typing

import numpy as np
from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.typing import ExtensionMetadata

PACKAGES = ("nn", "data", "training", "models", "sklearn", "plots", "report", "errors")
#: Names that the sources import for type checking only.
TYPE_CHECKING_NAMES = {
    "DataFrame": "pandas.DataFrame",
    "Figure": "matplotlib.figure.Figure",
    "Image": "PIL.Image.Image",
    "np": "numpy",
    "npt": "numpy.typing",
    "pd": "pandas",
}
MOST_VALUES = 6

# The names of an annotation; a string within it is matched whole and remains as it is.
WORDS = re.compile(r"\"[^\"]*\"|'[^']*'|[A-Za-z_][\w.]*")


def public_path(value: type) -> str:
    """Return the shortest path under which a module that is imported holds a class."""
    parts = value.__module__.split(".")
    if parts[0] == "mlpkit":
        packages = [f"mlpkit.{package}" for package in PACKAGES]
    else:
        packages = [".".join(parts[: count + 1]) for count in range(len(parts))]
    for package in packages:
        if getattr(sys.modules.get(package), value.__name__, None) is value:
            return f"{package}.{value.__name__}"
    return f"{value.__module__}.{value.__qualname__}"


@functools.cache
def aliases() -> dict[str, str]:
    """Return the path of each public alias of mlpkit by its name."""
    found = {}
    for package in PACKAGES:
        module = importlib.import_module(f"mlpkit.{package}")
        for name in getattr(module, "__all__", ()):
            if not isinstance(getattr(module, name), type | types.FunctionType):
                found[name] = f"mlpkit.{package}.{name}"
    return found


def show_name(word: str, namespace: dict[str, object]) -> str:
    """Return a name of an annotation as a link to its public name, or the values of a literal."""
    head, *rest = word.split(".")
    value = namespace.get(head)
    if value is None and head in TYPE_CHECKING_NAMES:
        return "~" + ".".join([TYPE_CHECKING_NAMES[head], *rest])
    path = word
    for name in rest:
        if isinstance(value, types.ModuleType):
            path = f"{value.__name__}.{name}"
        value = getattr(value, name, None)
    if typing.get_origin(value) is typing.Literal:
        values = typing.get_args(value)
        if len(values) <= MOST_VALUES:
            return " | ".join(map(repr, values))
    if word in aliases():
        return f"~{aliases()[word]}"
    # private aliases
    if isinstance(value, str) and word not in value:
        return value
    if isinstance(value, types.UnionType):
        return " | ".join(show_type(part) for part in value.__args__)
    if typing.get_origin(value) is np.ndarray:
        return "~numpy.ndarray"
    if isinstance(value, type):
        return show_type(value)
    return f"~{path}" if rest else word


def show_type(value: object) -> str:
    """Return a class as a link, and other types as Python writes them."""
    if not isinstance(value, type) or value.__module__ == "builtins":
        return "None" if value is types.NoneType else inspect.formatannotation(value)
    return f"~{public_path(value)}"


def show(annotation: object, namespace: dict[str, object], owner: str = "") -> str:
    """Return the text of an annotation with a link for each name."""
    if isinstance(annotation, typing.ForwardRef):
        annotation = annotation.__forward_arg__
    text = annotation if isinstance(annotation, str) else inspect.formatannotation(annotation)
    text = re.sub(r"\s+", " ", text).strip("\"'")
    text = re.sub(
        r"\bLiteral\[([^\]]*)\]",
        lambda found: " | ".join(found[1].replace('"', "'").split(", ")),
        text,
    )

    def replace(found: re.Match[str]) -> str:
        word = found[0]
        if word == "Self" and owner:
            return f"~{owner}"
        return word if word[0] in "\"'" else show_name(word, namespace)

    return WORDS.sub(replace, text)


def namespace_of(value: object) -> dict[str, object]:
    """Return the global names of the file that defines a class or a function."""
    return vars(sys.modules[value.__module__])


def find(module: str, fullname: str) -> object:
    """Return the object that a description is about."""
    value: object = importlib.import_module(module)
    for name in fullname.split("."):
        value = getattr(value, name)
    return value


def describe(app: Sphinx, domain: str, kind: str, content: nodes.Element) -> None:
    """Replace the types that autodoc recorded, before it adds them to the description."""
    signature = content.parent[0]
    module = signature.get("module")
    if domain != "py" or not module:
        return
    if len(content) and content[0].astext() == "Bases: object":
        content.pop(0)
    recorded = app.env.current_document.autodoc_annotations
    fullname = f"{module}.{signature['fullname']}"
    if fullname not in recorded:
        return
    value = find(module, signature["fullname"])
    function = value.__init__ if isinstance(value, type) else value
    function = inspect.unwrap(getattr(function, "__func__", function))
    owner = "" if kind in {"function", "class"} else fullname.rpartition(".")[0]
    recorded[fullname] = {
        name: show(annotation, namespace_of(function), owner)
        for name, annotation in getattr(function, "__annotations__", {}).items()
        if not (isinstance(value, type) and name == "return")
    }


def type_attributes(
    app: Sphinx, what: str, name: str, value: object, options: object, lines: list[str]
) -> None:
    """Add the type of each attribute that the docstring of a class describes."""
    del app, name, options
    if what not in {"class", "exception"} or not isinstance(value, type):
        return
    annotations: dict[str, str] = {}
    for cls in reversed(value.__mro__):
        if cls.__module__.startswith("mlpkit"):
            annotations |= {
                key: show(annotation, namespace_of(cls))
                for key, annotation in vars(cls).get("__annotations__", {}).items()
            }
    for index, line in reversed(list(enumerate(lines))):
        described = re.match(r":ivar (\w+?)(\\?_)?: ", line)
        if described is None:
            continue
        attribute = described[1] + ("_" if described[2] else "")
        escaped = re.sub(r"_$", r"\\_", attribute)
        lines[index] = f":ivar {escaped}: {line[described.end() :]}"
        if attribute in annotations:
            lines.insert(index, f":vartype {escaped}: {annotations[attribute]}")


def sign(
    app: Sphinx,
    what: str,
    name: str,
    value: object,
    options: object,
    arguments: str | None,
    returned: str | None,
) -> tuple[str | None, str | None] | None:
    """Shorten a signature that says nothing: of a protocol, and of a default that is made."""
    del app, name, options
    if what != "class" or arguments is None:
        return None
    if arguments == "(*args, **kwargs)":
        return ("" if getattr(value, "_is_protocol", False) else "()"), returned
    if dataclasses.is_dataclass(value):
        for field in dataclasses.fields(value):
            if field.default_factory is not dataclasses.MISSING:
                made = field.default_factory()
                shown = repr(made) if not made else f"{type(made).__name__}(...)"
                arguments = arguments.replace(f"{field.name}=<factory>", f"{field.name}={shown}")
    return arguments, returned


def skip(app: Sphinx, what: str, name: str, value: object, *_: object) -> bool | None:
    """Leave out the fields of a named tuple, which its docstring describes."""
    del app, what, name
    return True if type(value).__name__ == "_tuplegetter" else None


def setup(app: Sphinx) -> ExtensionMetadata:
    """Register the changes; `describe` runs before autodoc merges its types."""
    app.setup_extension("sphinx.ext.autodoc")
    app.connect("object-description-transform", describe, priority=100)
    app.connect("autodoc-process-docstring", type_attributes, priority=900)
    app.connect("autodoc-process-signature", sign)
    app.connect("autodoc-skip-member", skip)
    return ExtensionMetadata(parallel_read_safe=True, parallel_write_safe=True)
