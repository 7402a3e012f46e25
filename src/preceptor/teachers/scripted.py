"""A teacher without a model: rules instead of a network, for tests, documentation and machines without anything.

It rewords by a table of synonyms and a new opening, asks new questions about a sentence of the text, and writes tasks
(`scripted_tasks.py`). Its wording
is plain and its variety small; what it writes is well-formed, keeps numbers and negations, and is always the same.
As a reader it knows the answers to its own new questions by their openings; any other label, and what it thinks of a
text, it takes from the text's hash.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

from preceptor.errors import TeacherError
from preceptor.records import Completion, Request
from preceptor.teachers import scripted_tasks
from preceptor.teachers.base import Answer, Control

Script = Callable[[Request], str]

SYNONYMS: Mapping[str, str] = {
    "able to": "in a position to",
    "after": "following",
    "almost": "nearly",
    "also": "likewise",
    "associated with": "linked to",
    "because of": "owing to",
    "compared with": "relative to",
    "did not differ": "were not different",
    "elderly": "older",
    "examined": "studied",
    "frequent": "common",
    "investigated": "looked into",
    "led to": "brought about",
    "people": "persons",
    "randomly allocated": "assigned at random",
    "reduce": "lower",
    "reduces": "lowers",
    "showed": "revealed",
    "shows": "reveals",
    "therapy": "treatment",
    "treatment": "therapy",
    "useful": "helpful",
    "was seen": "was observed",
    "were seen": "were observed",
    "who have": "living with",
}
"""Replaced in one pass, whole words only, the longest first."""

QUESTION_OPENINGS = ("Judging by the findings, ", "Going by the data, ", "According to the results, ")
TEXT_OPENINGS = ("In short: ", "To put it differently: ", "In other words: ")

_SYNONYM = re.compile(
    r"\b(?:" + "|".join(re.escape(word) for word in sorted(SYNONYMS, key=len, reverse=True)) + r")\b", re.IGNORECASE
)
_FIELD = re.compile(r"^(Question|Text|Answer|Known question):[ \t]*", re.MULTILINE)
_TASK = re.compile(r"^(?:Rewrite|Write|Reply)\b", re.MULTILINE)
"""Where the text ends and what to do with it begins."""
_LABELS = re.compile(r"The answer is one of: ([^.\n]+)")
_LABELLING = re.compile(r"exactly one of these words and nothing more: (.+)\.\Z")
_JUDGING = re.compile(r"^Version A:\n(.*)^Version B:\n(.*)^Score each version", re.MULTILINE | re.DOTALL)
_RATING = re.compile(r"^Answer A:\n(.*)^Answer B:\n(.*)^Score each answer", re.MULTILINE | re.DOTALL)
_OWN_QUESTIONS = {"yes": "Does the text state that", "no": "Does the text deny that", "maybe": "Is it certain beyond"}
_SENTENCE = re.compile(r"(?<=[.!?])\s+(?=[A-Z0-9])")


class ScriptedTeacher:
    """Answers by rules, or by a script of your own.

    `script` is a function from a request to the text, or a mapping from the last user message to the text; a message
    that the mapping lacks is that request's error. Without a script the rules of this module answer.
    """

    def __init__(self, script: Script | Mapping[str, str] | None = None) -> None:
        self._script = script

    @property
    def name(self) -> str:
        """`scripted`."""
        return "scripted"

    @property
    def accepts(self) -> frozenset[str]:
        """All settings; none of them changes anything."""
        return frozenset(
            {
                "max_tokens",
                "temperature",
                "top_p",
                "repetition_penalty",
                "frequency_penalty",
                "presence_penalty",
                "logprobs",
                "seed",
            }
        )

    def key(self, request: Request) -> str:
        """Hash of the request: the item and the draw decide the answer too."""
        return request.key(self.name)

    def answer(self, requests: Iterable[Request], control: Control | None = None) -> Iterator[Sequence[Answer]]:
        """One group per request."""
        for request in requests:
            if control is not None and control.stopped:
                return
            yield [self._answer(request)]

    def _answer(self, request: Request) -> Answer:
        if isinstance(self._script, Mapping):
            text = self._script.get(_last_user(request))
            if text is None:
                return Answer(request, error=TeacherError("The script has no answer to this message."))
        else:
            text = (self._script or follow_rules)(request)
        read = sum(len(message.content.split()) for message in request.messages)
        return Answer(request, completion=Completion(text, "stop", read, len(text.split())))


def follow_rules(request: Request) -> str:
    """The answer of the built-in rules: tasks, a label, scores, a new question, or the last text in other words."""
    if (written := scripted_tasks.write(request)) is not None:
        return written
    message = _last_user(request)
    if labelling := _LABELLING.search(request.messages[0].content):
        return _label(message, labelling.group(1).split(", "))
    if judging := _JUDGING.search(message):
        return _judgement(*judging.groups())
    if rating := _RATING.search(message):
        return json.dumps(
            {name: 1 + _hashed(text.strip()) % 5 for name, text in zip("AB", rating.groups(), strict=True)}
        )
    fields = _fields(message)
    choice = _hashed(f"{request.item}\n{request.draw}")
    if re.search(r"^Write a new question", message, re.MULTILINE):
        return _new_question(fields.get("Text", message), message, choice)
    if "Question" in fields and "Answer" in fields:
        question, answer = paraphrase(fields["Question"], choice), paraphrase(fields["Answer"], choice)
        return f"Question: {question}\nAnswer: {answer}"
    return paraphrase(list(fields.values())[-1] if fields else message, choice)


def paraphrase(text: str, choice: int = 0) -> str:
    """The text in slightly other words; numbers, negations and the order of what is said stay."""
    text = " ".join(text.split())
    reworded = _SYNONYM.sub(_replace, text)
    openings = QUESTION_OPENINGS if text.endswith("?") else TEXT_OPENINGS
    return openings[choice % len(openings)] + _lowered(reworded)


def _last_user(request: Request) -> str:
    return next((message.content for message in reversed(request.messages) if message.role == "user"), "")


def _fields(message: str) -> dict[str, str]:
    """Blocks after a line's `Question:`, `Text:`, `Answer:` or `Known question:`, up to the next one or the task."""
    parts = _FIELD.split(_TASK.split(message)[0])
    blocks = zip(parts[1::2], parts[2::2], strict=True)
    return {name: block.strip() for name, block in blocks if block.strip()}


