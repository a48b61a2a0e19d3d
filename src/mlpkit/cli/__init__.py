"""The command line ``mlpkit``; not meant to be imported by other code."""

from mlpkit.cli._main import main

__all__ = ["main"]
