"""What `main.py check` says: each module turns what was found in one area into findings, by pure functions."""
