"""A time that a run is given, for tests: over after so many looks instead of minutes."""

from __future__ import annotations

from dataclasses import dataclass

from preceptor.errors import PartFinished


@dataclass
class Over:
    """A time that is over when it was looked at so often."""

    looks: int

    @property
    def over(self) -> bool:
        """Whether it is over; this was a look."""
        self.looks -= 1
        return self.looks < 0

    def check(self, left: int, what: str) -> None:
        """Raise `PartFinished` where something is left."""
        if left:
            raise PartFinished(f"{what} left: {left}")
