"""Checks of the layer order."""

from ..parts.layers import is_weighted
from .findings import Finding
from .subject import Subject
from .trace import BATCH_NORMS, DROPOUTS, NORMS, Step, trace


def dropout_before_norm(s: Subject) -> Finding:
    """A norm layer should not get the output of dropout.

    Li et al. 2019 (Understanding the Disharmony between Dropout and Batch Normalization): dropout changes the variance
    between training, where batch norm estimates its statistics, and evaluation. broken: a norm follows dropout without
    a layer with weights in between (activations, pooling and flattening do not count). remark: a linear or
    convolutional layer is between dropout and batch norm, as in the chapter's RobustMLP. Layer norm has no running
    statistics, so this case is ok for it. Layer norm follows dropout only if its input is exactly the output of
    dropout, since residual nets add something in between.
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
    why = "Batch norm estimates its statistics with dropout, so they are wrong in evaluation (Li et al. 2019)."
    if direct:
        text = f"Dropout directly before a norm: {', '.join(direct)}."
        change = "Order each block as Linear > norm > activation > dropout."
        return Finding("dropout_before_norm", "broken", text, numbers, why, change)
    if across:
        text = f"Dropout one layer before a batch norm: {', '.join(across)}."
        change = (
            "Use dropout only after the last batch norm, such as --model.dropout '[0.0, 0.3]' for two blocks, or use "
            "--model.norm layer."
        )
        return Finding("dropout_before_norm", "remark", text, numbers, why, change)
    return Finding("dropout_before_norm", "ok", "No norm gets the output of dropout.", numbers)


def _next_norm(steps: list[Step]) -> tuple[Step | None, bool, bool]:
    """First norm after `steps[0]`, whether a layer is in between, and whether the norm gets exactly its output.

    For batch norm the last is always assumed, whatever functions are in between.
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
