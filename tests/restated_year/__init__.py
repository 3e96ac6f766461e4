"""A year with a provider that rewrites its history: see test_restated_year.py."""
