"""Engines run jobs in other processes; what is done, the store decides."""
