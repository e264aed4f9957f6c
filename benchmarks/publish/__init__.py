"""Publishing a study in Weights & Biases: a run for each trial, and one in which they are compared.

All of it comes from the store, so that what a crash leaves out the same command adds. Ids do not depend on when or from
where a study is published, and a ledger says what is there already: publishing again adds nothing twice.
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
from zoo.tracking.options import WandbOptions
from zoo.tracking.session import Refused, Session, Unreachable, in_words

from ..records.store import Store, read_stored
from ..study.study import Study
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
        refused: What to say of runs that W&B refuses, while it takes others.
        trouble: Why it ended early; empty if it did not.
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
        """Whether all is there that can be."""
        return not self.trouble and not self.refused


def study_hash(study: Study) -> str:
    """Eight hexadecimal digits that stand for what a study compares."""
    # Not `canonical`: ids of runs that are in W&B already were made of this text.
    said = json.dumps({name: getattr(study, name) for name in IDENTITY}, sort_keys=True)
    return hashlib.sha256(said.encode()).hexdigest()[:8]


def group_of(study: Study) -> str:
    """The group of a study's runs: its name and its hash."""
    return f"{study.name[: LONGEST - 9]}-{study_hash(study)}"


def trial_id(study: Study, trial: Recorded) -> str:
    """The id of a trial's run: its key, the study's hash, and what tells its record from that of another attempt.

    A project may hold two studies that share a trial, and of a trial two attempts, whose curves are not to mix.
    """
    return f"{trial.key}-{study_hash(study)}-{trial.version[:6]}"


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
    try:
        with Ledger(session) as ledger:
            _push(study, store, session, ledger, done)
    except Unreachable as error:
        done.trouble = str(error)
    except InputError:
        raise
    except Exception as error:  # wandb raises exceptions of no common kind, and where it stands is to be told
        done.trouble = f"publishing stopped with {in_words(error)}"
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
    """Go on if one run is refused, such as one that was deleted there; not if that is all that W&B does.

    Args:
        whose: What the run is of.
        done: Told of it.
    """
    try:
        yield
    except Refused as error:
        if done.refused and not done.new:
            raise
        done.refused.append(f"{whose} is left out: {error}")


def _missing(study: Study, store: Store, ledger: Ledger, done: Pushed) -> list[Recorded]:
    """The trials that have a record and are not published as they are now; `done` counts the others."""
    found = []
    for stored in read_stored(study, store):
        if stored.trouble:
            whose = f"{stored.variant.name}, seed {stored.seed} ({stored.key})"
            done.unreadable.append(f"the record of {whose} is left out: {stored.trouble}; run the study again.")
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
    """Say what came of it, on stderr.

    Args:
        study: The study.
        done: See `push`.
        session: Where it went.
        again: The command that goes on.
    """
    options = session.options
    there = f"{session.server} ({options.project})" if session.online else f"{session.files}, project {options.project}"
    words = f"W&B: {done.new} {'trial' if done.new == 1 else 'trials'} published in {there}, group {group_of(study)}"
    words += f"; {done.earlier} were there already" if done.earlier else ""
    words += f"; {done.pending} have not run" if done.pending else ""
    say(f"{words}.")
    for sentence in (*done.unreadable, *done.refused):
        say(sentence)
    if done.trouble:
        say(f"W&B: {done.trouble.rstrip('.')}. What is published stays; to go on: {again}")
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
    given = {"project": options.project, "entity": options.entity, "mode": options.mode}
    words = [word for name, value in given.items() if value is not None for word in (f"--wandb-{name}", value)]
    again = shlex.join(["bench", "push", str(store.folder), *words])
    try:
        with Session(options, say, store.folder) as session:
            tell(study, push(study, store, session), session, again)
    except Exception as error:
        said = str(error) if isinstance(error, InputError) else in_words(error)
        say(f"W&B: the study is done, but not published: {said.rstrip('.')}. To publish it: {again}")
    except KeyboardInterrupt:
        say(f"W&B: the study is done; publishing it was interrupted. To go on: {again}")
