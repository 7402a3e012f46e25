"""The teacher's side of distillation: who it is, what it thinks of each training item, and how that is kept.

Of the labels their log-likelihoods are kept, which any model has. Of tokens the k likeliest at each target position,
with their probabilities among all tokens (the softmax comes before the choice), and the remainder as one: uint32 and
float16, 194 bytes a position at k = 32, where the whole distribution of SmolLM2 would take 96 kB. Files are mapped into
memory, not read.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import lru_cache
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch

from preceptor.config import DistillationSettings
from preceptor.data.base import Task, render_all
from preceptor.errors import InactiveAdapterError, ModelError, RecipeError
from preceptor.models.load import head_of, load_tokenizer, window_of
from preceptor.models.score import BATCH_TOKENS, by_length
from preceptor.models.student import ADAPTER, Probe, Student, open_student, read_probe, restore
from preceptor.records import Example
from preceptor.store.stages import made_by, read_json, write_json
from preceptor.train.batches import Taught, TrainingItem
from preceptor.train.rationale import answer_rows

LABELS = "labels.npy"
ASKED = "asked.json"
"""Beside it: how many of the teacher's prompts were shortened."""
ANSWERS, RATIONALES = "answers", "rationales"
"""Beginnings of the names of files about tokens."""
TARGET_TOKENS = 512
"""Target positions of one forward pass: a row of logits for each is held in memory, twice."""
CHUNK = 64
"""Items between two reports of progress."""


# --- who it is -----------------------------------------------------------------------------------------------------


def trained_folder(settings: DistillationSettings, base: Path) -> Path | None:
    """The folder of trained weights; raises `ModelError` when it holds none."""
    if settings.weights is None:
        return None
    folder = (base / Path(settings.weights).expanduser()).resolve()
    if not list(folder.glob("*.safetensors")):
        raise ModelError(
            f"There is no trained student in {folder}.",
            "train.distillation.weights must name a folder of a run's train/, down to its seed. If a command makes it, "
            "give that command first: the head of the recipe says which.",
        )
    return folder


def identity_of(settings: DistillationSettings, base: Path, labels: Sequence[str] = ()) -> dict[str, Any]:
    """All of the teacher that decides what it thinks: its name, the run that made it where one did, and the hash of the
    weights that were trained on it; and the order of its labels where it is not that of the task's `labels`.
    """
    folder = trained_folder(settings, base)
    files = [] if folder is None else sorted(folder.glob("*.safetensors"))
    own = [] if folder is None or not labels else _labels_of(folder)
    return {
        "teacher": settings.teacher,
        **made_by(str(settings.teacher)),
        "head": settings.head,
        "weights": [_digest(path, path.stat().st_mtime_ns) for path in files],
        **({"labels": own} if own and own != list(labels) else {}),
    }


def _labels_of(folder: Path) -> list[str]:
    """The labels in the order of a trained folder's outputs; empty where an earlier version did not write them.

    An encoder that is saved whole names them in its config, too; a language model's config may hold names that mean
    nothing.
    """
    found, config = _probe(folder).labels, _json(folder / "config.json")
    if found or not any(name.endswith("ForSequenceClassification") for name in config.get("architectures") or ()):
        return found
    names = config.get("id2label") or {}
    return [str(names[number]) for number in sorted(names, key=int)]


@lru_cache
def _digest(path: Path, _changed: int) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def check_teacher(student: Student, settings: DistillationSettings, base: Path) -> None:
    """Refuse, without loading its weights, a teacher that cannot teach this student."""
    folder = trained_folder(settings, base)
    head = _head(settings)
    if folder is not None:
        _check_trained(folder, head, student.labels)
    elif head == "encoder":
        raise RecipeError(
            f"The teacher {settings.teacher} is an encoder, and the head of an untrained one is drawn at random.",
            "Name a finished student's folder in train.distillation.weights.",
        )
    if settings.targets == "tokens":
        _check_tokens(student, settings, head, folder)


def _check_trained(folder: Path, head: str, labels: Sequence[str]) -> None:
    """Refuse weights that do not answer with the task's labels in a prompt as the task shows it."""
    if _json(folder / ADAPTER).get("peft_type") == "TRAINABLE_TOKENS":
        raise RecipeError(
            f"The teacher in {folder} reads virtual tokens inside of its prompts, which a teacher is not given.",
            'Name one that was trained by another method, or with train.prompt_position = "start".',
        )
    probe = _probe(folder)
    if probe.targets:
        raise RecipeError(
            f"The teacher in {folder} was not trained on a task with labels.",
            "Make a model of it with preceptor export model, and name that as train.distillation.teacher, without "
            "weights.",
        )
    columns, own = {len(row) for row in probe.after}, _labels_of(folder)
    if set(own or labels) != set(labels) or columns - {len(labels)}:
        known = ", ".join(own) or f"{max(columns)} labels"
        raise RecipeError(
            f"The teacher in {folder} knows other labels ({known}) than the task ({', '.join(labels)}).",
            "Name one that was trained for these labels in train.distillation.weights.",
        )
    if head == "encoder" and not own:
        raise RecipeError(
            f"The folder {folder} does not say for which labels the outputs of its encoder stand: an earlier version "
            "wrote it.",
            "Delete the folder and what its run keeps of it under evaluate/ and in its results, and run that recipe "
            "again: the same student then names its labels.",
        )


