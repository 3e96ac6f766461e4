"""The report, one HTML page about what is stored: gathers the figures from the database, then renders the page."""
