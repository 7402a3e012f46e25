"""Continued training of a language model on unlabelled text, stage by stage.

    data      read documents, drop copies and leaks, hold documents out               data/
    evaluate  perplexity of the held-out test documents, before                       evaluate/before/
    train     packed windows of the training documents, the loss of every token       train/
    model     a plain model folder that other recipes name as a student or teacher    model/
    evaluate  the same documents again, read by the model in that folder              evaluate/after/
    report    perplexity before and after, and what was read                          report.html, results.json

The state that is kept is selected on validation documents; the test documents are read by the first and the last model
alone.
"""

from __future__ import annotations

import gc
import shutil
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

from preceptor.config import AdaptRecipe
from preceptor.data.documents import Document
from preceptor.errors import RecipeError
from preceptor.evaluate.perplexity import Text, compare, read_losses, read_written, write_losses
from preceptor.pipeline.accompany import accompany, updates
from preceptor.pipeline.deadline import Deadline
from preceptor.pipeline.documents import PARTS, Corpus, obtain_documents
from preceptor.pipeline.named_models import refuse_absent_of_adaptation
from preceptor.pipeline.pool import attempt
from preceptor.pipeline.presets import settled_adaptation
from preceptor.pipeline.processes import driving
from preceptor.pipeline.resolve import resolved
from preceptor.progress import Progress
from preceptor.records import AdaptSummary, content_hash
from preceptor.report.build_adapt import build_adapt
from preceptor.store.provenance import provenance
from preceptor.store.stages import (
    Stage,
    identity,
    made_by,
    read_json,
    refuse_foreign,
    sole_writer,
    write_json,
    write_text,
)

VERSIONS = {"train": 1, "model": 1, "evaluate": 1}
"""Raise a stage's number when its code gives other results."""

FIT = "fit.json"
LOSSES = "documents.parquet"


@dataclass(frozen=True)
class State:
    """One run's recipe and folder, and the stages that follow from its documents."""

    recipe: AdaptRecipe
    folder: Path
    progress: Progress
    command: str
    corpus: Corpus
    deadline: Deadline

    @property
    def name(self) -> str:
        """Its training as a file's name."""
        return f"adapt-seed-{self.recipe.seed}"

    @property
    def before(self) -> Stage:
        """What the model as it came makes of the test documents."""
        model = self.recipe.adapt.model
        inputs = {"model": model, **made_by(model), **self._reading}
        return Stage(self.folder / "evaluate" / "before", identity(VERSIONS["evaluate"], inputs))

    @property
    def train(self) -> Stage:
        """The trained weights."""
        recipe, split = self.recipe, self.corpus.split
        inputs = {
            "model": recipe.adapt.model,
            **made_by(recipe.adapt.model),
            "settings": recipe.train.deciding(),
            "length": recipe.adapt.length,
            "seed": recipe.seed,
            "train": _hash(split.train),
            "validation": _hash(split.validation),
        }
        return Stage(self.folder / "train", identity(VERSIONS["train"], inputs))

    @property
    def model(self) -> Stage:
        """The plain model folder."""
        return Stage(self.folder / "model", identity(VERSIONS["model"], {"trained": self.train.identity}))

    @property
    def after(self) -> Stage:
        """What the adapted model makes of the test documents."""
        inputs = {"adapted": self.model.identity, **self._reading}
        return Stage(self.folder / "evaluate" / "after", identity(VERSIONS["evaluate"], inputs))

    @property
    def _reading(self) -> dict[str, Any]:
        recipe = self.recipe
        return {
            "length": recipe.adapt.length,
            "dtype": recipe.train.dtype,
            "test": _hash(self.corpus.split.test),
        }


def run_adaptation(
    recipe: AdaptRecipe, *, folder: Path, base: Path, command: str, progress: Progress, minutes: float | None = None
) -> AdaptSummary:
    """Run every stage that is not done yet and write the report. Returns what the report shows.

    With `minutes`, no stage is begun after so long, and a training under way ends with a checkpoint: then
    `PartFinished` is raised, and the same call goes on later.
    """
    deadline = Deadline.after(minutes, command)
    refuse_foreign(folder)
    _refuse_itself(recipe, folder)
    refuse_absent_of_adaptation(recipe)
    recipe = settled_adaptation(recipe)
    with sole_writer(folder), driving():
        corpus = obtain_documents(recipe, folder, base, progress, lambda: try_out(recipe))
        write_text(folder / "recipe.toml", resolved(recipe))
        write_json(folder / "provenance.json", provenance())
        state = State(recipe, folder, progress, command, corpus, deadline)
        if state.train.done:
            shutil.rmtree(state.train.checkpoints, ignore_errors=True)  # killed just after the stage was done
        stages: list[tuple[Stage, Callable[[State], None]]] = [
            (state.before, evaluate_before),
            (state.train, train),
            (state.model, merge),
            (state.after, evaluate_after),
        ]
        for number, (stage, do) in enumerate(stages):
            if not stage.done:
                deadline.check(len(stages) - number, "Stages")
                if (error := attempt(partial(do, state))) is not None:
                    raise error
                gc.collect()  # models are full of reference cycles
        return report(state)


