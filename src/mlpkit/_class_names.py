"""Class names of models and data, and that they agree."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from mlpkit._checks import Unquoted, error_message

__all__ = ["check_same_classes", "class_names"]


def class_names(source: object) -> tuple[str, ...] | None:
    """Return the names of the classes, labels or targets of a model or of data; None without names.

    The names are the attribute ``classes`` or ``target_names`` of the object itself, of its
    ``data`` (as in :class:`mlpkit.data.Batches`) or of its ``dataset`` (as in a ``DataLoader`` of a
    torchvision data set).
    """
    for owner in (source, getattr(source, "data", None), getattr(source, "dataset", None)):
        names: object = getattr(owner, "classes", None) or getattr(owner, "target_names", None)
        if isinstance(names, Sequence) and not isinstance(names, str) and names:
            found = tuple(name for name in names if isinstance(name, str))
            if len(found) == len(names):
                return found
    return None


def check_same_classes(named: Mapping[str, object]) -> None:
    """Raise unless all sources with class names have the same ones, and tables the same columns.

    Args:
        named: Models and data by the name of the argument; None and sources without names are
            skipped.

    Raises:
        ValueError: If two lists of names differ, since an index would mean another class, or two
            encoders of tables, since an input would mean another column.
    """
    _check_same_columns(named)
    known = {name: class_names(source) for name, source in named.items() if source is not None}
    first: tuple[str, tuple[str, ...]] | None = None
    for name, names in known.items():
        if names is None:
            continue
        if first is None:
            first = (name, names)
        elif names != first[1]:
            rule = f"those of {first[0]} in the same order, {list(first[1])}"
            strange = sorted(set(names) - set(first[1]))
            cure = _reordering_cure(name, named[name])
            if strange:
                cure = f"leave out or rename the classes {strange}, which {first[0]} does not have"
            raise ValueError(error_message(f"{name}.classes", rule, list(names), cure))


def _check_same_columns(named: Mapping[str, object]) -> None:
    """Raise unless all sources that were encoded from tables have the same columns."""
    first: tuple[str, object] | None = None
    for name, source in named.items():
        encoder = getattr(source, "encoder", None)
        if encoder is None:
            encoder = getattr(getattr(source, "data", None), "encoder", None)
        columns: object = getattr(encoder, "columns", None)
        if columns is None:
            continue
        if first is None:
            first = (name, columns)
        elif columns != first[1]:
            rule = f"encoded as {first[0]} is"
            found = Unquoted("other columns or categories")
            cure = f"build {name} with LabeledTensors.from_frame(..., encoder={first[0]}.encoder)"
            raise ValueError(error_message(name, rule, found, cure))


def _reordering_cure(name: str, source: object) -> str:
    """Return how to give a source of data its class names in another order."""
    if hasattr(source, "with_classes"):
        return f"build it with classes=..., or reorder it with {name}.with_classes(...)"
    if hasattr(getattr(source, "data", None), "with_classes"):
        return f"reorder its data with {name}.data.with_classes(...), and batch them again"
    if hasattr(source, "dataset"):
        return (
            "number the classes of its data set in that order, or pass "
            f"LabeledTensors.from_dataset({name}.dataset).with_classes(...)"
        )
    return "build it with the classes in that order"
