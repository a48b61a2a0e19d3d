"""Every public name with its signature, as text: the content of `tests/public_api.txt`.

`python -m tests.public_api` prints it; with `--accept` it replaces the file, which accepts the
public names and signatures as they are now.
"""

from __future__ import annotations

import argparse
import ast
import difflib
import importlib
import importlib.util
import inspect
import types
import typing
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path

SNAPSHOT = Path(__file__).with_name("public_api.txt")
ACCEPT = "python -m tests.public_api --accept"

PACKAGES = (
    "mlpkit",
    "mlpkit.data",
    "mlpkit.demo",
    "mlpkit.errors",
    "mlpkit.export",
    "mlpkit.interop",
    "mlpkit.models",
    "mlpkit.nn",
    "mlpkit.plots",
    "mlpkit.report",
    "mlpkit.training",
)

# Special methods that users call through syntax, so they are part of an interface.
SPECIAL = ("__call__", "__getitem__", "__iter__", "__len__")


def describe_all() -> str:
    """Return the text of the snapshot."""
    blocks = ["\n".join([f"[{package}]", *describe_package(package)]) for package in PACKAGES]
    return "\n\n".join([f"# {ACCEPT}", *blocks]) + "\n"


def differences(accepted: str, current: str) -> str:
    """Return the unified diff of two snapshots; empty if they are equal."""
    lines = difflib.unified_diff(
        accepted.splitlines(), current.splitlines(), "accepted", "current", lineterm=""
    )
    return "\n".join(lines)


def describe_package(package: str) -> Iterator[str]:
    """Yield the lines of each name in the `__all__` of a package, in alphabetical order."""
    module = importlib.import_module(package)
    for name in sorted(module.__all__):
        yield from describe(package, name, getattr(module, name))


def describe(package: str, name: str, value: object) -> Iterator[str]:
    """Yield one line for a function, an alias or a constant, several for a class."""
    home = getattr(value, "__module__", "")
    if isinstance(value, types.ModuleType):
        yield f"module {name}"
    elif inspect.isclass(value):
        shown_at = first_package(name, value)
        if shown_at != package:
            yield f"class {name}: see {shown_at}"
        else:
            yield from describe_class(value)
    elif inspect.isfunction(value) and home.startswith("mlpkit"):
        yield f"def {name}{signature_text(value)}"
    elif name == "__version__":
        yield f"{name}: str"
    else:
        yield f"{name} = {alias_source(package, name)}"


def first_package(name: str, value: type) -> str:
    """Return the public package that shows a class: the longest name, so never `mlpkit` itself."""
    holders = [
        package
        for package in PACKAGES
        if name in (module := importlib.import_module(package)).__all__
        and getattr(module, name) is value
    ]
    return max(holders, key=len)


def describe_class(cls: type) -> Iterator[str]:
    """Yield a class with its constructor, its annotated attributes, methods and properties."""
    bases = ", ".join(base.__name__ for base in cls.__bases__ if base is not object)
    yield f"class {cls.__name__}({bases})" if bases else f"class {cls.__name__}"
    own = [base for base in cls.__mro__ if base.__module__.startswith("mlpkit")]
    protocol = bool(getattr(cls, "_is_protocol", False))
    if not protocol and any({"__init__", "__new__"} & set(vars(base)) for base in own):
        yield f"    __init__{signature_text(cls)}"
    members: dict[str, str] = {}
    for base in reversed(own):  # a subclass replaces what it inherits
        for name, annotation in inspect.get_annotations(base).items():
            if not name.startswith("_"):
                members[name] = f"{name}: {annotation_text(annotation)}"
        for name, member in vars(base).items():
            if name.startswith("_") and name not in SPECIAL:
                continue
            line = member_text(name, member)
            if line is not None:
                members[name] = line
    for name in sorted(members):
        yield f"    {members[name]}"


