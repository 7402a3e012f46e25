"""Reading a label out of a generated answer: `parse_strict` (the default), `parse_paper` (comparison only).

`parse_strict` never guesses. Its rules, in order:

1. An answer that the endpoint blocked (`finish == "content_filter"`) is refused, whatever it says.
2. After the last occurrence of the marker ("answer:") a label that comes first is the answer:
   "Answer: **Yes**, ...". Labels that are only listed there ("Answer: yes or no") are not. Otherwise the
   sentence after the marker is read by rule 4; when it holds no label at all, rule 3 applies.
3. Without a marker the first sentence is read by rule 4. Later sentences are never read.
4. A sentence answers when it holds exactly one label, any number of times: "Yes, it does", "No.", "The answer
   is maybe because ...". Two different labels ("yes or no", "maybe yes", "yes, not no") are no answer, and
   neither is a negated one ("not yes", "I would not say no"): which other label was meant cannot be known.
5. Labels match as whole words in any case: "diagnosis" and "no-one" are not "no". Where "no" is a label, a
   "no" inside a sentence that belongs to the next word ("there was no difference") is grammar, not a verdict,
   and is not read. At the very start it is read: "No difference" is a "no".
6. Without a label a typical refusal is refused, an answer cut at the token limit is cut off, and the rest is
   unparsed.

Rules 4 to 6 know English negations and refusals; labels may be in any language that separates words.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

from preceptor.errors import RecipeError
from preceptor.records import Outcome, ParsedAnswer

PAPER_MARKER = "the answer to the question given the context is"
"""What the first paper's students were trained to write before the label."""
_PAPER_LABELS = frozenset({"yes", "no", "maybe"})
_PAPER_WORDS = 100

_SENTENCE_START = re.compile(r"[\s\"'(\[<>#:.,!?]+")
_SENTENCE_END = re.compile(r"[.!?]+[\"')\]]*(?=\s|$)|\n")
_ABBREVIATION = re.compile(r"\b(?:e\.g|i\.e|vs|et al|cf|approx|fig|dr|prof)$", re.IGNORECASE)
_SENTENCE_WINDOW = 2000  # characters: what runs on longer without a full stop is no sentence
_LOOK_BACK = 200  # characters before a label in which a negation can stand

_CLAUSE_BREAK = re.compile(r"[,;:\u2013\u2014]|\s-\s|\b(?:and|but|so|because|therefore|hence|thus)\b", re.IGNORECASE)
_NEGATION = re.compile(r"\b(?:not|cannot|never|neither|nor|rather than|instead of)\b|n't\b", re.IGNORECASE)
_ONLY_SEPARATORS = re.compile(r"(?:[\s,/|&()\"']|\bor\b|\band\b)*", re.IGNORECASE)

# Words that may follow a verdict "no"; before any other word "no" is a determiner.
_AFTER_VERDICT = frozenset(
    {"a", "according", "although", "an", "and", "as", "at", "based", "because", "but", "by", "can", "could"}
    | {"did", "do", "does", "due", "for", "from", "given", "has", "have", "he", "i", "if", "in", "is", "it"}
    | {
        "nor",
        "not",
        "on",
        "or",
        "she",
        "since",
        "so",
        "that",
        "the",
        "there",
        "these",
        "they",
        "this",
        "those",
    }
    | {"though", "to", "under", "was", "we", "were", "when", "where", "while", "with", "would", "you"}
)
_NEXT_WORD = re.compile(r"\s+([^\W\d_]+)")
_ALTERNATIVE = re.compile(r"(?:\bn?or|/)\s*$", re.IGNORECASE)

_ACT = (
    r"(?:answer|assist|help|provide|give|offer|comply|fulfill?|respond|discuss|diagnose|advise|complete"
    r"|do that)"
)
_REFUSAL = re.compile(
    r"\b(?:I (?:can(?:not|'t| not)|could(?: not|n't)|won't|will not)|(?:I am|I'm) (?:unable|not able) to)"
    rf" (?:\w+ )?{_ACT}\b"
    r"|\bI (?:must |have to |respectfully )?(?:decline|refuse)\b"
    rf"|^\W*(?:sorry, )?(?:unable|not able) to {_ACT}\b"
    r"|\bas an? (?:AI|artificial intelligence|(?:large )?language model)\b"
    r"|^\W*(?:I'm |I am |we're |we are )?sorry\b",
    re.IGNORECASE,
)
_REFUSAL_WINDOW = 400  # characters: a refusal stands at the start


class _Mention(NamedTuple):
    """One label word in a sentence."""

    label: str
    start: int
    end: int
    negated: bool


def parse_strict(text: str, labels: Sequence[str], *, marker: str, finish: str) -> ParsedAnswer:
    """Read `text` by the rules of this module.

    `marker` is what the prompt asked to be written before the label (empty: nothing); `finish` is why
    generation stopped: `stop`, `length` or `content_filter`. The label comes back spelled as in `labels`.
    """
    if finish == "content_filter":
        return ParsedAnswer(unread(text, finish))
    plain = without_marks(text)
    mentioned = False
    for part, first_wins in ((_after_marker(plain, marker), True), (plain, False)):
        sentence = first_sentence(part)
        mentions = _mentions(sentence, tuple(labels))
        if mentions:
            mentioned = True
            label = _verdict(sentence, mentions, first_wins=first_wins)
            if label is not None:
                return ParsedAnswer(Outcome.ANSWERED, label)
            break
    # An answer that names labels and decides on none was not cut off before it came to the point.
    return ParsedAnswer(unread(text, "stop" if mentioned else finish))


