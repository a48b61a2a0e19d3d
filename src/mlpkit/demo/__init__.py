"""An interactive web page that runs a classifier on drawings and shows its activations."""

from mlpkit.demo._page import write_demo

__all__ = ["write_demo"]
