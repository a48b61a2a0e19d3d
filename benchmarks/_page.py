"""The generated sections of docs/performance.md; the prose around them is kept."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Sequence
from pathlib import Path

from benchmarks import _machine

PAGE = Path(__file__).resolve().parent.parent / "docs" / "performance.md"
DISTRIBUTIONS = (
    "mlpkit",
    "torch",
    "torchvision",
    "numpy",
    "scikit-learn",
    "skorch",
    "lightning",
    "keras",
    "jax",
    "optax",
    "lightgbm",
    "pytabkit",
)


def section(command: str, load_before: float, parts: Sequence[str]) -> str:
    """Return what was measured together with the command, the machine and the versions."""
    footer = [
        f"`{command}`, {dt.datetime.now(tz=dt.UTC).date()}.",
        f"{_machine.hardware()}; load before the run {load_before:.2f}.",
        f"{_machine.versions(DISTRIBUTIONS)}.",
    ]
    return "\n\n".join([*parts, "\n".join(footer)])


def replace(name: str, content: str, page: Path = PAGE) -> None:
    """Write ``content`` between the two marks of section ``name``.

    Raises:
        ValueError: If the page does not hold both marks once each, in order.
    """
    begin, end = f"<!-- generated: {name} -->", f"<!-- end: {name} -->"
    text = page.read_text(encoding="utf-8")
    pattern = re.compile(f"{re.escape(begin)}.*?{re.escape(end)}", re.DOTALL)
    if text.count(begin) != 1 or text.count(end) != 1 or not pattern.search(text):
        raise ValueError(f"{page.name} must hold '{begin}' and '{end}' once each, in this order")
    page.write_text(pattern.sub(lambda _: f"{begin}\n\n{content}\n\n{end}", text), encoding="utf-8")
