"""Publishing a study in Weights & Biases: a run for each trial, and one in which they are compared.

All of it comes from the store, so that what a crash leaves out the same command adds. Ids do not depend on when or from
where a study is published, and a ledger says what is there already: publishing again adds nothing twice.
"""

import hashlib
import json
import sys
from dataclasses import dataclass, field
from pathlib import Path

from zoo.tracking.options import WandbOptions
from zoo.tracking.session import Session, Unreachable

from ..store import Store, Unreadable, keys_of
from ..study import Study
from .comparison import publish_comparison
from .ledger import Ledger
from .trials import LONGEST, Recorded, publish_trial

AT_ONCE = 200  # trials whose curves are in memory
# What says which comparison this is. More seeds, another margin or other claims are the same one, told better.
IDENTITY = ("name", "task", "base", "vary", "tune", "one_at_a_time", "baseline", "baseline_per", "metric", "mode")


@dataclass
class Pushed:
    """What came of publishing a study.

    Attributes:
        new: Trials that are there by now and were not before.
        earlier: Trials that were there already.
        pending: Trials that have no record to publish.
        comparison: Whether the comparison is new, or says something new.
        unreadable: What to say of records that cannot be read.
        trouble: Why it ended early; empty if it did not.
    """

    new: int = 0
    earlier: int = 0
    pending: int = 0
    comparison: bool = False
    trouble: str = ""
    unreadable: list[str] = field(default_factory=list)


def study_hash(study: Study) -> str:
    """Eight hexadecimal digits that stand for what a study compares."""
    said = json.dumps({name: getattr(study, name) for name in IDENTITY}, sort_keys=True)
    return hashlib.sha256(said.encode()).hexdigest()[:8]


def group_of(study: Study) -> str:
    """The group of a study's runs: its name and its hash."""
    return f"{study.name[: LONGEST - 9]}-{study_hash(study)}"


def trial_id(study: Study, key: str) -> str:
    """The id of a trial's run: its key, and the study's hash, since a project may hold two studies that share it."""
    return f"{key}-{study_hash(study)}"


def push(study: Study, store: Store, session: Session) -> Pushed:
    """Publish what is not published yet.

    Args:
        study: The study.
        store: Its records; nothing of them is written.
        session: Where they go; a session without a server leaves them below `wandb/` of its folder.

    Raises:
        InputError: The store does not hold this study, or W&B refuses the project.
    """
    done = Pushed()
    with Ledger(session) as ledger:
        missing = _missing(study, store, ledger, done)
        try:
            for start in range(0, len(missing), AT_ONCE):
                some = missing[start : start + AT_ONCE]
                curves = store.curves([trial.key for trial in some])
                for trial in some:
                    run_id = trial_id(study, trial.key)
                    ledger.clear(run_id)
                    publish_trial(study, trial, curves.get(trial.key, {}), session, run_id, group_of(study))
                    ledger.note(run_id, trial.version)
                    done.new += 1
            done.comparison = publish_comparison(study, store, session, ledger, group_of(study))
        except Unreachable as error:
            done.trouble = str(error)
        except (session.wandb.errors.Error, ConnectionError, TimeoutError) as error:  # of wandb's own process
            done.trouble = f"wandb stopped with {type(error).__name__}: {error}"
    return done


def _missing(study: Study, store: Store, ledger: Ledger, done: Pushed) -> list[Recorded]:
    """The trials that have a record and are not published as they are now; `done` counts the others."""
    found = []
    for variant, keys in zip(study.variants, keys_of(study, store), strict=True):
        for seed, key in enumerate(keys):
            try:
                record = store.record(key)
            except Unreadable as error:
                whose = f"{variant.name}, seed {seed} ({key})"
                done.unreadable.append(f"the record of {whose} is left out: {error}; run the study again.")
                record = None
            if record is None:
                done.pending += 1
                continue
            trial = Recorded(variant, seed, record)
            if ledger.holds(trial_id(study, key), trial.version):
                done.earlier += 1
            else:
                found.append(trial)
    return found


def tell(study: Study, done: Pushed, session: Session, again: str) -> None:
    """Say what came of it, on stderr.

    Args:
        study: The study.
        done: See `push`.
        session: Where it went.
        again: The command that goes on.
    """
    options = session.options
    there = f"{session.server} ({options.project})" if session.online else f"{session.files}, project {options.project}"
    words = f"W&B: {done.new} trials published in {there}, group {group_of(study)}"
    words += f"; {done.earlier} were there already" if done.earlier else ""
    words += f"; {done.pending} have not run" if done.pending else ""
    say(f"{words}.")
    for sentence in done.unreadable:
        say(sentence)
    if done.trouble:
        say(f"W&B: {done.trouble}. What is published stays; to go on: {again}")
    elif not session.online and (done.new or done.comparison):
        say(session.how_to_sync())


def say(sentence: str) -> None:
    """Print a sentence on stderr."""
    print(sentence, file=sys.stderr, flush=True)


def check(options: WandbOptions, folder: Path) -> None:
    """See, ahead of a study, whether it can be published in the end.

    Args:
        options: Where.
        folder: The study's folder.

    Raises:
        InputError: wandb is not installed, or the server refuses the key.
    """
    Session(options, say, folder).close()


def push_after_run(study: Study, store: Store, options: WandbOptions) -> None:
    """Publish a study that has just run; whatever goes wrong is said, and changes nothing of the study."""
    again = f"bench push {store.folder} --wandb-project {options.project}"
    try:
        with Session(options, lambda sentence: None, store.folder) as session:
            tell(study, push(study, store, session), session, again)
    except Exception as error:
        say(f"W&B: the study is done, but not published: {error} To publish it: {again}")
