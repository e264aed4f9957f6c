"""Flags of the trainer that behave differently on a GPU: precision, compilation, determinism; and callbacks."""

import math

import torch
from torch._dynamo.utils import counters

from zoo.outputs.checkpoint import read_checkpoint
from zoo.parts.metric_names import DIAGNOSIS, THROUGHPUT, is_diagnosis
from zoo.plain import Config
from zoo.train import fit

from .rows import Findings
from .setting import ACCURACY, LOSSES, LOSSES_BATCH_NORM, LOSSES_TF32, Setting, losses_apart, same_bits

EPOCHS = 10
MLP: Config = {"name": "mlp", "hidden_dims": [64, 64]}
ROBUST: Config = {"name": "robust_mlp", "dropout": 0.0}
CNN: Config = {"name": "cnn", "dropout": 0.0}
DIAGNOSED = 2e-2  # see `packs`


def check(found: Findings, at: Setting) -> None:
    """Each flag by itself; an exception ends only its own rows."""
    for what, run in (
        ("callback throughput and provenance", _measure_memory),
        ("diagnosis callbacks", _compare_diagnosis),
        ("a run that diverges", _diverge),
        ("trainer.deterministic", _compare_deterministic),
        ("trainer.sync_batchnorm", _synchronize),
        ("bf16-mixed", lambda found, at: _compare_precision(found, at, "bf16-mixed")),
        ("16-mixed", lambda found, at: _compare_precision(found, at, "16-mixed")),
    ):
        with found.attempt(what):
            run(found, at)


def check_compiled(found: Findings, at: Setting) -> None:
    """Nets with `model.compile` against the same nets without."""
    for model, limit in ((MLP, LOSSES), (ROBUST, LOSSES_BATCH_NORM), (CNN, LOSSES_TF32)):
        with found.attempt(f"{model['name']} compiled"):
            _compare_compiled(found, at, model, limit)


def _measure_memory(found: Findings, at: Setting) -> None:
    result, _, _ = at.fit(at.config(MLP, epochs=EPOCHS, callbacks={"throughput": True}))
    missing = [name for name in THROUGHPUT if not math.isfinite(result.metrics.get(name) or math.nan)]
    found.require("throughput measures everything on the device", not missing, ", ".join(missing) or "nothing missing")
    speed = result.metrics["samples_per_second"] or math.nan
    found.report("mlp by Lightning: samples per second", speed, f"on the {at.name}, batches of 64")
    if at.lacks:
        found.skip("peak memory of the GPU", at.lacks)
        return
    recorded, measured = result.peak_memory_bytes["gpu"], result.metrics.get("peak_gpu_memory_bytes")
    note = f"{recorded} bytes in the record, {measured} by throughput; device {result.environment['device']}"
    there = bool(recorded and measured and result.environment["gpus"])
    found.require("peak memory and name of the GPU are in the record", there, note)


def _compare_diagnosis(found: Findings, at: Setting) -> None:
    callbacks: Config = dict.fromkeys((*DIAGNOSIS, "generalization_gap"), True)
    own, cpu = (
        at.fit(at.config(MLP, accelerator=accelerator, callbacks=callbacks))[0].metrics
        for accelerator in (at.accelerator, "cpu")
    )
    names = [name for name in cpu if is_diagnosis(name) or name.startswith("gap/")]
    apart = {name: abs((own[name] or 0.0) - (cpu[name] or 0.0)) / max(abs(cpu[name] or 0.0), 1.0) for name in names}
    worst = max(apart, key=lambda name: apart[name])
    note = f"{len(names)} quantities; the largest difference: {worst}"
    found.compare("Lightning with all diagnosis callbacks", apart[worst], DIAGNOSED, note)


def _diverge(found: Findings, at: Setting) -> None:
    model = {**MLP, "optimizer": "sgd", "lr": 1e30}
    for pack in (False, True):
        reasons = []
        for accelerator in (at.accelerator, "cpu"):
            config = at.config(model, accelerator=accelerator, gradient_clip_val=None)
            result = fit(config, at.folder / f"diverging-{accelerator}-{pack}", pack=pack)
            reasons.append(f"{result.status}: {result.reason}")
        same = reasons[0] == reasons[1] and reasons[0].startswith("diverged")
        how = "in a pack" if pack else "by Lightning"
        found.require(f"a run that diverges {how} ends as on the CPU", same, "; ".join(dict.fromkeys(reasons)))


def _compare_deterministic(found: Findings, at: Setting) -> None:
    for model in (MLP,) if at.small else (MLP, CNN):
        weights = []
        for deterministic in (False, False, True, True):
            out = at.fit(at.config(model, deterministic=deterministic))[2]
            weights.append(read_checkpoint(out)["state_dict"])
        torch.use_deterministic_algorithms(False)  # which Lightning leaves on
        same = same_bits(weights[2], weights[3])
        found.require(f"{model['name']} with trainer.deterministic: two runs give the same bits", same)
        words = "the same bits" if same_bits(weights[0], weights[1]) else "other bits"
        found.report(f"{model['name']} without trainer.deterministic: two runs give", words)


def _synchronize(found: Findings, at: Setting) -> None:
    if at.lacks:
        found.skip("trainer.sync_batchnorm", at.lacks)
        return
    _, plain, _ = at.fit(at.config(ROBUST))
    _, synchronized, _ = at.fit(at.config(ROBUST, sync_batchnorm=True))
    found.compare("trainer.sync_batchnorm on one GPU: losses", losses_apart(synchronized, plain), LOSSES_BATCH_NORM)


def _compare_precision(found: Findings, at: Setting, precision: str) -> None:
    if at.lacks and precision == "16-mixed":
        found.skip(precision, at.lacks)
        return
    for model in (MLP,) if at.small else (MLP, CNN):
        full, expected, _ = at.fit(at.config(model, epochs=EPOCHS))
        half, curves, _ = at.fit(at.config(model, epochs=EPOCHS, precision=precision))
        own, other = (result.metrics["test/accuracy"] or 0.0 for result in (half, full))
        note = f"test accuracy {own:.4f}, in float32 {other:.4f}; losses differ by {losses_apart(curves, expected):.1g}"
        note += f"; {half.train_seconds:.2f} s, in float32 {full.train_seconds:.2f} s"
        found.compare(f"{model['name']} in {precision}: accuracy", abs(own - other), ACCURACY, note)


def _compare_compiled(found: Findings, at: Setting, model: Config, limit: float) -> None:
    name = f"{model['name']} compiled"
    if at.small:
        found.skip(f"{name}: losses", "left out in miniature, since compilation takes up to a minute")
        return
    plain, expected, _ = at.fit(at.config(model, epochs=EPOCHS))
    counters.clear()
    compiled, curves, _ = at.fit(at.config({**model, "compile": True}, epochs=EPOCHS))
    n_graphs = counters["stats"]["unique_graphs"]
    found.require(f"{name}: anything was compiled", n_graphs > 0, f"{n_graphs} graphs")
    note = f"{compiled.train_seconds:.1f} s with compilation, {plain.train_seconds:.2f} s without"
    found.compare(f"{name}: losses", losses_apart(curves, expected), limit, note)
