"""The areas of `main.py check`, one module each: from a context to what was checked and what was found."""
