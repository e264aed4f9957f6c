"""Weights & Biases as this project uses it: who is asked, how long one waits, and what to say when it does not work.

Of wandb only the public surface is used: `login`, `init`, `Settings`, `setup`, `teardown`, `Api`, and of a run what its
documentation names. It starts a process of its own, which a session ends.
"""

import errno
import os
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from pathlib import Path
from types import ModuleType, TracebackType
from typing import TYPE_CHECKING, Any

from datamodules.errors import InputError

from .options import WandbOptions

if TYPE_CHECKING:
    from wandb import Run

WAIT = 20  # seconds for an answer of the server, and as many for a run to begin
UPLOAD = 120  # seconds for what a run has left to upload at its end; the rest waits on disk
OFFLINE = ("offline", "dryrun")
# What of the machine is nobody's business, or stands in the record already. Those that begin with x_ are no promise of
# wandb's; where one is gone, it is left out.
QUIET: dict[str, Any] = {
    "silent": True,
    "console": "off",
    "disable_code": True,
    "save_code": False,
    "disable_job_creation": True,
    "symlink": False,
    "x_save_requirements": False,
}
# For what ran on another machine, or at another time.
ELSEWHERE: dict[str, Any] = {
    "host": "",
    "disable_git": True,
    "x_disable_stats": True,
    "x_disable_meta": True,
    "x_disable_machine_info": True,
}
Say = Callable[[str], None]


class Unreachable(Exception):  # noqa: N818 - it names the server, not the event
    """The server of W&B, or wandb's own process, did not answer; the message says how."""


class Refused(InputError):  # noqa: N818 - it names what W&B does
    """W&B refuses a run, maybe this one alone."""


