"""What kind of task an instruction is, by rules: the verb it opens with, the form of a question, and its input.

The groups are those of BioInstruct (Tran et al. 2023): question answering, information extraction, generation, other.
Rules, in order:

1. A verb of finding (extract, identify, list, ...) or a question after what a text names is information extraction,
   if there is a text to find it in and nothing to choose from.
2. A verb of writing (summarise, explain, rewrite, ...) is generation.
3. A verb of deciding (answer, choose, classify, ...), a question word or a question mark is question answering.
4. A verb of finding without a text asks for knowledge: question answering.
5. Anything else is `other`.

What it cannot see: a kind that only the meaning tells ("work through the case").
"""

from __future__ import annotations

import re

FIND = (
    "annotate", "collect", "detect", "extract", "find", "highlight", "identify", "list", "locate", "mark", "name",
    "pick out", "pull", "pull out", "recognise", "recognize", "retrieve", "spot", "tag", "underline",
)  # fmt: skip
"""Verbs of information extraction."""

WRITE = (
    "adapt", "add", "brainstorm", "complete", "compose", "condense", "continue", "convert", "correct", "craft",
    "create", "define", "describe", "design", "develop", "discuss", "draft", "edit", "elaborate", "expand", "explain",
    "fill", "formulate", "generate", "give advice", "give an example", "illustrate", "imagine", "improve", "invent",
    "make", "outline", "paraphrase", "plan", "prepare", "produce", "propose", "provide an explanation", "recommend",
    "rephrase", "report", "restate", "reword", "rewrite", "shorten", "simplify", "sketch", "suggest", "summarise",
    "summarize", "tell a story", "translate", "turn", "write",
)  # fmt: skip
"""Verbs of generation."""

DECIDE = (
    "answer", "assess", "assign", "calculate", "categorise", "categorize", "check", "choose", "classify", "compute",
    "count", "decide", "determine", "diagnose", "estimate", "evaluate", "give", "indicate", "judge", "label", "match",
    "pick", "predict", "provide", "rank", "rate", "reply", "respond", "say", "select", "solve", "specify", "state",
    "tell", "verify",
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
    r"(?:read|look at|consider|study|review|examine|take|use|analy[sz]e)\b[^.?!:;]*?(?:\band(?: then)?\b|[.;:])\s*"
    r"|(?:given|using|based on|according to|from|in|for|with|after reading|as|if|you are|here is|below is|the following"
    r"|imagine|suppose|assume)\b[^.?!:;]*?[,.:;]\s*"
)
_TEXT_NAMES = re.compile(
    r"\b(?:what|which|who)\b[^.?!]*\b(?:mentioned|named|listed|stated|described|reported|given|appears?|occurs?|found)\b"
    r"[^.?!]*\b(?:text|note|passage|report|abstract|sentence|paragraph|letter|record|document|contract|clause)\b"
)
_OPTIONS = re.compile(r"\b(?:yes or no|true or false|[aA], [bB],? (?:or )?[cC]|options?|choices)\b")


def _verbs(words: tuple[str, ...]) -> re.Pattern[str]:
    return re.compile(rf"(?:{'|'.join(sorted(map(re.escape, words), key=len, reverse=True))})\b")


_FIND, _WRITE, _DECIDE = _verbs(FIND), _verbs(WRITE), _verbs(DECIDE)
_QUESTION = re.compile(rf"(?:{_ASKING})\b|true or false\b")


def category_of(instruction: str, given: str) -> str:
    """The category of a task, one of `records.CATEGORIES`, from its instruction and its input (may be empty)."""
    text = " ".join(instruction.lower().split())
    opening = _opened(text)
    to_choose = bool(_OPTIONS.search(text))
    if given.strip() and not to_choose and (_FIND.match(opening) or _TEXT_NAMES.search(text)):
        return "information_extraction"
    if _WRITE.match(opening):
        return "generation"
    if _DECIDE.match(opening) or _QUESTION.match(opening) or "?" in text or to_choose or _FIND.match(opening):
        return "question_answering"
    return "other"


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
