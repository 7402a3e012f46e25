"""Baselines: models and teachers that answer the test items untrained, after so many solved training items.

    evaluate/<setting>/<baseline>/<k>-shot/seed-<shot seed>/

A model reads the text that students read, by the same code; a teacher is asked as a chat, through the ledger and within
the budget. Both are scored like students. What is finished is found again, in the folder or in the book of results.
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

from preceptor.config import BaselineSettings, EvaluateSettings, TeacherSettings
from preceptor.data.base import Rendered
from preceptor.data.shots import BETWEEN, Room, Shots, fitted, text_prompts
from preceptor.errors import BatchPending, RecipeError
from preceptor.evaluate.answers import ask_items, conversation, request
from preceptor.pipeline.label_answers import (
    EVALUATED,
    Found,
    from_book,
    into_book,
    read_evaluated,
    record_look,
    write_evaluated,
)
from preceptor.pipeline.label_run import Run, count_spend
from preceptor.pipeline.label_teachers import label_of
from preceptor.records import Example, Prediction, Request, Sampling, fingerprint
from preceptor.store.ledger import Ledger
from preceptor.store.seal import UNCHOSEN
from preceptor.store.stages import Stage, identity, made_by, read_json
from preceptor.teachers.asker import Asker, sampling_of
from preceptor.teachers.base import Teacher
from preceptor.teachers.budget import Budget
from preceptor.teachers.local import LocalTeacher
from preceptor.teachers.make import make_teacher
from preceptor.teachers.phi import make_gate
from preceptor.teachers.prices import price_of

if TYPE_CHECKING:
    from preceptor.evaluate.results import Measured
    from preceptor.models.student import Student

VERSION = 1
"""Raise it when the code gives other answers."""
TEACHER_TOKENS = 32
"""Tokens of a teacher's answer, where the recipe does not say."""


@dataclass(frozen=True)
class BaselineCell:
    """One baseline in one setting with so many shots."""

    settings: BaselineSettings
    setting: str
    count: int
    """Solved items before each item."""

    @property
    def arm(self) -> str:
        """Its name among the arms."""
        return f"{self.count}-shot"

    @property
    def name(self) -> str:
        """Its name as a file."""
        return f"{self.settings.name}-{self.setting or 'plain'}-{self.arm}"

    @property
    def words(self) -> str:
        """For people."""
        return f"{self.settings.name}, {self.setting}, {self.arm}"


def baseline_cells(state: Run) -> list[BaselineCell]:
    """Every baseline of the experiment, in the order in which they are done."""
    return [
        BaselineCell(settings, setting, count)
        for settings in state.recipe.baselines
        for setting in settings.settings or tuple(state.datasets)
        for count in settings.shots
    ]


# --- what a cell depends on, and where it lies ---------------------------------------------------------------------


def shots_of(state: Run, cell: BaselineCell) -> Shots:
    """Its solved examples. Raises `RecipeError` where there are not so many training items."""
    dataset, settings = state.datasets[cell.setting], cell.settings
    where = f"baselines.{settings.name}" + (f", {cell.setting}" if len(state.datasets) > 1 else "")
    per_item = settings.draw == "per-item"
    return Shots(dataset.task, dataset.train, cell.count, settings.shot_seed, per_item=per_item, where=where)


def reading(state: Run, cell: BaselineCell) -> EvaluateSettings:
    """How its answers are read: the recipe's [evaluate] with the baseline's own keys over it."""
    settings, usual = cell.settings, state.recipe.evaluate
    by_teacher = settings.teacher is not None
    read = settings.read or ("generation" if by_teacher else usual.read)
    tokens = settings.max_tokens or (TEACHER_TOKENS if by_teacher else usual.max_tokens)
    return usual.model_copy(update={"read": read, "max_tokens": tokens})


def terms_of(state: Run, cell: BaselineCell) -> TeacherSettings:
    """The settings of the teacher that it asks."""
    own = cell.settings.teacher
    if isinstance(own, str):
        return state.recipe.teachers[own]
    return own if isinstance(own, TeacherSettings) else state.recipe.teacher


