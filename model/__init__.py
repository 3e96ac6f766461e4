"""The ground layer: values, errors, settings and small helpers."""
