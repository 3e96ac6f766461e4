"""Benchmarks: each is a command that measures several ways side by side in one run, and prints their ratios."""
