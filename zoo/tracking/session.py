"""Weights & Biases as this project uses it: who is asked, how long one waits, and what to say when it does not work.

Of wandb only the public surface is used: `login`, `init`, `Settings`, `setup`, `teardown`, and of a run what its
documentation names. It starts a process of its own, which a session ends.
"""

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
    """The server of W&B did not answer; the message says how."""


class Session:
    """A connection to Weights & Biases, or the folder that stands for it.

    Args:
        options: Where runs go.
        say: Called with sentences for the user.
        folder: Where `wandb/` is made; None for $WANDB_DIR, else the current folder.

    Attributes:
        online: Whether runs go to the server.
        server: Its address.
        upload: Seconds that a run has at its end to upload what is left.

    Raises:
        InputError: wandb is not installed, or the server refuses the key.
    """

    def __init__(self, options: WandbOptions, say: Say, folder: Path | None = None) -> None:
        self.options, self.say, self.upload = options, say, UPLOAD
        self.folder = Path(folder or os.environ.get("WANDB_DIR") or ".").absolute()
        self.wandb = _import()
        self.server = self._begin()
        mode = options.mode or os.environ.get("WANDB_MODE", "")
        self.online = mode not in OFFLINE and self._log_in()

    def __enter__(self) -> "Session":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.close()

    @property
    def files(self) -> Path:
        """The folder of runs that wait for `wandb sync`."""
        return self.folder / "wandb"

    def close(self) -> None:
        """End wandb's process; what it has is written by then."""
        self.wandb.teardown()

    def start(self, settings: Mapping[str, Any] = {}, **about: Any) -> "Run":
        """Begin a run.

        Args:
            settings: Settings of wandb beside those of the session.
            **about: What `wandb.init` takes beside project and entity.

        Raises:
            InputError: The server refuses it.
            Unreachable: The server does not answer.
        """
        errors = self.wandb.errors
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            return self.wandb.init(
                project=self.options.project,
                entity=self.options.entity,
                mode="online" if self.online else "offline",
                dir=str(self.folder),
                settings=self._settings(settings),
                reinit="create_new",
                **about,
            )
        except errors.UsageError as error:
            raise InputError(f"W&B refuses the run: {_one_line(error)}") from None
        except (errors.Error, TimeoutError) as error:
            if not self.online:
                raise InputError(f"W&B cannot keep the run in {self.files}: {_one_line(error)}.") from None
            if self._silence():
                raise Unreachable(f"{self.server} does not answer ({_one_line(error)})") from None
            raise InputError(
                f"W&B refuses the run in project {self.options.project!r} of {self.options.entity or 'this key'}: "
                f"{_one_line(error)}. Choose another project or entity, or ask its owner for access."
            ) from None
        except OSError as error:
            raise InputError(f"cannot write to {self.files}: {error.strerror or error}.") from None

    def finish(self, run: "Run", exit_code: int) -> None:
        """End a run, once all of it is written or uploaded.

        Raises:
            Unreachable: The server does not take it.
        """
        try:
            run.finish(exit_code=exit_code)
        except (self.wandb.errors.Error, TimeoutError, OSError) as error:
            raise Unreachable(f"the end of run {run.id} did not reach {self.server}: {_one_line(error)}") from None

    def go_offline(self, because: str) -> None:
        """Keep runs on disk from now on, and say so."""
        self.online = False
        self.say(f"W&B works offline: {because}. {self.how_to_sync()}")

    def how_to_sync(self) -> str:
        """How to upload what is on disk, as a sentence."""
        return f"To upload the runs later: wandb sync {self.files}/offline-run-*"

    def _begin(self) -> str:
        """Begin anew, and give the server's address: wandb reads settings and keys once a session."""
        self.wandb.teardown()
        return str(self.wandb.setup(settings=self._settings({})).settings.base_url).rstrip("/")

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


def _one_line(error: object) -> str:
    return " ".join(str(error).split()).rstrip(".") or type(error).__name__
