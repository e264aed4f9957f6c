"""The interface of all engines: run jobs, and report how each of them ended."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Protocol, runtime_checkable


@dataclass(frozen=True)
class Outcome:
    """How a job ended.

    Attributes:
        job: Arguments of the function.
        value: Its return value; None if it did not return.
        crash: Why the worker died; empty if it did not.
        timed_out: Whether the job was killed because it exceeded its time limit.
        seconds: Duration as measured by the driver.
    """

    job: tuple[Any, ...]
    value: Any
    crash: str
    timed_out: bool
    seconds: float


class Engine(Protocol):
    """Runs functions in other processes. A context manager that ends everything it started on exit.

    Attributes:
        n_workers: Number of jobs it runs at the same time, as far as it is known.
    """

    n_workers: int

    def __enter__(self) -> "Engine": ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None
    ) -> None: ...

    def describe(self) -> str:
        """Where jobs run, in a few words, for the last line of a command."""

    def stop(self) -> None:
        """Kill all jobs immediately."""

    def run(
        self,
        function: Callable[..., Any],
        jobs: Iterable[tuple[Any, ...]],
        time_limit: Callable[..., float] = ...,
    ) -> Iterator[Outcome]:
        """Call `function(*job)` for each job, and yield outcomes as jobs end.

        Args:
            function: A function that can be imported by name.
            jobs: Arguments of each call.
            time_limit: Returns the time limit in seconds for a job's arguments.

        Raises:
            InputError: The function raised an `InputError`.
            RuntimeError: The function raised another exception; the message contains its traceback.
        """


@runtime_checkable
class Outliving(Protocol):
    """An engine whose jobs may outlive their driver."""

    def take_over(self) -> list[list[str]]:
        """Find jobs left by an earlier driver; the caller must hold the lock of the store.

        Returns:
            The keys of the trials that those jobs still have to run, by pack. When `Engine.run` gets such a pack, it
            waits for the existing job instead of starting a new one.

        Raises:
            InputError: The state of the jobs cannot be determined.
        """

    def alive(self) -> set[str]:
        """The keys of all trials that may be running now, whichever driver started them."""
