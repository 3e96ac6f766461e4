"""The areas of `main.py check`: each takes the context, and returns what was checked and what was found."""
