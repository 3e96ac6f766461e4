"""One page about what is stored: its facts out of the database, and from them the HTML."""
