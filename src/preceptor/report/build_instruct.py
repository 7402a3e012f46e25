"""Builds the report of a recipe of instructions: which tasks helped which benchmarks, as one HTML file.

`instruct.html` holds the layout, `matrix.py` the arms and benchmarks, `panels.py` the pictures, `instruct_sentences.py`
the words; this module arranges what was generated and what students were trained on. `build.py` is its like for labels.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from markupsafe import Markup

from preceptor.records import CATEGORIES, Instruction, InstructSummary, TasksFunnel
from preceptor.report import draw
from preceptor.report.courses import course_views, remarks_on
from preceptor.report.instruct_sentences import instruct_headlines, instruct_sentences
from preceptor.report.looks import looks_sentence
from preceptor.report.matrix import (
    KINDS,
    LEVEL,
    kind_of,
    lost,
    mark,
    metric_name,
    short,
    source_words,
    tint_scale,
    title_of,
    views,
    why_missing,
)
from preceptor.report.page import flat, inline_picture, recorded, template, total_cost
from preceptor.report.panels import axes, panels
from preceptor.store.stages import write_text

__all__ = ["build_instruct", "instruct_sentences", "render_instruct"]

_ABOUT = ("category", "kind", "read", "items", "licence", "notes")
"""What is known of a benchmark and has a place of its own in the table; the rest stands below its name."""
_PICTURES = ("picture", "length_picture")


def build_instruct(summary: InstructSummary, path: Path) -> Path:
    """Write the report of `summary` to `path` and return the path.

    The file appears whole or not at all, in a folder that is made if need be. Half characters (lone surrogates) become
    question marks. Raises `StorageError` when it cannot be written.
    """
    write_text(path, render_instruct(summary).encode("utf-8", errors="replace").decode("utf-8"))
    return path


def render_instruct(summary: InstructSummary) -> str:
    """The report as HTML text."""
    students = views(summary)
    axis_of = axes(students)
    return template("instruct.html").render(
        summary=summary,
        sentences=instruct_sentences(summary),
        headlines=instruct_headlines(summary),
        students=students,
        panels=lambda view, block: panels(view, block, axis_of),
        pairs=any({"generated", "human"} <= {block.kind for block in view.blocks} for view in students),
        full_tint=tint_scale(summary.entries),
        intervals=_interval_words(summary),
        seeds=sorted({seed for entry in summary.entries for seed in entry.seeds}),
        steps=_funnel_steps(summary.funnel) if summary.funnel else (),
        adds_up=_adds_up(summary.funnel) if summary.funnel else True,
        diversity=_diversity(summary.diversity),
        kept=_by_category(summary.samples),
        dropped=_by_reason(summary.dropped),
        arms=[_arm(arm, sources, summary.sources) for arm, sources in summary.arms.items()],
        benchmarks=[_benchmark(name, about) for name, about in summary.benchmarks.items()],
        training_keys=tuple(dict.fromkeys(key for told in summary.training.values() for key in told)),
        training={
            name: {key: _plain(key, value) for key, value in told.items()} for name, told in summary.training.items()
        },
        unequal=_unequal_steps(summary.training),
        cost=total_cost(summary.spend),
        provenance=recorded(summary.provenance),
        courses=course_views(summary.courses),
        training_remarks=remarks_on(summary.courses),
        looks=[looks_sentence(one) for one in summary.looks],
        level=LEVEL,
        short=short,
        title_of=title_of,
        metric_name=metric_name,
        mark=mark,
        lost=lost,
        why_missing=why_missing,
    )


@dataclass(frozen=True, slots=True)
class Step:
    """One step from what could be read to what was kept."""

    name: str
    left: int
    """Tasks after the step."""
    gone: int
    """Tasks that the step took away."""


@dataclass(frozen=True, slots=True)
class DiversityView:
    """How varied the kept tasks are."""

    pictures: tuple[Markup, ...]
    hidden: int
    """Pictures that held more than shapes and words, and are not shown."""
    verbs: tuple[tuple[str, int, str], ...]
    """What the tasks tell to do: root verb, tasks, most frequent objects in words."""
    facts: tuple[tuple[str, str], ...]
    """Single figures with their names."""
    rest: tuple[tuple[tuple[str, ...], str], ...]
    """All figures as (path, text)."""


@dataclass(frozen=True, slots=True)
class ArmView:
    """What an arm's training items are drawn from."""

    arm: str
    kind: str
    sources: tuple[tuple[str, str, int | None], ...]
    """Source, share of the training items, number of tasks there are."""


@dataclass(frozen=True, slots=True)
class BenchmarkView:
    """What a benchmark is and how it is read."""

    name: str
    category: str
    kind: str
    read: str
    items: str
    licence: str
    notes: tuple[str, ...]
    others: tuple[tuple[str, str], ...]


