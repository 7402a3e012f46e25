"""Lists of mentions: how a reference answer writes them, and how those of a generated answer are read.

Written: each distinct mention once, in the order of the text, separated by "; ", or the word "none". A mention that
would be read otherwise (it holds a semicolon, comma, colon or quotation mark, or begins like an item of a numbered
list) stands in double quotes.

Read, in this order:

1. A typical refusal is refused; nothing at all is unparsed.
2. A JSON list of texts (also in a code block, or as the only list of an object) is what it says.
3. A lead-in that ends with a colon ("Diseases:", "The diseases mentioned are:") is left out.
4. "none", "no diseases", "there are no diseases mentioned" and their like answer that there is none.
5. Lines are items, without bullets and numbers; semicolons separate items. Only when there is neither a second line nor
   a semicolon do commas separate them: a mention may hold a comma, and semicolons are what is asked for.
6. "A, B and C" are three. Elsewhere "A and B" is two mentions where the text holds both but not the whole.
7. Quotation marks, a full stop at the end and repetitions are left out; what is longer than `LONGEST` words is prose
   and no mention. An answer of prose alone is unparsed.

An answer that was cut at the token limit is cut off: the mentions before the cut are read, the last, which may be a
fragment, is not.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence

from preceptor.data.parsers import unread, without_marks
from preceptor.records import Outcome, Reading

NONE = "none"
LONGEST = 30
"""Words of a mention at most; the longest of the NCBI disease corpus has 22 tokens."""
_SEPARATORS = re.compile(r'[;,:"\n]')

_BULLET = re.compile(r"^\s*(?:[-*+\u2022\u00b7\u2013]|\(?\d{1,2}[.):])\s+")
_FENCE = re.compile(r"^\s*```\w*\s*\n?|\n?\s*```\s*$")
_QUOTED = re.compile(r'"(?:[^"\\\n]|\\.)*"(?=\s*(?:[;,\n\]]|$))')
_CLOSED = re.compile(r'"((?:[^"\\]|\\.)*)"\s*[,\]]')


def distinct(mentions: Iterable[str]) -> tuple[str, ...]:
    """Each mention once, by its letters in any case, in the order of first occurrence."""
    first: dict[str, str] = {}
    for mention in mentions:
        first.setdefault(" ".join(mention.split()).casefold(), mention)
    return tuple(first.values())


def written(mentions: Iterable[str]) -> str:
    """The reference answer that lists `mentions`."""
    once = distinct(mentions)
    return "; ".join(map(_quoted, once)) or NONE


def _quoted(mention: str) -> str:
    as_read = _clean(_BULLET.sub("", mention))
    plain = as_read == mention and not _SEPARATORS.search(mention)
    return mention if plain else json.dumps(mention, ensure_ascii=False)


def read(answer: str, *, text: str, entity: str, finish: str) -> Reading:
    """The mentions that `answer` lists, by the rules of this module.

    `text` is what was to be searched, `entity` the word for what was looked for; `finish` is why generation stopped.
    """
    nothing = unread(answer, finish)
    if nothing is Outcome.REFUSED or not answer.strip():
        return Reading(nothing)
    cut = finish == "length"
    outcome = Outcome.CUT_OFF if cut else Outcome.ANSWERED
    bare = _FENCE.sub("", answer).strip()
    listed = _json_list(bare, cut=cut)
    if listed is None:
        bare = _without_lead(bare, entity)
        if _says_none(bare, entity):
            return Reading(outcome)
        listed = _pieces(bare, text, cut=cut and not answer.rstrip(" ").endswith("\n"))
    found = distinct(mention for piece in listed if 0 < len((mention := _clean(piece)).split()) <= LONGEST)
    if not found and listed and not cut:
        return Reading(Outcome.ANSWERED if all(_says_none(piece, entity) for piece in listed) else Outcome.UNPARSED)
    kept = tuple(mention for mention in found if not _says_none(mention, entity))
    return Reading(outcome, mentions=kept)


def _json_list(answer: str, *, cut: bool) -> list[str] | None:
    if answer[:1] not in ("[", "{"):
        return None
    try:
        value = json.loads(answer)
    except (ValueError, RecursionError):
        # A list that was cut off: its closed texts. Anything else in brackets is read as plain text.
        return _CLOSED.findall(answer) if cut and answer.startswith("[") else None
    if isinstance(value, dict):
        value = next(iter(value.values())) if len(value) == 1 else None
    if isinstance(value, list) and all(isinstance(part, str) for part in value):
        return value
    return None


def _without_lead(answer: str, entity: str) -> str:
    """The answer without a first "Answer:" or "The diseases mentioned in the text are:"."""
    about = rf"\b(?:answer|list|mention|mentions|mentioned|named|following|found|here are|{_plural(entity)})\b"
    lead = re.match(rf"[^:;\n]{{0,120}}?{about}[^:;\n]{{0,80}}:", without_marks(answer), re.IGNORECASE)
    if lead is None or answer.startswith('"'):  # a quoted mention may hold a colon
        return answer
    # The marks that were taken out for matching stand before the colon, or directly behind it.
    return answer[answer.index(":") + 1 :].lstrip(" *_\t\r\n")


def _plural(entity: str) -> str:
    stem = re.escape(entity)
    return rf"{stem}(?:s|es)?"


def _says_none(answer: str, entity: str) -> bool:
    what = rf"(?:\w+ )?(?:{_plural(entity)}|mentions?|entit(?:y|ies))"
    where = r"(?: (?:is|are|was|were))?(?: (?:mentioned|named|listed|found|present|given|stated))?"
    there = r"(?: (?:in|by) (?:the|this) (?:\w+ )?(?:text|sentence|passage|abstract|input))?"
    said = (
        rf"(?:none|no|nothing|n/?a|(?:there (?:is|are|was|were) )?(?:no|not any) {what}{where}{there}"
        rf"|none (?:is|are|was|were)? ?(?:mentioned|named|listed|found)?{there}"
        rf"|(?:the|this) (?:text|sentence|passage) (?:does not|doesn't) (?:mention|name|contain) (?:any|a) {what})"
    )
    plain = " ".join(without_marks(answer).split()).strip(" \"'.!()")
    return re.fullmatch(said, plain, re.IGNORECASE) is not None


def _pieces(answer: str, text: str, *, cut: bool) -> list[str]:
    """The items of a list in plain text; of one that was cut off all but the last."""
    held: list[str] = []

    def hold(match: re.Match[str]) -> str:  # a quoted text is one item, whatever separators it holds
        held.append(match[0])
        return f"\0{len(held) - 1}\0"

    masked = _QUOTED.sub(hold, answer.replace("\0", " "))
    lines = [_BULLET.sub("", line) for line in masked.split("\n") if line.strip()]
    pieces = [piece for line in lines for piece in line.split(";")]
    if len(pieces) == 1:
        pieces = pieces[0].split(",")
        if len(pieces) > 1:
            pieces[-1:] = [piece for piece in re.split(r"(?:^|\s)and\s+", pieces[-1]) if piece.strip() or cut]
    if cut:
        pieces.pop()  # empty where the answer ends with a separator
    whole = [re.sub(r"\0(\d+)\0", lambda match: held[int(match[1])], piece) for piece in pieces]
    return [part for piece in whole for part in _unjoined(piece, text)]


def _unjoined(piece: str, text: str) -> Sequence[str]:
    first, both, second = piece.strip().rstrip(".").rpartition(" and ")
    where = " ".join(text.split()).casefold()
    words = [" ".join(part.split()).casefold() for part in (piece.strip().rstrip("."), first, second)]
    if both and all(words) and words[0] not in where and words[1] in where and words[2] in where:
        return first, second
    return (piece,)


def _clean(piece: str) -> str:
    """One mention without what encloses it."""
    bare = " ".join(piece.split()).strip("*`")
    if _QUOTED.fullmatch(bare):
        try:
            return str(json.loads(bare)).strip()
        except ValueError:  # a backslash that JSON does not know
            return bare[1:-1].strip()
    bare = bare.removesuffix(".").strip("*`")
    for opening, closing in ('""', "''", "\u201c\u201d", "\u2018\u2019"):
        if len(bare) > 1 and bare[0] == opening and bare[-1] == closing:
            return bare[1:-1].strip()
    return bare.strip()