def _sampling(state: Run, cell: BaselineCell) -> Sampling:
    asked = terms_of(state, cell).sampling()
    return sampling_of(asked, cell.settings.temperature, reading(state, cell).max_tokens)


def _unasked(state: Run, cell: BaselineCell) -> Teacher:
    """The teacher, to be named and not to be asked: that needs no key."""
    return make_teacher(terms_of(state, cell).model_copy(update={"key_required": False}), state.folder)


def _reader(state: Run, cell: BaselineCell) -> dict[str, Any]:
    """All of who answers, and how, that can change an answer."""
    settings, read = cell.settings, reading(state, cell)
    if settings.model is None:
        task, terms = state.datasets[cell.setting].task, terms_of(state, cell)
        probe = Request(conversation(task, (), ""), _sampling(state, cell))
        # A teacher behind a mask reads placeholders.
        masked = {"phi": "mask"} if terms.phi_mode == "mask" else {}
        return {"teacher": _unasked(state, cell).key(probe), "parser": read.parser, **masked}
    like = state.recipe.reading_of(settings)
    asked: dict[str, Any] = {"read": read.read}
    if read.read == "generation":
        asked = read.deciding()
        asked |= {"seed": state.recipe.seeds[0]} if read.decoding == "beam-sample" else {}
    kept = {"max_length": like.max_length, "dtype": like.dtype}
    return {"model": settings.model, **made_by(settings.model), **kept, "settings": asked}


def stage_of(state: Run, cell: BaselineCell) -> Stage:
    """Where its predictions lie, and what they depend on."""
    dataset, shots = state.datasets[cell.setting], shots_of(state, cell)
    inputs: dict[str, Any] = {
        "reader": _reader(state, cell),
        "task": asdict(dataset.task),
        "test": fingerprint(dataset.test),
        "shots": cell.count,
    }
    if cell.count and shots.per_item:
        inputs |= {"drawn from": fingerprint(dataset.train), "seed": shots.seed}
    elif cell.count:
        inputs |= {"shown": fingerprint(shots.before(dataset.test[0]))}
    place = state.folder / "evaluate" / cell.setting / cell.settings.name / cell.arm / f"seed-{shots.seed}"
    return Stage(place, identity(VERSION, inputs))


def finished(state: Run, cell: BaselineCell) -> bool:
    """Whether its predictions are known, here or in the recipe's book of results."""
    stage = stage_of(state, cell)
    return stage.done or from_book(state, cell.name, stage.identity, cell.setting) is not None


def _found(state: Run, cell: BaselineCell) -> Found:
    stage = stage_of(state, cell)
    return from_book(state, cell.name, stage.identity, cell.setting) or read_evaluated(
        stage, state.datasets[cell.setting]
    )


# --- done once -----------------------------------------------------------------------------------------------------


def try_out_baselines(state: Run) -> None:
    """Refuse what cannot work before anybody is trained, asked or scored: too many shots, an encoder, a missing key."""
    for cell in baseline_cells(state):
        shots_of(state, cell)
    for group in _groups([cell for cell in baseline_cells(state) if not finished(state, cell)]):
        if group[0].settings.model is not None:
            student = _open(state, group[0])
            for cell in group:
                for part in ("test", "validation"):
                    _prompts(state, cell, student, state.datasets[cell.setting].parts[part])
            del student
            gc.collect()  # models are full of reference cycles
            continue
        terms = terms_of(state, group[0])
        teacher = make_teacher(terms, state.folder, state.progress.say)
        with Ledger(state.folder / "ledger.sqlite") as ledger:
            Budget(ledger, price_of(terms), state.recipe.budget)  # an unknown price is refused
        for cell in group:
            requests_of(state, cell, teacher)


