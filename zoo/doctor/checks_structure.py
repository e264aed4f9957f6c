"""Checks of the order of layers."""

from ..parts.layers import is_weighted
from .findings import Finding
from .subject import Subject
from .trace import BATCH_NORMS, DROPOUTS, NORMS, Step, trace


def dropout_before_norm(s: Subject) -> Finding:
    """Dropout whose output a norm sees, in the order in which layers run.

    Li et al. 2019 (Understanding the Disharmony between Dropout and Batch Normalization): dropout changes the variance
    between training, by which batch norm sets its statistics, and evaluation. Broken: a norm follows dropout with no
    weights between (activations, pools and flattening do not count), so that it sees the shift whole and takes it back.
    Remark: a linear or conv layer lies between dropout and batch norm, as in the chapter's RobustMLP. Layer norm has no
    statistics to keep and is then fine. It counts as following only where it takes dropout's very output, since
    residual nets add something in between.
    """
    steps = trace(s.copy(), s.x[:8])
    direct: list[str] = []
    across: list[str] = []
    for i, step in enumerate(steps):
        if not isinstance(step.module, DROPOUTS) or step.module.p == 0:
            continue
        norm, between, passed = _next_norm(steps[i:])
        if norm is None:
            continue
        if not between and passed:
            direct.append(f"{step.name} > {norm.name}")
        elif between and isinstance(norm.module, BATCH_NORMS):
            across.append(f"{step.name} > {norm.name}")
    numbers = {"directly_before_norm": len(direct), "a_layer_before_batch_norm": len(across)}
    why = "Batch norm's statistics are those with dropout, and wrong without it, in evaluation (Li et al. 2019)."
    if direct:
        text = f"Dropout right before a norm: {', '.join(direct)}."
        change = "Order a block as Linear > norm > activation > dropout."
        return Finding("dropout_before_norm", "broken", text, numbers, why, change)
    if across:
        text = f"Dropout one layer before a batch norm: {', '.join(across)}."
        change = (
            "Dropout after the last batch norm only, such as --model.dropout '[0.0, 0.3]' for two blocks, or "
            "--model.norm layer."
        )
        return Finding("dropout_before_norm", "remark", text, numbers, why, change)
    return Finding("dropout_before_norm", "ok", "No norm sees the output of dropout.", numbers)


def _next_norm(steps: list[Step]) -> tuple[Step | None, bool, bool]:
    """The first norm after `steps[0]`, whether a layer lies between, and whether the norm sees its very output.

    Batch norm is taken to see it whatever functions may lie between.
    """
    between, last = False, steps[0].output
    for step in steps[1:]:
        if isinstance(step.module, NORMS):
            return step, between, isinstance(step.module, BATCH_NORMS) or step.input is last
        if is_weighted(step.module):
            if between:
                return None, True, False
            between = True
        if step.input is last:
            last = step.output
    return None, between, False
