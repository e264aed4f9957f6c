"""Coverage of intervals and error rates of verdicts, estimated by simulating studies whose true effects are known.

    python -m benchmarks.measure.calibration [--simulations N] [--write]

Each simulated study has ten variants, of which the first is the baseline, and is analysed with the functions of
`benchmarks.stats`; a sample is also analysed with `summarize`, which must give the same results. With normal errors,
which the methods assume, intervals must have coverage .95 and error rates of at most .05, within three Monte Carlo
errors; otherwise the exit status is 1. The results for other error distributions are only reported. Differences are in
sds of the paired differences.
"""
