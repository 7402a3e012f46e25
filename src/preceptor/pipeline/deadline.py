"""The time that a run is given: long experiments are run in parts."""

from __future__ import annotations

import time
from dataclasses import dataclass

from preceptor.errors import PartFinished


@dataclass(frozen=True, slots=True)
class Deadline:
    """After it no cell, no filter and no request to a teacher is begun; a training under way ends with a checkpoint."""

    until: float | None
    """Time of `time.monotonic`; None: there is no end."""
    command: str
    """What goes on with the run."""

    @classmethod
    def after(cls, minutes: float | None, command: str) -> Deadline:
        """So many minutes from now."""
        return cls(None if minutes is None else time.monotonic() + 60 * minutes, command)

    @property
    def over(self) -> bool:
        """Whether the time is over."""
        return self.until is not None and time.monotonic() > self.until

    def check(self, left: int, what: str = "Cells") -> None:
        """Raise `PartFinished` when the time is over and `left` of `what` are not done."""
        if left and self.over:
            raise PartFinished(
                f"The given time is over. {what} left: {left:,}; what is finished is kept.",
                f"Go on with: {self.command}",
            )
