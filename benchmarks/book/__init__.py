"""The chapter that this project began with: its reading guide, and what it prints wrong."""
