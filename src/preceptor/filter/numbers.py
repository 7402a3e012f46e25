"""The numbers in a text, however they are written."""

from __future__ import annotations

import re
import unicodedata
from decimal import Decimal

_UNITS = ("one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
_TEENS = ("ten", "eleven", "twelve", "thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen")
_TENS = ("twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety")
_VALUES = {word: value for value, word in enumerate((*_UNITS, *_TEENS, "nineteen"), start=1)}
_VALUES |= {word: 10 * value for value, word in enumerate(_TENS, start=2)}
_NUMBER_WORD = re.compile(rf"\b(?:(?:{'|'.join(_TENS)})[- ](?:{'|'.join(_UNITS)})|{'|'.join(_VALUES)})\b")
ONE = re.compile(r"\bone\b", re.IGNORECASE)
_GROUPED = re.compile(r"(?<![\d.,])[1-9]\d{0,2}(?:,\d{3})+(?![\d,])")
_GAP = re.compile("(?<=\\d)[\u00a0\u2009\u202f](?=\\d{3}(?!\\d))")
_PERCENT = re.compile(r"\d\s*(?:%|per ?cent\b)")
_NUMBER = re.compile(r"(?:(?<![^\s(\[=<>,;:±])-)?(?:\d+(?:\.\d+)?|(?<![\w.])\.\d+)")


def numbers(text: str) -> set[str]:
    """The numbers in a text, each once, in one spelling: 1,000 = 1000 = 1 000 (thin space), 0.50 = .5 = 0·5.

    Digits inside names count (`IL-6`, `CD4`). Words from "two" to "ninety-nine" count as digits; ordinals,
    "half" and "hundred" do not. A share in per cent adds the mark `%` once, so "5 to 10%" equals "5% to 10
    percent". A comma that does not group thousands separates.
    """
    text = in_digits(text)
    found = {f"{Decimal(number).normalize():f}" for number in _NUMBER.findall(text)}
    return found | {"%"} if _PERCENT.search(text) else found


def in_digits(text: str) -> str:
    """The text in lower case, with numbers up to "ninety-nine" in digits and thousands ungrouped; "one" stays."""
    text = _GAP.sub("", text)
    if not text.isascii():
        # Raised digits and fractions stand apart from what is before them: 10⁹ is 10 and 9, never 109.
        text = "".join(f" {c} " if unicodedata.category(c) == "No" else c for c in text)
        text = unicodedata.normalize("NFKC", text).replace("·", ".").replace("−", "-")
    text = _GROUPED.sub(lambda match: match.group().replace(",", ""), text.casefold())
    return _NUMBER_WORD.sub(_digits, text)


def _digits(match: re.Match[str]) -> str:
    parts = re.split("[- ]", match.group())
    return "one" if parts == ["one"] else str(sum(_VALUES[part] for part in parts))
