"""The textbook chapter that this project is based on: its reading guide and its errata."""
