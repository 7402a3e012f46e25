"""The time that a run is given: long experiments are run in parts."""

from __future__ import annotations

import time
from dataclasses import dataclass

from preceptor.errors import PartFinished


@dataclass(frozen=True, slots=True)
class Deadline:
    """No cell is begun after it, and a training that it finds under way ends with a checkpoint."""

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

    def check(self, left: int) -> None:
        """Raise `PartFinished` when the time is over and `left` cells are not done."""
        if left and self.over:
            raise PartFinished(
                f"The given time is over. Cells left: {left}; what is finished is kept.", f"Go on with: {self.command}"
            )
