"""Results as plain text tables, for the terminal and for lab books."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from preceptor.records import MatrixEntry, Row, SweepResult, TeacherScore
from preceptor.report import draw
from preceptor.report.matrix import in_order, lost, mark, metric_name
from preceptor.report.sweeps import heading, point_rows

NAMES = {"floor": "most frequent label", "human": "one person", "submission": "these predictions"}
MATRIX_HEAD = (
    *("benchmark", "metric", "arm", "score", "gain over none", "p", "p Holm", "the gain is"),
    *("seeds", "items", "answers not read"),
)


def as_table(rows: Sequence[Row], controls: Collection[str] = ()) -> str:
    """One line per row, columns aligned; arms in `controls` are marked as such. Below it the recall of each label.

    Accuracy and macro-F1 with intervals, gains over the arm `none` if there are any, what the teacher scores itself if
    it was asked, parse outcomes or why there is no result; then recall by label with intervals, of the rows with one.
    """
    gains = any(row.gain_accuracy is not None for row in rows)
    teachers = {row.teacher.teacher for row in rows if row.teacher is not None}
    asked, several = bool(teachers), len(teachers) > 1
    head = ["", "accuracy", "macro-F1", *(["gain in accuracy", "gain in macro-F1"] if gains else [])]
    head += [*(["teacher on validation"] if asked else []), "answers"]
    lines = [[_name(row, controls), *_cells(row, gains=gains, asked=asked, several=several)] for row in rows]
    labels = list(dict.fromkeys(label for row in rows for label in row.recall))
    recalls = [[_name(row, controls), *_recalls(row, labels)] for row in rows if row.recall]
    tables = [[head, *lines], [["recall", *labels], *recalls] if recalls else []]
    first = max(len(line[0]) for table in tables for line in table)
    return "\n\n".join(_table(table, first) for table in tables if table)


def _table(lines: Sequence[Sequence[str]], first: int) -> str:
    """Lines with aligned columns, of which the first is at least so wide."""
    widths = [max(len(line[column]) for line in lines) for column in range(len(lines[0]))]
    return "\n".join(_aligned(line, [max(first, widths[0]), *widths[1:]]) for line in lines)


def _name(row: Row, controls: Collection[str]) -> str:
    if row.kind in NAMES:
        return f"{row.setting}: {NAMES[row.kind]}" if row.setting else NAMES[row.kind]
    notes = ["control"] if row.kind == "arm" and row.arm in controls else []
    notes += [f"{len(row.seeds)} seed{'s' if len(row.seeds) > 1 else ''}"] if row.seeds else []
    return f"{row.setting}: {row.student}, {row.arm_words}" + (f" ({', '.join(notes)})" if notes else "")


def _cells(row: Row, *, gains: bool, asked: bool, several: bool) -> list[str]:
    differences = [draw.in_text(row.gain_accuracy, "+"), draw.in_text(row.gain_macro_f1, "+")] if gains else []
    if row.gain_accuracy is None:
        differences = ["" for _ in differences]
    outcomes = ", ".join(f"{count} {name.replace('_', ' ')}" for name, count in row.outcomes.items() if count)
    named = f"{row.teacher.teacher}: " if several and row.teacher is not None else ""
    teacher = [f"{named}{teacher_words(row.teacher)}" if row.teacher is not None else ""] if asked else []
    scores = [draw.in_text(row.accuracy), draw.in_text(row.macro_f1)]
    return [*scores, *differences, *teacher, row.missing or outcomes]


def _recalls(row: Row, labels: Sequence[str]) -> list[str]:
    return [draw.in_text(row.recall_of(label)) if label in row.recall else "" for label in labels]


def teacher_words(score: TeacherScore) -> str:
    """`0.580 [0.442, 0.706] on 50 items`, and what could not be read."""
    lost = [f"{n} {draw.in_words(name)}" for name, n in score.outcomes.items() if n and name != "answered"]
    return ", ".join([f"{draw.in_text(score.accuracy)} on {score.n} items", *lost])


def instruct_table(entries: Sequence[MatrixEntry]) -> str:
    """The matrix of a recipe of instructions: a table for each student, one line per benchmark, metric and arm.

    Benchmarks and arms in the order of the entries, the primary metric of a benchmark and the student before tuning
    first: score and gain with intervals, p and p after Holm's correction, what that says, seeds, items, and what
    became of the answers, or why there is no result.
    """
    tables: dict[str, list[Sequence[str]]] = {entry.student: [MATRIX_HEAD] for entry in entries}
    for entry in in_order(entries):
        tables[entry.student].append(_entry_cells(entry))
    widths = [max((len(line[c]) for t in tables.values() for line in t), default=0) for c in range(len(MATRIX_HEAD))]
    return "\n\n".join("\n".join([name, *(_aligned(line, widths) for line in t)]) for name, t in tables.items())


def _entry_cells(entry: MatrixEntry) -> list[str]:
    said = mark(entry)
    return [
        entry.benchmark,
        metric_name(entry.metric),
        entry.arm,
        draw.in_text(entry.estimate),
        draw.in_text(entry.gain, "+") if entry.gain is not None else "",
        *("" if p is None else f"{p:.4f}" for p in (entry.p, entry.p_holm)),
        said.kind if said is not None and said.holds else said.words if said is not None else "",
        str(len(entry.seeds) or ""),
        str(entry.n or ""),
        ", ".join([*lost(entry), *([entry.note] if entry.note else [])]).replace("\N{NO-BREAK SPACE}", " "),
    ]


def _aligned(line: Sequence[str], widths: Sequence[int]) -> str:
    return "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()


def sweep_table(sweep: SweepResult) -> str:
    """The points of one sweep: values, the score that chooses, test scores where there are some, what became of it."""
    head, rows = point_rows(sweep)
    lines = [head, *rows]
    widths = [max(len(line[column]) for line in lines) for column in range(len(head))]
    return "\n".join([f"sweep: {heading(sweep)}", *(_aligned(line, widths) for line in lines)])