def _check_tokens(student: Student, settings: DistillationSettings, head: str, folder: Path | None) -> None:
    if "encoder" in (head, student.head):
        raise RecipeError(
            'train.distillation.targets = "tokens" needs language models on both sides; an encoder says no tokens.',
            'Use "labels".',
        )
    if student.virtual is not None:
        raise RecipeError(
            'train.distillation.targets = "tokens": the teacher reads the student\'s own prompts, and the virtual '
            "tokens inside of them mean nothing to it.",
            'Use "labels", or train.prompt_position = "start".',
        )
    known, own = load_tokenizer(str(settings.teacher)), student.loaded.tokenizer
    if known.get_vocab() != own.get_vocab():
        raise RecipeError(
            f"The teacher {settings.teacher} and the student {student.loaded.name} have different vocabularies "
            f"({len(known.get_vocab()):,} and {len(own.get_vocab()):,} tokens), so its token ids mean nothing there.",
            'Use train.distillation.targets = "labels", or a teacher of the same family.',
        )
    longest = student.limit + max(map(len, student.targets)) + 1
    window = window_of(str(settings.teacher)) - _virtual_tokens(folder)
    if longest > window:
        raise RecipeError(
            f'train.distillation.targets = "tokens": the student may read {longest} tokens and the teacher '
            f"{settings.teacher} only {window}.",
            f"Lower train.max_length to {window} or less.",
        )


def _probe(folder: Path) -> Probe:
    try:
        return read_probe(folder)
    except (OSError, ValueError, TypeError) as error:
        raise ModelError(
            f"There is no trained student in {folder}: its probe.json is missing or damaged.",
            "train.distillation.weights must name a folder of a run's train/, down to its seed.",
        ) from error


def _head(settings: DistillationSettings) -> str:
    return head_of(str(settings.teacher), settings.head)


def open_teacher(settings: DistillationSettings, task: Task, base: Path, *, max_length: int, dtype: str) -> Student:
    """The teacher as it is asked about a task's labels, with its trained weights where it has some: then in the order
    of labels in which it was trained.

    Raises `ModelError` when it cannot be loaded or its weights do not answer as they did when they were saved.
    """
    folder = trained_folder(settings, base)
    labels = task.labels if folder is None else tuple(_labels_of(folder)) or task.labels
    opened = open_student(
        str(settings.teacher),
        _head(settings),
        labels,
        [task.target(label) for label in labels],
        max_length=max_length,
        reserve=_virtual_tokens(folder),
        dtype=dtype,
        seed=0,
    )
    if folder is None:
        return opened
    try:
        return restore(opened, folder)
    except InactiveAdapterError:
        raise
    except ModelError as error:
        raise ModelError(
            error.message,
            f"Name in train.distillation.weights a student that was trained from {settings.teacher}, "
            "with its train.dtype.",
        ) from error


def _virtual_tokens(folder: Path | None) -> int:
    return 0 if folder is None else int(_json(folder / ADAPTER).get("num_virtual_tokens") or 0)


def _json(file: Path) -> dict[str, Any]:
    """What one of the folder's files says; empty where it is not there: a folder holds an adapter or a whole model."""
    return dict(read_json(file)) if file.is_file() else {}


# --- what it thinks ------------------------------------------------------------------------------------------------


def write_labels(
    folder: Path,
    teacher: Student,
    task: Task,
    examples: Sequence[Example],
    on_progress: Callable[[int], None] | None = None,
) -> None:
    """The teacher's log-likelihood of each label of each example, read from its own prompt: [examples, labels]."""
    rendered = render_all(task, examples, teacher.length, teacher.limit)
    prompts = teacher.encode(rendered.prompts)
    columns = [teacher.labels.index(label) for label in task.labels]
    found = np.zeros((len(prompts), len(task.labels)), dtype=np.float32)
    for start in range(0, len(prompts), CHUNK):
        found[start : start + CHUNK] = teacher.logprobs(prompts[start : start + CHUNK])[:, columns]
        if on_progress is not None:
            on_progress(min(start + CHUNK, len(prompts)))
    np.save(folder / LABELS, found)
    write_json(folder / ASKED, {"cut": rendered.cut})