def unread(text: str, finish: str) -> Outcome:
    """What became of an answer in which nothing was found: refused, cut off or unparsed (rules 1 and 6)."""
    if finish == "content_filter" or _REFUSAL.search(without_marks(text)[:_REFUSAL_WINDOW]):
        return Outcome.REFUSED
    return Outcome.CUT_OFF if finish == "length" else Outcome.UNPARSED


def parse_paper(text: str, labels: Sequence[str]) -> ParsedAnswer:
    """Read `text` as the Dr. LLaMA paper's published notebook does; only for comparison with its numbers.

    After the first "the answer to the question given the context is" the next 100 words of the same line are
    scanned: the first that contains "yes" means yes, the first that contains "no" means no, whichever comes
    first. Without that marker only the first word of the text is tested. Everything else is "maybe": nothing
    is ever unparsed, and "diagnosis" means no. Raises `RecipeError` for labels other than yes, no and maybe.
    """
    if set(labels) != _PAPER_LABELS:
        raise RecipeError(
            f"The paper parser knows only the labels yes, no and maybe, not {', '.join(labels)}.",
            'Use the parser "strict".',
        )
    _, marker, after = text.partition(PAPER_MARKER)
    # The notebook's pattern stops at the end of the line, and finds the marker in lower case only.
    words = after.split("\n", 1)[0].split()[:_PAPER_WORDS] if marker else text.split()[:1]
    for word in map(str.lower, words):
        if "yes" in word:
            return ParsedAnswer(Outcome.ANSWERED, "yes")
        if "no" in word:
            return ParsedAnswer(Outcome.ANSWERED, "no")
    return ParsedAnswer(Outcome.ANSWERED, "maybe")


def without_marks(text: str) -> str:
    """The text without Markdown emphasis and with straight quotes."""
    straight = text.replace("\u2019", "'").replace("\u2018", "'").replace("\u201c", '"').replace("\u201d", '"')
    return re.sub(r"[*`]|\b_{1,3}|_{1,3}\b", "", straight)


def _after_marker(text: str, marker: str) -> str:
    """What follows the last occurrence of the marker, in any case; empty without one."""
    if not marker.strip():
        return ""
    ends = [match.end() for match in re.finditer(re.escape(marker.strip()), text, re.IGNORECASE)]
    return text[ends[-1] :] if ends else ""


def first_sentence(text: str) -> str:
    """The first sentence or line, without what opens it (quotes, brackets, blank lines)."""
    start = _SENTENCE_START.match(text)
    text = text[start.end() if start else 0 :][:_SENTENCE_WINDOW]
    for end in _SENTENCE_END.finditer(text):
        if not _ABBREVIATION.search(text[: end.start()][-12:]):  # longer than any of the abbreviations
            return text[: end.start()]
    return text


@lru_cache(maxsize=64)
def _pattern(labels: tuple[str, ...]) -> re.Pattern[str]:
    # Longest first: "not entailment" before "entailment". Hyphens and apostrophes inside a word, and the
    # point of a decimal number, are no word boundaries.
    words = "|".join(re.escape(label) for label in sorted(labels, key=len, reverse=True))
    return re.compile(rf"(?<!\w)(?<!\w[-'])(?<!\d[.,])(?:{words})(?!\w|[-']\w|[.,]\d)", re.IGNORECASE)


def _mentions(sentence: str, labels: tuple[str, ...]) -> list[_Mention]:
    spelling = {label.casefold(): label for label in labels}
    found = []
    for match in _pattern(labels).finditer(sentence):
        if match[0].lower() == "no" and _is_determiner(sentence, match):
            continue
        label = spelling.get(match[0].casefold(), match[0])
        found.append(_Mention(label, match.start(), match.end(), is_negated(sentence[: match.start()][-_LOOK_BACK:])))
    return found


def _is_determiner(sentence: str, match: re.Match[str]) -> bool:
    """Whether this "no" belongs to the next word, as in "there was no difference"."""
    following = _NEXT_WORD.match(sentence, match.end())
    if match.start() == 0 or following is None or _ALTERNATIVE.search(sentence[: match.start()][-12:]):
        return False
    return following[1].lower() not in _AFTER_VERDICT


def is_negated(before: str) -> bool:
    """Whether a negation stands in the same clause before the label."""
    return _NEGATION.search(_CLAUSE_BREAK.split(before)[-1]) is not None


def _verdict(sentence: str, mentions: Sequence[_Mention], *, first_wins: bool) -> str | None:
    """The one label that the sentence asserts, or None. `first_wins`: a label that opens it is enough."""
    first = mentions[0]
    if first_wins and first.start == 0 and not _is_listed(sentence, mentions):
        return first.label
    if any(mention.label != first.label or mention.negated for mention in mentions):
        return None
    return first.label


def _is_listed(sentence: str, mentions: Sequence[_Mention]) -> bool:
    """Whether the first two labels differ and nothing but "or", "and" or punctuation stands between them."""
    if len(mentions) < 2 or mentions[0].label == mentions[1].label:
        return False
    return _ONLY_SEPARATORS.fullmatch(sentence, mentions[0].end, mentions[1].start) is not None
