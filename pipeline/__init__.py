"""What flows from a source to the store, and the run in which they meet."""
