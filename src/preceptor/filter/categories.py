"""What kind of task an instruction is, by rules: the verb it opens with, the form of a question, and its input.

The groups are those of BioInstruct (Tran et al. 2023): question answering, information extraction, generation, other,
where `other` holds sorting into given classes and arithmetic. A text to work on is needed for information extraction.
The sentences of the instruction are looked at one after another; in each, after courtesy, adverbs and what is to be
read first, these rules are tried in order, and the first that fits decides:

1. A verb of finding (extract, identify, list, ...), a question after what a text names, or a result in the form of a
   table, JSON or one item per line: information extraction, if there is a text and nothing to choose from.
2. A verb of sorting or reckoning (classify, calculate, ...): `other`.
3. A verb of writing (summarise, explain, rewrite, ...): generation.
4. A verb of deciding (answer, choose, ...), a question, or a verb of finding without a text: question answering.

What fits in no sentence is `other`. What the rules cannot see: a kind that only the meaning tells ("boil it down").
"""

from __future__ import annotations

import re

FIND = (
    "annotate", "collect", "create a list", "detect", "extract", "find", "give a list", "highlight", "identify", "list",
    "locate", "make a list", "mark", "name", "note", "pick out", "provide a list", "pull", "pull out", "recognise",
    "recognize", "retrieve", "spot", "tag", "underline",
)  # fmt: skip
"""Verbs of information extraction."""

RECKON = (
    "add up", "assign", "calculate", "categorise", "categorize", "classify", "compute", "count", "estimate", "group",
    "label", "order", "rank", "rate", "sort", "work out",
)  # fmt: skip
"""Verbs of what is neither of the three."""

WRITE = (
    "adapt", "add", "brainstorm", "complete", "compose", "condense", "continue", "convert", "correct", "craft",
    "create", "define", "describe", "design", "develop", "discuss", "draft", "edit", "elaborate", "expand", "explain",
    "fill", "finish", "formulate", "generate", "give advice", "give an example", "illustrate", "imagine", "improve",
    "invent", "make", "outline", "paraphrase", "plan", "prepare", "produce", "propose", "provide an explanation",
    "recommend", "rephrase", "restate", "reword", "rewrite", "shorten", "simplify", "sketch", "suggest", "summarise",
    "summarize", "tell a story", "translate", "turn", "write",
)  # fmt: skip
"""Verbs of generation."""

DECIDE = (
    "answer", "assess", "check", "choose", "decide", "determine", "diagnose", "evaluate", "give", "indicate",
    "interpret", "judge", "match", "pick", "predict", "provide", "reply", "respond", "say", "select", "solve",
    "specify", "state", "tell", "verify",
)  # fmt: skip
"""Verbs of question answering."""

_ASKING = (
    "am|are|can|could|did|do|does|had|has|have|how|is|may|might|must|shall|should|was|were|what|when|where|whether"
    "|which|who|whom|whose|why|will|would"
)
_OPENING = re.compile(
    r"(?:please|now|kindly|carefully|briefly|then|first|next|your task is to|you are asked to|the task is to"
    r"|i want you to|i would like you to|can you(?: please)?|could you(?: please)?|your job is to)\s+"
)
_ADVERB = re.compile(r"(?!(?:apply|reply|supply|multiply)\b)\w+ly,?\s+")
# "Read the note and list ...", "Given the abstract, write ...", "Using the table below, decide ...".
_READING = re.compile(
    r"(?:read|look at|consider|study|review|examine|take|use|analy[sz]e)\b[^.?!:;]*?"
    r"(?:\b(?:and(?: then)?|to)\b|[.;:])\s*"
    r"|(?:given|using|based on|according to|from|in|to|for|with|after reading|as|if|you are|here is|below is"
    r"|the following|imagine|suppose|assume)\b[^.?!:;]*?[,.:;]\s*"
)
_TEXT_NAMES = re.compile(
    r"\b(?:what|which|who)\b[^.?!]*\b(?:mentioned|named|listed|stated|described|reported|given|appears?|occurs?|found)\b"
    r"[^.?!]*\b(?:text|note|passage|report|abstract|sentence|paragraph|letter|record|document|contract|clause)\b"
)
_OPTIONS = re.compile(r"\b(?:yes or no|true or false|yes, no|[aA], [bB],? (?:or )?[cC]|options?|choices)\b")
_ONE_BY_ONE = re.compile(
    r"\b(?:json|table|columns?|form|bullet(?:ed)?(?: points?)?"
    r"|(?:one|each)(?: \w+)? (?:per|on (?:a|its own)|to a) (?:new )?line"
    r"|(?:new|separate) line for each|separated by (?:a )?(?:commas?|semicolons?))\b"
)
"""How what was found is to be laid out."""
_SENTENCE = re.compile(r"(?<=[.!?:])\s+")


def _verbs(words: tuple[str, ...]) -> re.Pattern[str]:
    return re.compile(rf"(?:{'|'.join(sorted(map(re.escape, words), key=len, reverse=True))})\b")


_FIND, _RECKON, _WRITE, _DECIDE = map(_verbs, (FIND, RECKON, WRITE, DECIDE))
_QUESTION = re.compile(rf"(?:{_ASKING})\b|true or false\b")


def category_of(instruction: str, given: str) -> str:
    """The category of a task, one of `records.CATEGORIES`, from its instruction and its input (may be empty)."""
    text = " ".join(instruction.lower().split())
    to_find = bool(given.strip()) and not _OPTIONS.search(text)
    listed = to_find and bool(_ONE_BY_ONE.search(text))
    for sentence in _SENTENCE.split(text):
        if found := _category_of(sentence, to_find, listed):
            return found
    return "other"


def _category_of(sentence: str, to_find: bool, listed: bool) -> str:
    """What one sentence says; empty when nothing. `listed`: the whole asks for a list of what is found."""
    opening = _opened(sentence)
    asks = bool(_QUESTION.match(opening)) or sentence.endswith("?")
    if to_find and (_FIND.match(opening) or _TEXT_NAMES.search(sentence)):
        return "information_extraction"
    if _RECKON.match(opening):
        return "other"
    writes = bool(_WRITE.match(opening))
    if listed and (asks or writes):
        return "information_extraction"
    if writes:
        return "generation"
    if asks or _DECIDE.match(opening) or _FIND.match(opening):
        return "question_answering"
    return ""


def _opened(text: str) -> str:
    """The text from its first verb on: without courtesy, adverbs and what is to be read first."""
    before = None
    while text != before:
        before = text
        for pattern in (_OPENING, _READING, _ADVERB):
            found = pattern.match(text)
            if found and found.end() < len(text):
                text = text[found.end() :]
    return text
