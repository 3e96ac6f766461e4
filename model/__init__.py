"""The ground layer: values, errors, settings, schedules and small helpers."""
