"""mlpkit.data."""
