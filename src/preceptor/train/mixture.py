"""Training batches from several sources, each with the share that an arm gives it; and what is held out of them."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from preceptor.config import TrainSettings
from preceptor.errors import DataError
from preceptor.records import Instruction
from preceptor.train.batches import POOL, TrainingItem, cut

HELD_OUT_SHARE = 0.05
"""Share of an arm's tasks that validation takes."""
HELD_OUT_MOST = 64
"""Tasks of validation at most: its loss is looked at several times in a training that may be short."""
HELD_OUT_OF_A_SOURCE = 0.1
"""Share of a small source that validation takes at most, whatever the source weighs."""


def mixture(
    sources: Mapping[str, Sequence[TrainingItem]], weights: Mapping[str, float], settings: TrainSettings, seed: int
) -> Iterator[list[TrainingItem]]:
    """Batches without end, within the settings' size and tokens; deterministic by `seed`.

    The source of each item is drawn by its weight, whatever the sources' sizes; each source gives its items in an
    order drawn afresh for every pass, so none comes twice before all came once. As in `one_pass`, the items of `POOL`
    batches are sorted by length together, which moves items between batches and changes no source's share.
    """
    names = sorted(sources)
    shares = np.array([weights[name] for name in names], dtype=float)
    shares /= shares.sum()
    draws, orders = np.random.default_rng([seed, 0]), np.random.default_rng([seed, 1])
    streams = [_passes(sources[name], [seed, 2 + number]) for number, name in enumerate(names)]
    while True:
        drawn = draws.choice(len(names), size=POOL * settings.batch_size, p=shares)
        pool = sorted((next(streams[number]) for number in drawn), key=lambda item: item.length)
        batches = list(cut(pool, settings))
        yield from (batches[i] for i in orders.permutation(len(batches)))


def _passes(items: Sequence[TrainingItem], key: Sequence[int]) -> Iterator[TrainingItem]:
    number = 0
    while True:
        yield from (items[i] for i in np.random.default_rng([*key, number]).permutation(len(items)))
        number += 1


def hold_out(
    sources: Mapping[str, Sequence[Instruction]], weights: Mapping[str, float], seed: int
) -> tuple[dict[str, list[Instruction]], list[Instruction]]:
    """The sources without the tasks that validation takes, and these: 5 % of all tasks, 64 at most, drawn by `seed`.

    Each source gives by its weight, as it does to training, but a tenth of itself at most (at least one task). A task
    that several sources hold leaves all of them. Raises `DataError` for a source of fewer than two different tasks.
    """
    known = {name: {_content(item): item for item in items} for name, items in sources.items()}
    for name, items in known.items():
        if len(items) < 2:
            raise DataError(
                f"The source {name!r} has {len(items)} different tasks; one is kept for validation, so two are needed.",
                "Leave the source out of the arm, or give it more tasks.",
            )
    every = set().union(*known.values())
    wanted = min(HELD_OUT_MOST, math.ceil(HELD_OUT_SHARE * len(every)))
    total = sum(weights[name] for name in sources)
    taken: dict[tuple[str, str, str], Instruction] = {}
    for number, name in enumerate(sorted(known)):
        own = list(known[name].items())
        most = max(1, int(HELD_OUT_OF_A_SOURCE * len(own)))
        count = min(most, max(1, round(wanted * weights[name] / total)))
        order = np.random.default_rng([seed, number]).permutation(len(own))
        taken |= dict(own[i] for i in order[:count])
    left = {name: [item for item in items if _content(item) not in taken] for name, items in sources.items()}
    return left, list(taken.values())


def _content(item: Instruction) -> tuple[str, str, str]:
    return item.instruction.strip(), item.input.strip(), item.output.strip()
