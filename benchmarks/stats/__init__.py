"""Statistics on trials: intervals, paired tests, correction for multiple comparisons, verdicts."""

from .paired import CONFIDENCE, mean_interval
from .summary import summarize
from .tuning import choose_tuned, summarize_tuned

__all__ = ["CONFIDENCE", "choose_tuned", "mean_interval", "summarize", "summarize_tuned"]
