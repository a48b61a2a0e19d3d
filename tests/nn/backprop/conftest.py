"""Both rules for the products: oneDNN's, as on AMD processors, and MKL's."""

from __future__ import annotations

import pytest


@pytest.fixture(params=[True, False], ids=["onednn", "mkl"])
def slow_mkl(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> bool:
    """Use oneDNN's float32 products or MKL's, whatever the processor is."""
    monkeypatch.setattr("mlpkit.nn.backprop._products.has_slow_mkl", lambda: request.param)
    return bool(request.param)
