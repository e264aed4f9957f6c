"""Scaling limits of one driver and one folder: measured costs, and a simulation of 1,000 workers based on them."""
