"""Sessions of Weights & Biases: login, timeouts, and handling of errors.

Uses wandb's public interface only: `login`, `init`, `Settings`, `setup`, `teardown`, `Api` and the documented methods
of runs. wandb starts its own process, which a session ends.
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

WAIT = 20  # timeout of requests to the server and of the start of a run, in seconds
UPLOAD = 120  # timeout of the upload at the end of a run, in seconds; the rest stays on disk
OFFLINE = ("offline", "dryrun")
# Do not upload private information about the machine, or what the record already contains. Settings that start with x_
# are not part of wandb's public interface, so unknown ones are ignored.
QUIET: dict[str, Any] = {
    "silent": True,
    "console": "off",
    "disable_code": True,
    "save_code": False,
    "disable_job_creation": True,
    "symlink": False,
    "x_save_requirements": False,
}
# For runs of another machine, or of an earlier time.
ELSEWHERE: dict[str, Any] = {
    "host": "",
    "disable_git": True,
    "x_disable_stats": True,
    "x_disable_meta": True,
    "x_disable_machine_info": True,
}
Say = Callable[[str], None]


class Unreachable(Exception):  # noqa: N818 - it names the server, not the event
    """The W&B server or wandb's own process did not respond; the message has the details."""


class Refused(InputError):  # noqa: N818 - it names what W&B does
    """W&B rejected a run; other runs may still be accepted."""


