"""The matrix of a recipe of instructions: arms against benchmarks, arranged for the report.

Rows are arms, the student before tuning first; columns are benchmarks by category. Arms whose tasks a teacher wrote and
arms whose tasks people wrote stand in blocks of their own, because the second is the control of the first.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from preceptor.config.instruct_recipe import GENERATED
from preceptor.records import CATEGORIES, SHORT, InstructSummary, MatrixEntry
from preceptor.report import draw

BASELINE = "none"
"""The student before tuning, to which all arms are compared."""
PRIMARY = ("accuracy", "strict_f1", "rougeL")
"""The metric that stands for a benchmark: the first of these that it has, else its first."""
LEVEL = 0.05
"""A gain whose p after Holm's correction is below this is called one."""
MOSTLY = 0.5
"""Where more than this share of the answers could not be read, a score says little."""
TINT_RANGE = (0.05, 0.2)
"""A gain of the largest size in a report has the full tint; sizes below and above these count as these."""
PALER = 3
"""So many times paler is the tint of a gain that the correction leaves as noise."""
FULL_TINT = 30
"""In percent of the colour: at this share the smallest text still has a contrast of 4.5."""

_METRICS = {
    "accuracy": "accuracy",
    "macro_f1": "macro-F1",
    "strict_f1": "strict F1",
    "relaxed_f1": "relaxed F1",
    "rouge1": "ROUGE-1",
    "rouge2": "ROUGE-2",
    "rougeL": "ROUGE-L",
    "embedding": "nearness in meaning",
    "judge": "judge's score",
}
_TITLES = {"question_answering": "Question answering", "information_extraction": "Information extraction"}
_COUNTS = {"hallucinated": "mentions not in the text", "cut_prompts": "prompts cut"}

Kind = Literal["generated", "human", "both", "none"]
KINDS: Mapping[Kind, str] = {
    "generated": "Tasks written by the teacher",
    "human": "Tasks written by people",
    "both": "Tasks of both kinds together",
    "none": "Before tuning",
}


@dataclass(frozen=True, slots=True)
class Mark:
    """What may be said about a gain."""

    kind: Literal["gain", "loss", "before", "noise", "untested"]
    words: str

    @property
    def holds(self) -> bool:
        """Whether it survives Holm's correction."""
        return self.kind in ("gain", "loss")


@dataclass(frozen=True, slots=True)
class Value:
    """One metric of a cell."""

    metric: str
    """For people."""
    entry: MatrixEntry | None
    mark: Mark | None
    """None where there is no gain."""


@dataclass(frozen=True, slots=True)
class Column:
    """One benchmark with its metrics, the primary one first."""

    benchmark: str
    category: str
    metrics: tuple[str, ...]

    @property
    def label(self) -> str:
        """Benchmark, category and metric, where the table's head is not seen."""
        return f"{short(self.category)} · {self.benchmark}, {metric_name(self.metrics[0])}"


@dataclass(frozen=True, slots=True)
class Cell:
    """One arm on one benchmark."""

    label: str
    main: Value
    others: tuple[Value, ...]
    lost: tuple[str, ...]
    """What became of answers that were not read, and mentions that are not in the text, e.g. `12 % unparsed`."""
    own: bool
    """Whether the arm was tuned on tasks of this benchmark's category alone."""
    tint: Literal["", "gain", "loss"]
    strength: int
    """Of the tint, in percent of the colour."""


@dataclass(frozen=True, slots=True)
class ArmRow:
    """One arm of a student."""

    arm: str
    about: str
    """Its sources in words."""
    cells: tuple[Cell, ...]
    note: str
    """Why nothing was measured; empty where something was."""


@dataclass(frozen=True, slots=True)
class Block:
    """The arms of one kind of source."""

    kind: Kind
    title: str
    rows: tuple[ArmRow, ...]
    """The student before tuning first."""
    diagonal: str
    """Gains on the arms' own category beside those on the others, in words; empty where there is no such arm."""


@dataclass(frozen=True, slots=True)
class StudentView:
    """All that was measured of one student."""

    student: str
    columns: tuple[Column, ...]
    groups: tuple[tuple[str, int], ...]
    """Title of a category and its number of columns, in their order."""
    blocks: tuple[Block, ...]
    entries: tuple[MatrixEntry, ...]
    """In the order of `in_order`."""
    doubtful: frozenset[str]
    """Benchmarks on which most answers before tuning could not be read: a gain may be one of form alone."""


def short(category: str) -> str:
    """A category as tables call it."""
    return SHORT.get(category, category)


def title_of(category: str) -> str:
    """A category as headings call it."""
    return _TITLES.get(category, draw.in_words(category).capitalize())


def metric_name(metric: str) -> str:
    """A metric for people."""
    return _METRICS.get(metric, draw.in_words(metric))


def primary(metrics: Iterable[str]) -> str:
    """The metric that stands for a benchmark, of at least one."""
    known = list(metrics)
    return next((name for name in PRIMARY if name in known), known[0])


