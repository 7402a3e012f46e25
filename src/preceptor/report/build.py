"""Builds the report: what a run found, in words, tables and pictures, as one HTML file that loads nothing.

Everything a model or a user wrote passes through jinja2's autoescape; the page's own content policy forbids
scripts and every load from elsewhere. `page.html` holds the layout, `draw.py` the pictures, `sentences.py`
the words; this module arranges the rows for them, and `page.py` is what it shares with `build_instruct.py`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from markupsafe import Markup

from preceptor.records import Estimate, Example, Funnel, Outcome, Row, RunSummary, Sample
from preceptor.report import draw
from preceptor.report.arms import controls, notes_on, teacher_note
from preceptor.report.courses import course_views, remarks_on
from preceptor.report.funnels import LabelRow, Remark, label_rows, remarks
from preceptor.report.looks import looks_sentence
from preceptor.report.page import Line, recorded, shown, template, total_cost
from preceptor.report.published import published_views
from preceptor.report.reliability import Panel, panel
from preceptor.report.sentences import BASELINE, family, headlines, of_kind, sentences, settings
from preceptor.report.sweeps import spread_rows, sweep_pictures, sweep_views
from preceptor.store.stages import write_text

__all__ = ["build", "render", "sentences"]

SAMPLES_SHOWN = 3
"""Samples of each kind that are open from the start; the others are one click away."""
FIRST_STEP = {"edit": "edited", "published": "published"}
"""What a funnel begins with where no teacher was asked."""
LABEL_COLUMNS = 4
"""Up to so many labels have a recall column each in the result table; more stand in the details only."""


def build(summary: RunSummary, path: Path) -> Path:
    """Write the report of `summary` to `path` and return the path.

    The file appears whole or not at all: it is written under a temporary name beside its place and renamed.
    Its folder is made if need be. Half characters (lone surrogates) become question marks.
    Raises `StorageError` when it cannot be written.
    """
    write_text(path, render(summary).encode("utf-8", errors="replace").decode("utf-8"))
    return path


def render(summary: RunSummary) -> str:
    """The report as HTML text."""
    return template("page.html").render(
        summary=summary,
        sentences=sentences(summary),
        headlines=headlines(summary),
        published=published_views(summary),
        settings=[_setting(summary, name) for name in settings(summary)],
        funnels=[_funnel(funnel, summary.labels) for funnel in summary.funnels],
        samples=_sample_groups(summary.samples),
        trained=[row for row in summary.rows if row.kind == "arm" and not row.missing],
        arms=notes_on(summary),
        controls=controls(summary),
        unequal=_unequal_steps(summary.rows),
        cost=total_cost(summary.spend),
        provenance=recorded(summary.provenance),
        courses=course_views(summary.courses),
        training_remarks=remarks_on(summary.courses),
        looks=[looks_sentence(one) for one in summary.looks],
        sweeps=sweep_views(summary.sweeps),
        sweep_pictures=sweep_pictures(summary.sweeps),
        spreads=spread_rows(summary.sweeps, summary.spreads),
        several_teachers=len({row.teacher.teacher for row in summary.rows if row.teacher is not None}) > 1,
        several_settings=len(settings(summary)) > 1,
        outcomes=tuple(Outcome),
        samples_shown=SAMPLES_SHOWN,
        label_limit=LABEL_COLUMNS,
        label_columns=summary.labels if len(summary.labels) <= LABEL_COLUMNS else (),
    )


@dataclass(frozen=True, slots=True)
class Figure:
    """A metric's dot-and-interval picture: the rows, and below them the differences to the arm `none`."""

    metric: str
    lines: tuple[Line, ...]
    scale: Markup
    differences: tuple[Line, ...]
    difference_scale: Markup


@dataclass(frozen=True, slots=True)
class SettingView:
    """Results of one setting."""

    name: str
    n: int
    """Test items."""
    rows: tuple[Row, ...]
    figures: tuple[Figure, ...]
    teacher: str
    """What the teacher says itself to validation items; may be empty."""
    intervals: str
    """How the intervals were computed."""
    has_human: bool
    probabilities: Panel | None = None
    """None where no student gave probabilities and none has several seeds."""


@dataclass(frozen=True, slots=True)
class Step:
    """One step of a funnel."""

    name: str
    left: int
    """Candidates after the step."""
    gone: int
    """Candidates that the step took away."""
    reasons: tuple[tuple[str, int], ...] = ()


@dataclass(frozen=True, slots=True)
class FunnelView:
    """A funnel with its steps drawn from `asked` to `kept`."""

    funnel: Funnel
    steps: tuple[Step, ...]
    adds_up: bool
    """Whether the drops explain the way from the candidates to the kept."""
    by_label: tuple[LabelRow, ...] = ()
    remarks: tuple[Remark, ...] = ()


@dataclass(frozen=True, slots=True)
class FieldView:
    """A field of a sample; `old` and `new` are marked up when they are versions of each other."""

    name: str
    old: str | Markup
    new: str | Markup
    changed: bool
    marked: bool = False


@dataclass(frozen=True, slots=True)
class SampleView:
    """A sample with its fields, changed ones first."""

    sample: Sample
    fields: tuple[FieldView, ...]


def _setting(summary: RunSummary, name: str) -> SettingView:
    order = {"floor": 0, "human": 1}
    rows = sorted((row for row in summary.rows if row.setting == name), key=lambda row: order.get(row.kind, 2))
    drawn = [row for row in rows if not row.missing]
    return SettingView(
        name=name,
        teacher=teacher_note(summary, name),
        n=max((row.n for row in rows), default=0),
        rows=tuple(rows),
        figures=(_figure("accuracy", "Accuracy", drawn), _figure("macro_f1", "Macro-F1", drawn)) if drawn else (),
        intervals=_interval_words(rows),
        has_human=of_kind(rows, "human") is not None,
        probabilities=panel(drawn, [row_name(row) for row in drawn]),
    )


