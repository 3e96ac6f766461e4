"""The way out: what those see who ask: names, rows, frames, pictures, pages."""
