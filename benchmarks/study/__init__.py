"""Studies as data: the study file, its variants, its claims, and error reporting."""