def answer_baselines(state: Run) -> None:
    """Answer what is not answered yet, write it into the book of results, and count what it cost.

    Where requests wait in batches at a provider, the others are handed in all the same; then `BatchPending` is raised.
    `PartFinished` is raised when the time is over: a model's answers are kept as a whole, a teacher's one by one.
    """
    todo = [cell for cell in baseline_cells(state) if not finished(state, cell)]
    pending, left = list[BatchPending](), len(todo)
    for group in _groups(todo):
        student: Student | None = None
        for cell in group:
            state.deadline.check(left, "Baselines")
            left -= 1
            try:
                if cell.settings.model is None:
                    _by_teacher(state, cell)
                else:
                    student = student or _open(state, cell)
                    _by_model(state, cell, student)
            except BatchPending as waiting:
                pending.append(waiting)
        del student
        gc.collect()
    if pending:
        raise pending[-1]  # its words count all batches
    for cell in baseline_cells(state):
        _settle(state, cell)


def _groups(cells: Sequence[BaselineCell]) -> Iterator[list[BaselineCell]]:
    """Cells that one opened model or teacher answers."""
    for _, group in groupby(cells, key=lambda cell: (cell.settings.name, cell.setting)):
        yield list(group)


def _settle(state: Run, cell: BaselineCell) -> None:
    stage = stage_of(state, cell)
    if not stage.done:
        return  # in the book: it was answered, and paid, by another run
    if state.book is not None and from_book(state, cell.name, stage.identity, cell.setting) is None:
        done = read_evaluated(stage, state.datasets[cell.setting])
        about = {"student": cell.settings.name, "arm": cell.arm, "seed": cell.settings.shot_seed, "shots": cell.count}
        into_book(state, cell.name, stage.identity, cell.setting, done, about)
    asked = read_json(stage.folder / EVALUATED).get("asked")
    if asked:
        if named := cell.settings.named:
            asked = {**asked, "teacher": label_of(named, asked["teacher"])}  # beside what it wrote
        count_spend(state, asked, price_of(terms_of(state, cell)))


def _shown(state: Run, cell: BaselineCell) -> dict[str, Any]:
    """Which examples were shown, for the stage's folder."""
    shots = shots_of(state, cell)
    ids = [] if shots.per_item else [one.id for one in shots.before(state.datasets[cell.setting].test[0])]
    return {"count": cell.count, "seed": shots.seed, "draw": cell.settings.draw, "ids": ids}


# --- a model -------------------------------------------------------------------------------------------------------


def _open(state: Run, cell: BaselineCell) -> Student:
    from preceptor.models.load import head_of
    from preceptor.models.student import open_student

    model, task = str(cell.settings.model), state.datasets[cell.setting].task
    if head_of(model, "auto") == "encoder":
        raise RecipeError(
            f"baselines.{cell.settings.name}: {model} is an encoder, which has no prompt to continue and says nothing "
            "untrained.",
            "Name a causal language model, or train the encoder as a student.",
        )
    like, targets = state.recipe.reading_of(cell.settings), [task.target(label) for label in task.labels]
    length, dtype = like.max_length, like.dtype
    return open_student(
        model, "causal", task.labels, targets, max_length=length, reserve=0, dtype=dtype, seed=state.recipe.seeds[0]
    )


def _prompts(state: Run, cell: BaselineCell, student: Student, items: Sequence[Example]) -> Rendered:
    """What the model reads for each item."""
    read, window = reading(state, cell), student.loaded.window
    answer = max(len(target) for target in student.targets) + 1
    if cell.count and read.read == "generation":
        answer = max(answer, read.max_tokens)
    room = Room(student.loaded.name, window, answer)
    return text_prompts(shots_of(state, cell), items, student.length, student.limit, room)


def _by_model(state: Run, cell: BaselineCell, student: Student) -> None:
    from preceptor.evaluate.predict import answer

    dataset, read = state.datasets[cell.setting], reading(state, cell)

    def said(part: str, on_progress: Callable[[int], None] | None = None) -> list[Prediction]:
        return answer(
            student,
            dataset.task,
            dataset.parts[part],
            rendered[part].prompts,
            read,
            seed=state.recipe.seeds[0],
            until=BETWEEN if cell.count else "",
            on_progress=on_progress,
        )

    rendered = {part: _prompts(state, cell, student, dataset.parts[part]) for part in ("test", "validation")}
    with state.progress.task(f"evaluate: {cell.words}", len(dataset.test)) as advance:
        predictions = said("test", advance)
    validation = said("validation") if read.read == "likelihood" else []  # for the label prior
    more = {"cut_prompts": rendered["test"].cut, "shots": _shown(state, cell)}
    _write(state, cell, predictions, validation, more)