def primaries(entries: Sequence[MatrixEntry]) -> list[MatrixEntry]:
    """Of every benchmark the entries of its primary metric."""
    metrics: dict[str, dict[str, None]] = {}
    for entry in entries:
        metrics.setdefault(entry.benchmark, {})[entry.metric] = None
    chosen = {name: primary(found) for name, found in metrics.items()}
    return [entry for entry in entries if chosen[entry.benchmark] == entry.metric]


def in_order(entries: Sequence[MatrixEntry]) -> list[MatrixEntry]:
    """Entries by student, benchmark, metric and arm, each in its order, primary metrics and `none` first."""
    students, benchmarks, arms, metrics = (
        {name: number for number, name in enumerate(dict.fromkeys(names))}
        for names in (
            (e.student for e in entries),
            (e.benchmark for e in entries),
            (e.arm for e in entries),
            (e.metric for e in entries),
        )
    )
    first = {(entry.student, entry.benchmark): entry.metric for entry in primaries(entries)}

    def place(entry: MatrixEntry) -> tuple[int, int, bool, int, bool, int]:
        where = students[entry.student], benchmarks[entry.benchmark]
        other = entry.metric != first.get((entry.student, entry.benchmark))
        return *where, other, metrics[entry.metric], entry.arm != BASELINE, arms[entry.arm]

    return sorted(entries, key=place)


def mark(entry: MatrixEntry) -> Mark | None:
    """What may be said about an entry's gain; None where there is none."""
    interval = draw.known_interval(entry.gain)
    if entry.gain is None or interval is None:
        return None
    if entry.p_holm is None or not math.isfinite(entry.p_holm):
        return Mark("untested", "not tested")
    if entry.p_holm < LEVEL and entry.gain.value:
        return Mark("gain", "▲ gain") if entry.gain.value > 0 else Mark("loss", "▼ loss")
    if interval.low > 0 or interval.high < 0:
        return Mark("before", "only before correction")
    return Mark("noise", "noise")


def unread(entry: MatrixEntry) -> float:
    """Share of the answers that could not be read; 0 where no answer was counted."""
    total = sum(entry.outcomes.values())
    return (total - entry.outcomes.get("answered", 0)) / total if total else 0.0


def lost(entry: MatrixEntry) -> tuple[str, ...]:
    """Answers that could not be read and things that went wrong in the others, each in words, where there are any.

    Counts are means over seeds, so that an arm of several seeds can be compared with the student before tuning.
    """
    total = sum(entry.outcomes.values())
    said = [
        f"{draw.percent(number, total)} {draw.in_words(name)}"
        for name, number in entry.outcomes.items()
        if name != "answered" and number
    ]
    counts = {key: number / max(1, len(entry.seeds)) for key, number in entry.counts.items()}
    said += [f"{_number(counts[key])} {words}" for key, words in _COUNTS.items() if counts.get(key)]
    if entry.metric == "judge":
        said += [f"{_number(counts['judge_unread'])} pairs not judged"] if counts.get("judge_unread") else []
        decided = counts.get("judge_decided")
        flips = f"{_number(counts.get('judge_order_flips', 0))} of {_number(decided)}" if decided else ""
        said += [f"{flips} preferences swapped with the order"] if flips else []
    return tuple(said)


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 10 or value == int(value) else f"{value:.1f}"


def why_missing(note: str) -> str:
    """`not run: ...` or `no result: ...`, from an entry's note."""
    return note if note.startswith("no result") else f"not run: {note}"


def source_words(source: str) -> str:
    """A source of training tasks for people."""
    name, _, category = source.partition(":")
    if name != GENERATED:
        return source
    return f"the teacher's {short(category)} tasks" if category else "all of the teacher's tasks"


def kind_of(sources: Iterable[str]) -> Kind:
    """Who wrote an arm's training tasks."""
    kinds: set[Kind] = {"generated" if source.partition(":")[0] == GENERATED else "human" for source in sources}
    return "none" if not kinds else kinds.pop() if len(kinds) == 1 else "both"


def category_of(sources: Iterable[str], benchmarks: Mapping[str, str]) -> str | None:
    """The one category of all of an arm's tasks; None when there are several or nobody knows.

    `benchmarks` has the category of each benchmark by name.
    """
    found = {
        source.partition(":")[2] if source.startswith(f"{GENERATED}:") else benchmarks.get(source, "")
        for source in sources
    }
    return found.pop() or None if len(found) == 1 else None


def benchmark_categories(summary: InstructSummary) -> dict[str, str]:
    """Benchmark -> category, in the order of the recipe; those of training items only included."""
    named = {name: str(about.get("category", "")) for name, about in summary.benchmarks.items()}
    return named | {entry.benchmark: entry.category for entry in summary.entries}


def views(summary: InstructSummary) -> tuple[StudentView, ...]:
    """The matrix of every student, in the order in which students first appear."""
    scale = tint_scale(summary.entries)
    students = dict.fromkeys(entry.student for entry in summary.entries)
    return tuple(_student(summary, student, scale) for student in students)


def tint_scale(entries: Sequence[MatrixEntry]) -> float:
    """The size of a gain that has the full tint."""
    sizes = [abs(e.gain.value) for e in primaries(entries) if e.gain is not None and draw.has_result(e.gain)]
    return min(max(max(sizes, default=0.0), TINT_RANGE[0]), TINT_RANGE[1])


