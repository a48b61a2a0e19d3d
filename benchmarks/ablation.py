"""What each hand-written piece saves, with it and without: ``python -m benchmarks.ablation``."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from typing import NamedTuple

from benchmarks import _command_line, _machine
from benchmarks._figures import Spread, paired_ratio, table
from benchmarks._workers import Worker

BATCH_SIZES = (32, 128, 512)
HIDDEN_FEATURES = (512, 256)
ENSEMBLE_HIDDEN_FEATURES = (128,)
NETWORKS = 16
WORTH_KEEPING = 0.10  # share of the time that a piece has to save at one size


class Piece(NamedTuple):
    """A hand-written piece.

    Attributes:
        title: What the table calls it.
        kind: ``"train"`` times an epoch of one network, ``"ensemble"`` one of sixteen networks.
        rates: Whether the networks of an ensemble have different learning rates.
        orders: Whether the networks of an ensemble have different orders of the examples.
    """

    title: str
    kind: str
    rates: bool = False
    orders: bool = False


PIECES = {
    "gradients": Piece("hand-written gradients, with oneDNN's products", "train"),
    "gradients-mkl": Piece("hand-written gradients, with MKL's products", "train"),
    "onednn": Piece("oneDNN's products in hand-written gradients", "train"),
    "stacked-gradients": Piece("stacked gradients, one order", "ensemble"),
    "stacked-gradients-orders": Piece("stacked gradients, own orders", "ensemble", orders=True),
    "stacked-onednn": Piece("oneDNN's products in stacked gradients, one order", "ensemble"),
    "per-model-adamw": Piece("AdamW of each network in one call", "ensemble", rates=True),
}
UNMEASURED = (
    "AdamW in two launches (CUDA)",
    "side stream for gradients of weights (CUDA)",
    "captured steps (CUDA)",
)


@contextlib.contextmanager
def _replaced(module: str, name: str, value: object) -> Iterator[None]:
    """Replace an attribute of a module within a ``with`` block."""
    from importlib import import_module

    owner, _, attribute = name.rpartition(".")
    target = getattr(import_module(module), owner) if owner else import_module(module)
    kept = target.__dict__[attribute]
    setattr(target, attribute, value)
    try:
        yield
    finally:
        setattr(target, attribute, kept)


def _without(name: str) -> AbstractContextManager[None]:
    """Return the context in which a piece is taken out, if no setting does that."""
    products = "mlpkit.nn.backprop._products"
    stacked = "mlpkit.nn.backprop._stacked_products"
    if name == "onednn":
        return _replaced(products, "linear_by_onednn", lambda: None)
    if name == "stacked-onednn":
        return _replaced(stacked, "linear_by_onednn", lambda: None)
    if name == "per-model-adamw":
        updates = "mlpkit.training.ensemble._updates"
        return _replaced(updates, "PerModelAdamW.supports", staticmethod(lambda _: False))
    return contextlib.nullcontext()


def build(name: str, batch_size: int, examples: int) -> Callable[[int], tuple[float, float]]:
    """Return what times the same work with a piece and without it, in seconds."""
    import torch

    from benchmarks import _mnist
    from benchmarks.contenders import LR
    from mlpkit import SoftmaxClassifier
    from mlpkit.data import mnist
    from mlpkit.training import OptimizerConfig, Trainer, TrainerConfig, fit_many

    piece = PIECES[name]
    train = mnist(_mnist.folder(), val_size=0, download=False).train[:examples]

    def classifier(seed: int, hidden_features: Sequence[int]) -> SoftmaxClassifier:
        generator = torch.Generator().manual_seed(seed)
        return SoftmaxClassifier.for_data(train, hidden_features, generator=generator)

    def config(*, is_out: bool, seed: int, lr: float = LR) -> TrainerConfig:
        is_autograd = is_out and name.startswith(("gradients", "stacked-gradients"))
        return TrainerConfig(
            epochs=1,
            batch_size=batch_size,
            optimizer=OptimizerConfig(lr=lr),
            gradients="autograd" if is_autograd else "auto",
            device="cpu",
            progress=False,
            seed=seed,
        )

    def train_one(seed: int, *, is_out: bool) -> float:
        trainer = Trainer(
            classifier(seed, HIDDEN_FEATURES),
            config(is_out=is_out, seed=seed),
        )
        start = time.perf_counter()
        trainer.fit(train)
        return time.perf_counter() - start

    def train_many(seed: int, *, is_out: bool) -> float:
        models = [
            classifier(seed * NETWORKS + k, ENSEMBLE_HIDDEN_FEATURES) for k in range(NETWORKS)
        ]
        configs = [
            config(
                is_out=is_out,
                seed=seed * NETWORKS + k if piece.orders else seed,
                lr=LR * 2 ** (k / 4 - 2) if piece.rates else LR,
            )
            for k in range(NETWORKS)
        ]
        start = time.perf_counter()
        fit_many(models, train, config=configs)
        return time.perf_counter() - start

    work = train_one if piece.kind == "train" else train_many

    def turn(seed: int) -> tuple[float, float]:
        seconds = [0.0, 0.0]
        with _without("onednn") if name == "gradients-mkl" else contextlib.nullcontext():
            for is_out in (False, True) if seed % 2 else (True, False):
                with _without(name) if is_out else contextlib.nullcontext():
                    seconds[is_out] = work(seed, is_out=is_out)
        return seconds[0], seconds[1]

    return turn


def main(arguments: Sequence[str]) -> int:
    """Measure each piece at each batch size."""
    parser = _command_line.parser("benchmarks.ablation", __doc__, repeats=7)
    parser.add_argument("--examples", type=int, default=20_000, help="training images")
    parser.add_argument("--only", nargs="+", choices=PIECES, default=list(PIECES))
    options = parser.parse_args(arguments)
    load_before = _machine.load()
    _machine.use_processors(options.threads)
    rows = []
    for name in options.only:
        for size in BATCH_SIZES:
            with Worker(f"{name} {size}", build, (name, size, options.examples)) as worker:
                worker.turn(0)
                rounds = [worker.turn(seed) for seed in range(1, options.repeats + 1)]
            with_piece, without = zip(*rounds, strict=True)
            ratio = paired_ratio(with_piece, without)
            rows.append(
                [
                    PIECES[name].title,
                    str(size),
                    Spread.of(with_piece).shown(),
                    Spread.of(without).shown(),
                    ratio.shown(2),
                    f"{100 * (1 - ratio.median):.0f} %",
                ]
            )
            print(" | ".join(rows[-1]), file=sys.stderr)
    header = ["piece", "batch", "with (s)", "without (s)", "ratio", "saved"]
    rows += [[title, "-", "-", "-", "-", "unmeasured"] for title in UNMEASURED]
    parts = [
        f"One epoch of {options.examples:,} images: one network of "
        f"784-{'-'.join(map(str, HIDDEN_FEATURES))}-10, or {NETWORKS} of "
        f"784-{'-'.join(map(str, ENSEMBLE_HIDDEN_FEATURES))}-10, {options.threads} threads; "
        f"n = {options.repeats}, median (min to max). A piece is kept if it saves "
        f"{100 * WORTH_KEEPING:.0f} % at one size:",
        table(header, rows),
    ]
    _command_line.report("ablation", arguments, load_before, parts, write=options.write)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
