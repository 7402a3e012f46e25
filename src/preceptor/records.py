"""The small frozen records that travel through every stage."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

REAL = "real"
"""`Example.origin` of an item that came with the data; generated items carry their strategy's name."""


@dataclass(frozen=True, slots=True)
class Source:
    """How a generated example came to be."""

    strategy: str
    """Name of the augmentation strategy, e.g. `rewrite`."""
    prompt: str
    """Name and version of the prompt file, e.g. `rewrite-question.v1`."""
    prompt_hash: str
    """First 16 hex digits of the SHA-256 of the prompt file."""
    teacher: str
    """The teacher's name, e.g. `builtin:smollm2-135m-instruct`."""
    call: str
    """Key of the call in the ledger."""
    finish: str
    """Why the teacher stopped: `stop`, `length`, `content_filter`."""
    changed: tuple[str, ...]
    """Names of the fields that the teacher wrote; the others are the parent's."""


@dataclass(frozen=True, slots=True)
class Example:
    """One labelled item, real or generated."""

    id: str
    """Unique within a data set; for PubMedQA the PMID."""
    fields: Mapping[str, str]
    """Text by field name, e.g. `question`, `context`, `conclusion`."""
    label: str
    """One of the task's labels."""
    origin: str = REAL
    """`real`, or the name of the strategy that generated it."""
    parents: tuple[str, ...] = ()
    """Ids of the real examples it was made from."""
    human: str | None = None
    """What one person answered under the same conditions as the model, where the data set records it."""
    source: Source | None = None
    """How it was generated; None for real examples."""
    weight: float = 1.0
    """How much it counts in training, beside a real item's 1. Above 0."""
    relabelled_from: str | None = None
    """The label that it came with, where a filter gave it another one; None when it kept its label."""

    @property
    def given_label(self) -> str:
        """The label that it came with: its parent's or its teacher's."""
        return self.label if self.relabelled_from is None else self.relabelled_from


@dataclass(frozen=True, slots=True)
class Verdict:
    """What one filter says about one generated example."""

    kept: bool
    """Whether the example may stay."""
    reason: str = ""
    """A short stable code such as `not_a_question`; empty when kept."""
    detail: str = ""
    """The evidence, e.g. the number that was lost or the similarity that was too low."""
    example: Example | None = None
    """The example as it goes on, where the filter changed its label or weight; None when it stays as it is."""


KEEP = Verdict(kept=True)


def drop(reason: str, detail: str = "") -> Verdict:
    """The verdict that removes an example, with its reason."""
    return Verdict(kept=False, reason=reason, detail=detail)


class Outcome(StrEnum):
    """What became of an answer. Only `ANSWERED` carries a label; the others are counted, never guessed."""

    ANSWERED = "answered"
    UNPARSED = "unparsed"
    REFUSED = "refused"
    CUT_OFF = "cut_off"


@dataclass(frozen=True, slots=True)
class ParsedAnswer:
    """An answer after parsing."""

    outcome: Outcome
    """One of the four outcomes."""
    label: str | None = None
    """The label, exactly when the outcome is `answered`."""


@dataclass(frozen=True, slots=True)
class Prediction:
    """What a student (or a file somebody handed in) said about one example."""

    id: str
    """The example's id."""
    gold: str
    """The true label."""
    label: str | None
    """The predicted label; None when the answer was not parsed, refused or cut off."""
    outcome: Outcome = Outcome.ANSWERED
    """What became of the answer."""
    probabilities: tuple[float, ...] = ()
    """Probability of each label in the task's order, when read by likelihood; sums to 1."""
    text: str = ""
    """The generated text, when read by generation."""


@dataclass(frozen=True, slots=True)
class Score:
    """How well one set of predictions does. Shares are in 0..1."""

    n: int
    """Number of items."""
    accuracy: float
    """Share of items whose label is right; an item without a parsed label is wrong."""
    macro_f1: float
    """Unweighted mean of the labels' F1."""
    recall: Mapping[str, float]
    """Share found, by label; NaN-free: a label with no gold item is left out."""
    f1: Mapping[str, float]
    """F1 by label."""
    confusion: Mapping[str, Mapping[str, int]]
    """Counts by gold label, then by predicted label, with `none` for items without a label."""
    outcomes: Mapping[str, int]
    """Counts of the four parse outcomes."""


