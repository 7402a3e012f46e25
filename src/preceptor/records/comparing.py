"""What `preceptor compare` says about two sets of students."""

from __future__ import annotations

from dataclasses import dataclass

from preceptor.records.scores import Estimate


@dataclass(frozen=True, slots=True)
class SeedPair:
    """Two trained students on the same items, one of each side."""

    baseline_seed: int
    arm_seed: int
    lost: int
    """Items that only the baseline has right."""
    won: int
    """Items that only the arm has right."""
    p: float | None
    """Exact McNemar, two-sided; None with fewer than two items."""


@dataclass(frozen=True)
class Comparison:
    """An arm against its baseline on the same items of one setting."""

    baseline: str
    """Its name in words."""
    arm: str
    """Its name in words."""
    setting: str
    """Empty where the predictions do not say it."""
    n: int
    """Items that both answered."""
    contexts: int
    """Independent contexts among them; `n` where none is shared."""
    baseline_seeds: int
    arm_seeds: int
    baseline_accuracy: Estimate
    arm_accuracy: Estimate
    gain_accuracy: Estimate
    """Mean over seeds, arm minus baseline, with the paired bootstrap's interval over items and seeds."""
    gain_macro_f1: Estimate
    pairs: tuple[SeedPair, ...]
    """Seed by seed."""
    discordance: float
    """Mean over items of the squared difference of both sides' share of seeds that are right: with one seed each, the
    share of items that exactly one of them has right."""
    p: float | None
    """Exact McNemar over all seeds together, two-sided; None with fewer than two items."""
    p_holm: float | None
    """The same after Holm's correction over all comparisons made together."""
    detectable: float | None
    """Smallest gap in accuracy that is found, by test and interval, with 80 % power at level .05, given these items,
    these seeds' variance and this discordance; None when both sides gave the same answers, or there is no result."""
    detectable_in_family: float | None
    """The same at .05 divided by the number of comparisons, the first step of Holm's correction."""
    verdict: str
    """`gain` or `loss` where Holm's p is below .05 and the interval leaves out 0, else `noise`; `no result`."""
