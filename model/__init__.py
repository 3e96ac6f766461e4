"""What everything else stands on: the values that flow, errors, settings, schedules and small helpers."""
