"""Instructions: what a student is told to do, on what, and what it should answer."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass

from preceptor.records.examples import REAL, Example
from preceptor.records.hashing import content_hash

CATEGORIES = ("question_answering", "information_extraction", "generation", "other")
"""The groups of BioInstruct (Tran et al. 2023): three that are evaluated, and the rest."""

SHORT = {"question_answering": "QA", "information_extraction": "IE", "generation": "GEN", "other": "other"}
"""How tables call them."""


@dataclass(frozen=True, slots=True)
class Instruction:
    """One task in words with its input and its answer: a seed, a generated task, or an item of a benchmark."""

    id: str
    """Unique within its set."""
    instruction: str
    input: str
    """What the instruction is about; may be empty."""
    output: str
    """The reference answer, which is also the training target."""
    category: str
    """One of `CATEGORIES`."""
    origin: str = REAL
    """`seed`, `instruct` (generated), or `real`: an item of a benchmark."""
    options: tuple[str, ...] = ()
    """The possible answers, where the task has a closed set; `output` is one of them then."""
    spans: tuple[tuple[int, int], ...] = ()
    """Where the task is to find mentions: start and end of each in `input`, in characters, in order."""


def user_text(item: Instruction) -> str:
    """What a person would say: the instruction and, after a blank line, its input."""
    return item.instruction.strip() + ("\n\n" + item.input.strip() if item.input.strip() else "")


def instruction_of(example: Example) -> Instruction:
    """A generated example, whose fields are `instruction`, `input` and `output` and whose label is the category."""
    fields = example.fields
    return Instruction(
        example.id, fields["instruction"], fields["input"], fields["output"], example.label, example.origin
    )


def instructions_hash(items: Iterable[Instruction]) -> str:
    """Hash of all of instructions, in order."""
    return content_hash([asdict(item) for item in items])
