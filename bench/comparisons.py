"""How often a comparison of two equally good sides finds a gap, and how often one of the promised size, by simulation.

    python bench/comparisons.py [--quick]

Items differ in how hard they are, seeds in how good they are (by the spread, a standard deviation in points), and
every answer has noise of its own. Counted are the exact test alone, the bootstrap's interval alone, and both together,
which is what `preceptor compare` calls a gain or loss.
"""
# ruff: noqa: N803, N806 - array names end in the letters of their dimensions: S seeds, I items

from __future__ import annotations

import argparse
import json
import math
import time
from dataclasses import asdict, dataclass
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from preceptor.evaluate.compare import exact_flips
from preceptor.evaluate.power import discordance, seed_variance, smallest_detectable
from preceptor.evaluate.statistics import paired_gain

ITEMS, ACCURACY, NOISE = 500, 0.68, 0.45
CASES = [(1, 0.0), (1, 0.01), (1, 0.03), (3, 0.0), (3, 0.01), (3, 0.03), (5, 0.0), (5, 0.01), (5, 0.03)]

Right = NDArray[np.bool_]


@dataclass(frozen=True)
class Line:
    """Shares of simulated comparisons that were called different."""

    seeds: int
    spread: float
    gap: float
    by_test: float
    by_interval: float
    by_both: float
    detectable: float
    """Median over the comparisons."""


def side(rng: np.random.Generator, ease_I: NDArray[np.float64], accuracy: float, seeds: int, spread: float) -> Right:
    """Which items each seed has right."""
    shares = np.clip(rng.normal(accuracy, spread, seeds), 0.01, 0.99)
    bounds_S = math.hypot(1, NOISE) * np.array([NormalDist().inv_cdf(share) for share in shares])
    right_SI: Right = ease_I + rng.normal(0, NOISE, (seeds, len(ease_I))) < bounds_S[:, None]
    return right_SI


def simulate(seeds: int, spread: float, gap: float, trials: int, resamples: int) -> Line:
    """Compare `trials` pairs of sides whose true accuracies are `gap` apart."""
    rng, gold_I, found, gaps = np.random.default_rng(7), np.zeros(ITEMS, dtype=np.int64), [], []
    for trial in range(trials):
        ease_I = rng.normal(0, 1, ITEMS)
        base_SI, arm_SI = (side(rng, ease_I, ACCURACY + shift, seeds, spread) for shift in (0.0, gap))
        p = exact_flips(arm_SI.sum(axis=0).astype(np.int64) - base_SI.sum(axis=0))
        gain = paired_gain(gold_I, np.where(arm_SI, 0, 1), np.where(base_SI, 0, 1), 2, resamples, trial).accuracy
        assert gain.interval is not None
        found.append((p < 0.05, gain.interval.low > 0 or gain.interval.high < 0))
        psi = discordance(arm_SI.mean(axis=0) - base_SI.mean(axis=0))
        variance = seed_variance(base_SI.astype(np.float64)).plus(seed_variance(arm_SI.astype(np.float64)))
        gaps.append(smallest_detectable(ITEMS, psi, variance) or math.nan)
    by_test, by_interval = np.array(found).T
    both = float((by_test & by_interval).mean())
    return Line(seeds, spread, gap, float(by_test.mean()), float(by_interval.mean()), both, float(np.median(gaps)))


def main() -> None:
    """Print both tables, then one line of JSON."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="fewer comparisons")
    trials, resamples = (20, 100) if parser.parse_args().quick else (500, 500)
    start, lines = time.process_time(), []
    print("seeds  spread    gap  by test  by interval  by both  can be found")
    for seeds, spread in CASES:
        null = simulate(seeds, spread, 0.0, trials, resamples)
        lines += [null, simulate(seeds, spread, round(null.detectable, 3), trials, resamples)]
    for line in sorted(lines, key=lambda one: one.gap > 0):
        print(
            f"{line.seeds:>5}  {line.spread:>6.2f}  {line.gap:>5.3f}  {line.by_test:>7.3f}  {line.by_interval:>11.3f}"
            f"  {line.by_both:>7.3f}  {line.detectable:>12.3f}"
        )
    figures = {"items": ITEMS, "trials": trials, "cpu_seconds": round(time.process_time() - start, 1)}
    print(json.dumps({**figures, "lines": [asdict(line) for line in lines]}))


if __name__ == "__main__":
    main()