def _replace(found: re.Match[str]) -> str:
    new = SYNONYMS[found.group().lower()]
    return new[0].upper() + new[1:] if found.group()[0].isupper() else new


def _lowered(text: str) -> str:
    """The text with a small first letter, unless the first word is a name, an abbreviation or the word I."""
    first = text.split(" ", 1)[0]
    return text[0].lower() + text[1:] if _OPENERS.fullmatch(first) else text


_OPENERS = re.compile(
    r"(?:a|all|an|and|are|as|at|both|can|could|did|do|does|during|each|few|for|from|had|has|have|how|if|in|is|it|most|no"
    r"|of|on|one|our|should|that|the|these|they|this|those|to|under|was|we|were|what|when|which|will|with|would)",
    re.IGNORECASE,
)
"""Words that begin a sentence with a capital for no other reason than that."""


def _new_question(text: str, message: str, choice: int) -> str:
    named = _LABELS.search(message)
    labels = [label.strip() for label in named.group(1).split(",")] if named else ["yes", "no", "maybe"]
    label = labels[choice % len(labels)]
    sentences = [s for s in _SENTENCE.split(" ".join(text.split())) if len(s.split()) > 4] or [text]
    claim = _lowered(sentences[choice // len(labels) % len(sentences)]).rstrip(".")
    if label == "maybe":
        question = f"{_OWN_QUESTIONS['maybe']} this text that {claim}?"
    elif label == "no":
        question = f"{_OWN_QUESTIONS['no']} {claim}?"
    else:
        question = f"{_OWN_QUESTIONS['yes']} {claim}?"
    return f"Question: {question}\nAnswer: {label}"


def _label(message: str, labels: Sequence[str]) -> str:
    known = [label for label, opening in _OWN_QUESTIONS.items() if opening in message and label in labels]
    return known[0] if known else labels[_hashed(message) % len(labels)]


def _judgement(first: str, second: str) -> str:
    """Scores of 3 to 5 that belong to a text, wherever it stands."""
    criteria = ("faithful", "answerable", "well_written")
    texts = {"A": first.strip(), "B": second.strip()}
    scores = {name: {one: 3 + _hashed(f"{one}\n{text}") % 3 for one in criteria} for name, text in texts.items()}
    return json.dumps(scores)


def _hashed(text: str) -> int:
    return int(hashlib.sha256(text.encode()).hexdigest(), 16)
