"""What `torchrun` tells the processes of a launch, which it may start several times."""

from __future__ import annotations

import os
import socket

__all__ = ["launch_name", "restart_count"]


def restart_count() -> int:
    """Return how many times `torchrun` has started the processes of this launch again."""
    return int(os.environ.get("TORCHELASTIC_RESTART_COUNT", "0"))


def launch_name() -> str | None:
    """Return a name that the attempts of one launch share; None for a launch of one attempt.

    The id of a rendezvous alone is no name: it is "none" unless a user chooses one.
    """
    if int(os.environ.get("TORCHELASTIC_MAX_RESTARTS", "0")) == 0:
        return None
    run_id = os.environ.get("TORCHELASTIC_RUN_ID", "none")
    return f"{run_id} {socket.gethostname()} {os.getppid()}\n"
