"""What every engine does: run jobs somewhere, and say how each ended."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Protocol, runtime_checkable


@dataclass(frozen=True)
class Outcome:
    """How a job ended.

    Attributes:
        job: The arguments that the function was called with.
        value: What it returned; None unless it did.
        crash: Why the worker died while at it; empty if it did not.
        timed_out: Whether it was ended because its time was up.
        seconds: How long it took, as the driver saw it.
    """

    job: tuple[Any, ...]
    value: Any
    crash: str
    timed_out: bool
    seconds: float


class Engine(Protocol):
    """Runs functions elsewhere; a context, at whose end all that it started is ended.

    Attributes:
        n_workers: How many jobs it runs at once, as far as it knows.
    """

    n_workers: int

    def __enter__(self) -> "Engine": ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None
    ) -> None: ...

    def describe(self) -> str:
        """Where jobs run, in a few words: for the last line of a command."""

    def stop(self) -> None:
        """End all jobs, in the middle of whatever they do."""

    def run(
        self,
        function: Callable[..., Any],
        jobs: Iterable[tuple[Any, ...]],
        time_limit: Callable[..., float] = ...,
    ) -> Iterator[Outcome]:
        """Call `function(*job)` for each job; yield outcomes as they come.

        Args:
            function: One that can be imported by its name.
            jobs: Its arguments.
            time_limit: Called with a job's arguments; the seconds after which it is ended.

        Raises:
            InputError: The function raised one.
            RuntimeError: The function raised anything else; the message holds its traceback.
        """


@runtime_checkable
class Outliving(Protocol):
    """An engine whose jobs may outlive their driver."""

    def take_over(self) -> list[list[str]]:
        """Find the jobs that a former driver has left; only for who holds the lock of the store.

        Returns:
            The keys of the trials that they have still to run, by pack. `Engine.run`, given such packs, waits for those
            jobs in place of running others.

        Raises:
            InputError: It cannot be told which they are.
        """

    def alive(self) -> set[str]:
        """The keys of the trials that may be running at this moment, whoever started them."""
