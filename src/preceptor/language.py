"""Two looks at a text that need no model: whether it is English, and whether it breaks off.

Both are meant for dropping bad generated texts, so they pass what they cannot judge: single words, numbers, lists of
terms and tables are taken for English and for complete.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Iterator
from typing import NamedTuple


def _set(words: str) -> frozenset[str]:
    return frozenset(words.split())


_ENGLISH = _set(
    """the of and to in is that it was for on are with as his they be at one have this from or had by not but what all
    were we when your can said there an each which she he do how their if will up other about out many then them these
    so some her would him into has no could than been its who did may should between after before during because while
    does without most such also any both only more less used until no yes under over being our my i you given a
    patient patients denies history reports"""
)

# The most frequent words of languages with Latin letters, without those that are content words or abbreviations in
# English notes ("die", "per", "po", "od", "os").
_OTHERS = {
    "French": """le la les des du et est un une dans pour que qui avec sur pas sont par au aux ce cette ces il elle
        nous vous ou mais sa ses leur ont été être plus chez en de on me""",
    "German": """der das und ist nicht mit von zu dem des ein eine einen einer im auf für sich auch als bei nach
        wird wurde werden sind oder aus zur zum durch über keine kein hat haben sie in an was so will""",
    "Spanish": """el la los las de del y es un una en que por para se su al lo como más pero sus fue está
        sin sobre también este esta ha no me he desde hace tiene cuando entre hasta muy porque paciente""",
    "Portuguese": """as de da do das dos é um uma em que por com para não se seu sua ao nas foi mais
        como mas são está pelo pela no me""",
    "Italian": """il lo la gli le di del della dei delle è un una che non con da nel nella sono si come più ma
        alla al ha anche in i""",
    "Dutch": """de het een en van dat niet met voor zijn te op aan er bij ook wordt werd deze naar om uit door
        geen heeft maar worden is in was over of had we me""",
    "Swedish": """och att det som en är av på för med den inte till har ett om vid från eller kan patienten""",
    "Danish": """og det som en er af på med den ikke til har et om ved fra eller kan han hun patienten at for over i""",
    "Polish": """na nie się jest że przez dla jak oraz lub był była jako pacjent do to i""",
    "Romanian": """și în de la cu pe nu este un din pentru sau au fost prin ale al ca are as""",
    "Turkish": """ve bir bu için ile da de olarak olan daha çok gibi kadar sonra hasta ya ne""",
    "Indonesian": """yang dan di dengan untuk pada dari ini itu adalah tidak dalam oleh atau akan ke""",
    "Czech": """na se je že ve byl byla jako nebo při není pro do to""",
    "Hungarian": """az és hogy nem egy van volt meg de ez vagy csak mint már is""",
    "Finnish": """ja ei se että oli hän joka tai kun ovat mutta myös sekä potilas on he me""",
}


class _Foreign(NamedTuple):
    """What tells one other language from English; words that both have tell nothing."""

    theirs: frozenset[str]
    english: frozenset[str]


_FOREIGN = [_Foreign(words - _ENGLISH, _ENGLISH - words) for words in map(_set, _OTHERS.values())]

_WORD = re.compile(r"[^\W\d_]+(?:['’][^\W\d_]+)*")
_LONE_SYMBOL = re.compile(
    r"(?<![\u0370-\u03ff\u1f00-\u1fff])[\u0370-\u03ff\u1f00-\u1fff](?![\u0370-\u03ff\u1f00-\u1fff])"
)
"""One Greek letter alone, as in "β-blocker"."""
_PIECE = re.compile(r"[,;:|\n\r\t()\[\]{}\"“”=/•]|->|→|[.!?](?=\s|$)| - ")

_FEW_FOREIGN = 2
"""Different words of another language: a single one may be a name or a term ("de novo")."""
_FOREIGN_SHARE = 0.1
_LATIN_SHARE = 0.7
_ASCII_SHARE = 0.9
"""Of the letters of a text of some length; the eponyms "Sjögren, Ménière, Behçet" in a row stay above it."""
_ENOUGH_LETTERS = 30
_LONG_WORD = 6
_ENOUGH_WORDS = 20
_RUNNING = 5.0
"""Words between two marks of punctuation, on average, from which on a text is prose and no list of terms."""
_ENGLISH_SHARE = 0.1
"""Of English prose 30-50 % of the words are among `_ENGLISH`; terse notes without articles have about 15 %."""


def looks_english(text: str) -> bool:
    """Whether a text is not clearly written in another language.

    False where most letters are not Latin, where function words of one other language are more frequent than
    English ones, or where prose has hardly any English function words. Texts without words are taken for English.
    """
    text = unicodedata.normalize("NFC", text)
    letters = _LONE_SYMBOL.sub("", text)
    letters = "".join(filter(str.isalpha, letters))
    if not letters:
        return True
    if sum(map(_is_latin, letters)) < _LATIN_SHARE * len(letters):
        return False
    counts = Counter(_function_words(text))
    words = counts.total()
    if any(_is_of(language, counts) for language in _FOREIGN):
        return False
    english = _count(counts, _ENGLISH)
    if len(letters) >= _ENOUGH_LETTERS and sum(map(str.isascii, letters)) < _ASCII_SHARE * len(letters):
        return english >= _ENGLISH_SHARE * 2 * words
    if words < _ENOUGH_WORDS or english >= _ENGLISH_SHARE * words:
        return True
    pieces = [count for piece in _PIECE.split(text) if (count := len(_WORD.findall(piece)))]
    return words < _RUNNING * len(pieces)


def _is_of(language: _Foreign, counts: Counter[str]) -> bool:
    found = [word for word in counts if word in language.theirs and not (len(word) == 1 and word.isascii())]
    theirs = sum(counts[word] for word in found)
    return (
        len(found) >= _FEW_FOREIGN
        and theirs > _count(counts, language.english)
        and theirs >= _FOREIGN_SHARE * counts.total()
    )


def _count(counts: Counter[str], known: frozenset[str]) -> int:
    return sum(count for word, count in counts.items() if word in known)


def _is_latin(letter: str) -> bool:
    """ASCII, Latin-1, Latin Extended A and B, or Latin Extended Additional (Vietnamese)."""
    return letter <= "\u024f" or "\u1e00" <= letter <= "\u1eff"


def _function_words(text: str) -> Iterator[str]:
    """The words in lower case, without abbreviations: "LES" is a sphincter and no article.

    A text all in capitals with a long word is no list of abbreviations.
    """
    found = _WORD.findall(text)
    all_capitals = text.upper() == text and any(len(word) >= _LONG_WORD for word in found)
    for word in found:
        if all_capitals or len(word) == 1 or not word.isupper():
            yield word.lower().replace("’", "'")


_OPEN_END = re.compile(r"(?:[,:(\[{“„]|(?:[^\W\dA-Z_]|\s)[-–—])$")
"""A comma, a colon, an open bracket or quote, or a hyphen; not the minus of "HER2-" or "blood group O-"."""
_CLOSED = frozenset(".!?…)]}\"'”’»`|>%。！？।۔؟")
_DANGLING = _set(
    """the an and or nor but of with for from by into than because although whereas their its your his her our my
    which whose if while between versus including"""
)
"""Words that hardly end anything. "a" is missing, which ends "vitamin A" and "hepatitis a"."""
_DANGLING_LATE = _set(
    """to in is are was were be been that who has have had at as this these not no such may can will should could
    would must"""
)
"""Words that may end a short heading ("What to look at") but hardly a long text."""
_SENTENCE_END = re.compile(r"[a-z%)\]\"”][a-z0-9%)\]\"”][.!?][\"'”’)*_]*\s+(?=[\"'“*_(]*[A-Z0-9])")
_VERB = re.compile(r"\b(?:is|are|was|were|has|have|had|can|could|may|might|should|would|will|must|did|does|do)\b")
"""What sentences have and most titles lack."""
_ITEM = re.compile(r"\s*(?:[-*+•‣–]|\(?\d{1,3}[.)]|\(?[a-zA-Z][.)])\s+\S")
_LABELLED = re.compile(r"\s*[*_]*[^\s:,.][^:.\n]{0,40}:")
_JSON = re.compile(r"\{\s*[\"{\[]|\[\s*[\"{\[]")
_SHORT = 12
"""Words up to which a text without a full stop is taken for complete: a label, a name, a title."""
_SHORT_LINE = 4
_LONG_PIECE = 6


class _End(NamedTuple):
    """The last line of a text, and whether the lines before it end with full stops."""

    line: str
    before_closed: bool


def looks_cut_off(text: str) -> bool:
    """Whether a text stops where a complete one would not.

    True where it ends with a hyphen, comma, colon, open bracket or a word such as "the"; where a code fence or JSON
    stays open; and where more than twelve words of sentences end without a full stop. Lists, tables, labels, sums
    and titles need no full stop. An empty text is not cut off.
    Meant for answers: an instruction may well end with a colon.
    """
    end = text.rstrip()
    if not end:
        return False
    if end.count("```") % 2 or _OPEN_END.search(end) or _unclosed(end):
        return True
    if end.rstrip("*_")[-1:] in _CLOSED:
        return False
    words = end.split()
    if len(words) >= _SHORT_LINE and words[-1] in _DANGLING:
        return True
    return len(words) > _SHORT and (words[-1] in _DANGLING_LATE or _breaks_off(_last(end)))


def _unclosed(text: str) -> bool:
    """Whether JSON has more opening brackets than closing ones."""
    return bool(_JSON.match(text)) and sum(map(text.count, "{[")) > sum(map(text.count, "}]"))


def _last(text: str) -> _End:
    *before, line = text.split("\n")
    full = [other.rstrip().rstrip("*_") for other in before if len(other.split()) > _SHORT_LINE]
    return _End(line.strip(), bool(full) and all(other[-1:] in _CLOSED for other in full))


def _breaks_off(end: _End) -> bool:
    """Whether a last line without a full stop is part of a sentence."""
    sentences, words = _SENTENCE_END.split(end.line), len(end.line.split())
    is_prose = bool(_VERB.search(end.line))
    if len(sentences) > 1:
        return is_prose and not _is_formula(sentences[-1])
    if _ITEM.match(end.line) or _LABELLED.match(end.line) or _is_formula(end.line) or "|" in end.line:
        return False
    pieces = re.split(r"[,;>→/]", end.line)
    if len(pieces) > 2 and not is_prose and words < _LONG_PIECE * len(pieces):
        return False
    return words > _SHORT_LINE if end.before_closed else is_prose


def _is_formula(text: str) -> bool:
    return "=" in text
