"""`[arms]`: what each arm of an experiment on a task with labels is trained on."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

from preceptor.config.augment import ASKING, STRATEGIES
from preceptor.config.base import Name, Section, Seed

if TYPE_CHECKING:
    from preceptor.config.train import StudentSettings

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
    teacher: Name | None = None
    """Which of `[teachers]` wrote its examples. None: the one of `[teacher]`."""
    settings: tuple[Name, ...] = ()
    """Data settings in which it is trained; empty: all of them."""

    def belongs_to(self, setting: str) -> bool:
        """Whether it is trained in a data setting."""
        return meet(self.settings, (setting,))

    @property
    def makes(self) -> tuple[str, ...]:
        """What it is trained on beside the real items, as `written_by` names it."""
        return tuple(written_by(strategy, self.teacher or "") for strategy in self.use)


def written_by(strategy: str, teacher: str) -> str:
    """`rewrite` of the usual teacher (an empty name), `rewrite@adapted` of a further one; `edit` asks none.

    The name of folders below `augment/<setting>/` and `filter/<setting>/`.
    """
    return f"{strategy}@{teacher}" if teacher and strategy in ASKING else strategy


def strategy_of(made: str) -> tuple[str, str]:
    """The strategy and the further teacher, if any, of what `written_by` gave."""
    strategy, _, teacher = made.partition("@")
    return strategy, teacher


def long_forms(arms: Any) -> Any:
    """Every arm as a table. Raises `ValueError` naming the arm whose strategies or form do not exist."""
    if not isinstance(arms, Mapping):
        return arms
    return {name: _long(f"arms.{name}", arm) for name, arm in arms.items()}


def _long(key: str, arm: Any) -> Any:
    if isinstance(arm, ArmSettings):
        return arm
    if not isinstance(arm, list | tuple | Mapping):
        raise ValueError(
            f"{key} = {arm!r}: an arm is a list of strategies, or a table with use, real, labels, seed, teacher and "
            "settings"
        )
    long = dict(arm) if isinstance(arm, Mapping) else {"use": arm}
    use = long.get("use", ())
    for strategy in use if isinstance(use, list | tuple) else ():
        if strategy not in STRATEGIES:
            where = f"{key}.use" if isinstance(arm, Mapping) else key
            raise ValueError(f"{where}: there is no strategy {strategy!r}; there are {', '.join(STRATEGIES)}")
    return long


def check_arms(
    arms: Mapping[str, ArmSettings], teachers: Collection[str] = (), answering: Collection[str] = ()
) -> None:
    """Raise `ValueError` for arms that cannot be trained or do not mean what they say.

    `teachers` are the names in `[teachers]`, `answering` those that baselines name. One that neither an arm nor a
    baseline names is refused: it is taken for an arm that forgot to.
    """
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
        if arm.teacher is not None:
            _check_teacher(name, arm, arm.teacher, teachers)
    named = {*answering, *(arm.teacher for arm in arms.values())}
    if unused := [name for name in teachers if name not in named]:
        raise ValueError(
            f"teachers.{unused[0]} writes for no arm: name it in an arm's key teacher or a baseline's, or leave it out"
        )
    if BASELINE in arms and arms[BASELINE].use:
        raise ValueError("arms.none is the real data alone, to which the others are compared: give it no strategies")
    if "untrained" in arms:
        raise ValueError("arms.untrained: this name means the student as it came; choose another")


def check_places(arms: Mapping[str, ArmSettings], known: Sequence[str], students: Sequence[StudentSettings]) -> None:
    """Raise `ValueError` for arms in settings that there are not, and for settings whose students no arm trains.

    `known` are the settings of `[data]`. An arm that no student would be trained in is refused too.
    """
    for name, arm in arms.items():
        if unknown := [setting for setting in arm.settings if setting not in known]:
            raise ValueError(f"arms.{name}.settings: {unknown[0]!r} is not in data.settings = {list(known)}")
        if students and not any(meet(arm.settings, student.settings) for student in students):
            raise ValueError(f"arms.{name}.settings = {list(arm.settings)}: no student is trained there")
    for setting in known:
        trained = any(meet(student.settings, (setting,)) for student in students)
        if trained and not any(arm.belongs_to(setting) for arm in arms.values()):
            raise ValueError(
                f"arms: no arm is trained in the setting {setting!r}: name it in the key settings of one, or take it "
                "out of data.settings"
            )


def meet(one: Collection[str], other: Collection[str]) -> bool:
    """Whether two keys `settings`, of which an empty one means all, have a setting in common."""
    return not one or not other or bool(set(one) & set(other))


def known_teachers(teachers: Collection[str]) -> str:
    """The names in `[teachers]`, for the end of a sentence."""
    if not teachers:
        return "the recipe has no table [teachers.NAME]"
    return f"there {'is only' if len(teachers) == 1 else 'are'} {', '.join(teachers)}"


def _check_teacher(name: str, arm: ArmSettings, teacher: str, teachers: Collection[str]) -> None:
    if teacher not in teachers:
        raise ValueError(f"arms.{name}.teacher: there is no teacher {teacher!r}; {known_teachers(teachers)}")
    if not set(arm.use) & set(ASKING):
        raise ValueError(
            f"arms.{name}.teacher = {teacher!r}, but none of its strategies asks a teacher: {' and '.join(ASKING)} do"
        )
