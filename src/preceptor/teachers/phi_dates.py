"""Dates that name a day, found by their form. A year, a month or a span of months names no day and is not found.

Two things that name days are not about a person, and abstracts are full of them: the dates between which a study ran
(two dates joined by "to" or "and", three months or more apart) and the day on which a trial was registered.
"""

from __future__ import annotations

import datetime
import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

STUDY_DAYS = 90
"""A span of at least so many days between two joined dates is the period of a study, not the stay of a patient."""

_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_MONTH = (
    r"(?P<month>jan(?:uary)?|feb(?:ruary)?|mar(?:ch)?|apr(?:il)?|may|june?|july?|aug(?:ust)?|sept?(?:ember)?|oct(?:ober)?"
    r"|nov(?:ember)?|dec(?:ember)?)\b\.?"
)
_GLUED_MONTH = _MONTH.replace(r"\b\.?", r"(?![a-z])\.?")
_DAY = r"(?P<day>0?[1-9]|[12]\d|3[01])(?:st|nd|rd|th)?"
_YEAR = r"(?P<year>(?:18|19|20)\d\d)(?!\d)"
_SHORT_YEAR = r"(?P<year>'\d\d|\d\d)(?!\d|[.,]\d|\s?%)"
_GAP = r"[\s,./-]*"
_NOT_INSIDE = r"(?<![\w./-])"
_NOT_AFTER = r"(?!\w|[/.-]\d)"
_COUNTS = (
    r"(?!\s*(?:%|mg|ml|g|kg|mm|cm|h|patients|participants|women|men|children|subjects|cases|people|adults|eyes|samples|items"
    r"|months|weeks|days|years|hours|min)\b|\s*%|[.,]\d|\d)"
)
"""A number before these counts something; it is no day."""

_UNITS = ("first", "second", "third", "fourth", "fifth", "sixth", "seventh", "eighth", "ninth")
_TEENS = ("tenth", "eleventh", "twelfth", "thirteenth", "fourteenth", "fifteenth", "sixteenth", "seventeenth")
_ORDINALS = (
    *(*_UNITS, *_TEENS, "eighteenth", "nineteenth", "twentieth"),
    *(f"twenty-{unit}" for unit in _UNITS),
    *("thirtieth", "thirty-first"),
)
_ORDINAL = "(?:" + "|".join(word.replace("-", "[ -]") for word in reversed(_ORDINALS)) + ")"

_FORMS = (
    # 14 March 2004, 14th of March, 2004, 14-Mar-2004, 14MAR2004
    re.compile(rf"{_NOT_INSIDE}{_DAY}(?:\s+day)?(?:\s+of)?{_GAP}{_GLUED_MONTH}{_GAP}{_YEAR}", re.IGNORECASE),
    # March 14th, 2004
    re.compile(rf"\b{_MONTH}(?:\s+the)?{_GAP}{_DAY}\b{_GAP}(?:of\s+)?{_YEAR}", re.IGNORECASE),
    # 2004-03-14, also before a time of day
    re.compile(rf"{_NOT_INSIDE}{_YEAR}(?P<sign>[/.-])(?P<month>0?[1-9]|1[0-2])(?P=sign){_DAY}(?=T\d|(?!\w|[/.-]\d))"),
    # 14.3.2004, 3/14/2004
    re.compile(
        rf"{_NOT_INSIDE}(?P<first>\d\d?)\s?(?P<sign>[/.-])\s?(?P<second>\d\d?)\s?(?P=sign)\s?{_YEAR}{_NOT_AFTER}"
    ),
    # 14/3/04; with dots or hyphens only in two digits each, because 1.2.10 numbers enzymes and chapters
    re.compile(
        rf"{_NOT_INSIDE}(?:(?P<first>\d\d?)/(?P<second>\d\d?)/(?P<year>\d\d)"
        rf"|(?P<first2>\d\d)(?P<sign>[.-])(?P<second2>\d\d)(?P=sign)(?P<year2>\d\d)){_NOT_AFTER}(?!\s?(?:%|m[gl]\b|μg|mcg))"
    ),
    # StudyDate 20040314
    re.compile(
        r"(?i:date|\bDOB|\bD\.O\.B\.?|\bborn)\W{0,3}"
        r"(?P<all>(?P<year>(?:19|20)\d\d)(?P<month>0[1-9]|1[0-2])(?P<day>0[1-9]|[12]\d|3[01]))\b"
    ),
)

