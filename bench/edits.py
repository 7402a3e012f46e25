"""Light edits of a text, as somebody would make them who wants to hide where it comes from. Seeded, own code."""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Mapping

from rapidfuzz.distance import Levenshtein

from preceptor.filter.text import words
from preceptor.teachers.scripted import SYNONYMS

LEAST = 0.10
"""Share of the words by which an edited text must differ from its source (word edit distance over the longer)."""

MORE_SYNONYMS: Mapping[str, str] = {
    "a total of": "altogether",
    "accurate": "precise",
    "adults": "grown-ups",
    "affect": "influence",
    "affects": "influences",
    "aim": "goal",
    "all": "every one of the",
    "although": "even though",
    "among": "amid",
    "analysed": "evaluated",
    "analyzed": "evaluated",
    "and": "as well as",
    "approximately": "about",
    "assess": "gauge",
    "assessed": "gauged",
    "association": "link",
    "associated": "linked",
    "based on": "founded on",
    "because": "since",
    "benefit": "advantage",
    "between": "in between",
    "cause": "bring about",
    "children": "young people",
    "collected": "gathered",
    "compare": "contrast",
    "compared": "contrasted",
    "conducted": "carried out",
    "correlated": "related",
    "data": "information",
    "decrease": "drop",
    "decreased": "dropped",
    "demonstrated": "proved",
    "determine": "find out",
    "determined": "found out",
    "difference": "distinction",
    "differences": "distinctions",
    "disease": "illness",
    "does": "will",
    "due to": "caused by",
    "during": "in the course of",
    "effect": "impact",
    "effective": "efficient",
    "effects": "impacts",
    "efficacy": "usefulness",
    "enrolled": "taken in",
    "evaluate": "judge",
    "evaluated": "judged",
    "factors": "influences",
    "finding": "result",
    "found": "discovered",
    "group": "arm",
    "groups": "arms",
    "had": "showed",
    "has been": "was",
    "have been": "were",
    "high": "raised",
    "higher": "greater",
    "however": "yet",
    "identified": "recognised",
    "identify": "recognise",
    "impact": "effect",
    "important": "relevant",
    "improve": "better",
    "improved": "bettered",
    "improvement": "betterment",
    "included": "comprised",
    "increase": "rise",
    "increased": "rose",
    "individuals": "persons",
    "influence": "sway",
    "is there": "does there exist",
    "its": "the latter's",
    "low": "reduced",
    "lower": "smaller",
    "main": "chief",
    "mean": "average",
    "measured": "gauged",
    "method": "procedure",
    "methods": "procedures",
    "more": "further",
    "necessary": "needed",
    "need": "require",
    "objective": "goal",
    "observed": "noted",
    "obtained": "gained",
    "of": "from",
    "outcome": "end result",
    "outcomes": "end results",
    "participants": "volunteers",
    "patient": "sick person",
    "patients": "sick persons",
    "performed": "carried out",
    "period": "span",
    "predict": "foretell",
    "predictor": "forerunner",
    "prevalence": "frequency",
    "previous": "earlier",
    "procedure": "intervention",
    "purpose": "goal",
    "questionnaire": "survey form",
    "randomized": "allotted by chance",
    "randomised": "allotted by chance",
    "received": "were given",
    "related": "tied",
    "relationship": "connection",
    "retrospective": "backward-looking",
    "revealed": "brought to light",
    "risk": "danger",
    "role": "part",
    "safe": "harmless",
    "severe": "grave",
    "significant": "marked",
    "significantly": "markedly",
    "similar": "alike",
    "studied": "looked at",
    "studies": "investigations",
    "study": "investigation",
    "subjects": "persons",
    "suggest": "hint",
    "surgery": "an operation",
    "the": "said",
    "to be": "as being",
    "to determine": "to find out",
    "total": "whole",
    "treated": "cared for",
    "trial": "experiment",
    "underwent": "had",
    "use": "employment",
    "used": "employed",
    "using": "by means of",
    "value": "worth",
    "was": "had been",
    "were": "had been",
    "when": "whenever",
    "whether": "if",
    "which": "that",
    "while": "whereas",
    "with": "having",
    "without": "lacking",
    "women": "females",
    "years": "years of life",
}
"""Wider than a careful writer's: also function words, so that neighbours seldom stay together."""

