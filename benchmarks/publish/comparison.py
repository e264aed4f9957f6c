"""A study's comparison as one run in Weights & Biases: tables, figures, claims, the HTML page, and the records."""

import hashlib
import json
import re
import tempfile
from pathlib import Path
from typing import Any

from datamodules.errors import InputError
from zoo.tracking import content
from zoo.tracking.content import LONGEST
from zoo.tracking.session import ELSEWHERE, Session
from zoo.yaml_lines import parse_value

from ..records.archive import archive
from ..records.compact import ARCHIVE
from ..records.reading import OLD_ARCHIVE
from ..records.store import Store
from ..study.study import Study
from .ledger import Ledger

# Tables of `benchmarks.report`, except the table of trials, which are separate runs.
TABLES = ("table", "table_tuned", "claims", "effects", "main_effects", "across", "speed", "parity")
FIGURES = ("figure", "figure_tuned", "curves", "heatmap", "layers")
# Files whose contents identify the version of a comparison.
TOLD = ("study.yaml", "trials.csv", "summary.json")
PUBLISHED = "published"  # config key of the digest


def publish_comparison(study: Study, store: Store, session: Session, ledger: Ledger, group: str) -> bool:
    """Publish a study's report unless the same version is already published.

    Returns:
        Whether it was published now.

    Raises:
        InputError: The store does not hold this study, or W&B rejects the run.
        Unreachable: The server does not answer.
    """
    from ..report import DERIVED, SOMETIMES, read_report, write_report

    with tempfile.TemporaryDirectory(prefix="bench-push-") as name:
        copy = Path(name)
        if read_report(study, store) is None:
            # Write a fresh report to a temporary folder with links to the records; the study's folder is not changed.
            for part in ("study.yaml", "plan.json", "trials", ARCHIVE, OLD_ARCHIVE):
                if (store.folder / part).exists():
                    (copy / part).symlink_to((store.folder / part).absolute())
            _, said = write_report(study, Store(copy))
            folder = copy
        else:
            folder = store.folder
            said = json.loads((folder / "summary.json").read_text(encoding="utf-8"))
        digest = hashlib.sha256(b"\0".join((folder / file).read_bytes() for file in TOLD)).hexdigest()[:12]
        run_id = f"comparison-{group.rpartition('-')[2]}"
        if ledger.holds(run_id, digest):
            return False
        ledger.clear(run_id)
        files = [folder / file for file in (*DERIVED, *SOMETIMES) if (folder / file).is_file()]
        try:
            kept = archive(study, store, copy / "archive").folder
            records = [kept / ARCHIVE, kept / "study.yaml"]
        except InputError:  # a record cannot be read, which `push` reports
            records = [folder / "study.yaml"]
        is_new, waits_in = _publish(study, session, run_id, group, said, digest, files, records)
        ledger.note(run_id, digest, waits_in)
    return is_new


def _publish(
    study: Study,
    session: Session,
    run_id: str,
    group: str,
    said: dict[str, Any],
    digest: str,
    files: list[Path],
    records: list[Path],
) -> tuple[bool, str]:
    """Publish the run unless the server already has this version.

    Args:
        study: The study.
        session: The W&B session.
        run_id: Id of the run.
        group: Group of the run.
        said: Contents of the report's summary.json.
        digest: Version of the comparison.
        files: Files of the report.
        records: The archived records and the study file.

    Returns:
        Whether the run was published now, and the name of the offline run's folder.
    """
    import pandas as pd
    import wandb

    by_name = {file.name: file for file in files}
    trials = pd.read_csv(by_name["trials.csv"])
    counts = {f"trials/{status}": int(n) for status, n in trials["status"].value_counts().items()}
    run = session.start(
        ELSEWHERE,
        id=run_id,
        resume="allow" if session.online else None,
        name=content.shortened(study.name, LONGEST),
        group=group,
        job_type="comparison",
        notes=study.question,
        tags=content.tags(study.name, "comparison"),
        config={"study": parse_value(study.to_file())},
    )
    if run.resumed and run.config.get(PUBLISHED) == digest:
        session.finish(run, 0)
        return False, session.waits_in(run)
    shown: dict[str, Any] = {}
    for name in TABLES:
        if f"{name}.csv" in by_name:
            table = pd.read_csv(by_name[f"{name}.csv"], keep_default_na=False, na_values=[""])
            shown[name] = wandb.Table(columns=list(table.columns), data=_rows(table), allow_mixed_types=True)
    for name in FIGURES:
        if f"{name}.png" in by_name:
            shown[f"figures/{name}"] = wandb.Image(str(by_name[f"{name}.png"]))
    shown["report"] = wandb.Html(str(by_name["report.html"]), inject=False)
    run.log(shown)
    artifact = wandb.Artifact(re.sub(r"[^a-zA-Z0-9_.-]", "_", group), "study", description=study.question)
    for file in (*files, *records):
        artifact.add_file(str(file), name=file.name)
    run.log_artifact(artifact)
    findings = {name: text for name, text in said.items() if name.startswith("finding")}
    run.summary.update({**findings, "trials": len(trials), **counts})
    run.config.update({PUBLISHED: digest}, allow_val_change=True)  # last, because it marks the run as complete
    session.finish(run, 0)
    return True, session.waits_in(run)


def _rows(table: Any) -> list[Any]:
    """The cells of a table as plain values; None for missing ones."""
    plain = table.astype(object).where(table.notna(), None)
    return [[cell.item() if hasattr(cell, "item") else cell for cell in row] for row in plain.to_numpy().tolist()]