_CAPITAL = r"(?=[A-Z])"
"""Without a year only a month with a capital counts: "type 2 may" speaks of no day."""
_DAYS_OF_A_YEAR = (
    # 14 March, 14 Mar '04, the 14th of March
    re.compile(
        rf"{_NOT_INSIDE}(?<!\bphase )(?<!\btype )(?<!\bgrade ){_DAY}(?:\s+of)?[\s-]?{_CAPITAL}(?i:{_GLUED_MONTH})"
        rf"(?:[\s,-]*{_SHORT_YEAR}{_COUNTS}|(?!\d))"
    ),
    # March 14, March the 14th, Mar 14 '04
    re.compile(rf"\b{_CAPITAL}(?i:{_MONTH})(?:\s+the)?\s?-?{_DAY}\b{_COUNTS}(?:[\s,]*(?P<year>'\d\d)\b)?"),
    # March fourteenth, the fourteenth of March: as it is spoken
    re.compile(rf"\b(?i:{_MONTH})(?:\s+the)?\s+(?P<word>(?i:{_ORDINAL}))\b"),
    re.compile(rf"\b(?P<word>(?i:{_ORDINAL}))(?:\s+day)?(?:\s+of)?\s+{_CAPITAL}(?i:{_MONTH})"),
    # came back on 3/14
    re.compile(
        r"(?i:\b(?:back|seen|saw|admitted|readmitted|discharged|visit(?:ed|s)?|came|called|return(?:ed|s)?|surgery"
        r"|operat\w+|present(?:ed|s)?|started|stopped|dated?|born|died|fell|transferred|follow-?up|appointment|dos|dob)\b"
        r"[^.\n/]{0,20}?(?:\bon\b|\bof\b|:|\bsince\b|\bdated?\b)\s*)"
        r"(?P<all>(?P<first>\d\d?)/(?P<second>\d\d?))(?![\w/]|[.,]\d|\s*(?:of|%|patients|occasions|eyes))"
    ),
)

_JOINED = re.compile(r",?\s*(?:and|to|till|til|until|through|thru|up to|-)\s*(?:the\s+)?", re.IGNORECASE)
_REGISTRY = re.compile(
    r"(?:\b(?:NCT|ISRCTN|ACTRN|ANZCTR|ChiCTR|DRKS|UMIN|JAPIC|NTR|CTRI|IRCT|KCT|RBR)\S*\s?\d|EudraCT|ema\.europa\.eu|umin\.ac"
    r"|clinical\s?trials?\.gov|trial registration|trials? regist(?:er|ry)|trial (?:was|is) registered"
    r"|retrospectively registered)",
    re.IGNORECASE,
)
_REGISTRY_REACH = 110
"""Characters before a date, and half as many after it, in which a trial's number may stand."""


@dataclass(frozen=True, slots=True)
class _Day:
    start: int
    end: int
    day: int
    month: int
    year: int | None


def find_dates(text: str) -> Iterator[tuple[int, int]]:
    """Start and end of each day that is named, less periods of studies and registrations of trials."""
    days = sorted(_named_days(text), key=lambda d: (d.start, -d.end))
    days = [d for i, d in enumerate(days) if not any(o.start <= d.start and d.end <= o.end for o in days[:i])]
    of_studies: set[_Day] = set()
    for first, second in pairwise(days):
        if _JOINED.fullmatch(text, first.end, second.start) and _span(first, second) >= STUDY_DAYS:
            of_studies |= {first, second}
    for found in days:
        if found not in of_studies and not _of_a_registration(text, found):
            yield found.start, found.end


def _named_days(text: str) -> Iterator[_Day]:
    for form in (*_FORMS, *_DAYS_OF_A_YEAR):
        for match in form.finditer(text):
            parts = {name.rstrip("2"): value for name, value in match.groupdict().items() if value is not None}
            group = "all" if "all" in parts else 0
            found = _read(match.start(group), match.end(group), parts)
            if found is not None:
                yield found


def _read(start: int, end: int, parts: dict[str, str]) -> _Day | None:
    """The day that is written, or None where the numbers are no date."""
    year = None
    if "year" in parts:
        year = int(parts["year"].lstrip("'"))
        year += 0 if year > 99 else 1900 if year > 30 else 2000
    if "first" in parts:
        first, second = int(parts["first"]), int(parts["second"])
        month, day = (first, second) if first <= 12 else (second, first)  # which is which does not matter here
    else:
        month = _MONTHS.index(parts["month"][:3].lower()) + 1 if parts["month"].isalpha() else int(parts["month"])
        day = int(parts["day"]) if "day" in parts else 1 + _ORDINALS.index(parts["word"].lower().replace(" ", "-"))
    try:
        datetime.date(year or 2000, month, day)
    except ValueError:
        return None
    return _Day(start, end, day, month, year)


def _span(first: _Day, second: _Day) -> int:
    """Days between two joined dates; a year that the first lacks is the second's, or the one before."""
    later = datetime.date(second.year or 2001, second.month, min(second.day, 28))
    year = first.year or later.year
    earlier = datetime.date(year, first.month, min(first.day, 28))
    if earlier > later and first.year is None:
        earlier = earlier.replace(year=year - 1)
    return (later - earlier).days


def _of_a_registration(text: str, found: _Day) -> bool:
    before = text[max(0, found.start - _REGISTRY_REACH) : found.start]
    after = text[found.end : found.end + _REGISTRY_REACH // 2]
    return _REGISTRY.search(before) is not None or _REGISTRY.search(after) is not None
