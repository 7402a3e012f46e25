"""The documents of an adaptation: read, cleared of copies, split, and cleared of what must not be learnt.

data/   train.parquet, validation.parquet, test.parquet, dropped.parquet with reasons, read.json
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from preceptor.config import AdaptRecipe, AdaptSettings, ExcludeSettings, LeakageSettings
from preceptor.data.base import Task
from preceptor.data.documents import Document, Split, read_documents, split_documents
from preceptor.data.load import load_datasets
from preceptor.errors import DataError
from preceptor.filter.base import FilterContext
from preceptor.filter.duplicates import near_earlier
from preceptor.filter.leakage import Leakage
from preceptor.filter.overlap import plain
from preceptor.filter.text import normalised, runs
from preceptor.models.embed import Embedder, Embedding
from preceptor.progress import Progress
from preceptor.records import Example, content_hash, fingerprint
from preceptor.store.stages import Stage, identity, read_json, write_json
from preceptor.store.tables import read_rows, write_rows

VERSION = 1
"""Raise it when this module's code gives other documents."""

PARTS = ("train", "validation", "test")
READ = "read.json"
HELD_OUT = "held-out"
"""In the counts: what was dropped for the held-out documents; names of `[exclude]` stand beside it."""
COMMON = 5
"""Training documents in which a run of words stands that then belongs to the collection and not to a document. A
held-out document that stands in so many of them as a whole is still found by its rare words."""
ENOUGH = 500
"""Texts from which the leakage filter can tell which words are rare; with one excluded text alone all would be."""
TASK = Task("documents", "default", ("document", "other"), ("text",), "{{ text }}")


@dataclass(frozen=True, slots=True)
class Dropped:
    """A document that nobody reads."""

    document: Document
    against: str
    """Because of which texts: `held-out`, `training`, or a name of `[exclude]`; empty: because of itself."""
    reason: str
    detail: str


@dataclass(frozen=True)
class Corpus:
    """The documents of a run."""

    split: Split
    read: int
    """Documents as read; they are in a part or dropped, unless `max_documents` left them out."""
    left_out: int
    """Not drawn, because of `max_documents`."""
    dropped: Mapping[str, int]
    """Reason in words -> number of documents."""
    excluded: Mapping[str, int]
    """Name in `[exclude]` -> number of its items or documents."""


@dataclass(frozen=True)
class Forbidden:
    """Texts that must not be in the training documents."""

    name: str
    items: Sequence[Example]
    known: Mapping[str, Example] = field(default_factory=dict)
    """What may be trained on: what it has too is no leak."""
    names: Mapping[str, str] = field(default_factory=dict)
    """Id of an item -> what people call it, where that differs."""


def obtain_documents(
    recipe: AdaptRecipe, folder: Path, base: Path, progress: Progress, before: Callable[[], None]
) -> Corpus:
    """Read and clear the documents, unless done. `before` is called ahead of what takes time."""
    documents = read_documents(recipe.sources, base)
    forbidden = [_forbidden(name, entry, base) for name, entry in recipe.exclude.items()]
    adapt = recipe.adapt
    inputs = {
        "documents": content_hash([(document.id, document.text) for document in documents]),
        "exclude": {one.name: [fingerprint(one.items), fingerprint(one.known.values())] for one in forbidden},
        "settings": adapt.model_dump(mode="json", exclude={"model", "length"}),
    }
    stage = Stage(folder / "data", identity(VERSION, inputs))
    if not stage.done:
        progress.say(f"data: {len(documents):,} documents; looking for copies and leaks")
        before()
        whole, dropped = without_copies(documents)
        split = split_documents(whole, adapt)
        found, leaks = without_leaks(split, forbidden, adapt, Embedder().embed)
        left_out = len(whole) - len(split.train) - len(split.held_out)
        excluded = {one.name: len(one.items) for one in forbidden}
        _write(stage, found, [*dropped, *leaks], {"read": len(documents), "left_out": left_out, "excluded": excluded})
    corpus = _read(stage.folder)
    sizes = ", ".join(f"{len(getattr(corpus.split, part)):,} {part}" for part in PARTS)
    progress.say(f"data: {sizes}; {sum(corpus.dropped.values()):,} of {corpus.read:,} dropped")
    return corpus


def without_copies(documents: Iterable[Document]) -> tuple[list[Document], list[Dropped]]:
    """The documents with words, the first of those with the same ones; and the others."""
    first: dict[str, Document] = {}
    dropped = []
    for document in documents:
        words = normalised(document.text)
        if not words:
            dropped.append(Dropped(document, "", "empty", ""))
        elif words in first:
            dropped.append(Dropped(document, "", "copy", f"same words as {first[words].id}"))
        else:
            first[words] = document
    return list(first.values()), dropped


def without_leaks(
    split: Split, forbidden: Sequence[Forbidden], adapt: AdaptSettings, embed: Embedding
) -> tuple[Split, list[Dropped]]:
    """The split without the training documents that nearly are another document, or carry held-out or forbidden text.

    The held-out documents stay as they are. Raises `DataError` when fewer training documents than held-out ones stay.
    """
    train, dropped = _without_near(split, adapt.max_similarity)
    # Names of files stand in all ids of a collection, so these say nothing; those of a task's items do.
    named = [Example(f"document {number}", {"text": d.text}, "document") for number, d in enumerate(split.held_out)]
    names = {example.id: document.id for example, document in zip(named, split.held_out, strict=True)}
    own = Forbidden(HELD_OUT, named, boilerplate(split.held_out, train, adapt.ngram), names)
    for one in (own, *forbidden):
        train, leaks = _without(train, one, adapt.ngram, embed)
        dropped += leaks
    if len(train) < len(split.held_out):
        raise DataError(
            f"Of {len(split.train)} training documents {len(train)} are left, fewer than the {len(split.held_out)} "
            "that are held out: the others are copies of one another, or carry held-out or excluded text.",
            "Add documents of another source.",
        )
    return replace(split, train=tuple(train)), dropped


