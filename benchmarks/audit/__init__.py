"""Check results: rerun recorded trials, and compare two runs of a study."""
