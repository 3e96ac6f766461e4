"""Measurements, each a command that prints ratios of things measured side by side in one run."""