def _figure(metric: str, title: str, rows: Sequence[Row]) -> Figure:
    floor, human = of_kind(rows, "floor"), of_kind(rows, "human")
    lowest: Estimate | None = getattr(floor, metric, None)
    highest: Estimate | None = getattr(human, metric, None)
    column = 1 if metric == "accuracy" else 2
    seeds = [[scores[column] for scores in row.seed_scores] for row in rows]
    axis = draw.score_axis([getattr(row, metric) for row in rows], [value for values in seeds for value in values])
    lines = []
    for row, values in zip(rows, seeds, strict=True):
        kind = "base" if row.kind == "arm" and row.arm == BASELINE else row.kind
        estimate: Estimate | None = getattr(row, metric)
        picture = draw.strip(estimate, axis, kind=kind, floor=lowest, human=highest, seeds=values)
        lines.append(Line(row_name(row), shown(estimate, sign=False), picture))
    gains = [(row, getattr(row, f"gain_{metric}")) for row in rows]
    gains = [(row, gain) for row, gain in gains if gain is not None]
    away = draw.difference_axis(gain for _, gain in gains)
    differences = tuple(
        Line(row_name(row), shown(gain, sign=True), draw.strip(gain, away, kind="arm", zero=True))
        for row, gain in gains
    )
    return Figure(title, tuple(lines), draw.scale(axis), differences, draw.scale(away, sign=True))


def row_name(row: Row) -> str:
    """The row's name where it stands alone."""
    named = {"floor": "majority floor", "human": "human"}
    return named.get(row.kind, f"{row.student} · {row.arm_words}")


def _interval_words(rows: Sequence[Row]) -> str:
    """How the intervals of scores and of differences were computed, e.g. `of scores 95 % (wilson)`."""
    scores = [estimate for row in rows for estimate in (row.accuracy, row.macro_f1)]
    gains = [estimate for row in rows for estimate in (row.gain_accuracy, row.gain_macro_f1)]
    said = []
    for what, estimates in (("scores", scores), ("differences", gains)):
        methods: dict[float, dict[str, None]] = {}
        for interval in filter(None, map(draw.known_interval, estimates)):
            methods.setdefault(interval.level, {})[interval.method or "method not named"] = None
        if methods:
            levels = (f"{100 * level:g}\N{NO-BREAK SPACE}% ({', '.join(names)})" for level, names in methods.items())
            said.append(f"of {what} {', '.join(levels)}")
    return "; ".join(said)


def _funnel(funnel: Funnel, labels: Sequence[str]) -> FunnelView:
    steps, adds_up = _steps(funnel)
    return FunnelView(funnel, steps, adds_up, label_rows(funnel, labels), remarks(funnel, labels))


def _steps(funnel: Funnel) -> tuple[tuple[Step, ...], bool]:
    unreadable = sum(funnel.unreadable.values())
    unanswered = max(0, funnel.asked - funnel.candidates - unreadable)
    steps = [Step(FIRST_STEP.get(funnel.strategy, "asked"), funnel.asked, 0)]
    if unanswered:
        steps.append(Step("no answer", funnel.asked - unanswered, unanswered))
    steps.append(Step("unreadable", funnel.candidates, unreadable, _ranked(funnel.unreadable)))
    left = funnel.candidates
    for name, reasons in funnel.dropped.items():
        gone = sum(reasons.values())
        left -= gone
        steps.append(Step(name, left, gone, _ranked(reasons)))
    steps.append(Step("kept", funnel.kept, 0))
    return tuple(steps), left == funnel.kept


def _ranked(reasons: Mapping[str, int]) -> tuple[tuple[str, int], ...]:
    return tuple(sorted(((r, n) for r, n in reasons.items() if n), key=lambda pair: (-pair[1], pair[0])))


def _sample_groups(samples: Sequence[Sample]) -> dict[tuple[str, str, str], dict[str, list[SampleView]]]:
    """Samples by setting, strategy and teacher, the kept ones first."""
    groups: dict[tuple[str, str, str], dict[str, list[SampleView]]] = {}
    for sample in samples:
        group = groups.setdefault((sample.setting, sample.strategy, sample.teacher), {"kept": [], "dropped": []})
        group["kept" if sample.verdict.kept else "dropped"].append(SampleView(sample, _fields(sample)))
    return groups


def _fields(sample: Sample) -> tuple[FieldView, ...]:
    parent, example = sample.parent, sample.example
    views = [_field(name, parent, example) for name in dict.fromkeys([*example.fields, *parent.fields])]
    return tuple(sorted(views, key=lambda view: not view.changed))


def _field(name: str, parent: Example, example: Example) -> FieldView:
    old, new = parent.fields.get(name, ""), example.fields.get(name, "")
    written = example.source is not None and name in example.source.changed
    if old == new and not written:
        return FieldView(name, old, new, changed=False)
    marks = draw.word_difference(old, new)
    return FieldView(name, *(marks or (old, new)), changed=True, marked=marks is not None)


def _unequal_steps(rows: Sequence[Row]) -> list[str]:
    """Students whose arms did not get the same number of optimiser steps, with their setting."""
    steps: dict[tuple[str, str], set[int]] = {}
    for row in rows:
        if row.kind == "arm" and not row.missing:
            steps.setdefault(family(row), set()).add(row.steps)
    return [f"{student} ({setting})" for (setting, student), counts in steps.items() if len(counts) > 1]