def _interval_words(summary: InstructSummary) -> str:
    """How the intervals were computed, e.g. `of scores 95 % (bootstrap); of gains 95 % (paired bootstrap)`."""
    said = []
    for what, estimates in (
        ("scores", (e.estimate for e in summary.entries)),
        ("gains", (e.gain for e in summary.entries)),
    ):
        known = [interval for estimate in estimates if (interval := draw.known_interval(estimate)) is not None]
        ways = dict.fromkeys(f"{100 * i.level:g}\N{NO-BREAK SPACE}% ({i.method or 'method not named'})" for i in known)
        if ways:
            said.append(f"of {what} {', '.join(ways)}")
    return "; ".join(said)


def _funnel_steps(funnel: TasksFunnel) -> tuple[Step, ...]:
    """From all that was found in the answers to what was kept; what could not be read comes first."""
    left = funnel.candidates
    steps = [Step("found in answers", left + sum(funnel.unreadable.values()), 0)]
    steps += [_gone(f"unreadable: {reason}", number) for reason, number in funnel.unreadable.items() if number]
    steps += [_gone(reason, number) for reason, number in funnel.dropped.items() if number]
    counted = []
    left = steps[0].left
    for step in steps:
        left -= step.gone
        counted.append(Step(step.name, left, step.gone))
    return (*counted, Step("kept", funnel.kept, 0))


def _gone(name: str, number: int) -> Step:
    return Step(name, 0, number)


def _adds_up(funnel: TasksFunnel) -> bool:
    """Whether the drops explain the way from the tasks that could be read to the kept."""
    return funnel.candidates - sum(funnel.dropped.values()) == funnel.kept


def _diversity(found: Mapping[str, Any]) -> DiversityView:
    texts = [str(found[name]) for name in _PICTURES if found.get(name)]
    pictures = [picture for text in texts if (picture := inline_picture(text)) is not None]
    figures = {name: value for name, value in found.items() if name not in _PICTURES}
    everything = tuple(flat(figures)) if figures else ()
    single = tuple((draw.in_words(path[0]), text) for path, text in everything if len(path) == 1)
    return DiversityView(tuple(pictures), len(texts) - len(pictures), _verbs(found), single, everything)


def _verbs(found: Mapping[str, Any]) -> tuple[tuple[str, int, str], ...]:
    """The most frequent root verbs, where `publish.diversity` counted them."""
    roots = found.get("roots")
    top = roots.get("top") if isinstance(roots, Mapping) else None
    return tuple(
        (str(entry["verb"]), int(entry["tasks"]), ", ".join(f"{o['noun']} {o['tasks']:,}" for o in entry["objects"]))
        for entry in (top or ())
    )


def _by_category(samples: Sequence[Instruction]) -> dict[str, list[Instruction]]:
    groups: dict[str, list[Instruction]] = {category: [] for category in CATEGORIES}
    for sample in samples:
        groups.setdefault(sample.category, []).append(sample)
    return {title_of(category): group for category, group in groups.items() if group}


def _by_reason(dropped: Sequence[tuple[str, Instruction]]) -> dict[str, list[Instruction]]:
    groups: dict[str, list[Instruction]] = {}
    for reason, task in dropped:
        groups.setdefault(reason, []).append(task)
    return groups


def _arm(arm: str, sources: Mapping[str, float], sizes: Mapping[str, int]) -> ArmView:
    total = sum(sources.values())
    shares = tuple(
        (source_words(name), draw.percent(weight, total), sizes.get(name)) for name, weight in sources.items()
    )
    return ArmView(arm, KINDS[kind_of(sources)] if sources else KINDS["none"], shares)


def _benchmark(name: str, about: Mapping[str, Any]) -> BenchmarkView:
    items, notes = about.get("items", ""), about.get("notes", ())
    if isinstance(items, Mapping):
        items = ", ".join(f"{part} {_plain('', number)}" for part, number in items.items())
    others = {key: value for key, value in about.items() if key not in _ABOUT}
    return BenchmarkView(
        name=name,
        category=title_of(str(about.get("category", ""))),
        kind=str(about.get("kind", "")),
        read=str(about.get("read", "")),
        items=_plain("", items),
        licence=str(about.get("licence") or "not stated"),
        notes=(notes,) if isinstance(notes, str) else tuple(map(str, notes)),
        others=tuple((" ".join(map(draw.in_words, path)), text) for path, text in flat(others)) if others else (),
    )


def _plain(key: str, value: Any) -> str:
    """One figure of a table as text; seconds in the unit that reads best."""
    if key == "seconds" and isinstance(value, int | float):
        return draw.duration(float(value))
    if isinstance(value, int) and not isinstance(value, bool):
        return f"{value:,}"
    return ", ".join(" ".join((*map(draw.in_words, path), text)) for path, text in flat(value))


def _unequal_steps(training: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Students whose arms did not get the same number of optimiser steps."""
    steps: dict[str, set[Any]] = {}
    for name, told in training.items():
        if told.get("steps") is not None:
            steps.setdefault(name.partition("/")[0], set()).add(told["steps"])
    return [student for student, counts in steps.items() if len(counts) > 1]
