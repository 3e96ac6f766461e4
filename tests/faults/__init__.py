"""The fault table: every command here is a real process, on a real PostgreSQL, against a real socket.

python -m tests.faults [FAMILY …] [--only NAME] [--seeds N …]

Each trial makes a backfill while something is broken, then a plain one while nothing is, and compares the table with
the truth. A short form runs in the suite (test_faults.py).
"""
