"""What a pattern for identifiers of people is.

The kinds follow the list in the HIPAA safe harbour, 45 CFR 164.514(b)(2). Years, months, ages below 90, doses, p values
and the public numbers of trials, genes and sequences are not among them. The patterns stand in `phi_numbers.py`,
`phi_words.py` and `phi_dates.py`; none of them needs a package or the network.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

Hit = tuple[str, int, int]
"""Kind, start and end."""

Check = Callable[[re.Match[str]], bool]


@dataclass(frozen=True, slots=True)
class Detector:
    """A pattern of one kind. The group `v` is the identifier; without it the whole match is."""

    kind: str
    pattern: re.Pattern[str]
    check: Check | None = None
    """What the pattern cannot say, such as a check digit."""

    def find(self, text: str) -> Iterator[Hit]:
        """Every identifier of this form."""
        group = "v" if "v" in self.pattern.groupindex else 0
        for match in self.pattern.finditer(text):
            if self.check is None or self.check(match):
                yield self.kind, match.start(group), match.end(group)


def any_case(kind: str, *parts: str, check: Check | None = None) -> Detector:
    """A detector whose pattern is the parts in a row, in any case."""
    return Detector(kind, re.compile("".join(parts), re.IGNORECASE), check)


def as_written(kind: str, *parts: str, check: Check | None = None) -> Detector:
    """The same where case matters."""
    return Detector(kind, re.compile("".join(parts)), check)


def cued(kind: str, cue: str, link: str, value: str, check: Check | None = None) -> Detector:
    """A cue and a link in any case before a value whose case matters."""
    return Detector(kind, re.compile(rf"(?i:{cue})(?i:{link}){value}"), check)