class Session:
    """A connection to Weights & Biases, or its offline folder.

    Args:
        options: Destination of runs.
        say: Called with messages for the user.
        folder: Folder in which `wandb/` is created; None means $WANDB_DIR, or the current folder if that is not set.

    Attributes:
        online: Whether runs are sent to the server.
        server: Address of the server.
        entity: User or team that runs belong to; empty for the default of the API key.
        upload: Timeout of the upload at the end of a run, in seconds.

    Raises:
        InputError: If wandb is not installed or cannot be set up, or the server rejects the API key.
    """

    def __init__(self, options: WandbOptions, say: Say, folder: Path | None = None) -> None:
        self.options, self.say, self.upload = options, say, UPLOAD
        self.folder = Path(folder or os.environ.get("WANDB_DIR") or ".").absolute()
        self.wandb = _import()
        settings = self._begin()
        self.server = str(settings.base_url).rstrip("/")
        self.entity = options.entity or settings.entity or ""  # the latter for example from $WANDB_ENTITY
        self.online = False
        if settings.mode == "disabled":
            self.go_offline("it is disabled on this machine (enable it with `wandb enabled`)")
        elif settings.mode not in OFFLINE:
            self.online = self._log_in()

    def __enter__(self) -> "Session":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        try:
            self.close()
        except KeyboardInterrupt:  # training is done by now, or has been interrupted already
            self.say(f"W&B: interrupted. {self.how_to_sync()}")

    @property
    def files(self) -> Path:
        """Folder of the offline runs, for `wandb sync`."""
        return self.folder / "wandb"

    def close(self) -> None:
        """End wandb's process, after it has written its data; report errors without raising them."""
        try:
            self.wandb.teardown()
        except (Exception, SystemExit) as error:  # it raises SystemExit if its process failed
            self.say(f"W&B: the wandb process ended with an error ({in_words(error)}).")

    def account(self) -> str:
        """Return the user or team that runs belong to; empty if unknown, as for offline runs before their upload.

        Raises:
            Unreachable: If the server does not respond.
        """
        if self.entity or not self.online:
            return self.entity
        try:
            self.entity = self.wandb.Api(timeout=WAIT).default_entity or ""
        except Exception:  # of several types; even a server that responds may not return an entity
            if silence := self._silence():
                raise Unreachable(f"{self.server} does not respond ({silence})") from None
        return self.entity

    def start(self, settings: Mapping[str, Any] = {}, **about: Any) -> "Run":
        """Start a run.

        Args:
            settings: Settings of wandb in addition to those of the session.
            **about: Arguments of `wandb.init` other than project and entity.

        Raises:
            Refused: If the server rejects the run.
            InputError: If the folder is not writable.
            Unreachable: If the server or wandb's process does not respond.
        """
        errors = self.wandb.errors
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            if not os.access(self.folder, os.W_OK | os.R_OK):  # wandb would silently write to /tmp
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
            raise Refused(f"W&B rejected the run: {_one_line(error)}.") from None
        except (errors.Error, TimeoutError) as error:
            if not self.online:
                raise InputError(f"W&B cannot store the run in {self.files}: {_one_line(error)}.") from None
            if self._silence():
                raise Unreachable(f"{self.server} does not respond ({_one_line(error)})") from None
            owner = self.options.entity or "the API key's owner"
            raise Refused(
                f"W&B rejected the run in project {self.options.project!r} of {owner}: {_one_line(error)}. Choose "
                "another project or entity, or ask its owner for access."
            ) from None
        except ConnectionError as error:  # an OSError that does not concern files
            raise Unreachable(f"the wandb process does not respond ({_one_line(error)})") from None
        except OSError as error:
            raise InputError(
                f"cannot write to {self.files}: {error.strerror or error}. Make it writable, or set WANDB_DIR to a "
                "writable folder."
            ) from None
        except Exception as error:  # wandb's process has died, which raises exceptions of various types
            raise Unreachable(f"wandb stopped with {in_words(error)}") from None

    def finish(self, run: "Run", exit_code: int) -> None:
        """End a run, after all of it is written or uploaded.

        Raises:
            Unreachable: If the upload fails, or wandb's process has died.
        """
        try:
            run.finish(exit_code=exit_code)
        except Exception as error:
            where = f"was not uploaded to {self.server}" if self.online else "was not written"
            raise Unreachable(f"the end of run {run.id} {where}: {_one_line(error)}") from None

    def waits_in(self, run: "Run") -> str:
        """Name of the folder below `files` that contains an offline run; empty if it was uploaded."""
        return "" if self.online else Path(run.sync_dir).name

    def go_offline(self, because: str) -> None:
        """Store runs on disk from now on, and tell the user."""
        self.online = False
        self.say(f"W&B is offline: {because}. {self.how_to_sync()}")

    def how_to_sync(self) -> str:
        """Instruction to upload offline runs."""
        return f"To upload the runs later: wandb sync {self.files}/offline-run-*"

    def _begin(self) -> Any:
        """Restart wandb and return its settings, which it reads only once, like keys.

        Raises:
            InputError: If wandb rejects a setting, for example the value of an environment variable.
        """
        self.close()
        mode = {} if self.options.mode is None else {"mode": self.options.mode}  # overrides $WANDB_MODE and files
        try:
            return self.wandb.setup(settings=self._settings(mode)).settings
        except (self.wandb.errors.Error, ValueError) as error:
            said = _one_line(error).partition(" For further information")[0]
            raise InputError(
                f"W&B cannot be set up: {said}. Check $WANDB_MODE, $WANDB_BASE_URL and W&B's other settings."
            ) from None

    def _log_in(self) -> bool:
        """Whether there is an API key that the server accepts.

        Raises:
            InputError: If the server rejects the key, or it is malformed.
        """
        remedy = "Set another key with `wandb login --relogin`, or pass --wandb.mode offline."
        errors = (self.wandb.errors.Error, ValueError)
        try:
            there = self.wandb.login(prompt=False, verify=False)
        except errors as error:
            raise InputError(f"the W&B API key is malformed: {_one_line(error)}. {remedy}") from None
        if not there:
            self.go_offline("there is no API key (set one with `wandb login` or $WANDB_API_KEY)")
            return False
        self._begin()  # otherwise the key would not be verified
        try:
            return bool(self.wandb.login(prompt=False, verify=True))
        except errors as error:
            late = _one_line(error) if "in time" in str(error) or "timed out" in str(error) else ""
            if silence := self._silence() or late:
                self.go_offline(f"{self.server} does not respond ({silence})")
                return False
            raise InputError(f"{self.server} rejected the W&B API key: {_one_line(error)}. {remedy}") from None

    def _silence(self) -> str:
        """Why the server does not respond; empty if it does, whatever the response."""
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
    # By default, wandb reports its errors to its developers.
    os.environ.setdefault("WANDB_ERROR_REPORTING", "false")
    os.environ.setdefault("WANDB_HTTP_TIMEOUT", str(WAIT // 2))
    try:
        import wandb
    except ImportError:
        raise InputError('--wandb needs the package wandb; install it with pip install "wandb>=0.31".') from None
    return wandb


def in_words(error: BaseException) -> str:
    """Format an error as part of a sentence: its type and message, on one line."""
    said = " ".join(str(error).split()).rstrip(".")
    return f"{type(error).__name__}: {said}" if said else type(error).__name__


def _one_line(error: object) -> str:
    return " ".join(str(error).split()).rstrip(".") or type(error).__name__
