"""Runs from a source to the store: plans, schedules, gaps, fresh starts, health."""