_ALL_SYNONYMS = {**MORE_SYNONYMS, **SYNONYMS}
_SYNONYM = re.compile(
    r"\b(?:" + "|".join(re.escape(w) for w in sorted(_ALL_SYNONYMS, key=len, reverse=True)) + r")\b", re.IGNORECASE
)
_SENTENCE = re.compile(r"(?<=[.!?])\s+(?=[A-Z0-9(])")
_NUMBER = re.compile(r"(?<![\w.,])(\d{1,3}(?:,\d{3})+|\d+)(?:\.(\d+))?(\s?%)?(?![\w,]|\.\d)")

_SMALL = (
    *("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve"),
    *("thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen"),
)
_TENS = ("", "", "twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety")


def spelled(number: int) -> str:
    """A whole number from 0 to 999,999 in English words."""
    if number < 20:
        return _SMALL[number]
    if number < 100:
        return _TENS[number // 10] + (f"-{_SMALL[number % 10]}" if number % 10 else "")
    size, name = (1000, "thousand") if number >= 1000 else (100, "hundred")
    rest = number % size
    joint = " and " if 0 < rest < 100 else " "
    return f"{spelled(number // size)} {name}" + (joint + spelled(rest) if rest else "")


def numbers_in_words(text: str, rng: random.Random) -> str:
    """Every number below a million in words: "12.5%" -> "twelve point five percent"."""

    def word(found: re.Match[str]) -> str:
        number = int(found.group(1).replace(",", ""))
        if number >= 1_000_000:
            return found.group()
        point = " point " + " ".join(_SMALL[int(digit)] for digit in found.group(2)) if found.group(2) else ""
        return spelled(number) + point + (" percent" if found.group(3) else "")

    return _NUMBER.sub(word, text)


def synonyms(text: str, rng: random.Random) -> str:
    """Every word and phrase of the tables replaced by its synonym."""
    return _SYNONYM.sub(lambda found: _ALL_SYNONYMS[found.group().lower()], text)


def word_order(text: str, rng: random.Random) -> str:
    """In each sentence the two parts around a random place change places, and so does every fifth pair of words."""
    return " ".join(_moved(sentence, rng) for sentence in _SENTENCE.split(text))


def _moved(sentence: str, rng: random.Random) -> str:
    body = sentence.rstrip(".!?")
    end, tokens = sentence[len(body) :], body.split()
    if len(tokens) < 4:
        return sentence
    cut = rng.randrange(2, len(tokens) - 1)
    tokens = tokens[cut:] + tokens[:cut]
    for place in range(rng.randrange(3), len(tokens) - 1, 5):
        tokens[place], tokens[place + 1] = tokens[place + 1], tokens[place]
    return " ".join(tokens) + end


def sentences_dropped(text: str, rng: random.Random) -> str:
    """A quarter of the sentences left out, at least one; a single sentence stays as it is."""
    sentences = _SENTENCE.split(text)
    if len(sentences) < 2:
        return text
    gone = set(rng.sample(range(len(sentences)), max(1, len(sentences) // 4)))
    return " ".join(sentence for place, sentence in enumerate(sentences) if place not in gone)


def all_edits(text: str, rng: random.Random) -> str:
    """One after the other: sentences dropped, numbers in words, synonyms, word order."""
    for edit in (sentences_dropped, numbers_in_words, synonyms, word_order):
        text = edit(text, rng)
    return text


Edit = Callable[[str, random.Random], str]

EDITS: Mapping[str, Edit] = {
    "word order": word_order,
    "synonyms": synonyms,
    "numbers in words": numbers_in_words,
    "sentences dropped": sentences_dropped,
    "all four": all_edits,
}


def distance(old: str, new: str) -> float:
    """Share of the words that differ: word edit distance over the number of words of the longer text."""
    return float(Levenshtein.normalized_distance(words(old), words(new)))


def is_real(old: str, new: str) -> bool:
    """Whether an edit changed at least `LEAST` of the words or left out a whole sentence."""
    return distance(old, new) >= LEAST or len(_SENTENCE.split(new)) < len(_SENTENCE.split(old))
