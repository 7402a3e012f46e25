"""Reading which lettered option a generated answer means. Nothing is guessed; the rules, in order:

1. The whole answer, its first line or its first sentence is exactly the text of one option.
2. The letters that follow "the answer is", "Answer:", "the correct option is" and their like anywhere in the answer;
   or, instead of a letter there, exactly the text of an option.
3. The letter that opens the answer: "B", "(b)", "**B.** Aspirin", "Option B", "B because ...".
4. Letters in brackets or after "option" in the first sentence: "It is option (C)."
5. The text of one option in the first sentence, by the rules of `data/parsers.py`.

The first rule that finds something decides: one option is the answer; two different ones, one that is negated ("B is
wrong") or a letter that names no option are none. A letter counts in upper case, and in lower case where it stands
alone or a bracket, colon or full stop follows. "A" before another word is the article, and "E. coli" the bacterium: a
letter before further words needs a bracket or colon, a full stop before an upper-case word, the text of its own option,
or a word that explains ("is", "because"). A letter followed by the text of another option is no answer, and neither is
a list of all options.
"""

from __future__ import annotations

import re
import string
from collections.abc import Iterator, Sequence

from preceptor.data.parsers import first_sentence, is_negated, parse_strict, unread, without_marks
from preceptor.records import Outcome, Reading

LETTERS = string.ascii_uppercase
"""Names of options, in order: there can be 26."""

_ANNOUNCED = re.compile(
    r"\b(?:answer|option|choice)(?: (?:choice|option|letter|here|to (?:the|this) question))?\s*"
    r"(?::|=|(?:is|would be|should be|must be)\b:?)\s*(?:(?:most likely|probably|therefore|clearly)\s+)?",
    re.IGNORECASE,
)
_LETTER = re.compile(r"[\s\"'\[{]*(?:(?:option|choice|letter|answer)\s+)?(\(?)([A-Za-z])(?![\w'-])(\)?)", re.IGNORECASE)
_AFTER = re.compile(r"[\s)\]}.:,;\"'!?-]*")
_EXPLAINS = re.compile(r"(?:is|because|since|as|due|based|this|the|it|which)\b")
_OTHER = re.compile(r"\s*(?:,|/|&|\bor\b|\band\b|,\s*(?:or|and)\b)\s*\(?([A-Z])(?![\w'-])")
_NAMED = re.compile(r"\(([A-Z])\)|\b(?:option|choice)\s+\(?([A-Z])(?![\w'-])", re.IGNORECASE)
_DENIED = re.compile(
    r"[\s)\"']*(?:is|are|was|would be|can be)?\s*(?:not|n't|wrong|incorrect|false|isn't)\b", re.IGNORECASE
)


def read(text: str, options: Sequence[str], *, finish: str) -> Reading:
    """The option that `text` means, by the rules of this module; `options` are their texts in the order of the letters.

    Without one the outcome is refused, cut off (`finish` is `length`) or unparsed.
    """
    if finish == "content_filter":
        return Reading(unread(text, finish))
    plain = without_marks(text).strip()
    for found in _rules(plain, options):
        if found:
            (choice,) = found if len(found) == 1 else (None,)
            if choice is None or not 0 <= choice < len(options):
                return Reading(unread(text, "stop"))  # it named options, so it was not cut off before the point
            return Reading(Outcome.ANSWERED, choice=choice)
    return _by_text(text, options, finish)


def _rules(plain: str, options: Sequence[str]) -> Iterator[set[int]]:
    """What each of the rules 1 to 4 finds, as indices of options; -1 for none of them."""
    lines = [line for line in plain.split("\n") if line.strip()]
    sentence = first_sentence(plain)
    yield set().union(*(_exact(part, options) for part in (plain, *lines[:1], sentence)))
    announced: set[int] = set()
    for match in _ANNOUNCED.finditer(plain):
        rest = plain[match.end() :].split("\n", 1)[0]
        announced |= _exact(rest, options) or _exact(first_sentence(rest), options) or _opening(rest, options)
    yield announced
    # A second line that opens with another letter is a list of the options, copied.
    yield (
        set().union(*(_opening(line, options) for line in lines[:2]))
        if lines and _opening(lines[0], options)
        else set()
    )
    yield _named(sentence)


def _exact(text: str, options: Sequence[str]) -> set[int]:
    """The options whose text this is; a single letter that is also the name of another option means both."""
    said = _plain(text)
    found = {index for index, option in enumerate(options) if said and said == _plain(option)}
    if found and len(said) == 1 and said.upper() in LETTERS[: len(options)]:
        found.add(LETTERS.index(said.upper()))
    return found


def _plain(text: str) -> str:
    return " ".join(text.split()).strip(" .\"'").casefold()


def _opening(line: str, options: Sequence[str]) -> set[int]:
    """The letter at the start of a line, and another one that is joined to it; -1 for a letter that names no option."""
    match = _LETTER.match(line)
    if match is None:
        return set()
    letter = match[2]
    if letter.isupper() and _DENIED.match(line, match.end()):
        return {-1}
    other = _OTHER.match(line, match.end())
    if other and letter.isupper():
        return {_index(letter, options), _index(other[1], options)}
    gap = _AFTER.match(line, match.end())
    marks = (match[3] + (gap[0] if gap else "")).strip()
    rest = _plain(line[gap.end() if gap else match.end() :])
    following = line[gap.end() :][:1] if gap else ""
    index = _index(letter, options)
    own = 0 <= index < len(options) and bool(rest) and rest.startswith(_plain(options[index]))
    if rest and not own and _exact(rest, options):
        return {index, *_exact(rest, options)}
    clear = not rest or own or any(mark in marks for mark in ")]}:")
    clear = clear or (bool(marks) and not following.islower())
    explained = letter.isupper() and _EXPLAINS.match(rest) is not None
    return {index} if explained or (clear and (letter.isupper() or marks or not rest)) else set()


def _named(sentence: str) -> set[int]:
    found: set[int] = set()
    for match in _NAMED.finditer(sentence):
        letter = match[1] or match[2]
        if not letter.isupper():
            continue
        if is_negated(sentence[: match.start()]) or _DENIED.match(sentence, match.end()):
            return {-1}
        found.add(LETTERS.index(letter))
    return found


def _index(letter: str, options: Sequence[str]) -> int:
    index = LETTERS.index(letter.upper())
    return index if index < len(options) else -1


def _by_text(text: str, options: Sequence[str], finish: str) -> Reading:
    """Rule 5. Two options with the same words cannot be told apart."""
    labels = [" ".join(option.split()) for option in options]
    if len({label.casefold() for label in labels}) < len(labels):
        return Reading(unread(text, finish))
    answer = parse_strict(text, labels, marker="answer:", finish=finish)
    return Reading(answer.outcome, choice=None if answer.label is None else labels.index(answer.label))
