"""Examples in files against examples in memory: ``python -m benchmarks.mapped``.

The files are in the page cache, as those of a set that fits into it are after one epoch.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from benchmarks import _command_line, _machine, _mnist
from benchmarks.data import Epochs, Turn, compete
from mlpkit import SoftmaxClassifier, Trainer, TrainerConfig
from mlpkit.data import LabeledTensors, mnist


class _Fits:
    """Epochs of training a classifier with 256 hidden units, each a call of ``fit``."""

    def __init__(self, train: LabeledTensors) -> None:
        self._train = train
        self._model = SoftmaxClassifier.for_data(train, (256,))
        self._config = TrainerConfig(epochs=1, batch_size=128, progress=False)

    def turn(self) -> int:
        Trainer(self._model, self._config).fit(self._train)
        return len(self._train)


def main(arguments: Sequence[str]) -> int:
    """Let both take their turns, and write the section ``mapped`` of the page if asked to."""
    options = _command_line.parser("benchmarks.mapped", __doc__, repeats=7).parse_args(arguments)
    load_before = _machine.load()
    _machine.use_processors(options.threads)
    images = mnist(_mnist.folder(), val_size=0).train
    floats = LabeledTensors(images.inputs.float(), images.targets)
    parts = []
    with tempfile.TemporaryDirectory() as folder:
        for name, data in (("uint8", images), ("float32", floats)):
            mapped = LabeledTensors.open(data.save(Path(folder) / f"{name}.safetensors"))
            kinds = {"in memory": data, "in a file": mapped}
            batches: dict[str, Turn] = {
                kind: Epochs(each.batches(128)).turn for kind, each in kinds.items()
            }
            fits: dict[str, Turn] = {kind: _Fits(each).turn for kind, each in kinds.items()}
            for what, turns in (("Normalized batches of 128", batches), ("Training", fits)):
                shown = compete(turns, options.repeats, "images", digits=2)
                parts.append(f"{what}, {name}, n = {options.repeats}:\n\n{shown}")
    _command_line.report("mapped", arguments, load_before, parts, write=options.write)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