def _student(summary: InstructSummary, student: str, scale: float) -> StudentView:
    entries = tuple(in_order([entry for entry in summary.entries if entry.student == student]))
    categories = benchmark_categories(summary)
    columns = _columns(entries, categories)
    groups: dict[str, int] = {}
    for column in columns:
        groups[title_of(column.category)] = groups.get(title_of(column.category), 0) + 1
    found = {entry.arm for entry in entries}
    arms = {arm: tuple(sources) for arm, sources in summary.arms.items() if arm in found}
    arms |= {entry.arm: () for entry in entries if entry.arm not in arms}
    base = _row(BASELINE, (), columns, entries, categories, scale)
    blocks = []
    for kind, title in KINDS.items():
        members = {arm: s for arm, s in arms.items() if arm != BASELINE and kind_of(s) == kind}
        rows = tuple(_row(arm, sources, columns, entries, categories, scale) for arm, sources in members.items())
        if rows:
            words = diagonal(entries, members, categories)
            blocks.append(Block(kind, title if kind != "none" else "Other arms", (base, *rows), words))
    if not blocks:
        blocks = [Block("none", KINDS["none"], (base,), "")]
    doubtful = frozenset(e.benchmark for e in primaries(entries) if e.arm == BASELINE and unread(e) > MOSTLY)
    return StudentView(student, columns, tuple(groups.items()), tuple(blocks), entries, doubtful)


def _columns(entries: Sequence[MatrixEntry], categories: Mapping[str, str]) -> tuple[Column, ...]:
    """Benchmarks by category, then in the order of the recipe."""
    metrics: dict[str, dict[str, None]] = {}
    for entry in entries:
        metrics.setdefault(entry.benchmark, {})[entry.metric] = None
    order = list(dict.fromkeys((*CATEGORIES, *sorted(set(categories.values())))))
    named = sorted((n for n in categories if n in metrics), key=lambda name: order.index(categories[name]))
    return tuple(
        Column(name, categories[name], (first := primary(metrics[name]), *(m for m in metrics[name] if m != first)))
        for name in named
    )


def _row(
    arm: str,
    sources: Sequence[str],
    columns: Sequence[Column],
    entries: Sequence[MatrixEntry],
    categories: Mapping[str, str],
    scale: float,
) -> ArmRow:
    mine = {(entry.benchmark, entry.metric): entry for entry in entries if entry.arm == arm}
    category = category_of(sources, categories)
    cells = tuple(_cell(column, mine, column.category == category, scale) for column in columns)
    notes = {entry.note for entry in mine.values()}
    silent = bool(mine) and len(notes) == 1 and not any(draw.has_result(entry.estimate) for entry in mine.values())
    about = "before tuning" if arm == BASELINE else ", ".join(map(source_words, sources))
    return ArmRow(arm, about, cells, notes.pop() if silent else "")


def _cell(column: Column, mine: Mapping[tuple[str, str], MatrixEntry], own: bool, scale: float) -> Cell:
    values = []
    for metric in column.metrics:
        entry = mine.get((column.benchmark, metric))
        values.append(Value(metric_name(metric), entry, mark(entry) if entry is not None else None))
    main = values[0]
    tint: Literal["", "gain", "loss"] = ""
    strength = 0
    if main.entry is not None and main.entry.gain is not None and main.mark is not None:
        gain = main.entry.gain.value
        tint = "gain" if gain > 0 else "loss" if gain < 0 else ""
        share = FULL_TINT * min(abs(gain) / scale, 1.0)
        strength = round(share if main.mark.holds else share / PALER)
    gone = lost(main.entry) if main.entry is not None else ()
    return Cell(column.label, main, tuple(values[1:]), gone, own, tint, strength)


def diagonal(entries: Sequence[MatrixEntry], arms: Mapping[str, Sequence[str]], categories: Mapping[str, str]) -> str:
    """Mean gains of arms of one category on benchmarks of that category and on the others, in words.

    A benchmark whose training items an arm saw is counted apart, since such an arm also learns its form. Empty when
    there is no arm of one category, or nothing to compare its own category with.
    """
    found: dict[str, list[float]] = {"seen": [], "own": [], "other": []}
    for entry in primaries(entries):
        sources = arms.get(entry.arm, ())
        category = category_of(sources, categories)
        if category is None or entry.gain is None or not draw.has_result(entry.gain):
            continue
        place = "seen" if entry.benchmark in sources else "own" if entry.category == category else "other"
        found[place].append(entry.gain.value)
    if not found["other"] or not (found["own"] or found["seen"]):
        return ""
    own = "other benchmarks of their own category" if found["seen"] else "benchmarks of their own category"
    words = {"seen": "the benchmark whose training items they saw", "own": own, "other": "those of other categories"}
    parts = [f"by {sum(g) / len(g):+.3f} on {words[place]} (mean of {len(g)})" for place, g in found.items() if g]
    return f"arms of a single category changed the score {', '.join(parts[:-1])} and {parts[-1]}"
