"""What an instruction tells to do: its root verb and the noun that the verb is about, by a rule.

BioInstruct and Self-Instruct show both, found by a constituency parser. No parser's model comes with this package, so
a rule stands in for it: the same on every machine, quick, and readable. It reads sentence by sentence and clause by
clause, passes over what only sets the scene ("You are a nurse.", "Given the note, ..."), and takes the first word that
is a verb of `VERBS` at the head of a clause or behind words such as "your task is to". A question is not a command and
counts under its question word. The object is the head of the noun phrase that follows, in the singular.

It errs where the grammar is not on the surface: "answer" and "list" are verbs and nouns, and a participle behind a noun
looks like an adjective before one. `tests/publish/test_roots.py` holds what it gets right.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache

from preceptor.publish.verbs import (
    ADJECTIVE_ENDINGS,
    ADJECTIVES,
    ALSO_NOUNS,
    AUXILIARIES,
    DETERMINERS,
    ED_NOUNS,
    FILLERS,
    FRAMES,
    ING_NOUNS,
    LY_NOUNS,
    NOUN_TOO,
    NOUNS_LIKE_ADJECTIVES,
    NUMBERS,
    OPENERS,
    PARTICLES,
    PARTITIVES,
    PRONOUNS,
    SAME_IN_PLURAL,
    SINGULARS,
    STOPS,
    VERBS,
    WH,
)

_ABBREVIATION = re.compile(r"\b(e\.g|i\.e|etc|vs|cf|dr|mr|mrs|ms|no|fig|approx)\.", re.IGNORECASE)
_SENTENCE = re.compile(r"(?<=[.?!])[\"'”’)\]]*\s+|\n+")
_BRACKETS = re.compile(r"\([^()]*\)|\[[^\[\]]*\]|<[^<>]*>")
_PREFIX = re.compile(
    r"^\W*(?:(?:[a-z]|\d+)[.)]\s+|(?:question|task|instructions?|prompt|q)\s*(?:\d+\s*)?[:\-–.)]\s*)+", re.IGNORECASE
)
_TOKEN = re.compile(r"[^\W_]+(?:['’\-][^\W_]+)*|[.?!,;:—–]|\s-\s")
_PHRASAL = frozenset([("fill", "in"), ("come", "with")])
_BREAKS = frozenset(",;:—–-.?!")
_FRAME = re.compile(
    r"\b(?:can|could|would|will) you (?:please |kindly )?(?:help (?:me|us) (?:to )?)?"
    r"|\b(?:want|need|like|ask|expect|require) you to "
    r"|\b(?:i|we) (?:need|want|would like) (?:help )?to "
    r"|\byou (?:will |are |'re )?(?:now )?(?:need|have|going|asked|required|expected|supposed|instructed|tasked)"
    r" (?:to|with) "
    r"|\byou (?:should|must|will|can|may) "
    r"|\bit is (?:your|my|our) (?:task|job) to "
    r"|\b(?:task|job|goal|aim|role|objective|purpose|assignment|mission)(?: here)? (?:is|will be) to "
    r"|\bhelp (?:me|us) (?:to )?"
    r"|\blet(?:'s| us) "
)
_OF_WHICH = re.compile(
    r"^(?:[a-z]+ )?(?:in|at|on|for|to|of|from|by|with|under|about|into|during|through) (what|which|whose|whom|how)\b"
)


@dataclass(frozen=True, slots=True)
class Root:
    """What an instruction tells to do."""

    kind: str
    """`verb`, `question`, or `none`: nothing was found."""
    word: str = ""
    """The verb in its base form, or the question word."""
    object: str = ""
    """Head noun of the verb's object, singular; empty where there is none (`explain why ...`)."""


NOTHING = Root("none")


def root_of(instruction: str) -> Root:
    """The root of one instruction, which may have several sentences: that of the first that has any."""
    text = _ABBREVIATION.sub(lambda found: found[1].replace(".", ""), instruction.strip())
    sentences = [_plain(sentence) for sentence in _SENTENCE.split(text)]
    sentences = [sentence for sentence in sentences if sentence]
    for sentence in sentences:
        root = _root_of_sentence(sentence)
        if root is not NOTHING:
            return root
    return next((root for sentence in sentences if (root := _framing(sentence)) is not NOTHING), NOTHING)


def _plain(sentence: str) -> list[str]:
    """The sentence's words in lower case, and its punctuation, without brackets and labels such as "Question:"."""
    text = _PREFIX.sub("", _BRACKETS.sub(" ", sentence))
    return [token.strip() for token in _TOKEN.findall(text.replace("’", "'").lower())]


def _clauses(tokens: Sequence[str]) -> Iterator[list[str]]:
    """Runs of words between punctuation, each with all that follows it in the sentence."""
    start = 0
    while start < len(tokens):
        if tokens[start] not in _BREAKS:
            yield list(tokens[start:])
            while start < len(tokens) and tokens[start] not in _BREAKS:
                start += 1
        start += 1


