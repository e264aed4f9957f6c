"""Trial records on disk."""
