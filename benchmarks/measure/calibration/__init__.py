"""Do intervals cover, and verdicts err, as often as they say? A simulation of studies whose truth is known.

    python -m benchmarks.measure.calibration [--simulations N] [--write]

Each simulated study has ten variants, the first being the baseline of the other nine, and goes through the functions of
`benchmarks.stats`; of some, `summarize` itself must say the same. With normal errors, for which the methods are made,
intervals must cover .95 and errors stay below .05, within three Monte Carlo errors, or the exit status is 1. What other
errors do to them is reported as it comes. Differences are in sds of the paired differences.
"""
