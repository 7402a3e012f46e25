"""The cells of a run in several processes on this machine: `preceptor run RECIPE --workers N`.

    parent     prepares what cells share, hands each idle worker one cell, and alone decides what comes next
    workers    do one cell after the other, each with its share of the cores

Workers are started afresh, because torch's threads do not survive a fork. What a cell leaves is written whole or not
at all (stages are renamed into place, looks at the test items are appended under a lock, a cell's file of results has
one writer), so a worker may die at any moment: that costs its cell, and a new worker goes on. concurrent.futures and
loky give a whole pool up then, which is why the loop below is our own. When the parent is gone, its workers end.
"""

from __future__ import annotations

import contextlib
import gc
import multiprocessing
import os
import signal
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection, wait
from typing import Any

from preceptor.errors import KilledError, ModelError, PartFinished, PreceptorError, StorageError
from preceptor.pipeline.deadline import Deadline
from preceptor.progress import Progress

THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS")
"""Variables that say with how many threads a process computes; read when torch is imported."""

PATIENCE_S = 5.0
"""Seconds that a worker has to take its unfinished folder away when it is told to end; then it is killed."""


def _nothing() -> None:
    pass


@dataclass(frozen=True, slots=True)
class Job:
    """One cell's work."""

    words: str
    """Its name for people."""
    work: Callable[[], None]
    """What a worker does: a function of a module with its arguments, since it is sent there."""
    failed: Callable[[PreceptorError], None] | None = None
    """Told in the parent what went wrong, to write it down or to raise it. None: an error ends the run at once, and
    a process's death, which says nothing of other cells, when they are done."""
    prepare: Callable[[], None] = _nothing
    """Makes, in the parent, what the cell shares with others, so that no two workers make it at once."""
    wanted: Callable[[], bool] = lambda: True
    """Asked in the parent when its turn comes."""


