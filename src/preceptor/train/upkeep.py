"""What accompanies a training without deciding anything: checkpoints, the time it has, and those who watch it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from preceptor.progress import notice
from preceptor.train.checkpoints import Checkpoints
from preceptor.train.course import Moment
from preceptor.train.trackers import Trackers


@dataclass(frozen=True, slots=True)
class Upkeep:
    """Everything that goes along with a training; by default nothing does."""

    checkpoints: Checkpoints | None = None
    watch: Callable[[Moment], None] | None = None
    """Called after every step."""
    trackers: Trackers | None = None
    over: Callable[[], bool] | None = None
    """Whether the time that the run was given is over: the training then ends with a checkpoint."""
    command: str = ""
    """What goes on with the run."""
    say: Callable[[str], None] = notice
    """Tells people what they must know."""
