"""The status of a task's result, and the status of a record in a study that compares one metric."""

import math
from typing import Any

LARGEST = 1e100  # squares of larger numbers, and their sums, are not finite


def outcome_of(result: dict[str, Any]) -> dict[str, Any]:
    """Add a status to a task's result; metrics that are not finite become null."""
    metrics = result["metrics"].items()
    finite = {name: value if value is not None and math.isfinite(value) else None for name, value in metrics}
    return {"status": "done", "reason": "", **result, "metrics": finite}


def judge(record: dict[str, Any], metric: str) -> tuple[str, str]:
    """Status and reason of a record for a study that compares this metric; the record does not depend on the study.

    Args:
        record: A trial's record.
        metric: The study's metric.
    """
    status, reason, metrics = record["status"], record.get("reason", ""), record["metrics"]
    if status == "done" and metric not in metrics:
        return "failed", f"the task returned no {metric!r}, only {', '.join(metrics) or 'nothing'}"
    if status == "done" and metrics[metric] is None:
        return "diverged", f"{metric} is not finite"
    if status == "done" and isinstance(metrics[metric], float) and abs(metrics[metric]) > LARGEST:
        return "diverged", f"{metric} is {metrics[metric]:.3g}, too large to be compared"
    return status, reason