def threads_of(workers: int) -> int:
    """Threads of each worker: an equal share of the cores, and no more than OMP_NUM_THREADS where that is set."""
    share = max(1, len(os.sched_getaffinity(0)) // workers)
    given = os.environ.get(THREADS[0], "")
    return min(share, int(given)) if given.isdigit() and int(given) else share


@dataclass
class Pool:
    """Does jobs: in this process where `workers` is 1, else in so many others. To be used in a `with` statement."""

    workers: int
    deadline: Deadline
    progress: Progress
    _team: list[_Worker] = field(default_factory=list)
    _deaths: list[KilledError] = field(default_factory=list)

    def __enter__(self) -> Pool:
        return self

    def __exit__(self, *_: object) -> None:
        for worker in self._team:
            worker.stop()
        for worker in self._team:
            worker.close()
        self._team.clear()

    def carry_out(self, jobs: Sequence[Job]) -> None:
        """Do the jobs in their order. Raises `PartFinished` when the time is over before, and what `failed` raises."""
        if self.workers == 1:
            self._here(jobs)
        elif jobs:
            self._among_workers(jobs)

    def _here(self, jobs: Sequence[Job]) -> None:
        for number, job in enumerate(jobs):
            if job.wanted():
                self.deadline.check(len(jobs) - number)
                error = attempt(job.work)
                if error is not None:
                    self._tell(job, error)
                del error  # its traceback holds the model
                gc.collect()  # models are full of reference cycles: without this, ten cells held 5 GB of dead weights

    def _among_workers(self, jobs: Sequence[Job]) -> None:
        waiting, unfinished, ended, began = deque(jobs), 0, 0, time.monotonic()
        while len(self._team) < min(self.workers, len(jobs)):  # all at once: each imports torch for seconds
            self._team.append(_Worker(threads_of(self.workers)))
        while busy := self._hand_out(waiting):
            for connection in wait(list(busy)):
                job, seconds, error = busy[connection].result()  # type: ignore[index]
                if isinstance(error, PartFinished):
                    unfinished += 1  # it has left a checkpoint
                    continue
                if error is not None:
                    self._tell(job, error)
                ended += 1
                left = sum(one.wanted() for one in waiting) + sum(worker.job is not None for worker in self._team)
                rest = f", about {(time.monotonic() - began) / ended * left:.0f} s left" if left else ""
                how = "done in" if error is None else "failed after"
                self.progress.say(f"cells: {ended} of {ended + left}{rest}: {job.words}, {how} {seconds:.0f} s")
        self.deadline.check(unfinished + sum(job.wanted() for job in waiting))
        if self._deaths:
            raise self._deaths[0]

    def _tell(self, job: Job, error: PreceptorError) -> None:
        if job.failed is not None:
            job.failed(error)
        elif isinstance(error, KilledError):
            self._deaths.append(KilledError(f"{job.words}: {error.message}", error.hint))
        else:
            raise error

    def _hand_out(self, waiting: deque[Job]) -> dict[Connection[Any, Any], _Worker]:
        """Give every idle worker a job, as long as there are any and there is time. Returns those that have one."""
        for number, worker in enumerate(self._team):
            while worker.job is None and waiting and not self.deadline.over:
                job = waiting.popleft()
                if not job.wanted():
                    continue
                error = attempt(job.prepare)
                if error is not None:
                    self._tell(job, error)
                    continue
                if not worker.process.is_alive():
                    worker.close()
                    worker = self._team[number] = _Worker(threads_of(self.workers))
                worker.take(job)
                self.progress.say(f"cells: begun in process {worker.process.pid}: {job.words}")
        return {worker.connection: worker for worker in self._team if worker.job is not None}


def attempt(work: Callable[[], None]) -> PreceptorError | None:
    """Do it. Returns what went wrong in a sentence; errors of the program itself are raised."""
    try:
        work()
    except PreceptorError as error:
        return error
    except OSError as error:
        return StorageError.of(error.filename or "a file", error)
    except (RuntimeError, MemoryError) as error:
        from preceptor.train.memory import LESS_AT_ONCE, is_out_of_memory

        if not is_out_of_memory(error):
            raise
        return ModelError("Memory ran out.", LESS_AT_ONCE)
    return None


class _Worker:
    """One process and its end of the line to it."""

    def __init__(self, threads: int) -> None:
        afresh = multiprocessing.get_context("spawn")
        self.connection, theirs = afresh.Pipe()
        self.process = afresh.Process(target=_serve, args=(theirs,), daemon=True)
        with _born_with(threads):
            self.process.start()
        theirs.close()  # so that its death is heard
        self.job: Job | None = None
        self.began = 0.0

    def take(self, job: Job) -> None:
        """Begin a job."""
        self.job, self.began = job, time.monotonic()
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # it just died: `result` will say so
            self.connection.send(job.work)

    def result(self) -> tuple[Job, float, PreceptorError | None]:
        """The job that has ended, its seconds, and what went wrong with it."""
        assert self.job is not None
        try:
            error: PreceptorError | None = self.connection.recv()
        except (EOFError, ConnectionResetError):
            self.process.join()
            error = _death(self.process.exitcode or 0)
        job, self.job = self.job, None
        return job, time.monotonic() - self.began, error

    def stop(self) -> None:
        """Tell the process to end."""
        if self.job is None:
            self.process.kill()  # it holds nothing
        else:
            self.process.terminate()

    def close(self) -> None:
        """Wait for its end, and no longer than is decent."""
        self.process.join(PATIENCE_S)
        self.process.kill()
        self.process.join()
        self.connection.close()


def _death(status: int) -> KilledError:
    """What the exit status of a process tells: minus the number of a signal, or what it chose itself."""
    if status == -signal.SIGKILL:
        return KilledError(
            "The process was killed; likely memory ran out.", "Run it again with fewer --workers to try it once more."
        )
    if status < 0:
        return KilledError(f"The process was ended by {signal.Signals(-status).name}.", "Run it again to go on.")
    return KilledError(f"The process ended with status {status}.", "What it said stands in the log.")


@contextlib.contextmanager
def _born_with(threads: int) -> Iterator[None]:
    """Processes that are started meanwhile compute with so many threads, and do not hear Ctrl-C.

    A terminal sends Ctrl-C to all; the parent ends its workers.
    """
    resource_tracker.ensure_running()  # which the first start would do otherwise, and it lifts the block
    before = {name: os.environ.get(name) for name in THREADS}
    blocked = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    os.environ.update(dict.fromkeys(THREADS, str(threads)))
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name)
            os.environ.update({} if value is None else {name: value})
        signal.pthread_sigmask(signal.SIG_SETMASK, blocked)


# --- in a worker --------------------------------------------------------------------------------------------------


def _serve(connection: Connection[Any, Any]) -> None:
    """Do what comes through the line, one after the other, until the parent ends this process."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit())  # unfinished folders are taken away on the way out
    threading.Thread(target=_end_with_parent, daemon=True).start()
    Progress.bars = False
    try:
        while True:
            connection.send(attempt(connection.recv()))
            gc.collect()  # as in `Pool._here`
    except (EOFError, BrokenPipeError, ConnectionResetError, SystemExit):  # the parent is gone, or wants an end
        os._exit(1)  # at once: to tear torch down in order takes seconds


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)
