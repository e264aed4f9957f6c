"""A discrete-event simulation of workers that share one driver and one file server."""

import heapq
from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Costs:
    """Costs of a trial.

    Attributes:
        driver: CPU seconds of the driver for assigning a trial and processing its record.
        worker: CPU seconds of the worker besides the trial itself.
        operations: File system operations of the worker, by kind.
        changes: Number of these operations that change the entries of `trials/`, which a server serializes.
    """

    driver: float
    worker: float
    operations: Mapping[str, float]
    changes: float


@dataclass(frozen=True)
class Server:
    """A file server.

    Attributes:
        name: Name of the server.
        rate: Operations per second over all folders.
        folder_rate: Changes of entries per second in one folder.
        rates: Operations per second of kinds with a different rate.
    """

    name: str
    rate: float
    folder_rate: float
    rates: Mapping[str, float] = field(default_factory=dict)

    def seconds(self, operations: Mapping[str, float]) -> float:
        """Seconds needed for these numbers of operations of each kind."""
        return sum(number / self.rates.get(kind, self.rate) for kind, number in operations.items())


@dataclass(frozen=True)
class Outcome:
    """Result of a simulation.

    Attributes:
        seconds: Time until the last trial has ended.
        driver: Fraction of the time in which the driver was busy.
        server: The same for the server.
        folder: The same for the folder of all trials.
        workers: Fraction of the workers' time spent on trials, including their overhead.
    """

    seconds: float
    driver: float
    server: float
    folder: float
    workers: float

    @property
    def bottleneck(self) -> str:
        """The busiest of the three; empty if none is busy at least half of the time."""
        busy = {"the driver": self.driver, "the file server": self.server, "the folder": self.folder}
        name = max(busy, key=lambda one: busy[one])
        return name if busy[name] >= 0.5 else "nobody"


def simulate(
    costs: Costs, server: Server, workers: int, trials: int, duration: float, batched: bool = False
) -> Outcome:
    """Run trials in simulated time; all queues are first come, first served.

    A trial is assigned by the driver, runs for `duration` plus its worker's overhead, performs its operations on the
    server, changes the folder, and its record is processed by the driver. Assigning and processing each take half of
    the driver's cost.

    Args:
        costs: Costs of a trial.
        server: The file server.
        workers: Number of workers.
        trials: Number of trials.
        duration: Seconds of a trial itself.
        batched: Whether workers get their share at the start and never wait for the driver.
    """
    driver = _Turns()
    operations, folder = _Turns(), _Turns()
    served, changing = server.seconds(costs.operations), costs.changes / server.folder_rate
    # (time, worker, next step): 0 requests a trial, 1 has run it, 2 has done its operations, 3 is processed.
    events = [(0.0, worker, 0) for worker in range(min(workers, trials))]
    left, busy, last = trials, 0.0, 0.0
    while events:
        now, worker, step = heapq.heappop(events)
        last = max(last, now)
        if step == 0:
            if not left:
                continue
            left -= 1
            begin = now if batched else driver.take(now, costs.driver / 2)
            busy += duration + costs.worker
            heapq.heappush(events, (begin + duration + costs.worker, worker, 1))
        elif step == 1:
            done = operations.take(now, served)
            heapq.heappush(events, (done, worker, 2))
        elif step == 2:
            done = folder.take(now, changing)
            heapq.heappush(events, (done, worker, 3))
        else:
            taken = driver.take(now, costs.driver if batched else costs.driver / 2)
            last = max(last, taken)
            heapq.heappush(events, (now if batched else taken, worker, 0))
    shares = [turns.busy / last for turns in (driver, operations, folder)]
    return Outcome(last, shares[0], shares[1], shares[2], busy / (last * min(workers, trials)))


class _Turns:
    """A server that handles one request at a time, in order of arrival."""

    def __init__(self) -> None:
        self.free = self.busy = 0.0

    def take(self, now: float, seconds: float) -> float:
        """The time at which a request that arrives now is done."""
        self.free = max(self.free, now) + seconds
        self.busy += seconds
        return self.free
