"""The size of a small data set, which is the same for networks and for runs."""

from __future__ import annotations

from mlpkit._small_data import SMALL_DATA
from mlpkit.models import NETWORK_DEFAULTS
from mlpkit.training._defaults import default_batch_size


def test_networks_and_batches_change_at_the_same_size() -> None:
    widths = NETWORK_DEFAULTS["regression"].widths
    assert widths(SMALL_DATA - 1) < widths(SMALL_DATA)
    sizes = [default_batch_size(SMALL_DATA - k, drop_last=True) for k in (1, 0)]
    assert sizes[0] < sizes[1]
