"""mlpkit.nn."""