@dataclass(frozen=True, slots=True)
class Interval:
    """A confidence interval."""

    low: float
    high: float
    level: float = 0.95
    method: str = ""
    """How it was computed, in a word or two: `wilson`, `bootstrap`."""


@dataclass(frozen=True, slots=True)
class Message:
    """One turn of a chat with a teacher."""

    role: str
    """`system`, `user` or `assistant`."""
    content: str


@dataclass(frozen=True, slots=True)
class Sampling:
    """Generation settings of a teacher. None means: not sent, the endpoint's own default holds."""

    max_tokens: int = 256
    """Upper bound on the answer's tokens."""
    temperature: float | None = None
    top_p: float | None = None
    repetition_penalty: float | None = None
    """transformers' and vLLM's penalty; it also hits words of the prompt. The paper's value is 2.0."""
    frequency_penalty: float | None = None
    presence_penalty: float | None = None
    seed: int | None = None
    logprobs: int | None = None
    """Ask for the log-probability of every token of the answer, with so many alternatives beside it."""

    def asked(self) -> dict[str, float | int]:
        """The settings that are set, by name."""
        return {name: value for name in self.__slots__ if (value := getattr(self, name)) is not None}


@dataclass(frozen=True, slots=True)
class Request:
    """One question to a teacher."""

    messages: tuple[Message, ...]
    sampling: Sampling
    item: str = ""
    """What the request is about (example id and strategy). Part of the key: it also keys the sampling noise."""
    draw: int = 0
    """Which of several answers to the same question this is."""
    schema: str = ""
    """JSON schema of the answer, as text; empty: free text. An endpoint without structured outputs is not sent it."""

    def plain(self) -> dict[str, Any]:
        """The request as plain values, for the ledger and for hashing. A schema stands there only when there is one."""
        plain: dict[str, Any] = {
            "messages": [{"role": m.role, "content": m.content} for m in self.messages],
            "sampling": self.sampling.asked(),
            "item": self.item,
            "draw": self.draw,
        }
        return {**plain, "schema": self.schema} if self.schema else plain

    def key(self, teacher: str) -> str:
        """Identity of the call in the ledger: SHA-256 over teacher, messages, settings, item and draw."""
        return content_hash({"teacher": teacher, **self.plain()})


@dataclass(frozen=True, slots=True)
class TokenLogprob:
    """One token of an answer, as an endpoint reports it."""

    token: str
    logprob: float
    """Natural logarithm of its probability."""
    top: Mapping[str, float] = field(default_factory=dict)
    """The most probable tokens at this place, with their log-probabilities."""


@dataclass(frozen=True, slots=True)
class Completion:
    """A teacher's answer."""

    text: str
    finish: str = "stop"
    """`stop`, `length` (cut off at max_tokens) or `content_filter` (refused by the endpoint)."""
    input_tokens: int = 0
    output_tokens: int = 0
    call: str = ""
    """The request's key in the ledger."""
    cached_tokens: int = 0
    """Of the input tokens, those that the endpoint read from its cache at a lower price."""
    logprobs: tuple[TokenLogprob, ...] = ()
    """Of every token, where they were asked for."""
    seconds: float = 0.0
    """From sending to the whole answer; 0 where nobody measured it."""

    @property
    def metered(self) -> bool:
        """Whether the endpoint said how many tokens it counted."""
        return bool(self.input_tokens or self.output_tokens)


