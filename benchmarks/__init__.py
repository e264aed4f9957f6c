"""What to compare, and how surely: studies, and the harness that runs them."""
