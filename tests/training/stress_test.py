"""SIGKILL at random moments, hundreds of times: children forked from a process that is warm.

Importing torch takes longer than a small training, so the storm forks. Run as a script with the
name of a storm, a folder and the number of kills; the last line it prints is a JSON report.
"""

from __future__ import annotations

import functools
import json
import os
import random
import signal
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path

import torch
from tests.training.scenario import differences, everything, streamed, train

from mlpkit._serialization import Saved
from mlpkit.training import TrainerConfig
from mlpkit.training.checkpoints import read_checkpoint
from mlpkit.training.checkpoints._file_format import FORMAT, VERSION, write_checkpoint


def fork(work: Callable[[], object]) -> int:
    """Do ``work`` in a child and return its process number; the child exits 0, or 1 if it fails."""
    pid = os.fork()
    if pid:
        return pid
    try:
        work()
    except BaseException:  # noqa: BLE001 - the child must never return into the parent's code
        traceback.print_exc()
        os._exit(1)
    os._exit(0)


def killed(pid: int, after: float) -> bool:
    """Kill a child after so many seconds; return False if it was done before.

    Raises:
        RuntimeError: If the child failed by itself.
    """
    time.sleep(after)
    os.kill(pid, signal.SIGKILL)
    _, status = os.waitpid(pid, 0)
    if os.WIFSIGNALED(status):
        return True
    if os.WEXITSTATUS(status):
        raise RuntimeError("a child failed; its traceback is above")
    return False


def resume_storm(folder: Path, kills: int, *, stream: bool = False) -> dict[str, object]:
    """Kill a training again and again, resume it, and compare the end with one left alone."""

    def settings(name: str, every_steps: int = 1) -> TrainerConfig:
        config = everything(folder / name, every_steps=every_steps, restore_best=True)
        return streamed(config) if stream else config

    config = settings("reference")
    start = time.perf_counter()
    train(config)
    alone = time.perf_counter() - start
    reference = read_checkpoint(folder / "reference" / "last.pt")
    best = read_checkpoint(folder / "reference" / "best.pt")
    random_moments = random.Random(0)  # noqa: S311
    done = runs = 0
    positions = []
    while done < kills:
        every_steps = random_moments.choice((1, 2, 5))
        config = settings(f"run{runs}", every_steps)
        assert config.checkpoints is not None
        last = config.checkpoints.last
        while killed(
            fork(functools.partial(train, config, resume="auto")),
            random_moments.uniform(0.0, 0.7 * alone),
        ):
            done += 1
            positions.append(read_checkpoint(last)["state"] if last.exists() else None)
        found = differences(reference, read_checkpoint(last))
        found += differences(best, read_checkpoint(config.checkpoints.best))
        if found:
            raise RuntimeError(f"run {runs} differs after {done} kills in {found}")
        runs += 1
    return {
        "kills": done,
        "runs": runs,
        "distinct_checkpoints": len({str(position) for position in positions}),
        "before_first_checkpoint": positions.count(None),
    }


def save_storm(folder: Path, kills: int) -> dict[str, object]:
    """Kill a process that does nothing but save; whatever is there must be whole."""
    path = folder / "last.pt"
    contents: list[dict[str, Saved]] = [
        {"format": FORMAT, "version": VERSION, "number": n, "tensor": torch.full((20_000,), n)}
        for n in range(3)
    ]

    def save_forever(number: int, started: int) -> None:
        os.write(started, b"1")
        while True:
            write_checkpoint(path, contents[number % 3])
            number += 1

    start = time.perf_counter()
    for content in contents:
        write_checkpoint(path, content)
    window = 8.0 * (time.perf_counter() - start) / 3
    random_moments = random.Random(1)  # noqa: S311
    left_over = 0
    saved: set[int] = set()
    for kill in range(kills):
        # The moment counts from the first save, also where a busy machine is slow to fork; each
        # child writes another version first, so two saves that finish are two versions.
        read_end, write_end = os.pipe()
        child = fork(functools.partial(save_forever, kill, write_end))
        os.close(write_end)
        os.read(read_end, 1)
        os.close(read_end)
        killed(child, random_moments.uniform(0.0, window))
        content = read_checkpoint(path)
        number = content["number"]
        assert isinstance(number, int)
        if differences(contents[number], content):
            raise RuntimeError("a checkpoint holds a mixture")
        saved.add(number)
        if len(saved) == 1:  # no save may have finished: a busier machine needs longer
            window *= 1.5
        left = [other for other in folder.iterdir() if other != path]
        left_over += len(left)
        for other in left:
            other.unlink()
    return {"kills": kills, "versions_seen": len(saved), "left_over": left_over}


if __name__ == "__main__":
    torch.set_num_threads(1)
    storms: dict[str, Callable[[Path, int], dict[str, object]]] = {
        "resume": resume_storm,
        "stream": functools.partial(resume_storm, stream=True),
        "save": save_storm,
    }
    storm = storms[sys.argv[1]]
    print(json.dumps(storm(Path(sys.argv[2]), int(sys.argv[3]))))
