"""`Benchmark`: real items as instructions with reference answers, and the parser of what a student answers to them.

The benchmark that asks is the benchmark that reads: training targets, prompts and parser live in one object.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar, Literal

from preceptor.records import Instruction, Reading

Measured = Literal["choice", "spans", "text"]


@dataclass(frozen=True)
class Benchmark(ABC):
    """The items of one benchmark. Subclasses say how an answer is read."""

    measured: ClassVar[Measured]
    """`choice`: accuracy among options. `spans`: F1 of mentions. `text`: likeness to the reference text."""

    name: str
    category: str
    train: tuple[Instruction, ...]
    """Human-written training items; may be empty."""
    validation: tuple[Instruction, ...]
    test: tuple[Instruction, ...]
    max_tokens: int
    """Of a generated answer."""
    identity: str
    """Hash of the files and of the choices that made the items."""
    read: str = "generation"
    """`likelihood` or `generation`."""
    labels: tuple[str, ...] = ()
    """Where all items have the same options: these, in their order. Then macro-F1 means something."""
    licence: str = ""
    notes: tuple[str, ...] = ()
    """Sentences that a reader must know."""

    @abstractmethod
    def parse(self, item: Instruction, text: str, finish: str = "stop") -> Reading:
        """Read a generated answer to `item`; `finish` is why generation stopped (`stop`, `length`)."""
