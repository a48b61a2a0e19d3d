"""One web page in which people draw for a network and watch it think."""

from mlpkit.demo._page import write_demo

__all__ = ["write_demo"]