def member_text(name: str, member: object) -> str | None:
    """Return the line of a method or a property; None for everything else."""
    if isinstance(member, classmethod | staticmethod):
        kind = type(member).__name__
        return f"{kind} {name}{signature_text(member.__func__)}"
    if isinstance(member, property | cached_property):
        getter = member.fget if isinstance(member, property) else member.func
        annotation = inspect.get_annotations(getter).get("return") if getter else None
        settable = " (settable)" if isinstance(member, property) and member.fset else ""
        return f"property {name}: {annotation_text(annotation)}{settable}"
    if inspect.isfunction(member):
        return f"def {name}{signature_text(member)}"
    return None


def signature_text(function: typing.Callable[..., object]) -> str:
    """Return a signature with the annotations as they are written in the source."""
    parts: list[str] = []
    signature = inspect.signature(function)
    seen = {parameter.kind for parameter in signature.parameters.values()}
    for parameter in signature.parameters.values():
        if parameter.kind is parameter.KEYWORD_ONLY and "*" not in parts:
            if parameter.VAR_POSITIONAL not in seen:
                parts.append("*")
            seen.add(parameter.VAR_POSITIONAL)
        parts.append(parameter_text(parameter))
        if parameter.kind is parameter.POSITIONAL_ONLY:
            kinds = [one.kind for one in signature.parameters.values()]
            if kinds.count(parameter.POSITIONAL_ONLY) == len(parts):
                parts.append("/")
    result = signature.return_annotation
    arrow = "" if result is signature.empty else f" -> {annotation_text(result)}"
    return f"({', '.join(parts)}){arrow}"


def parameter_text(parameter: inspect.Parameter) -> str:
    """Return one parameter with annotation and default value."""
    is_args = parameter.kind is parameter.VAR_POSITIONAL
    is_kwargs = parameter.kind is parameter.VAR_KEYWORD
    text = f"{'*' * is_args}{'**' * is_kwargs}{parameter.name}"
    annotated = parameter.annotation is not parameter.empty
    if annotated:
        text += f": {annotation_text(parameter.annotation)}"
    if parameter.default is not parameter.empty:
        default = default_text(parameter.default)
        text += f" = {default}" if annotated else f"={default}"
    return text


def default_text(value: object) -> str:
    """Return a default value without anything that depends on the process."""
    if isinstance(value, types.FunctionType | type):
        return value.__name__
    text = repr(value)
    return f"<{type(value).__name__}>" if " at 0x" in text else text


def annotation_text(annotation: object) -> str:
    """Return an annotation as written: a string, or what typing made of one."""
    if isinstance(annotation, str):
        return annotation
    if isinstance(annotation, typing.ForwardRef):
        return annotation.__forward_arg__
    if isinstance(annotation, type) and not typing.get_args(annotation):
        return annotation.__name__
    return str(annotation)


def alias_source(package: str, name: str) -> str:
    """Return the right-hand side of an alias or a constant where the source defines it."""
    spec = importlib.util.find_spec(package)
    assert spec is not None
    assert spec.origin is not None
    for node in ast.parse(Path(spec.origin).read_text(encoding="utf-8")).body:
        if isinstance(node, ast.ImportFrom) and node.module:
            for one in node.names:
                if (one.asname or one.name) == name:
                    return alias_source(node.module, one.name)
        if isinstance(node, ast.Assign) and any(
            isinstance(target, ast.Name) and target.id == name for target in node.targets
        ):
            return ast.unparse(node.value)
        if (
            isinstance(node, ast.AnnAssign)
            and isinstance(node.target, ast.Name)
            and node.target.id == name
            and node.value is not None
        ):
            return ast.unparse(node.value)
    raise LookupError(f"{package}.{name} is not assigned at the top level of its file")


def main() -> None:
    """Print the snapshot, or write it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--accept", action="store_true", help=f"write {SNAPSHOT.name}")
    text = describe_all()
    if parser.parse_args().accept:
        SNAPSHOT.write_text(text, encoding="utf-8")
    else:
        print(text, end="")


if __name__ == "__main__":
    main()