# --- a teacher -----------------------------------------------------------------------------------------------------


def requests_of(state: Run, cell: BaselineCell, teacher: Teacher, *, fit: bool = True) -> tuple[list[Request], int]:
    """What the teacher is asked about the test items, and how many of them were shortened to fit.

    The window of an endpoint is not known here: it is sent whole items, and says itself what is too long. Without `fit`
    no model is loaded, and nothing is shortened.
    """
    dataset, shots, sampling = state.datasets[cell.setting], shots_of(state, cell), _sampling(state, cell)
    task, items = dataset.task, dataset.test
    fixed = () if shots.per_item else shots.turns(items[0])
    turns = [shots.turns(item) if shots.per_item else fixed for item in items]
    if fit and isinstance(teacher, LocalTeacher):
        known = teacher
        whole = [lambda text, before=before: known.tokens(conversation(task, before, text)) for before in turns]
        rendered = fitted(shots, items, whole, Room(known.name, known.window, sampling.max_tokens))
        prompts, cut = rendered.prompts, rendered.cut
    else:
        prompts, cut = tuple(task.render(item) for item in items), 0
    asked = zip(items, turns, prompts, strict=True)
    return [request(task, item, before, prompt, sampling) for item, before, prompt in asked], cut


def _by_teacher(state: Run, cell: BaselineCell) -> None:
    dataset, terms = state.datasets[cell.setting], terms_of(state, cell)
    teacher = make_teacher(terms, state.folder, state.progress.say)
    requests, cut = requests_of(state, cell, teacher)
    words, budget, gate = f"evaluate: {teacher.name}, {cell.words}", state.recipe.budget, make_gate(terms)
    with Ledger(state.folder / "ledger.sqlite") as ledger:
        asker = Asker(teacher, ledger, price_of(terms), budget, gate, state.progress, words, state.deadline)
        predictions = ask_items(dataset.task, dataset.test, requests, reading(state, cell).parser, asker)
    more = {"cut_prompts": cut, "shots": _shown(state, cell), "asked": asker.record()}
    _write(state, cell, predictions, (), more)


def _write(
    state: Run,
    cell: BaselineCell,
    predictions: Sequence[Prediction],
    validation: Sequence[Prediction],
    more: Mapping[str, Any],
) -> None:
    """Record the look at the test items, then keep the answers."""
    stage, who = stage_of(state, cell), cell.settings
    asked = str(who.model) if who.teacher is None else terms_of(state, cell).model
    record_look(
        state, cell.name, stage, cell.setting, asked, {"shots": cell.count, "identity": stage.identity}, UNCHOSEN
    )
    write_evaluated(stage, state.datasets[cell.setting], predictions, validation, more)


# --- what the results say ------------------------------------------------------------------------------------------


def measured_baselines(state: Run, setting: str) -> list[Measured]:
    """The answers of every baseline in a setting, to be scored."""
    from preceptor.evaluate.results import Measured

    found = []
    for cell in baseline_cells(state):
        if cell.setting != setting:
            continue
        known, seed = _found(state, cell), cell.settings.shot_seed
        found.append(
            Measured(
                setting=setting,
                student=cell.settings.name,
                arm=cell.arm,
                method=_method(state, cell),
                runs={seed: known.predictions},
                cut_prompts=known.cut_prompts,
                validation={seed: known.validation},
                shots=cell.count,
            )
        )
    return found


def _method(state: Run, cell: BaselineCell) -> str:
    settings = cell.settings
    who = settings.model or _unasked(state, cell).name
    drawn = f", shots drawn {'for each item ' if settings.draw == 'per-item' else ''}with seed {settings.shot_seed}"
    return f"{Path(who).name if Path(who).is_dir() else who}, untrained, read by {reading(state, cell).read}" + (
        drawn if cell.count else ""
    )
