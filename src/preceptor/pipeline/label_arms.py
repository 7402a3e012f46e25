"""What the arms of an experiment on a task with labels are trained on, and what a reader must know about it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from preceptor.augment.controls import shuffled
from preceptor.config import ArmSettings, strategy_of
from preceptor.pipeline.label_run import Cell, Run
from preceptor.records import Example

NOTHING_KEPT = "not run: nothing was kept"
FEW = 0.25
"""A permutation that changes less than this share of the labels says little about them."""


def arm_of(state: Run, cell: Cell) -> ArmSettings:
    """The arm's settings; of the untrained student those of an arm without anything generated."""
    return state.recipe.arms[cell.arm] if cell.arm else ArmSettings()


def groups_for(state: Run, cell: Cell) -> dict[str, list[Example]]:
    """Kept examples of the arm's strategies, with the labels that this cell is trained on."""
    arm = arm_of(state, cell)
    groups: dict[str, list[Example]] = {name: list(state.kept[cell.setting, name]) for name in arm.makes}
    return shuffled(groups, (arm.seed, cell.seed)) if arm.labels == "shuffled" else groups


def generated_for(state: Run, cell: Cell) -> list[Example]:
    """All of them, in the order of the arm's strategies."""
    return [example for group in groups_for(state, cell).values() for example in group]


def nothing_kept(state: Run, cell: Cell) -> bool:
    """Whether an arm with generated examples has none: trained, it would pass for a copy of `none`.

    Known once the filters have run.
    """
    arm = arm_of(state, cell)
    return bool(arm.use) and not any(state.kept[cell.setting, name] for name in arm.makes)


def missing(state: Run, cell: Cell) -> str:
    """Why an arm is not run, or nothing."""
    return NOTHING_KEPT if nothing_kept(state, cell) else ""


def remark_on(state: Run, cells: Sequence[Cell]) -> str:
    """What must be known about the training data of an arm's cells, one per seed; often nothing."""
    arm, first = arm_of(state, cells[0]), cells[0]
    kept: dict[str, Sequence[Example]] = {name: state.kept[first.setting, name] for name in arm.makes}
    if not any(kept.values()):
        return ""
    said = [f"nothing was kept of {strategy_of(name)[0]}" for name, examples in kept.items() if not examples]
    if arm.labels == "shuffled":
        said.append(_shuffling(state, cells, kept))
    return "; ".join(said)


def _shuffling(state: Run, cells: Sequence[Cell], kept: Mapping[str, Sequence[Example]]) -> str:
    before = [example.label for examples in kept.values() for example in examples]
    changed = [
        sum(old != new.label for old, new in zip(before, generated_for(state, cell), strict=True)) for cell in cells
    ]
    of_seeds = ", ".join(f"{n} of {len(before)} (seed {cell.seed})" for n, cell in zip(changed, cells, strict=True))
    said = f"labels permuted with seed {arm_of(state, cells[0]).seed}; another label than before: {of_seeds}"
    if min(changed) < FEW * len(before):
        said += "; so few differ in label that this says little"
    return said
