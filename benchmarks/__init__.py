"""Benchmarks: `python -m benchmarks` measures ours beside peers in one run, and prints the ratios."""
