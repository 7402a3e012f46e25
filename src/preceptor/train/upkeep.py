"""What accompanies a training without deciding anything: checkpoints, the time it has, and those who watch it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from preceptor.progress import notice
from preceptor.train.checkpoints import Checkpoints

if TYPE_CHECKING:
    from preceptor.train.loop import Check
    from preceptor.train.trackers import Trackers


@dataclass(frozen=True, slots=True)
class Moment:
    """A training after one of its steps, for those who watch it."""

    step: int
    steps: int
    loss: float
    learning_rate: float
    tokens_per_s: float
    """Real tokens, no padding, since this process took the training up."""
    seconds_left: float | None
    """At the rate so far; None where nothing is known yet."""
    check: Check | None
    """What validation said last."""

    @property
    def words(self) -> str:
        """For people."""
        said = f"step {self.step}/{self.steps} loss {self.loss:.3f}, {self.tokens_per_s:,.0f} tokens/s"
        if self.check is None:
            return said
        score = "" if self.check.accuracy is None else f", accuracy {self.check.accuracy:.3f}"
        return f"{said}, validation {self.check.loss:.3f}{score}"


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
