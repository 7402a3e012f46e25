"""How often a sweep's report says that two students depend differently on their settings, by simulation.

    python bench/sensitivity.py [--quick]

Each simulated sweep has answers of two students at several points, with several seeds, on the same 300 items. Items
differ in ease, more so from point to point, and every answer has noise of its own; seeds differ by a standard deviation
in points of accuracy. `pivot` is what the report goes by (`preceptor.evaluate.sensitivity`), `range` and `sd` are the
bootstrap intervals of the difference of ranges and of standard deviations, which it also shows. Beside them the
standard deviation of the true scores, and the root of the mean corrected variance, for both students.
"""
# ruff: noqa: N803, N806 - array names end in the letters of their dimensions: P points, S seeds, U items, B draws

from __future__ import annotations

import argparse
import json
import time
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from preceptor.evaluate.sensitivity import components, draws, two_sided

ITEMS, ACCURACY, DRAWS = 300, 0.6, 500
POINT, ANSWER = 0.3, 0.45
"""Noise in the ease of an item: of a point, whatever the seed, and of a single answer."""

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Student:
    """Points of one student, in points of accuracy."""

    effects: tuple[float, ...]
    """Where the true scores lie."""
    noise: tuple[float, ...]
    """Standard deviation between seeds, by point."""

    @property
    def variance(self) -> float:
        """Of the true scores in 0..1."""
        return float(np.var(self.effects, ddof=1)) / 1e4


def student(points: int, sd: float, *noise: float) -> Student:
    """Evenly spaced true scores with this standard deviation; one noise for all points, or one for each."""
    steps = np.arange(points) - (points - 1) / 2
    return Student(tuple(sd * steps / steps.std(ddof=1)), noise if len(noise) > 1 else noise * points)


NULLS = {
    "equal noise": (student(6, 0, 2), student(6, 0, 2)),
    "noise of items alone": (student(6, 0, 0), student(6, 0, 0)),
    "noise 0.6 v 8": (student(6, 0, 0.6), student(6, 0, 8)),
    "6 v 3 points": (student(6, 0, 2), student(3, 0, 2)),
    "6 v 3 points, noise 8 v 0.6": (student(6, 0, 8), student(3, 0, 0.6)),
    "6 v 3 points, noise 0.6 v 8": (student(6, 0, 0.6), student(3, 0, 8)),
    "one point wobbles": (student(6, 0, 0.6), student(6, 0, 8, 0.6, 0.6, 0.6, 0.6, 0.6)),
    "both 5": (student(6, 5, 2), student(6, 5, 2)),
    "both 5, noise 0.6 v 8": (student(6, 5, 0.6), student(6, 5, 8)),
    "both 5, 6 v 3 points": (student(6, 5, 2), student(3, 5, 2)),
}
EFFECTS = {
    "10 v 0": (student(6, 10, 2), student(6, 0, 2)),
    "5 v 0": (student(6, 5, 2), student(6, 0, 2)),
    "10 v 4": (student(6, 10, 2), student(6, 4, 2)),
    "10 v 0, noise 2 v 8": (student(6, 10, 2), student(6, 0, 8)),
}


def answers(rng: np.random.Generator, ease_U: Floats, one: Student, seeds: int) -> Floats:
    """Right (1) or wrong (0), shape (P, S, U)."""
    luck_PS = rng.normal(0, 1, (len(one.noise), seeds)) * np.array(one.noise)[:, None]
    share_PS = np.clip(ACCURACY + (np.array(one.effects)[:, None] + luck_PS) / 100, 0.01, 0.99)
    bound_PS = np.vectorize(NormalDist(0, np.sqrt(1 + POINT**2 + ANSWER**2)).inv_cdf)(share_PS)
    ease_PU = ease_U + rng.normal(0, POINT, (len(one.noise), len(ease_U)))
    noise_PSU = rng.normal(0, ANSWER, (*share_PS.shape, len(ease_U)))
    return (ease_PU[:, None] + noise_PSU < bound_PS[:, :, None]).astype(np.float64)


def resampled(rng: np.random.Generator, pair: list[Floats]) -> list[Floats]:
    """Scores of every point over items and seeds drawn again, the same ones for both students, shape (B, P) each."""
    _, seeds, units = pair[0].shape
    items_BU = rng.multinomial(units, np.full(units, 1 / units), size=DRAWS) / units
    seeds_BS = rng.multinomial(seeds, np.full(seeds, 1 / seeds), size=DRAWS) / seeds
    return [np.einsum("bps,bs->bp", np.tensordot(items_BU, one, (1, 2)), seeds_BS) for one in pair]


def simulate(
    pair: tuple[Student, Student], trials: int, seeds: int, *, bootstrap: bool = False
) -> tuple[dict[str, float], Floats]:
    """Share of sweeps in which the two are called different, by method; corrected variances, shape (trials, 2)."""
    rng, called, corrected = np.random.default_rng(11), [], []
    for _ in range(trials):
        ease_U = rng.normal(0, 1, ITEMS)
        said = [answers(rng, ease_U, one, seeds) for one in pair]
        known = [part for part in map(components, said) if part is not None]
        first_B, second_B = (draws(part, seeds, DRAWS, rng) for part in known)
        row = {"pivot": two_sided(np.sqrt(first_B) - np.sqrt(second_B)) < 0.05}
        if bootstrap:
            one_BP, two_BP = resampled(rng, said)
            row["range"] = _apart(np.ptp(one_BP, axis=1) - np.ptp(two_BP, axis=1))
            row["sd"] = _apart(one_BP.std(axis=1, ddof=1) - two_BP.std(axis=1, ddof=1))
        called.append(row)
        corrected.append([part.corrected for part in known])
    return {name: float(np.mean([row[name] for row in called])) for name in called[0]}, np.array(corrected)


def _apart(draws_B: Floats) -> bool:
    low, high = np.quantile(draws_B, [0.025, 0.975])
    return bool(low > 0 or high < 0)


def main() -> None:
    """Print a table, then one line of JSON."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="few sweeps")
    trials = 5 if parser.parse_args().quick else 500
    start, lines = time.process_time(), []
    print(f"seeds  {'sweep':<28}  pivot  range     sd  true sd      found")
    for seeds in (3, 5):
        for name, pair in {**NULLS, **EFFECTS}.items():
            shares, corrected = simulate(pair, trials, seeds, bootstrap=True)
            true = [100 * one.variance**0.5 for one in pair]
            found = (100 * np.sqrt(np.maximum(corrected.mean(axis=0), 0))).tolist()
            lines.append({"seeds": seeds, "sweep": name, **shares, "true": true, "found": found})
            told = "  ".join(f"{shares[one]:.3f}" for one in ("pivot", "range", "sd"))
            told += f"  {true[0]:4.1f} {true[1]:4.1f}  {found[0]:5.2f} {found[1]:5.2f}"
            print(f"{seeds:>5}  {name:<28}  {told}", flush=True)
    figures = {"items": ITEMS, "trials": trials, "cpu_seconds": round(time.process_time() - start, 1)}
    print(json.dumps({**figures, "lines": lines}))


if __name__ == "__main__":
    main()