def boilerplate(held_out: Sequence[Document], train: Sequence[Document], ngram: int) -> dict[str, Example]:
    """Runs of words of the held-out documents that `COMMON` training documents have: as an item that may be known.

    Without this all abstracts are dropped that end in the publisher's note on supplementary material, 124 of 2,787.
    """
    counts = dict.fromkeys((run for document in held_out for run in runs(plain(document.text), ngram)), 0)
    for document in train:
        for run in set(runs(plain(document.text), ngram)) & counts.keys():
            counts[run] += 1
    common = [" ".join(run) for run, count in counts.items() if count >= COMMON]
    fields = {f"run {number}": run for number, run in enumerate(common)}
    return {"boilerplate": Example("boilerplate", fields, "document")} if fields else {}


def vocabulary(documents: Sequence[Document], count: int) -> dict[str, Example]:
    """The words of so many of the documents in the order of the alphabet, as items that may be known.

    They tell the filter which words are common. Without their order no run of words is excused; words with digits are
    left out, since they may be ids.
    """
    some = documents[:: max(1, len(documents) // count)][:count] if count > 0 else ()
    words = (" ".join(sorted({word for word in plain(document.text) if word.isalpha()})) for document in some)
    return {f"words {n}": Example(f"words {n}", {"text": text}, "document") for n, text in enumerate(words)}


def _without_near(split: Split, bound: float) -> tuple[list[Document], list[Dropped]]:
    pool = [*split.held_out, *split.train]
    start = len(split.held_out)
    near = near_earlier([(normalised(document.text),) for document in pool], bound, start)
    dropped = [
        Dropped(
            pool[place],
            HELD_OUT if other < start else "training",
            "near",
            f"edit similarity {share:.4f} to {pool[other].id}",
        )
        for place, (other, share) in sorted(near.items())
    ]
    return [document for place, document in enumerate(pool) if place >= start and place not in near], dropped


def _without(
    documents: Sequence[Document], forbidden: Forbidden, ngram: int, embed: Embedding
) -> tuple[list[Document], list[Dropped]]:
    candidates = [Example(f"candidate {number}", {"text": d.text}, "document") for number, d in enumerate(documents)]
    known = {**forbidden.known, **vocabulary(documents, ENOUGH - len(forbidden.items) - len(forbidden.known))}
    context = FilterContext(TASK, known, forbidden.items, embed)
    verdicts = Leakage(LeakageSettings(ngram=ngram, require_parent=False)).judge(candidates, context)
    judged = list(zip(documents, verdicts, strict=True))
    kept = [document for document, verdict in judged if verdict.kept]
    dropped = []
    for document, verdict in judged:
        if not verdict.kept:
            words, of, name = verdict.detail.rpartition("held-out item ")  # every reason ends in whose text it is
            detail = words + of + forbidden.names.get(name, name)
            dropped.append(Dropped(document, forbidden.name, verdict.reason, detail))
    return kept, dropped


def _forbidden(name: str, entry: ExcludeSettings, base: Path) -> Forbidden:
    if entry.source is not None:
        read = [document for document in read_documents([entry.source], base) if normalised(document.text)]
        return Forbidden(name, [Example(f"text {n}", {"text": d.text}, "document") for n, d in enumerate(read)])
    assert entry.data is not None
    items: dict[str, Example] = {}
    known: dict[str, Example] = {}
    for dataset in load_datasets(entry.data, base).values():
        for part, examples in dataset.parts.items():
            place = items if part in entry.parts else known
            # One item may show other fields in another setting.
            for example in examples:
                before = place.get(example.id)
                place[example.id] = replace(example, fields={**(before.fields if before else {}), **example.fields})
    return Forbidden(name, list(items.values()), known)


def _write(stage: Stage, split: Split, dropped: Sequence[Dropped], counts: Mapping[str, object]) -> None:
    with stage.build() as folder:
        for part in PARTS:
            rows = [{"id": d.id, "text": d.text} for d in getattr(split, part)]
            write_rows(folder / f"{part}.parquet", rows, ["id", "text"])
        columns = ["id", "against", "reason", "detail", "text"]
        rows = [
            {"id": d.document.id, "against": d.against, "reason": d.reason, "detail": d.detail, "text": d.document.text}
            for d in dropped
        ]
        write_rows(folder / "dropped.parquet", rows, columns)
        reasons = Counter(f"{d.reason} ({d.against})" if d.against else d.reason for d in dropped)
        write_json(folder / READ, {**counts, "dropped": dict(reasons)})


def _read(folder: Path) -> Corpus:
    parts = {
        part: tuple(Document(row["id"], row["text"]) for row in read_rows(folder / f"{part}.parquet")) for part in PARTS
    }
    return Corpus(Split(**parts), **read_json(folder / READ))
