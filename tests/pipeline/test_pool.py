"""The pool of workers by itself: what it does with jobs that end well, fail, die, or take too long."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import pool_jobs
import pytest

from preceptor.errors import KilledError, ModelError, PartFinished, PreceptorError, StorageError
from preceptor.pipeline.deadline import Deadline
from preceptor.pipeline.pool import Job, Pool, threads_of
from preceptor.progress import Progress

Work = Callable[[Path], None]


class Said(Progress):
    """Keeps the lines."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []

    def say(self, text: str) -> None:
        self.lines.append(text)


def carry_out(jobs: Sequence[Job], workers: int = 2, minutes: float | None = None) -> list[str]:
    said = Said()
    with Pool(workers, Deadline.after(minutes, "preceptor run"), said) as pool:
        pool.carry_out(jobs)
    return said.lines


def jobs_of(folder: Path, works: Sequence[Work], errors: list[tuple[str, PreceptorError]]) -> list[Job]:
    def failed(name: str, error: PreceptorError) -> None:
        errors.append((name, error))

    return [
        Job(f"cell {i}", partial(work, folder / str(i)), failed=partial(failed, f"cell {i}"))
        for i, work in enumerate(works)
    ]


def gone(pid: int) -> bool:
    """Whether a process ends within five seconds; one that nobody has waited for yet has ended."""
    for _ in range(100):
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        except FileNotFoundError:
            return True
        if state == "Z":
            return True
        time.sleep(0.05)
    return False


def test_what_fails_or_dies_costs_its_cell_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.delenv("MKL_NUM_THREADS", raising=False)
    errors: list[tuple[str, PreceptorError]] = []
    works = [pool_jobs.write, pool_jobs.die, pool_jobs.fail, pool_jobs.full, pool_jobs.err, *[pool_jobs.write] * 3]
    lines = carry_out(jobs_of(tmp_path, works, errors))
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == dict.fromkeys("0567", " 1 1\n")
    assert "MKL_NUM_THREADS" not in os.environ
    found = dict(errors)
    assert {name: type(error) for name, error in found.items()} == {
        "cell 1": KilledError,
        "cell 2": ModelError,
        "cell 3": StorageError,
        "cell 4": KilledError,
    }
    assert "The process was killed; likely memory ran out." in str(found["cell 1"])
    assert str(found["cell 2"]) == "The loss is no number. Lower the rate."
    assert f"Cannot write {tmp_path / '3'}: no space left on device." in str(found["cell 3"])
    assert "The process ended with status 1." in str(found["cell 4"])
    ended = [line for line in lines if "begun" not in line]
    assert len(ended) == len(works) == sum("begun in process" in line for line in lines)
    assert [line.split(":")[1].split(",")[0] for line in ended] == [f" {n} of 8" for n in range(1, 9)]
    assert all(("about" in line) == (n < 8) for n, line in enumerate(ended, start=1))
    assert sum("failed after" in line for line in ended) == 4


def test_a_job_that_is_no_longer_wanted_is_not_begun_and_what_is_shared_is_made_here(tmp_path: Path) -> None:
    errors, made = list[PreceptorError](), list[int]()
    jobs = [
        Job(
            str(number),
            partial(pool_jobs.fail, tmp_path),
            failed=errors.append,
            prepare=lambda: made.append(os.getpid()),
            wanted=lambda: not errors,
        )
        for number in range(5)
    ]
    carry_out(jobs)
    assert 1 <= len(errors) <= 2  # two were under way
    assert set(made) == {os.getpid()}
    assert len(made) == len(errors)


@pytest.mark.parametrize("workers", [1, 2])
def test_an_error_that_nobody_takes_ends_all(tmp_path: Path, workers: int) -> None:
    jobs = [Job(str(n), partial(work, tmp_path / str(n))) for n, work in enumerate([pool_jobs.fail, pool_jobs.wait])]
    began = time.monotonic()
    with pytest.raises(ModelError, match="The loss is no number"):
        carry_out(jobs, workers)
    assert time.monotonic() - began < 20  # the other would wait for a minute
    assert not list(tmp_path.glob("*.begun"))


def test_a_death_that_nobody_takes_ends_the_run_when_the_others_are_done(tmp_path: Path) -> None:
    works = [pool_jobs.die, pool_jobs.write, pool_jobs.write]
    with pytest.raises(KilledError, match="cell 0: The process was killed"):
        carry_out([Job(f"cell {n}", partial(work, tmp_path / str(n))) for n, work in enumerate(works)])
    assert {path.name for path in tmp_path.iterdir()} == {"1", "2"}


def test_after_the_deadline_nothing_is_begun_and_what_is_not_done_is_counted(tmp_path: Path) -> None:
    jobs = [Job(str(n), partial(pool_jobs.write, tmp_path / str(n))) for n in range(3)]
    with pytest.raises(PartFinished, match="Cells left: 3"):
        carry_out(jobs, minutes=0)
    assert not list(tmp_path.iterdir())
    carry_out([], minutes=0)
    jobs[0] = Job("0", partial(pool_jobs.stop, tmp_path / "0"))
    said = Said()
    with Pool(2, Deadline(time.monotonic() + 1000, "again"), said) as pool:
        pool.carry_out(jobs[1:2])  # the workers are there now
        object.__setattr__(pool.deadline, "until", time.monotonic() + 0.05)
        with pytest.raises(PartFinished, match="Cells left: 1") as caught:
            pool.carry_out([jobs[0]])
    assert "again" in caught.value.hint


def test_each_worker_has_its_share_of_the_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _pid: set(range(16)))
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    assert [threads_of(workers) for workers in (1, 3, 4, 100)] == [16, 5, 4, 1]
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    assert [threads_of(workers) for workers in (4, 16)] == [2, 1]


PARENT = """
import signal
import sys
from functools import partial
from pathlib import Path
import pool_jobs
from preceptor.pipeline.deadline import Deadline
from preceptor.pipeline.pool import Job, Pool
from preceptor.progress import Progress
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell that runs the tests in the background ignores it
folder = Path(sys.argv[1])
with Pool(2, Deadline(None, ""), Progress(quiet=True)) as pool:
    pool.carry_out([Job(str(n), partial(pool_jobs.wait, folder / str(n))) for n in range(2)])
"""


@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_no_worker_outlives_its_parent(sent: signal.Signals, tmp_path: Path) -> None:
    paths = os.pathsep.join([str(Path(__file__).parent), *sys.path])
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT, tmp_path],
        env={**os.environ, "PYTHONPATH": paths},
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    said = [tmp_path / "0", tmp_path / "1"]
    while not all(path.exists() and path.read_text() for path in said):
        assert parent.poll() is None
        time.sleep(0.05)
    if sent is signal.SIGINT:
        os.killpg(parent.pid, sent)  # as a terminal sends it
    else:
        os.kill(parent.pid, sent)
    _, words = parent.communicate(timeout=15)
    assert parent.returncode == -sent
    assert all(gone(int(path.read_text())) for path in said)
    if sent is signal.SIGINT:
        assert words.count("KeyboardInterrupt") == 1  # the workers are silent
        assert not list(tmp_path.glob("*.begun"))
    else:
        assert "Traceback" not in words
