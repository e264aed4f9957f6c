"""Publish a study in Weights & Biases: one run per trial, and one run with their comparison.

Everything is read from the store, so the same command continues after a crash. Run ids do not depend on when or from
where a study is published, and a ledger records what is already published, so publishing again adds no duplicates.
"""

import hashlib
import json
import shlex
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from datamodules.errors import InputError
from zoo.tracking.content import LONGEST
from zoo.tracking.options import WandbOptions
from zoo.tracking.session import Refused, Session, Unreachable, in_words

from ..records.store import Store
from ..records.stored import read_stored
from ..study.study import Study
from .comparison import publish_comparison
from .ledger import Ledger
from .trials import Recorded, publish_trial

AT_ONCE = 200  # number of trials whose curves are in memory at once
# Attributes that identify a comparison. More seeds, another margin or other claims update the same comparison.
IDENTITY = ("name", "task", "base", "vary", "tune", "one_at_a_time", "baseline", "baseline_per", "metric", "mode")


@dataclass
class Pushed:
    """Result of publishing a study.

    Attributes:
        new: Number of trials published now.
        earlier: Number of trials that were already published.
        pending: Number of trials without a record.
        comparison: Whether the comparison was published or updated.
        unreadable: Messages about records that cannot be read.
        refused: Messages about runs that W&B rejected.
        trouble: Why publishing stopped early; empty if it did not.
    """

    new: int = 0
    earlier: int = 0
    pending: int = 0
    comparison: bool = False
    trouble: str = ""
    unreadable: list[str] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)

    @property
    def whole(self) -> bool:
        """Whether everything that has a record is published."""
        return not self.trouble and not self.refused


def study_hash(study: Study) -> str:
    """Eight hexadecimal digits that identify what a study compares."""
    # Not `canonical`: the ids of runs that are already in W&B are hashes of this text.
    said = json.dumps({name: getattr(study, name) for name in IDENTITY}, sort_keys=True)
    return hashlib.sha256(said.encode()).hexdigest()[:8]


def group_of(study: Study) -> str:
    """The group of a study's runs: its name and its hash."""
    return f"{study.name[: LONGEST - 9]}-{study_hash(study)}"


def trial_id(study: Study, trial: Recorded) -> str:
    """The id of a trial's run: its key, the study's hash and the version of its record.

    A project may contain two studies that share a trial, or two attempts of a trial; their curves must not mix.
    """
    return f"{trial.key}-{study_hash(study)}-{trial.version[:6]}"


def push(study: Study, store: Store, session: Session) -> Pushed:
    """Publish everything that is not published yet.

    Args:
        study: The study.
        store: Its records, which are only read.
        session: The W&B session; an offline session writes to `wandb/` in its folder.

    Raises:
        InputError: The store does not hold this study, or W&B rejects the project.
    """
    done = Pushed()
    try:
        with Ledger(session) as ledger:
            _push(study, store, session, ledger, done)
    except Unreachable as error:
        done.trouble = str(error)
    except InputError:
        raise
    except Exception as error:  # wandb's exceptions have no common base class, and the progress must be reported
        done.trouble = f"publishing failed with {in_words(error)}"
    return done


def _push(study: Study, store: Store, session: Session, ledger: Ledger, done: Pushed) -> None:
    missing, group = _missing(study, store, ledger, done), group_of(study)
    for start in range(0, len(missing), AT_ONCE):
        some = missing[start : start + AT_ONCE]
        curves = store.curves([trial.key for trial in some])
        for trial in some:
            run_id = trial_id(study, trial)
            ledger.clear(run_id)
            with _refusal(f"{trial.variant.name}, seed {trial.seed}", done):
                waits_in = publish_trial(study, trial, curves.get(trial.key, {}), session, run_id, group)
                ledger.note(run_id, trial.version, waits_in)
                done.new += 1
    with _refusal("the comparison", done):
        done.comparison = publish_comparison(study, store, session, ledger, group)


@contextmanager
def _refusal(whose: str, done: Pushed) -> Iterator[None]:
    """Continue if a single run is rejected, such as one deleted in W&B; re-raise if W&B rejects every run.

    Args:
        whose: What the run contains.
        done: Receives the message.
    """
    try:
        yield
    except Refused as error:
        if done.refused and not done.new:
            raise
        done.refused.append(f"{whose} was not published: {error}")


def _missing(study: Study, store: Store, ledger: Ledger, done: Pushed) -> list[Recorded]:
    """The trials with a record whose current version is not published; the others are counted in `done`."""
    found = []
    for stored in read_stored(study, store):
        if stored.trouble:
            whose = f"{stored.variant.name}, seed {stored.seed} ({stored.key})"
            done.unreadable.append(f"the record of {whose} was not published: {stored.trouble}; run the study again.")
        if stored.record is None:
            done.pending += 1
            continue
        trial = Recorded(stored.variant, stored.seed, stored.record)
        if ledger.holds(trial_id(study, trial), trial.version):
            done.earlier += 1
        else:
            found.append(trial)
    return found


def tell(study: Study, done: Pushed, session: Session, again: str) -> None:
    """Print the result of `push` on stderr.

    Args:
        study: The study.
        done: The result.
        session: The W&B session.
        again: The command that continues.
    """
    options = session.options
    there = f"{session.server} ({options.project})" if session.online else f"{session.files}, project {options.project}"
    words = f"W&B: {done.new} {'trial' if done.new == 1 else 'trials'} published in {there}, group {group_of(study)}"
    words += f"; {done.earlier} were already published" if done.earlier else ""
    words += f"; {done.pending} have not run" if done.pending else ""
    say(f"{words}.")
    for sentence in (*done.unreadable, *done.refused):
        say(sentence)
    if done.trouble:
        say(f"W&B: {done.trouble.rstrip('.')}. Published runs are kept; to continue, run: {again}")
    elif not session.online and (done.new or done.comparison):
        say(session.how_to_sync())


def say(sentence: str) -> None:
    """Print a sentence on stderr."""
    print(sentence, file=sys.stderr, flush=True)


def check(options: WandbOptions, folder: Path) -> None:
    """Check, before a study runs, that it can be published.

    Args:
        options: The W&B options.
        folder: The study's folder.

    Raises:
        InputError: wandb is not installed, or the server rejects the API key.
    """
    Session(options, say, folder).close()


def push_after_run(study: Study, store: Store, options: WandbOptions) -> None:
    """Publish a study that has just run; errors are only printed and do not affect the study."""
    given = {"project": options.project, "entity": options.entity, "mode": options.mode}
    words = [word for name, value in given.items() if value is not None for word in (f"--wandb-{name}", value)]
    again = shlex.join(["bench", "push", str(store.folder), *words])
    try:
        with Session(options, say, store.folder) as session:
            tell(study, push(study, store, session), session, again)
    except Exception as error:
        said = str(error) if isinstance(error, InputError) else in_words(error)
        say(f"W&B: the study is done, but could not be published: {said.rstrip('.')}. To publish it, run: {again}")
    except KeyboardInterrupt:
        say(f"W&B: the study is done, but publishing was interrupted. To continue, run: {again}")
