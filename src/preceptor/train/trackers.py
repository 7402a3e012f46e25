"""Trackers that are told how a training goes: TensorBoard, Weights & Biases, MLflow and trackio, by name.

They get numbers and the settings of training, never a text of the data. Everything stays on this machine: TensorBoard,
W&B (offline) and MLflow write below the run's folder, trackio into its own cache, and none may report its own use. Who
wants a server names it by the tracker's own environment variables (`WANDB_MODE=online`, `MLFLOW_TRACKING_URI`,
`TRACKIO_SERVER_URL`).

A tracker is a guest: when it fails, that is said once, and training goes on without it.
"""

from __future__ import annotations

import contextlib
import importlib.util
import io
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Protocol

from preceptor.errors import MissingPackageError
from preceptor.train.course import Moment


@dataclass(frozen=True, slots=True)
class Place:
    """What a tracker files a training under."""

    folder: Path
    """Where trackers may write."""
    project: str
    run: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    """The settings of training, as plain values."""


class Tracker(Protocol):
    """One tracker with one training open."""

    def log(self, values: Mapping[str, float], step: int) -> None:
        """Take the values of a step."""

    def close(self) -> None:
        """The training is over."""


class _TensorBoard:
    def __init__(self, place: Place) -> None:
        from torch.utils.tensorboard import SummaryWriter

        self.writer: Any = SummaryWriter(str(place.folder / "tensorboard" / place.run))

    def log(self, values: Mapping[str, float], step: int) -> None:
        for name, value in values.items():
            self.writer.add_scalar(name, value, step)

    def close(self) -> None:
        self.writer.close()


class _WandB:
    def __init__(self, place: Place) -> None:
        os.environ.setdefault("WANDB_ERROR_REPORTING", "false")
        import wandb

        place.folder.mkdir(parents=True, exist_ok=True)
        self.run: Any = wandb.init(
            project=place.project,
            name=place.run,
            dir=str(place.folder),
            config=dict(place.settings),
            mode=None if "WANDB_MODE" in os.environ else "offline",
            settings=wandb.Settings(silent=True, console="off", disable_git=True, disable_code=True),
        )

    def log(self, values: Mapping[str, float], step: int) -> None:
        self.run.log(dict(values), step=step)

    def close(self) -> None:
        self.run.finish()


class _MLflow:
    def __init__(self, place: Place) -> None:
        os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
        from mlflow import MlflowClient

        place.folder.mkdir(parents=True, exist_ok=True)
        here = f"sqlite:///{(place.folder / 'mlflow.db').resolve()}"
        self.client: Any = MlflowClient(tracking_uri=os.environ.get("MLFLOW_TRACKING_URI", here))
        known = self.client.get_experiment_by_name(place.project)
        files = (place.folder / "mlflow-files").resolve().as_uri()
        group = known.experiment_id if known else self.client.create_experiment(place.project, artifact_location=files)
        self.id = self.client.create_run(group, run_name=place.run).info.run_id
        for name, value in place.settings.items():
            self.client.log_param(self.id, name, value)

    def log(self, values: Mapping[str, float], step: int) -> None:
        for name, value in values.items():
            self.client.log_metric(self.id, name, value, step=step)

    def close(self) -> None:
        self.client.set_terminated(self.id)


class _Trackio:
    def __init__(self, place: Place) -> None:
        import trackio

        self.module: Any = trackio
        trackio.init(
            project=place.project,
            name=place.run,
            config=dict(place.settings),
            resume="allow",
            embed=False,
            auto_log_gpu=False,
            auto_log_cpu=False,
        )

    def log(self, values: Mapping[str, float], step: int) -> None:
        self.module.log(dict(values), step=step)

    def close(self) -> None:
        self.module.finish()


KINDS: dict[str, tuple[str, Callable[[Place], Tracker]]] = {
    "tensorboard": ("tensorboard", _TensorBoard),
    "wandb": ("wandb", _WandB),
    "mlflow": ("mlflow", _MLflow),
    "trackio": ("trackio", _Trackio),
}
"""Name in a recipe -> package, and what opens it."""


def check_trackers(names: Sequence[str]) -> None:
    """Raise `MissingPackageError` for a tracker whose package is not installed."""
    for name in names:
        package = KINDS[name][0]
        if importlib.util.find_spec(package) is None:
            raise MissingPackageError.of(package, f'train.track = ["{name}"]', f"pip install {package}")


class Trackers:
    """The trackers of one training, opened at the first step. One that fails is left out from then on."""

    def __init__(self, names: Sequence[str], place: Place, say: Callable[[str], None]) -> None:
        check_trackers(names)
        self.names = names
        self.place = place
        self.say = say
        self._open: dict[str, Tracker] | None = None

    def log(self, moment: Moment) -> None:
        """Tell them how the training stands after a step; validation only after the step it was looked at."""
        if self._open is None:
            self._open = {}
            for name in self.names:
                self._safely(name, partial(self._begin, self._open, name))
        values = values_of(moment)
        for name, tracker in list(self._open.items()):
            self._safely(name, partial(tracker.log, values, moment.step))

    def close(self) -> None:
        """Let all of them finish."""
        for name, tracker in list((self._open or {}).items()):
            self._safely(name, tracker.close)
        self._open = None

    def _begin(self, opened: dict[str, Tracker], name: str) -> None:
        opened[name] = KINDS[name][1](self.place)

    def _safely(self, name: str, act: Callable[[], None]) -> None:
        try:
            with contextlib.redirect_stdout(io.StringIO()):  # stdout is for the run's own result
                act()
        except Exception as error:  # noqa: BLE001 - whatever a guest raises, the training goes on
            if self._open is not None:
                self._open.pop(name, None)
            reason = (str(error).splitlines() or [""])[0][:200]
            self.say(f"The tracker {name} failed and is left out from here on ({type(error).__name__}: {reason}).")


def values_of(moment: Moment) -> dict[str, float]:
    """What trackers are told of a moment."""
    values = {
        "train/loss": moment.loss,
        "train/learning_rate": moment.learning_rate,
        "train/tokens_per_s": moment.tokens_per_s,
    }
    check = moment.check
    if check is not None and check.step == moment.step:
        told = {"loss": check.loss, "accuracy": check.accuracy, "macro_f1": check.macro_f1}
        values |= {f"validation/{name}": value for name, value in told.items() if value is not None}
    return values