class Session:
    """A connection to Weights & Biases, or the folder that stands for it.

    Args:
        options: Where runs go.
        say: Called with sentences for the user.
        folder: Where `wandb/` is made; None for $WANDB_DIR, else the current folder.

    Attributes:
        online: Whether runs go to the server.
        server: Its address.
        entity: The user or team that runs belong to; empty for the key's own.
        upload: Seconds that a run has at its end to upload what is left.

    Raises:
        InputError: wandb is not installed, it cannot be set up, or the server refuses the key.
    """

    def __init__(self, options: WandbOptions, say: Say, folder: Path | None = None) -> None:
        self.options, self.say, self.upload = options, say, UPLOAD
        self.folder = Path(folder or os.environ.get("WANDB_DIR") or ".").absolute()
        self.wandb = _import()
        settings = self._begin()
        self.server = str(settings.base_url).rstrip("/")
        self.entity = options.entity or settings.entity or ""  # $WANDB_ENTITY, say
        self.online = False
        if settings.mode == "disabled":
            self.go_offline("it is disabled on this machine, which `wandb enabled` undoes")
        elif settings.mode not in OFFLINE:
            self.online = self._log_in()

    def __enter__(self) -> "Session":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        try:
            self.close()
        except KeyboardInterrupt:  # what runs were opened for is done by now, or is being interrupted already
            self.say(f"W&B: interrupted. {self.how_to_sync()}")

    @property
    def files(self) -> Path:
        """The folder of runs that wait for `wandb sync`."""
        return self.folder / "wandb"

    def close(self) -> None:
        """End wandb's process; what it has is written by then. How it ends is said, and is not how this one ends."""
        try:
            self.wandb.teardown()
        except (Exception, SystemExit) as error:  # it exits as its process did
            self.say(f"W&B: its own process did not end well ({in_words(error)}).")

    def account(self) -> str:
        """The user or team that runs belong to; empty where nobody says, as of offline runs before they are uploaded.

        Raises:
            Unreachable: The server does not answer.
        """
        if self.entity or not self.online:
            return self.entity
        try:
            self.entity = self.wandb.Api(timeout=WAIT).default_entity or ""
        except Exception:  # of several kinds, and a server that answers may still not tell
            if silence := self._silence():
                raise Unreachable(f"{self.server} does not answer ({silence})") from None
        return self.entity

    def start(self, settings: Mapping[str, Any] = {}, **about: Any) -> "Run":
        """Begin a run.

        Args:
            settings: Settings of wandb beside those of the session.
            **about: What `wandb.init` takes beside project and entity.

        Raises:
            Refused: The server refuses it.
            InputError: The folder cannot be written.
            Unreachable: The server does not answer, or wandb's process does not.
        """
        errors = self.wandb.errors
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            if not os.access(self.folder, os.W_OK | os.R_OK):  # wandb would write to /tmp and tell nobody
                raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
            return self.wandb.init(
                project=self.options.project,
                entity=self.options.entity,
                mode="online" if self.online else "offline",
                dir=str(self.folder),
                settings=self._settings(settings),
                reinit="create_new",
                **about,
            )
        except (errors.UsageError, ValueError) as error:
            raise Refused(f"W&B refuses the run: {_one_line(error)}.") from None
        except (errors.Error, TimeoutError) as error:
            if not self.online:
                raise InputError(f"W&B cannot keep the run in {self.files}: {_one_line(error)}.") from None
            if self._silence():
                raise Unreachable(f"{self.server} does not answer ({_one_line(error)})") from None
            raise Refused(
                f"W&B refuses the run in project {self.options.project!r} of {self.options.entity or 'this key'}: "
                f"{_one_line(error)}. Choose another project or entity, or ask its owner for access."
            ) from None
        except ConnectionError as error:  # an OSError, though no file is at fault
            raise Unreachable(f"wandb's own process does not answer ({_one_line(error)})") from None
        except OSError as error:
            raise InputError(
                f"cannot write to {self.files}: {error.strerror or error}. Make it writable, or go where you may write."
            ) from None
        except Exception as error:  # wandb's process is gone, which it says in exceptions of no common kind
            raise Unreachable(f"wandb stopped with {in_words(error)}") from None

    def finish(self, run: "Run", exit_code: int) -> None:
        """End a run, once all of it is written or uploaded.

        Raises:
            Unreachable: The server does not take it, or wandb's process is gone.
        """
        try:
            run.finish(exit_code=exit_code)
        except Exception as error:
            where = f"did not reach {self.server}" if self.online else "is not written"
            raise Unreachable(f"the end of run {run.id} {where}: {_one_line(error)}") from None

    def waits_in(self, run: "Run") -> str:
        """The name of the folder below `files` in which a run waits; empty where it was uploaded."""
        return "" if self.online else Path(run.sync_dir).name

    def go_offline(self, because: str) -> None:
        """Keep runs on disk from now on, and say so."""
        self.online = False
        self.say(f"W&B works offline: {because}. {self.how_to_sync()}")

    def how_to_sync(self) -> str:
        """How to upload what is on disk, as a sentence."""
        return f"To upload the runs later: wandb sync {self.files}/offline-run-*"

    def _begin(self) -> Any:
        """Begin anew, and give the settings: wandb reads them, and keys, once a session.

        Raises:
            InputError: A variable of the environment, say, has a value that wandb does not know.
        """
        self.close()
        mode = {} if self.options.mode is None else {"mode": self.options.mode}  # it beats $WANDB_MODE, and the files
        try:
            return self.wandb.setup(settings=self._settings(mode)).settings
        except (self.wandb.errors.Error, ValueError) as error:
            said = _one_line(error).partition(" For further information")[0]
            raise InputError(f"W&B cannot be set up: {said}. Mend $WANDB_MODE, $WANDB_BASE_URL or the like.") from None

    def _log_in(self) -> bool:
        """Whether there is a key that the server knows.

        Raises:
            InputError: The server refuses it, or it can be none.
        """
        remedy = "Get another by `wandb login --relogin`, or say --wandb.mode offline."
        errors = (self.wandb.errors.Error, ValueError)
        try:
            there = self.wandb.login(prompt=False, verify=False)
        except errors as error:
            raise InputError(f"the key of W&B can be none: {_one_line(error)}. {remedy}") from None
        if not there:
            self.go_offline("there is no key, which `wandb login` or $WANDB_API_KEY would give")
            return False
        self._begin()  # or the key would be taken as it is
        try:
            return bool(self.wandb.login(prompt=False, verify=True))
        except errors as error:
            late = _one_line(error) if "in time" in str(error) or "timed out" in str(error) else ""
            if silence := self._silence() or late:
                self.go_offline(f"{self.server} does not answer ({silence})")
                return False
            raise InputError(f"{self.server} refuses the key of W&B: {_one_line(error)}. {remedy}") from None

    def _silence(self) -> str:
        """How the server does not answer; empty where it does, whatever it says."""
        try:
            urllib.request.urlopen(f"{self.server}/healthz", timeout=WAIT / 2).close()
        except urllib.error.HTTPError:
            return ""
        except (OSError, ValueError) as error:  # URLError is an OSError, and so is a timeout
            return _one_line(getattr(error, "reason", error))
        return ""

    def _settings(self, more: Mapping[str, Any]) -> Any:
        limits = {"init_timeout": WAIT, "finish_timeout": self.upload, "finish_timeout_raises": True}
        wanted = {**QUIET, **limits, **more}
        known = self.wandb.Settings.model_fields
        return self.wandb.Settings(**{name: value for name, value in wanted.items() if name in known})


def _import() -> ModuleType:
    # It reports its own errors to its makers unless told not to.
    os.environ.setdefault("WANDB_ERROR_REPORTING", "false")
    os.environ.setdefault("WANDB_HTTP_TIMEOUT", str(WAIT // 2))
    try:
        import wandb
    except ImportError:
        raise InputError('--wandb needs the package wandb: pip install "wandb>=0.31".') from None
    return wandb


def in_words(error: BaseException) -> str:
    """An error as part of a sentence: its kind, and what it says, on one line."""
    said = " ".join(str(error).split()).rstrip(".")
    return f"{type(error).__name__}: {said}" if said else type(error).__name__


def _one_line(error: object) -> str:
    return " ".join(str(error).split()).rstrip(".") or type(error).__name__
