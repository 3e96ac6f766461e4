"""Reads what is stored: turns names into queries, and points into rows, DataFrames, charts and the report."""