def try_out(recipe: AdaptRecipe) -> None:
    """Open the model with its method once, so that what cannot work is refused before the documents are compared."""
    from preceptor.train.adapt import open_reader
    from preceptor.train.methods import attach
    from preceptor.train.trackers import check_trackers

    settings = recipe.train
    check_trackers(settings.track)
    attach(open_reader(recipe.adapt.model, length=recipe.adapt.length, dtype=settings.dtype, seed=0), settings)


def evaluate_before(state: State) -> None:
    """Read the test documents with the model as it came."""
    _evaluate(state, state.before, state.recipe.adapt.model, "before")


def evaluate_after(state: State) -> None:
    """Read the test documents with the adapted model, as anybody loads it."""
    _evaluate(state, state.after, str(state.model.folder), "after")


def _evaluate(state: State, stage: Stage, model: str, words: str) -> None:
    texts = [Text(document.id, document.text) for document in state.corpus.split.test]
    settings = state.recipe
    with state.progress.task(f"evaluate: {words}", 1000) as advance:
        losses = read_losses(
            model,
            texts,
            length=settings.adapt.length,
            dtype=settings.train.dtype,
            # Progress in thousandths: how many windows there are is only known once the texts are tokenised.
            on_progress=lambda done, of: advance(1000 * done // of, f"window {done}/{of}"),
        )
    with stage.build() as folder:
        write_losses(folder / LOSSES, losses)


def train(state: State) -> None:
    """Train on the documents."""
    from preceptor.train.adapt import adapt

    recipe, split, stage = state.recipe, state.corpus.split, state.train
    words, names = f"train: {recipe.adapt.model}", (recipe.name, state.name)
    with stage.build() as folder, state.progress.task(words, 1000) as advance:
        adapt(
            folder,
            recipe.adapt.model,
            recipe.train,
            [document.text for document in split.train],
            [document.text for document in split.validation],
            length=recipe.adapt.length,
            seed=recipe.seed,
            on_start=lambda windows, steps: state.progress.say(f"{words}: {updates(windows, steps, 'window')}"),
            upkeep=accompany(stage, recipe.train, names, state.folder, state.deadline, state.progress, advance),
        )


def merge(state: State) -> None:
    """Make the plain model folder."""
    from preceptor.train.adapt import merge as merge_weights

    recipe, fit = state.recipe, read_json(state.train.folder / FIT)
    made = {"documents": len(state.corpus.split.train), "tokens": fit["tokens"], "steps": fit["steps"]}
    with state.model.build() as folder:
        merge_weights(
            state.train.folder,
            folder,
            recipe.adapt.model,
            recipe.train,
            length=recipe.adapt.length,
            seed=recipe.seed,
            made=made,
        )


def report(state: State) -> AdaptSummary:
    """Compare before and after and write `results.json` and `report.html`."""
    from preceptor.train.methods import describe

    recipe, corpus, settings = state.recipe, state.corpus, state.recipe.evaluate
    before, after = (read_written(stage.folder / LOSSES) for stage in (state.before, state.after))
    summary = AdaptSummary(
        name=recipe.name,
        title=recipe.title,
        notice=recipe.notice,
        model=recipe.adapt.model,
        adapted=str(state.model.folder),
        method=describe(recipe.train),
        length=recipe.adapt.length,
        documents={part: len(getattr(corpus.split, part)) for part in PARTS},
        read=corpus.read,
        left_out=corpus.left_out,
        dropped=corpus.dropped,
        excluded=corpus.excluded,
        change=compare(before, after, settings.resamples, settings.interval_seed),
        fit=read_json(state.train.folder / FIT),
        provenance={
            **provenance(),
            "seed": recipe.seed,
            "split seed": recipe.adapt.split_seed,
            "documents": {part: _hash(getattr(corpus.split, part)) for part in PARTS},
        },
        recipe=resolved(recipe),
        command=state.command,
    )
    write_json(state.folder / "results.json", asdict(summary))
    build_adapt(summary, state.folder / "report.html")
    return summary


def _refuse_itself(recipe: AdaptRecipe, folder: Path) -> None:
    if Path(recipe.adapt.model).expanduser().resolve() == (folder / "model").resolve():
        raise RecipeError(
            f"adapt.model = {recipe.adapt.model!r} is the folder that this run writes its own model into.",
            "Choose another folder with --out.",
        )


def _hash(documents: tuple[Document, ...]) -> str:
    return content_hash([(document.id, document.text) for document in documents])
