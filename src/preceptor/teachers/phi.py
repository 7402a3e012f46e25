"""The check for identifiers of people that runs before text leaves the machine.

    gate = make_gate(settings.teacher)     # None where the mode is `off`
    gate.admit(requests)                   # counts; in `block` any finding is a PrivacyError, before anything is sent
    screened = gate.screen(request)        # what may be sent: masked in `mask`, an error in `block`, else as it is
    text = screened.restore(answer)        # placeholders back to values
    screened.unknown(text)                 # placeholders that nobody gave: such an answer is not used

`admit` reads an iterable once and keeps nothing of it, so requests of any number are checked before the first is sent.
`screen` looks at one request and is exact by itself: it raises in `block` too, so a stream that says something else the
second time sends nothing that was not checked.

Patterns always look; presidio and a language model for names join in where they are installed (`phi_names.py`).
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

from preceptor.config import PHI_KINDS, PhiSettings, TeacherSettings
from preceptor.errors import PrivacyError
from preceptor.records import Message, Request
from preceptor.teachers.phi_dates import find_dates
from preceptor.teachers.phi_names import Presidio, open_presidio
from preceptor.teachers.phi_numbers import NUMBERS
from preceptor.teachers.phi_patterns import Hit
from preceptor.teachers.phi_words import WORDS

Mode = Literal["block", "mask", "warn"]

PLAIN = str.maketrans(
    dict.fromkeys("‐‑‒–—−", "-") | dict.fromkeys("’‘ʼ", "'") | dict.fromkeys("\u00a0\u2009\u202f", " ")
)
"""Typographic characters to plain ones, one to one: positions stay."""

KEEP = " Placeholders in square brackets, such as {example}, stand for values that you do not see: copy them unchanged."
"""Joins the first message of a masked request."""

_KIND = "|".join(PHI_KINDS)
_PLACEHOLDER = re.compile(
    # In brackets of any sort with any spacing, or bare with an underscore; a bare "date 1" is ordinary text.
    rf"(?:[\[(<{{]+\s*(?P<kind>{_KIND})[\s_-]*(?P<number>\d{{1,6}})\s*[\])>}}]+"
    rf"|(?<!\w)(?P<kind2>{_KIND})_(?P<number2>\d{{1,6}})(?!\w))",
    re.IGNORECASE,
)
_NAME_PART = re.compile(r"[A-Z][^\W\d_]{2,}(?:['-][^\W\d_]+)*")


@dataclass(frozen=True, slots=True)
class Finding:
    """One identifier in a text."""

    kind: str
    """One of `config.PHI_KINDS`."""
    start: int
    end: int
    text: str
    """`source[start:end]`. Never part of an error, a log or a count."""


@dataclass(frozen=True)
class Masked:
    """Texts with placeholders in place of identifiers."""

    texts: tuple[str, ...]
    values: Mapping[str, str] = field(default_factory=dict)
    """Placeholder -> what it stands for."""
    present: frozenset[str] = frozenset()
    """Placeholders that stood in the texts before masking, normalised; none of them is given out."""

    @property
    def text(self) -> str:
        """The only text, where one was masked."""
        (text,) = self.texts
        return text


@dataclass(frozen=True)
class Screened:
    """A request that may be sent."""

    request: Request
    """What is sent; its key names the call in the ledger."""
    original: Request
    masked: Masked
    """Without values unless the mode is `mask`."""
    counts: Mapping[str, int]
    """Findings by kind, never their values."""

    def restore(self, text: str) -> str:
        """The answer with the values back in place."""
        return restore(text, self.masked)

    def unknown(self, text: str) -> tuple[str, ...]:
        """Placeholders in a restored answer that stand for nothing; with any, the answer is not to be used."""
        return unknown_placeholders(text, self.masked)


@dataclass(frozen=True)
class Census:
    """What a check of many requests found, by number only."""

    requests: int
    flagged: int
    """Requests with at least one finding."""
    kinds: Mapping[str, int]
    """Findings by kind, the most frequent first."""

    @property
    def sentence(self) -> str:
        """For people; holds no identifier."""
        kinds = ", ".join(f"{count} {kind}" for kind, count in self.kinds.items())
        return f"{self.flagged} of {self.requests} prompts hold what may identify people: {kinds}"


def census_of(screened: Iterable[Screened]) -> Census:
    """What screening found, without looking again."""
    counts = [one.counts for one in screened]
    kinds = sum((Counter(found) for found in counts), Counter[str]())
    return Census(len(counts), sum(bool(found) for found in counts), dict(kinds.most_common()))


def find_patterns(text: str) -> tuple[Finding, ...]:
    """All identifiers that patterns find, in order and without overlaps."""
    plain = text.translate(PLAIN)
    found = [hit for detector in (*NUMBERS, *WORDS) for hit in detector.find(plain)]
    found += [("date", start, end) for start, end in find_dates(plain)]
    return settle(text, found)


def settle(text: str, found: Iterable[Hit]) -> tuple[Finding, ...]:
    """Findings without overlaps: the longer first, then the one listed first."""
    kept: list[Hit] = []
    for hit in sorted(found, key=lambda hit: hit[1] - hit[2]):
        if all(hit[2] <= other[1] or hit[1] >= other[2] for other in kept):
            kept.append(hit)
    return tuple(Finding(kind, start, end, text[start:end]) for kind, start, end in sorted(kept, key=lambda k: k[1]))


class PhiGate:
    """Checks requests in one of the modes `block`, `mask` and `warn`."""

    def __init__(self, mode: Mode, settings: PhiSettings | None = None) -> None:
        self.mode = mode
        self._settings = settings or PhiSettings()
        self._presidio: Presidio | None = open_presidio(self._settings)

    @property
    def finds_names(self) -> bool:
        """Whether a language model looks for names; without one only titles and cues give them away."""
        return self._presidio is not None and self._presidio.finds_names

    def check(self, text: str) -> tuple[Finding, ...]:
        """The identifiers in a text, in order and without overlaps."""
        found = [(f.kind, f.start, f.end) for f in find_patterns(text)]
        if self._presidio is not None:
            found += self._presidio.find(text)
        return settle(text, [hit for hit in found if hit[0] in self._settings.kinds])

    def mask(self, *texts: str) -> Masked:
        """The texts with placeholders such as `[DATE_1]`; the same value has the same one in all of them.

        Words of a name that was found are masked wherever else they stand, since a note gives the title only once.
        """
        return self._mask(texts, [self.check(text) for text in texts])

    def admit(self, requests: Iterable[Request]) -> Census:
        """Look at every request, once. Raises `PrivacyError` in `block` if any holds a finding; nothing is sent yet."""
        seen, flagged, kinds, first = 0, 0, Counter[str](), ""
        for request in requests:
            found = [finding.kind for message in request.messages for finding in self.check(message.content)]
            first = first or (request.item if found else "")
            seen, flagged = seen + 1, flagged + bool(found)
            kinds.update(found)
        census = Census(seen, flagged, dict(kinds.most_common()))
        if flagged and self.mode == "block":
            raise _refusal(census, first)
        return census

    def screen(self, request: Request) -> Screened:
        """The request as it may be sent. Raises `PrivacyError` in `block` if it holds a finding."""
        texts = [message.content for message in request.messages]
        found = [self.check(text) for text in texts]
        counts = Counter(finding.kind for findings in found for finding in findings)
        if counts and self.mode == "block":
            raise _refusal(Census(1, 1, dict(counts.most_common())), request.item)
        if not counts or self.mode == "warn":
            return Screened(request, request, Masked(tuple(texts), present=_present(texts)), counts)
        masked = self._mask(texts, found)
        pairs = zip(request.messages, masked.texts, strict=True)
        messages = [Message(message.role, text) for message, text in pairs]
        keep = KEEP.format(example=next(iter(masked.values)))
        messages[0] = replace(messages[0], content=messages[0].content + keep)
        return Screened(replace(request, messages=tuple(messages)), request, masked, counts)

    def _mask(self, texts: Iterable[str], found: Iterable[tuple[Finding, ...]]) -> Masked:
        texts, found = tuple(texts), [*found]
        names = {
            part for findings in found for f in findings if f.kind == "name" for part in _NAME_PART.findall(f.text)
        }
        present = _present(texts)
        values: dict[str, str] = {}
        given: dict[tuple[str, str], str] = {}
        masked = []
        for text, findings in zip(texts, found, strict=True):
            pieces, end = [], 0
            for finding in _with_names(text, findings, names):
                value = " ".join(finding.text.split())
                placeholder = given.get((finding.kind, value)) or _next(finding.kind, given, present)
                given[finding.kind, value] = placeholder
                values.setdefault(placeholder, finding.text)
                pieces += [text[end : finding.start], placeholder]
                end = finding.end
            masked.append("".join([*pieces, text[end:]]))
        return Masked(tuple(masked), values, present)


def make_gate(settings: TeacherSettings) -> PhiGate | None:
    """The gate for a teacher, or None where its mode is `off`: then nothing is checked."""
    mode = settings.phi_mode
    return None if mode == "off" else PhiGate(mode, settings.phi)


def restore(text: str, masked: Masked) -> str:
    """Put the values back. Case, spacing and sort of brackets do not matter; what a teacher dropped stays dropped."""
    by_key = {
        _key(match): value for holder, value in masked.values.items() if (match := _PLACEHOLDER.fullmatch(holder))
    }
    return _PLACEHOLDER.sub(lambda match: by_key.get(_key(match), match[0]), text)


def unknown_placeholders(text: str, masked: Masked) -> tuple[str, ...]:
    """Placeholders in a restored text that nobody gave: the teacher invented them, and the text is not to be used.

    Those that stood in the prompt before masking are the text's own and not among them.
    """
    if not masked.values:
        return ()
    return tuple(match[0] for match in _PLACEHOLDER.finditer(text) if _key(match) not in masked.present)


def _key(match: re.Match[str]) -> str:
    kind, number = match["kind"] or match["kind2"], match["number"] or match["number2"]
    return f"{kind.upper()}_{int(number)}"


def _present(texts: Iterable[str]) -> frozenset[str]:
    return frozenset(_key(match) for text in texts for match in _PLACEHOLDER.finditer(text))


def _next(kind: str, given: Mapping[tuple[str, str], str], present: frozenset[str]) -> str:
    """The first placeholder of a kind that is neither given out nor part of the texts."""
    taken, number = {*given.values(), *(f"[{key}]" for key in present)}, 1
    while f"[{kind.upper()}_{number}]" in taken:
        number += 1
    return f"[{kind.upper()}_{number}]"


def _with_names(text: str, findings: Iterable[Finding], names: set[str]) -> list[Finding]:
    """The findings, and every other place where a word of a found name stands."""
    kept = [*findings]
    if names:
        words = "|".join(re.escape(name) for name in sorted(names, key=len, reverse=True))
        for match in re.finditer(rf"(?<!\w)(?:{words})(?!\w)", text):
            if all(match.end() <= f.start or match.start() >= f.end for f in kept):
                kept.append(Finding("name", match.start(), match.end(), match[0]))
    return sorted(kept, key=lambda finding: finding.start)


def _refusal(census: Census, first: str) -> PrivacyError:
    item = f" (the first: {first})" if first else ""
    return PrivacyError(
        f"{census.sentence}{item}; nothing was sent.",
        'Remove them from the data, or set teacher.phi.mode = "mask" to send placeholders instead; "warn" and "off" '
        "send the text as it is.",
    )
