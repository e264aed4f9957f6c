"""What becomes of a task's result: its status, and how a study that compares one metric sees it."""

import math
from typing import Any


def outcome_of(result: dict[str, Any]) -> dict[str, Any]:
    """A task's result with a status; a metric that is not finite becomes null."""
    metrics = result["metrics"].items()
    finite = {name: value if value is not None and math.isfinite(value) else None for name, value in metrics}
    return {"status": "done", "reason": "", **result, "metrics": finite}


def judge(record: dict[str, Any], metric: str) -> tuple[str, str]:
    """Status and reason of a record as a study sees it that compares a metric, which is none of the trial's own doing.

    Args:
        record: A trial's record.
        metric: What is compared.
    """
    status, reason, metrics = record["status"], record.get("reason", ""), record["metrics"]
    if status == "done" and metric not in metrics:
        return "failed", f"the task returned no {metric!r}, only {', '.join(metrics) or 'nothing'}"
    if status == "done" and metrics[metric] is None:
        return "diverged", f"{metric} is not finite"
    return status, reason
