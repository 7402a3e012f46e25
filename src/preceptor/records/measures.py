"""What students of instructions answered on benchmarks, and the matrix that is made of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from preceptor.records.asking import Spend
from preceptor.records.courses import Course
from preceptor.records.instructions import Instruction
from preceptor.records.scores import Estimate, Outcome
from preceptor.records.sweeping import Looks


@dataclass(frozen=True, slots=True)
class Reading:
    """An answer to one item of a benchmark, as its parser reads it."""

    outcome: Outcome
    choice: int | None = None
    """Index of the option that was meant, where the item has options and one was found."""
    mentions: tuple[str, ...] = ()
    """Where mentions are asked for: those that the answer lists, in its order."""


@dataclass(frozen=True, slots=True)
class Response:
    """What a student said about one item of a benchmark."""

    id: str
    reading: Reading
    text: str = ""
    """The generated text; empty when read by likelihood."""
    probabilities: tuple[float, ...] = ()
    """Of each option, when read by likelihood; sums to 1."""


@dataclass(frozen=True, slots=True)
class Measure:
    """One metric of one student on one benchmark, as counts per item, from which any resample can be scored."""

    name: str
    """E.g. `accuracy`, `macro_f1`, `strict_f1`, `relaxed_f1`, `rouge1`, `rouge2`, `rougeL`, `embedding`, `judge`."""
    kind: str
    """How sums of rows become a score: a key of `evaluate.aggregate.KINDS`."""
    rows: tuple[tuple[float, ...], ...]
    """[items][counts], in the order of the benchmark's test items."""


@dataclass(frozen=True)
class BenchmarkScores:
    """All metrics of one student on one benchmark."""

    benchmark: str
    ids: tuple[str, ...]
    measures: tuple[Measure, ...]
    outcomes: Mapping[str, int]
    """The four parse outcomes, counted."""
    counts: Mapping[str, int] = field(default_factory=dict)
    """Other things worth seeing, e.g. `hallucinated` mentions, `cut_prompts`."""


@dataclass(frozen=True)
class MatrixEntry:
    """One student, arm, benchmark and metric: a value in the matrix."""

    student: str
    arm: str
    """`none` is the student before tuning."""
    benchmark: str
    category: str
    metric: str
    n: int = 0
    """Items."""
    seeds: tuple[int, ...] = ()
    estimate: Estimate | None = None
    """Mean over seeds, with its interval over items and seeds; None when the arm was not run."""
    gain: Estimate | None = None
    """Paired difference to `none` on the same items."""
    p: float | None = None
    """Of the gain, two-sided, by swapping both answers item by item at random."""
    p_holm: float | None = None
    """The same after Holm's correction over all gains of the matrix."""
    outcomes: Mapping[str, int] = field(default_factory=dict)
    """Parse outcomes of all seeds together."""
    counts: Mapping[str, int] = field(default_factory=dict)
    note: str = ""
    """Why there is no value, in words."""


@dataclass(frozen=True)
class TasksFunnel:
    """What became of all that a teacher wrote from seeds."""

    teacher: str
    seeds: int
    """Seed tasks."""
    requests: int
    candidates: int
    """Tasks that could be read from the answers."""
    unreadable: Mapping[str, int]
    """Reasons why an answer, or a part of one, gave no task."""
    dropped: Mapping[str, int]
    """Reasons why a candidate was dropped, in the order of the rules."""
    kept: int
    kept_by_category: Mapping[str, int]
    category_by: Mapping[str, int]
    """Who said the category of the kept: `teacher`, `rules`."""
    stopped: str
    """Why no more were written, in words."""
    nearest_f: tuple[float, ...] = ()
    """Of the kept: deciles 0, 10, ..., 100 of the ROUGE-L F to the nearest seed or earlier kept task."""
    outcomes: Mapping[str, int] = field(default_factory=dict)
    """The teacher's answers by the four parse outcomes."""


@dataclass(frozen=True)
class InstructSummary:
    """All that the report of a recipe of instructions shows. `results.json` is this record as JSON."""

    name: str
    title: str
    notice: str
    notes: tuple[str, ...]
    funnel: TasksFunnel | None
    """None when nothing was generated in this run."""
    samples: tuple[Instruction, ...]
    """Some of the generated tasks, for people to read."""
    dropped: tuple[tuple[str, Instruction], ...]
    """Some of the dropped ones, each with its reason."""
    diversity: Mapping[str, Any]
    """What `publish.diversity` found: root verbs and objects, lengths, distinct n-grams."""
    sources: Mapping[str, int]
    """Source of training tasks -> how many there are."""
    benchmarks: Mapping[str, Mapping[str, Any]]
    """Name -> category, kind, how it is read, items by part, licence, notes."""
    arms: Mapping[str, Mapping[str, float]]
    """Arm -> source -> weight."""
    entries: tuple[MatrixEntry, ...]
    training: Mapping[str, Mapping[str, Any]]
    """`student/arm` -> method, steps, seconds, trained weights."""
    spend: Mapping[str, Spend]
    provenance: Mapping[str, Any]
    recipe: str
    command: str
    courses: tuple[Course, ...] = ()
    """How each training went, students one after the other."""
    looks: tuple[Looks, ...] = ()
    """By benchmark: how often its test items were answered."""
