"""The command line ``mlpkit``; nothing here is meant to be imported."""

from mlpkit.cli._main import main

__all__ = ["main"]
