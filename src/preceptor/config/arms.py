"""`[arms]`: what each arm of an experiment on a task with labels is trained on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from preceptor.config.augment import STRATEGIES
from preceptor.config.base import Section, Seed

BASELINE = "none"
"""The arm of the real data alone, to which the others are compared."""


class ArmSettings(Section):
    """One arm: `rewrite = ["rewrite"]` is short for `rewrite = { use = ["rewrite"] }`."""

    use: tuple[Literal["rewrite", "new", "edit", "published"], ...] = ()
    """Strategies whose kept examples it is trained on."""
    real: bool = True
    """Whether the real items are trained on too. Without them the number of steps still follows from theirs."""
    labels: Literal["own", "shuffled"] = "own"
    """`shuffled`: the labels of the generated examples change places among them; the real items keep theirs."""
    seed: Seed = 0
    """Of the permutation; every training seed has one of its own."""


def long_forms(arms: Any) -> Any:
    """Every arm as a table. Raises `ValueError` naming the arm whose strategies or form do not exist."""
    if not isinstance(arms, Mapping):
        return arms
    return {name: _long(f"arms.{name}", arm) for name, arm in arms.items()}


def _long(key: str, arm: Any) -> Any:
    if isinstance(arm, ArmSettings):
        return arm
    if not isinstance(arm, list | tuple | Mapping):
        raise ValueError(f"{key} = {arm!r}: an arm is a list of strategies, or a table with use, real, labels and seed")
    long = dict(arm) if isinstance(arm, Mapping) else {"use": arm}
    use = long.get("use", ())
    for strategy in use if isinstance(use, list | tuple) else ():
        if strategy not in STRATEGIES:
            where = f"{key}.use" if isinstance(arm, Mapping) else key
            raise ValueError(f"{where}: there is no strategy {strategy!r}; there are {', '.join(STRATEGIES)}")
    return long


def check_arms(arms: Mapping[str, ArmSettings]) -> None:
    """Raise `ValueError` for arms that cannot be trained or do not mean what they say."""
    if not arms:
        raise ValueError("arms: at least one arm is needed")
    for name, arm in arms.items():
        if twice := [s for s in STRATEGIES if arm.use.count(s) > 1]:
            raise ValueError(f"arms.{name}.use names {twice[0]!r} twice")
        if not arm.real and not arm.use:
            raise ValueError(f"arms.{name}.real = false leaves nothing to train on: name strategies in arms.{name}.use")
        if arm.labels == "shuffled" and not arm.use:
            raise ValueError(
                f'arms.{name}.labels = "shuffled" is about generated examples, and there are none: name strategies in '
                f"arms.{name}.use"
            )
    if BASELINE in arms and arms[BASELINE].use:
        raise ValueError("arms.none is the real data alone, to which the others are compared: give it no strategies")
    if "untrained" in arms:
        raise ValueError("arms.untrained: this name means the student as it came; choose another")
