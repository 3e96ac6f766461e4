"""Random histories of runs against a naive model: see test_histories.py."""
