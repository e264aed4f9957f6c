"""How far one driver and one folder carry: measured costs, and a simulation of 1,000 workers fed by them."""