def _root_of_sentence(tokens: list[str]) -> Root:
    clauses = [_without_fillers(clause) for clause in _clauses(tokens)]
    asks = tokens[-1] == "?"
    opens = bool(clauses) and bool(clauses[0]) and clauses[0][0] in OPENERS
    for position, clause in enumerate(clauses):
        root = _question(clause, asks, first=position == 0)
        if root is NOTHING:
            root = _command(clause, sure=position == 0 and not opens)
        if root is not NOTHING:
            return root
    if opens and (root := _behind_opener(tokens)) is not NOTHING:
        return root
    # A noun that is also a verb, without a noun phrase behind it: only when nothing better was found.
    return next((root for c in clauses if (root := _command(c, sure=True)) is not NOTHING), _gerund(tokens))


def _without_fillers(clause: list[str]) -> list[str]:
    start = 0
    while start < len(clause) - 1 and (clause[start] in FILLERS or _is_adverb(clause[start])):
        if clause[start] == "do" and clause[start + 1] != "not":  # "do not use" is a command, "do you think" a question
            break
        start += 1
    return clause[start:]


def _is_adverb(word: str) -> bool:
    return word.endswith("ly") and word not in LY_NOUNS and word not in VERBS


def _question(clause: Sequence[str], asks: bool, *, first: bool) -> Root:
    """A question by its word; a request in its form ("Could you list ...?") is none."""
    if not clause:
        return NOTHING
    words = " ".join(clause)
    if _FRAME.match(words) and _command(clause, sure=True) is not NOTHING:
        return NOTHING
    if found := _OF_WHICH.match(words):
        return Root("question", found[1]) if asks or first else NOTHING
    head = clause[0].removesuffix("'s")
    if head in WH and (asks or (first and head not in OPENERS)):
        return Root("question", head)
    return Root("question", head) if asks and head in AUXILIARIES else NOTHING


def _command(clause: Sequence[str], *, sure: bool) -> Root:
    """The verb at the head of a clause, or behind words such as "you should".

    Unless `sure`, a verb that may be a noun needs a noun phrase behind it.
    """
    verb = base_form(clause[0]) if clause else ""
    if verb and verb not in FRAMES and _acts(verb, clause[1:], sure):
        return Root("verb", verb, object_of(verb, clause[1:]))
    end = next((i for i, token in enumerate(clause) if token in _BREAKS), len(clause))
    for found in _FRAME.finditer(" ".join(clause[:end]) + " "):
        rest = _without_fillers(list(clause[" ".join(clause[:end])[: found.end()].count(" ") :]))
        verb = base_form(rest[0]) if rest else ""
        if verb and verb not in FRAMES:
            return Root("verb", verb, object_of(verb, rest[1:]))
    return NOTHING


def _acts(verb: str, rest: Sequence[str], sure: bool) -> bool:
    """Whether a word that may be a noun is a verb here, by what follows."""
    if verb not in NOUN_TOO:
        return True
    following = rest[0] if rest else ""
    if following in ("is", "are", "was", "were", "of", "has", "have"):
        return False
    return sure or _begins_noun_phrase(following)


def _begins_noun_phrase(word: str) -> bool:
    return (
        word in DETERMINERS or word in NUMBERS or word in WH or word in ("whether", "if", "me", "us") or word.isdigit()
    )


def _behind_opener(tokens: Sequence[str]) -> Root:
    """The verb of a sentence such as "Based on the note list the drugs", where no comma shows its place."""
    for place in range(2, len(tokens)):
        verb, before = base_form(tokens[place]), tokens[place - 1]
        if not verb or verb in FRAMES or before in _BREAKS:
            continue
        bound = any(before in words for words in (DETERMINERS, PRONOUNS, STOPS, NUMBERS, WH))
        bound = bound and before not in ("above", "below")  # "from the note below list the drugs"
        if not bound and _begins_noun_phrase(tokens[place + 1] if place + 1 < len(tokens) else ""):
            return Root("verb", verb, object_of(verb, tokens[place + 1 :]))
    return NOTHING


def _framing(tokens: Sequence[str]) -> Root:
    """`Act as a nurse and write ...`: the verb behind "and", else the one that sets the scene."""
    verb = base_form(tokens[0])
    if verb not in FRAMES:
        return NOTHING
    for place in range(1, len(tokens) - 1):
        other = base_form(tokens[place + 1])
        if tokens[place] in ("and", "then", "to") and other and other not in FRAMES:
            return Root("verb", other, object_of(other, tokens[place + 2 :]))
    return Root("verb", verb, object_of(verb, tokens[1:]))


def _gerund(tokens: Sequence[str]) -> Root:
    """`Translating the sentence into French.`"""
    word = tokens[0]
    if not word.endswith("ing") or len(word) < 6 or word in OPENERS:
        return NOTHING
    stem = word.removesuffix("ing")
    undoubled = stem[:-1] if stem[-1] == stem[-2] else stem
    verb = next((v for form in (stem, stem + "e", undoubled) if (v := base_form(form))), "")
    return Root("verb", verb, object_of(verb, tokens[1:])) if verb else NOTHING