def write_tokens(
    folder: Path,
    teacher: Student,
    items: Sequence[TrainingItem],
    settings: DistillationSettings,
    on_progress: Callable[[int], None] | None = None,
) -> None:
    """The teacher's likeliest tokens at each position of the student's own targets, rationales included."""
    second = [item.rationale for item in items if item.rationale is not None]
    done = 0

    def advance(count: int) -> None:
        nonlocal done
        done += count
        if on_progress is not None:
            on_progress(done * len(items) // (len(items) + len(second)))

    for name, rows in ((ANSWERS, items), (RATIONALES, second)):
        found = likeliest(teacher, rows, settings, advance)
        starts = np.cumsum([0, *(len(row.target) for row in rows)])
        np.save(folder / f"{name}-starts.npy", starts.astype(np.int64))
        for part in ("ids", "probabilities"):
            parts = [getattr(one, part) for one in found]
            np.save(folder / f"{name}-{part}.npy", np.concatenate(parts) if parts else np.zeros((0, 1)))


@torch.inference_mode()
def likeliest(
    teacher: Student,
    rows: Sequence[TrainingItem],
    settings: DistillationSettings,
    on_progress: Callable[[int], None] | None = None,
) -> list[Taught]:
    """The k likeliest tokens at each position of each row's target, with their probabilities among all tokens at the
    settings' temperature, and the remainder.
    """
    found: dict[int, Taught] = {}
    known = len(teacher.loaded.tokenizer)  # an embedding may be wider than the vocabulary
    lengths = [len(row.prompt) + len(row.target) for row in rows]
    for batch in _batches(lengths, [len(row.target) for row in rows]):
        logits, _, owner = answer_rows(teacher, [rows[i] for i in batch])
        chances = torch.softmax(logits / settings.temperature, dim=1)
        top = chances[:, :known].topk(min(settings.top_k, known - 1), dim=1)
        rest = (1 - top.values.sum(1, keepdim=True)).clamp(min=0)
        ids = top.indices.cpu().numpy().astype(np.uint32)
        kept = torch.cat([top.values, rest], dim=1).cpu().numpy().astype(np.float16)
        owners = owner.cpu().numpy()
        found.update({i: Taught(ids=ids[owners == k], probabilities=kept[owners == k]) for k, i in enumerate(batch)})
        if on_progress is not None:
            on_progress(len(batch))
    return [found[i] for i in range(len(rows))]


def _batches(lengths: Sequence[int], targets: Sequence[int]) -> Iterator[list[int]]:
    """Rows of similar length, within the tokens and the target positions of one forward pass."""
    for batch in by_length(lengths, BATCH_TOKENS):
        part: list[int] = []
        for i in batch:
            if part and sum(targets[k] for k in part) + targets[i] > TARGET_TOKENS:
                yield part
                part = []
            part.append(i)
        yield part


# --- what the student is given -------------------------------------------------------------------------------------


def read_taught(
    folders: Sequence[Path], items: Sequence[TrainingItem], settings: DistillationSettings
) -> list[TrainingItem]:
    """The items with what the teacher thinks of them. `folders` hold it for the first items, the next ones and so on.

    Raises `ModelError` when the folders are not about these items.
    """
    if settings.targets == "labels":
        found = [Taught(labels=row) for folder in folders for row in _opened(folder / LABELS)]
        _check_complete(len(found) == len(items))
        return [replace(item, taught=taught) for item, taught in zip(items, found, strict=True)]
    second = [item for item in items if item.rationale is not None]
    answers = _read_tokens(folders, ANSWERS, items)
    explained = iter(_read_tokens(folders, RATIONALES, [i.rationale for i in second if i.rationale is not None]))
    return [
        replace(item, taught=taught, rationale=item.rationale and replace(item.rationale, taught=next(explained)))
        for item, taught in zip(items, answers, strict=True)
    ]


def cut_for_teacher(folders: Sequence[Path]) -> int:
    """How many prompts were shortened to fit the teacher; 0 where the folders of an earlier version do not say it."""
    return sum(read_json(folder / ASKED)["cut"] for folder in folders if (folder / ASKED).is_file())


def _read_tokens(folders: Sequence[Path], name: str, rows: Sequence[TrainingItem]) -> list[Taught]:
    found = []
    for folder in folders:
        ids, chances = (_opened(folder / f"{name}-{part}.npy") for part in ("ids", "probabilities"))
        starts = _opened(folder / f"{name}-starts.npy")
        found += [Taught(ids=ids[a:b], probabilities=chances[a:b]) for a, b in pairwise(starts.tolist())]
    _check_complete([len(one.ids) for one in found if one.ids is not None] == [len(row.target) for row in rows])
    return found


def _opened(path: Path) -> np.ndarray:
    try:
        return np.load(path, mmap_mode="r")
    except (OSError, ValueError) as error:
        raise ModelError(
            f"What the teacher thinks cannot be read from {path}.", "Delete its folder; it is asked again."
        ) from error


def _check_complete(complete: bool) -> None:
    if not complete:
        raise ModelError(
            "What the teacher thinks is about other items than those that are trained on.",
            "Delete the folder distillation/ of the run; the teacher is asked again.",
        )
