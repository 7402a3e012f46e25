"""What goes along with the training of a stage: its checkpoints, the time that is left, progress and trackers."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from preceptor.config import TrainSettings
from preceptor.pipeline.deadline import Deadline
from preceptor.progress import Advance, Progress
from preceptor.store.stages import Stage

if TYPE_CHECKING:
    from preceptor.train.course import Moment
    from preceptor.train.upkeep import Upkeep

TRACKING = "tracking"
"""Folder of a run into which trackers write."""

FEW_UPDATES = 20
"""Below so many optimiser updates a training is warned of: the first paper's settings make 5 an epoch of 450 items."""


def accompany(
    stage: Stage,
    settings: TrainSettings,
    name: tuple[str, str],
    folder: Path,
    deadline: Deadline,
    progress: Progress,
    advance: Advance,
) -> Upkeep:
    """What goes along with the training of `stage`. `name` is that of the run and of the cell, `folder` the run's."""
    from preceptor.train.checkpoints import Checkpoints
    from preceptor.train.trackers import Place, Trackers
    from preceptor.train.upkeep import Upkeep

    project, cell = name

    def say(sentence: str) -> None:
        progress.say(f"{cell}: {sentence}")

    def watch(moment: Moment) -> None:
        # In thousandths: the number of steps is only known once the items are tokenised.
        advance(1000 * moment.step // moment.steps, moment.words, moment.seconds_left)

    place = Place(folder / TRACKING, project, cell, settings.deciding())
    return Upkeep(
        checkpoints=Checkpoints(
            stage.checkpoints,
            stage.identity,
            seconds=settings.checkpoint_seconds,
            every=settings.checkpoint_every,
            say=say,
        ),
        watch=watch,
        trackers=Trackers(settings.track, place, say) if settings.track else None,
        over=lambda: deadline.over,
        command=deadline.command,
        say=say,
    )


def updates(items: int, steps: int, item: str = "item") -> str:
    """How many optimiser updates the settings make with the items, and a warning where they are few."""
    made = f"{items} {item}s make {steps} update{'' if steps == 1 else 's'}"
    if steps >= FEW_UPDATES:
        return made
    return (
        f"{made}. Warning: fewer than {FEW_UPDATES} hardly move a student; lower train.accumulation or "
        "train.batch_tokens, or raise train.epochs, or train.steps where that is given"
    )
