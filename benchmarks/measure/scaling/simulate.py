"""A discrete-event simulation of workers that run a study's trials against one driver and one file server."""

import heapq
from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Costs:
    """What a trial costs whom, in seconds.

    Attributes:
        driver: The driver's CPU, for handing a trial out and taking its record in.
        worker: The worker's CPU beside the trial itself.
        operations: Operations on the file system by the worker, by kind.
        changes: Of these, those that change the entries of the one folder `trials/`, which a server does one at a time.
    """

    driver: float
    worker: float
    operations: Mapping[str, float]
    changes: float


@dataclass(frozen=True)
class Server:
    """A file server.

    Attributes:
        name: What it is.
        rate: Operations a second, over all of its folders.
        folder_rate: Changes of the entries of one folder a second.
        rates: Operations a second of the kinds that differ.
    """

    name: str
    rate: float
    folder_rate: float
    rates: Mapping[str, float] = field(default_factory=dict)

    def seconds(self, operations: Mapping[str, float]) -> float:
        """How long it is busy with so many operations of each kind."""
        return sum(number / self.rates.get(kind, self.rate) for kind, number in operations.items())


@dataclass(frozen=True)
class Outcome:
    """What came of a simulation.

    Attributes:
        seconds: Until the last trial has ended.
        driver: The share of it in which the driver computed.
        server: The same of the server's operations.
        folder: The same of the folder of all trials.
        workers: The share of all workers' time in which they ran trials, their own overhead included.
    """

    seconds: float
    driver: float
    server: float
    folder: float
    workers: float

    @property
    def bottleneck(self) -> str:
        """Which of the three is busiest; nobody where none is busy half of the time."""
        busy = {"the driver": self.driver, "the file server": self.server, "the folder": self.folder}
        name = max(busy, key=lambda one: busy[one])
        return name if busy[name] >= 0.5 else "nobody"


def simulate(
    costs: Costs, server: Server, workers: int, trials: int, duration: float, batched: bool = False
) -> Outcome:
    """Run trials in simulated time; every wait is in turn, first come, first served.

    A trial is handed out by the driver, runs for `duration` and its worker's overhead, does its operations on the
    server, changes the folder, and is taken in by the driver. Handing out and taking in are half of the driver's cost
    each.

    Args:
        costs: What a trial costs.
        server: The file server.
        workers: How many there are.
        trials: How many are to run.
        duration: Seconds that a trial takes by itself.
        batched: Whether workers have their share from the start, and wait for the driver neither before nor after.
    """
    driver = _Turns()
    operations, folder = _Turns(), _Turns()
    served, changing = server.seconds(costs.operations), costs.changes / server.folder_rate
    # (when, who, what comes next): 0 asks for a trial, 1 has run, 2 has done its operations, 3 is taken in.
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
    """Somebody who serves one at a time, in the order in which they come."""

    def __init__(self) -> None:
        self.free = self.busy = 0.0

    def take(self, now: float, seconds: float) -> float:
        """When one that comes now and takes so long is done."""
        self.free = max(self.free, now) + seconds
        self.busy += seconds
        return self.free
