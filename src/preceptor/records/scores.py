"""What a student answered, and how good that is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum


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
    """How it was computed, in a word or two: `wilson`, `bootstrap`, `bootstrap of whole contexts`, `pivotal draws`."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """A number with its interval; `interval` is None when there is no result (fewer than two items)."""

    value: float
    interval: Interval | None = None
    sd: float | None = None
    """Standard deviation over seeds; None with fewer than two."""


@dataclass(frozen=True, slots=True)
class ReliabilityBin:
    """Answers whose confidence lies between two bounds: how sure they were, and how often right."""

    low: float
    """Confidence from, not included; 0 is."""
    high: float
    """Confidence up to, included."""
    n: int
    """Answers of all seeds."""
    confidence: float
    """Mean confidence."""
    accuracy: float
    """Share that is right."""
    interval: Interval | None = None
    """Wilson's, of the share right, of so many items as one seed has here on average."""


@dataclass(frozen=True)
class Corrected:
    """What a student scores when its preference for labels is taken out by what it says of validation items."""

    n: int
    """Validation items that the correction was made from, the least of any seed."""
    said: Mapping[str, float]
    """Mean probability of each label on validation items, mean over seeds."""
    true: Mapping[str, float]
    """Share of each label among the validation items, one item added to each label."""
    accuracy: Estimate
    macro_f1: Estimate
    recall: Mapping[str, Estimate] = field(default_factory=dict)
    """By label, mean over seeds."""


@dataclass(frozen=True)
class Calibration:
    """Whether a student's probabilities mean what they say, on the test items."""

    bins: int
    """Number of bins of both calibration errors."""
    ece: Estimate
    """Expected calibration error, bins of equal width; 0..1, 0 is best."""
    ece_mass: Estimate
    """The same with bins that hold equally many items."""
    ece_by_chance: float
    """What `ece` is on average, on so many items, for a student whose probabilities are perfect."""
    brier: Estimate
    """Brier's score over all labels; 0..2, 0 is best."""
    reliability: tuple[ReliabilityBin, ...] = ()
    """The bins of equal width that hold an answer, seeds pooled."""
    corrected: Corrected | None = None
    """None where no validation items were answered."""


@dataclass(frozen=True, slots=True)
class SeedAgreement:
    """How alike the answers of one arm's seeds are. An answer without a label counts as an answer of its own kind."""

    seeds: int
    pairwise: Estimate
    """Share of items that two seeds answer alike, mean over all pairs of seeds."""
    kappa: Estimate | None
    """Fleiss' kappa: agreement beyond what the seeds' label shares make likely; None when all always say one label."""


@dataclass(frozen=True)
class TeacherScore:
    """What the teacher that wrote the data says itself to validation items, without having seen any of the data."""

    teacher: str
    reading: str
    """How its answers were read, in words."""
    n: int
    """Validation items."""
    accuracy: Estimate
    """An answer without a label is wrong; the interval is that of a student with one seed."""
    outcomes: Mapping[str, int]
    """Counts of the four parse outcomes, and `no_answer` where a request failed."""
    floor_label: str
    """The most frequent label of these items."""
    floor: Estimate
    """The accuracy of always giving it."""


@dataclass(frozen=True)
class Row:
    """One line of the result table: a reference, a baseline, an untrained student, or one trained in one arm."""

    kind: str
    """`floor` (always the most frequent label), `human`, `baseline`, `untrained`, or `arm`."""
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
    recall_intervals: Mapping[str, Interval | None] = field(default_factory=dict)
    """By label, of `recall`; None with fewer than two items of the label."""
    calibration: Calibration | None = None
    """None where answers have no probabilities: references, and students that generate."""
    agreement: SeedAgreement | None = None
    """None with fewer than two seeds."""
    point: str = ""
    """With `[sweep]`: the name under which the chosen point's weights and predictions lie."""
    missing: str = ""
    """Why an arm has no result, e.g. `not run: nothing was kept`; empty where it has one."""
    remark: str = ""
    """What a reader must know about the arm's training data."""
    teacher: TeacherScore | None = None
    """Of an arm with examples that the teacher wrote, where it was asked."""
    shots: int | None = None
    """A baseline: solved examples before each item."""

    def recall_of(self, label: str) -> Estimate | None:
        """The recall of a label with its interval; None where no test item has the label."""
        if label not in self.recall:
            return None
        return Estimate(self.recall[label], self.recall_intervals.get(label))

    @property
    def arm_words(self) -> str:
        """The arm for people: its name, `untrained`, or `5 shots`."""
        if self.shots is not None:
            return f"{self.shots} shot{'' if self.shots == 1 else 's'}"
        return self.arm or "untrained"
