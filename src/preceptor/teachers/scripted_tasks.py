"""How the scripted teacher writes tasks: frames with gaps, filled by a generator that the request's item seeds.

It answers the prompts of `augment/prompts/instruct-*.jinja`: for tasks, for an output alone, and for a category. What
it writes is well-formed and answered right; the more there is, the more often it is too near to something earlier.
"""

from __future__ import annotations

import hashlib
import random
import re
from dataclasses import dataclass

from preceptor.records import Request

_ASKS = re.compile(r"^Write (?:another|(?P<count>\d+) more) tasks? .*?(?:asks to (?P<kind>\w+).*)?\.\Z")
_KINDS = {"answer": 0, "find": 1, "write": 2}
"""First word of what a request asks for -> which frames."""

KINDS_OF = (
    "borrowed", "broken", "burnt", "cracked", "crowded", "dusty", "empty", "frozen", "green", "heavy", "hollow", "late",
    "leaking", "lost", "muddy", "narrow", "noisy", "old", "painted", "rusty", "sore", "stiff", "stray", "swollen",
    "wet",
)  # fmt: skip
THINGS = (
    "ankle", "apple", "attic", "bicycle", "boat", "bus", "clock", "cough", "crane", "dog", "fence", "fridge", "garden",
    "hand", "hut", "kettle", "key", "knee", "ladder", "letter", "orchard", "parcel", "path", "pipe", "roof", "sail",
    "shoulder", "stomach", "train", "tyre", "well", "window",
)  # fmt: skip
PEOPLE = (
    "Ada", "the baker", "Boris", "our caretaker", "Chloe", "the cook", "Dimitri", "two drivers", "Elsa", "farmers",
    "Gustav", "my gardener", "Hanna", "neighbours", "Igor", "nurses", "Jasper", "every parent", "Kim", "the porter",
    "Lena", "students", "Mateo", "a violinist",
)  # fmt: skip
PLACES = (
    "upstairs", "on islands", "by rivers", "at markets", "in clinics", "behind stations", "under bridges",
    "in valleys", "out of town", "inside mills", "along coasts", "beside motorways", "across fields", "near schools",
)  # fmt: skip
TIMES = ("on Monday", "before noon", "last winter", "after lunch", "in early May", "during the night", "at dawn")


@dataclass(frozen=True, slots=True)
class _Frame:
    """One form of task; names in braces are filled in all three parts alike."""

    instruction: str
    given: str
    output: str


_ANSWERED = (
    _Frame("Could {who} mend {thing} {place} alone? Answer yes or no.",
           "{who} said: I once mended {thing} alone, and would again.", "yes"),
    _Frame("When did {who} hear of {thing} {place}?",
           "{who} heard of {thing} {when}, and everybody else a week later.", "{when}"),
    _Frame("Is {who} complaining about {thing} {place}, or praising it?",
           "Nobody {place} has ever had anything finer than {thing}, says {who}.", "praising"),
    _Frame("Which was {place} first, {thing} or {other}?",
           "When {thing} was already well known {place}, nobody had seen {other}.", "{thing}"),
)  # fmt: skip
_FOUND = (
    _Frame("List who and what stood {place} with {thing}, separated by a semicolon.",
           "There stood {who} with {thing} and {other}, and nobody else.", "{who}; {other}"),
    _Frame("Extract the time when {who} found {thing} {place}.",
           "It was {when} that {who} found {thing}, long before {other} came up.", "{when}"),
    _Frame("Find what {who} wants {place} instead of {thing}.",
           "The wish of {who} is to have {other} rather than {thing}.", "{other}"),
    _Frame("Identify both problems of {who}, one of them {thing} {place}.",
           "There have been {thing} and {other} since last year, says {who}.", "{thing}\n{other}"),
)  # fmt: skip
_WRITTEN = (
    _Frame("Write to {who} about {thing} {place}.", "",
           "Dear all, please look after {thing}, which is {place} now. Many thanks for your help."),
    _Frame("Summarise what {who} did {place} with {thing} and {other}.",
           "First {who} came to see {thing}. Nothing could be done. Then {other} was dealt with {when}.",
           "In the end {who} could do nothing about {thing} but dealt with {other}."),
    _Frame("Explain to {who} why {thing} matters more {place} than {other}.", "",
           "With {thing} things go wrong quickly, while {other} does no harm for years."),
    _Frame("Rewrite what {who} said of {thing} {place} more politely.",
           "Keep away from {thing} {when}, or there will be trouble.",
           "It would be kind of you to leave {thing} alone {when}."),
    _Frame("Describe {thing} as {who} would see it {place} beside {other}.", "",
           "There it is, bright as ever, and {other} looks small beside it."),
)  # fmt: skip
_FRAMES = (_ANSWERED, _FOUND, _WRITTEN)
_OPENINGS = tuple(tuple(frame.instruction.split(" {")[0] for frame in frames) for frames in _FRAMES)
_CATEGORIES = ("question_answering", "information_extraction", "generation")


def write(request: Request) -> str | None:
    """The answer to a request for tasks, an output or a category; None where it is about something else."""
    system, message = request.messages[0].content, request.messages[-1].content
    noise = random.Random(_hashed(f"{request.item}\n{request.draw}"))
    if system.startswith("You write tasks") and (asked := _ASKS.search(message)):
        with_output = "right output" in system
        kind = _KINDS.get(asked["kind"] or "")
        blocks = [_task(noise, kind, with_output) for _ in range(int(asked["count"] or 1))]
        return blocks[0] if len(blocks) == 1 else "\n\n".join(f"### Task {n}\n{b}" for n, b in enumerate(blocks, 1))
    if system.startswith("You carry out tasks"):
        return f"It is {_thing(noise)} {noise.choice(PLACES)}, as far as {noise.choice(PEOPLE)} can tell."
    if system.startswith("You sort tasks"):
        opened = message.removeprefix("Instruction: ")
        known = [name for name, starts in zip(_CATEGORIES, _OPENINGS, strict=True) if opened.startswith(starts)]
        return known[0] if known else "other"
    return None


def _task(noise: random.Random, kind: int | None, with_output: bool) -> str:
    frame = noise.choice(_FRAMES[noise.randrange(len(_FRAMES)) if kind is None else kind])
    values = {
        "thing": _thing(noise),
        "other": _thing(noise),
        "who": noise.choice(PEOPLE),
        "place": noise.choice(PLACES),
        "when": noise.choice(TIMES),
    }
    parts = {"Instruction": frame.instruction, "Input": frame.given or "<none>", "Output": frame.output}
    if not with_output:
        del parts["Output"]
    return "\n".join(f"{name}: {text.format(**values)}" for name, text in parts.items())


def _thing(noise: random.Random) -> str:
    return f"the {noise.choice(KINDS_OF)} {noise.choice(THINGS)}"


def _hashed(text: str) -> int:
    return int(hashlib.sha256(text.encode()).hexdigest(), 16)
