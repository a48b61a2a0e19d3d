"""mlpkit.training."""
