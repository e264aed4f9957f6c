"""A question as data: the study file, its variants, its claims, and what is wrong with it."""
