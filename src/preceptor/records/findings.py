"""All that a report shows of a run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from preceptor.records.asking import Spend
from preceptor.records.courses import Course
from preceptor.records.examples import Example, Verdict
from preceptor.records.published import PublishedFigure
from preceptor.records.scores import Estimate, Row
from preceptor.records.sweeping import Looks, SpreadDifference, SweepResult


@dataclass(frozen=True, slots=True)
class LabellerCheck:
    """How well a labeller does on validation items, whose labels experts gave."""

    n: int
    """Items asked about."""
    items: Mapping[str, int]
    """By the experts' label."""
    right: Mapping[str, int]
    """Of those, where the labeller gave the same."""
    accuracy: Estimate
    floor_label: str
    """The most frequent label of these items."""
    floor: Estimate
    """The accuracy of always giving it."""


@dataclass(frozen=True)
class Agreement:
    """What a labeller said about the candidates of one strategy that reached it."""

    labeller: str
    """Who it was, in words."""
    mode: str
    """What became of a disagreement: `drop`, `relabel`, `weight`."""
    asked: Mapping[str, int]
    """Candidates by the label that they came with."""
    agreed: Mapping[str, int]
    """Of those, where the labeller gave the same label."""
    outcomes: Mapping[str, int]
    """All its answers, several per candidate where it was asked for more: the four parse outcomes, `no_answer`."""
    mean_weight: float | None = None
    """Of the kept examples, with mode `weight`."""
    check: LabellerCheck | None = None
    """None when no validation item was asked about."""


@dataclass(frozen=True)
class Judgement:
    """What a judge said about candidates beside their parents, each pair asked in both orders."""

    judge: str
    pairs: int
    read: int
    """Pairs with a readable answer in both orders."""
    inconsistent: int
    """Of those, pairs whose scores differ by more than the tolerance between the orders."""
    decided: int
    """Of those, pairs of which the judge preferred one text in each of the orders."""
    flips: int
    """Of the decided, pairs in which the order changed which text it preferred."""
    first: int
    """Of the 2 x `decided` preferences, how many went to the text that stood first."""
    candidate_scores: Mapping[str, float]
    """Mean score, 1 to 5, by criterion."""
    parent_scores: Mapping[str, float]
    outcomes: Mapping[str, int]
    """Answers, two per pair: the four parse outcomes, `no_answer`."""


@dataclass(frozen=True)
class Funnel:
    """What became of one strategy's candidates under one setting."""

    setting: str
    strategy: str
    asked: int
    """Requests made to the teacher; of strategies that ask nobody, edits made or items in the file."""
    candidates: int
    """Answers from which an example could be read; the rest is counted under `unreadable`."""
    unreadable: Mapping[str, int]
    """Reasons why an answer gave no example."""
    dropped: Mapping[str, Mapping[str, int]]
    """Filter name -> reason -> count, in the order of the chain."""
    kept: int
    kept_by_label: Mapping[str, int]
    """By the label that they came with, as in all counts by label here."""
    candidates_by_label: Mapping[str, int]
    dropped_by_label: Mapping[str, Mapping[str, Mapping[str, int]]] = field(default_factory=dict)
    """Filter name -> reason -> label -> count, in the order of the chain."""
    relabelled: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    """Label it came with -> label it was given by a filter -> number kept."""
    agreement: Agreement | None = None
    """What the labeller of the filter `agreement` said; None when it was not asked."""
    judgement: Judgement | None = None
    """What the judge of the filter `judge` said; None when it was not asked."""
    outcomes: Mapping[str, int] = field(default_factory=dict)
    """The teacher's answers by the four parse outcomes; requests that failed have none."""
    teacher: str = ""
    """Who was asked, where several teachers write."""


@dataclass(frozen=True)
class Sample:
    """One generated example beside its parent, for people to read."""

    setting: str
    strategy: str
    verdict: Verdict
    filter: str
    """The filter that dropped it; empty when kept."""
    example: Example
    parent: Example
    teacher: str = ""
    """Who wrote it, where several teachers write."""


@dataclass(frozen=True, slots=True)
class Arm:
    """What one arm is trained on."""

    use: tuple[str, ...] = ()
    """Strategies whose kept examples it is trained on."""
    real: bool = True
    """Whether it is trained on the real items too."""
    shuffled: bool = False
    """Whether the labels of the generated examples changed places."""
    teacher: str = ""
    """Which of the recipe's further teachers wrote the generated examples; empty for the usual one."""
    settings: tuple[str, ...] = ()
    """Data settings in which it is trained; empty for all of them."""


@dataclass(frozen=True)
class RunSummary:
    """All that the report shows. `results.json` in the run's folder is this record as JSON."""

    name: str
    title: str
    notice: str
    """A sentence to show first, e.g. that the data is made up; may be empty."""
    notes: tuple[str, ...]
    """Sentences that a reader must know about the data."""
    task: str
    split: str
    labels: tuple[str, ...]
    counts: Mapping[str, Mapping[str, int]]
    """Part (`train`, `validation`, `test`) -> label -> number of items."""
    rows: tuple[Row, ...]
    funnels: tuple[Funnel, ...]
    samples: tuple[Sample, ...]
    spend: Mapping[str, Spend]
    """By teacher name."""
    provenance: Mapping[str, Any]
    """Versions, machine, commit, seeds, hashes; nested dictionaries of plain values."""
    recipe: str
    """The resolved recipe as TOML."""
    command: str
    """The command that reruns it."""
    published: tuple[PublishedFigure, ...] = ()
    """What papers printed, with the rows of ours that stand beside it."""
    published_notes: tuple[str, ...] = ()
    """Sentences about these figures."""
    courses: tuple[Course, ...] = ()
    """How each training went, students one after the other."""
    shared_contexts: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    """Setting -> test item that shares its context with another -> number of the context. Settings without any are
    left out."""
    sweeps: tuple[SweepResult, ...] = ()
    """With `[sweep]`: all points of every swept student, setting and arm. `rows` hold the chosen points alone."""
    spreads: tuple[SpreadDifference, ...] = ()
    """Swept students compared two by two, where their points answered the test items."""
    looks: tuple[Looks, ...] = ()
    """By setting."""
    arms: Mapping[str, Arm] = field(default_factory=dict)
    """By name, in the order of the recipe."""