@dataclass(frozen=True)
class Spend:
    """What teachers were asked and what it cost."""

    calls: int = 0
    """Calls answered in total, including those found in the ledger."""
    from_ledger: int = 0
    """Of those, how many had been answered before and were not asked again."""
    input_tokens: int = 0
    output_tokens: int = 0
    usd: float | None = None
    """Money, when the recipe gives prices; 0.0 for a local teacher; None when unknown."""
    failed: int = 0
    """Requests that ended without an answer."""
    failures: Mapping[str, int] = field(default_factory=dict)
    """Reasons of the failures, counted."""
    unknown: int = 0
    """Requests that were sent and whose end nobody knows (broken off, timed out): perhaps paid, without an answer."""
    unknown_usd: float | None = None
    """What those may have cost at most, on top of `usd`; None without a budget, under which alone it is bounded."""

    def plus(self, other: Spend) -> Spend:
        """Both together; the money is unknown when either is."""
        known = self.usd is not None and other.usd is not None
        return Spend(
            calls=self.calls + other.calls,
            from_ledger=self.from_ledger + other.from_ledger,
            input_tokens=self.input_tokens + other.input_tokens,
            output_tokens=self.output_tokens + other.output_tokens,
            usd=(self.usd or 0.0) + (other.usd or 0.0) if known else None,
            failed=self.failed + other.failed,
            failures=dict(Counter(self.failures) + Counter(other.failures)),
            unknown=self.unknown + other.unknown,
            unknown_usd=_sum(self.unknown_usd, other.unknown_usd),
        )


@dataclass(frozen=True, slots=True)
class Estimate:
    """A number with its interval; `interval` is None when there is no result (no items)."""

    value: float
    interval: Interval | None = None
    sd: float | None = None
    """Standard deviation over seeds; None with fewer than two."""


@dataclass(frozen=True)
class Row:
    """One line of the result table: a reference, an untrained student, or a student trained in one arm."""

    kind: str
    """`floor` (always the most frequent label), `human`, `untrained`, or `arm`."""
    setting: str
    """The data setting; rows of different settings are never compared."""
    student: str = ""
    arm: str = ""
    method: str = ""
    """How it was trained, in words: `LoRA r 8, alpha 16 (alpha/r 2)`."""
    seeds: tuple[int, ...] = ()
    n: int = 0
    """Number of test items."""
    accuracy: Estimate | None = None
    """Mean over seeds."""
    macro_f1: Estimate | None = None
    recall: Mapping[str, float] = field(default_factory=dict)
    """By label, mean over seeds."""
    confusion: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    """Counts summed over seeds: gold label -> predicted label or `none`."""
    outcomes: Mapping[str, int] = field(default_factory=dict)
    """Counts of the four parse outcomes, summed over seeds."""
    gain_accuracy: Estimate | None = None
    """Difference to the arm `none` of the same student and setting, paired on the same items."""
    gain_macro_f1: Estimate | None = None
    clears_floor: bool | None = None
    """Whether the accuracy lies above the upper end of the floor's own interval."""
    real_items: int = 0
    """Real training items."""
    generated_items: int = 0
    """Generated training items that the filters kept."""
    steps: int = 0
    """Optimiser steps, equal for all arms of a student and setting."""
    cut_prompts: int = 0
    """Test prompts that were shortened to fit the student."""
    seconds: float = 0.0
    """Training time, mean over seeds."""
    seed_scores: tuple[tuple[int, float, float], ...] = ()
    """(seed, accuracy, macro-F1) of every trained model."""


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
    """Requests made to the teacher."""
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


def _sum(one: float | None, other: float | None) -> float | None:
    return None if one is None and other is None else (one or 0.0) + (other or 0.0)


def content_hash(value: Any) -> str:
    """SHA-256 (hex) of a JSON-able value, independent of the order of keys."""
    return hashlib.sha256(_canonical(value).encode("utf-8")).hexdigest()


_canonical = json.JSONEncoder(sort_keys=True, ensure_ascii=False, separators=(",", ":"), default=str).encode


def fingerprint(examples: Iterable[Example]) -> str:
    """Hash of all of examples, in order, that can change what is learnt from them."""
    # A weight of 1 adds nothing, so that what was trained before there were weights is still found.
    return content_hash([(e.id, dict(e.fields), e.label, *([e.weight] if e.weight != 1.0 else [])) for e in examples])
