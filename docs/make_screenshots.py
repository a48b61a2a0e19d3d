"""Take the pictures of the report and of the demo page: `python docs/make_screenshots.py`.

Needs Chromium and the files of MNIST. The pictures are for the gallery, in light and dark.
"""

from __future__ import annotations

import argparse
import base64
import sys
import tempfile
from pathlib import Path

import torch

from mlpkit import SoftmaxClassifier, Trainer, TrainerConfig
from mlpkit.data import mnist
from mlpkit.demo import write_demo
from mlpkit.report import Run, write_report

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from tests.demo.chromium import Chromium, find_chromium  # noqa: E402 - needs the path

#: A 2, as the points of one stroke on the board, each from 0 to 1.
STROKE = [(0.34, 0.34), (0.42, 0.22), (0.58, 0.22), (0.66, 0.36), (0.58, 0.52), (0.34, 0.78),
          (0.68, 0.78)]  # fmt: skip
WIDTH, HEIGHT = 1200, 1000


def write_pages(folder: Path) -> tuple[Path, Path]:
    """Train a classifier of MNIST, and write its report and its demo page."""
    splits = mnist()
    model = SoftmaxClassifier.for_data(
        splits.train, (128, 64), generator=torch.Generator().manual_seed(0)
    )
    result = Trainer(model, TrainerConfig(epochs=5, progress=False)).fit(splits.train, splits.val)
    run = Run(title="mnist", model=model, test=splits.test, history=result.history)
    report = write_report(run, folder / "report.html")
    return report, write_demo(model, folder / "demo.html", examples=splits.test.subset(range(10)))


def main() -> None:
    """Write the four pictures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path(__file__).with_name("_static"))
    out = parser.parse_args().out
    executable = find_chromium()
    if executable is None:
        parser.error("Chromium must be installed, got none; install it")
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        report, demo = write_pages(folder)
        with Chromium(executable, folder / "profile") as browser:
            browser.call("Emulation.setScrollbarsHidden", hidden=True)
            for appearance, suffix in (("light", ""), ("dark", "-dark")):
                feature = {"name": "prefers-color-scheme", "value": appearance}
                browser.call("Emulation.setEmulatedMedia", features=[feature])
                for page, name in ((report, "report"), (demo, "demo")):
                    browser.open(page, width=WIDTH, height=HEIGHT)
                    if page == demo:
                        browser.draw(STROKE)
                    picture = browser.call("Page.captureScreenshot", format="png")["data"]
                    path = out / f"{name}{suffix}.png"
                    path.write_bytes(base64.b64decode(str(picture)))


if __name__ == "__main__":
    main()