@lru_cache(maxsize=100_000)
def base_form(word: str) -> str:
    """The word as it stands in `VERBS`, with British endings read as American; empty when it is not there."""
    if word in VERBS:
        return word
    if word.endswith(("ise", "yse")) and (other := word[:-2] + "ze") in VERBS:
        return other
    return ""


# --- the object ---------------------------------------------------------------------------------------------------


def object_of(verb: str, rest: Sequence[str]) -> str:
    """Head noun, singular, of the noun phrase at the start of `rest`; empty when none starts there."""
    words = list(_to_noun_phrase(verb, rest))
    while len(words) > 1 and words[0] in PRONOUNS:  # "give me the name"
        words = words[1:]
    words = _behind_partitive(words)
    if not words or words[0] in STOPS or words[0] in PRONOUNS or words[0] in _BREAKS:
        return ""
    noun = _singular(_head(words))
    return noun if len(noun) > 1 else ""  # "convert 85 F"


def _to_noun_phrase(verb: str, rest: Sequence[str]) -> Sequence[str]:
    """`rest` without particles, adverbs, and verbs that share the object ("identify and list the drugs")."""
    start = 0
    while start < len(rest):
        word, following = rest[start], rest[start + 1] if start + 1 < len(rest) else ""
        passed = word in PARTICLES or (_is_adverb(word) and word not in ADJECTIVES) or (verb, word) in _PHRASAL
        if passed or (word in ("and", "or", ",") and following in ("and", "or", "then")):
            start += 1
        elif word in ("and", "or", "then", ",") and (base_form(following) or _is_adverb(following)):
            start += 1 if _is_adverb(following) else 2
        else:
            break
    return rest[start:]


def _behind_partitive(words: list[str]) -> list[str]:
    """`one of the following drugs` is about a drug."""
    for place in range(min(3, len(words) - 1)):
        if words[place] in PARTITIVES or words[place].isdigit():
            if words[place + 1] == "of":
                return words[place + 2 :]
        elif words[place] not in ("the", "at", "least", "only"):
            break
    return words


def _head(words: Sequence[str]) -> str:
    """The last word of the noun phrase that is no adjective; empty when it has none."""
    phrase: list[str] = []
    for place, word in enumerate(words):
        following = words[place + 1] if place + 1 < len(words) else ""
        if word in ("and", "or", ",", "and/or"):
            # "clinical and radiological findings", "a short, clear summary": the noun is still to come.
            modifies = bool(phrase) and all(_like_adjective(w) or w in DETERMINERS or w in NUMBERS for w in phrase)
            if modifies and phrase[-1] not in DETERMINERS and following not in DETERMINERS and following not in STOPS:
                continue
            break
        if word in _BREAKS or word in STOPS or word in PARTICLES or (phrase and word in PRONOUNS):
            break
        if (word in DETERMINERS or _is_participle(word)) and _nouns(phrase):
            break
        phrase.append(word)
    # Without a noun: an adjective or participle that may be one ("prepare a brief", "describe the suffering").
    nouns = _nouns(phrase) or [word for word in phrase if word in ALSO_NOUNS or (word == phrase[-1] and _is_ing(word))]
    return nouns[-1] if nouns else ""


def _nouns(phrase: Sequence[str]) -> list[str]:
    return [
        word
        for word in phrase
        if word not in DETERMINERS
        and word not in NUMBERS
        and word not in ADJECTIVES
        and not word.isdigit()
        and not _is_adverb(word)
        and not word.endswith(("'s", "s'"))
        and not _is_participle(word)
    ]


def _like_adjective(word: str) -> bool:
    ending = word.endswith(ADJECTIVE_ENDINGS) and word not in NOUNS_LIKE_ADJECTIVES
    return word in ADJECTIVES or ending or _is_participle(word)


def _is_ing(word: str) -> bool:
    return word.endswith("ing") and len(word) > 4 and word not in ING_NOUNS


def _is_participle(word: str) -> bool:
    return (
        _is_ing(word)
        or word in ("given", "shown", "written", "known", "made", "taken", "found", "seen")
        or (word.endswith("ed") and word not in ED_NOUNS)
    )


@lru_cache(maxsize=100_000)
def _singular(noun: str) -> str:
    """The noun in the singular, by spelling; exceptions stand in `SINGULARS` and `SAME_IN_PLURAL`."""
    noun = noun.removesuffix("'s")
    if noun in SINGULARS:
        return SINGULARS[noun]
    if len(noun) < 4 or noun in SAME_IN_PLURAL or noun.endswith(("ss", "us", "is", "ics")) or not noun.endswith("s"):
        return noun
    if noun.endswith("ies"):
        return noun[:-3] + "y"
    if noun.endswith(("ches", "shes", "sses", "xes", "zzes")):
        return noun[:-2]
    return noun[:-1]
