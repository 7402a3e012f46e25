"""Drops what would carry validation or test items, or the answer itself, into the training data.

Reasons: parent_held_out, document_id, exact, ngram, near, overlap, embedding, parent_unknown, rationale_leak.

What the real training items already contain is no leak: they are trained on anyway, and abstracts share whole
runs of words ("the aim of this study was to ..."). For the same reason a candidate stays that is no closer to
a held-out text than its parent is allowed to be; the filter's remark counts it.

The thresholds were fixed on the development half of `bench/planted.py` and counted on its other half: the table is
in LAB.md. What it cannot see: a paraphrase of a few words that are common in the domain ("Do you smoke?" "No."),
and a held-out text of which only the meaning is left in a long one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from rapidfuzz import process
from rapidfuzz.distance import Levenshtein

from preceptor.config import LeakageSettings
from preceptor.filter.base import FilterContext, changed_fields
from preceptor.filter.heldout import HeldOut
from preceptor.filter.overlap import plain
from preceptor.filter.text import Run, normalised, runs, words
from preceptor.models.embed import Embedding, Vectors
from preceptor.records import KEEP, Example, Verdict, drop

RARE = 0.875
"""Shared runs leak when their words weigh as much as this times `ngram` rare words: 6 for runs of 8."""

WHOLE, MOST = 2.0, 0.8
"""... or as `MOST` of the held-out text, and at least as `WHOLE` rare words: a short text quoted in another."""

NEAR = 0.85
"""Normalised edit similarity from which a question is a held-out one with a few words changed."""

SHARE = 0.24
"""`Overlap.shares` from which a text is a held-out one edited or translated there and back."""

SOME, SAME = 0.11, 0.92
"""A text other than a question is a held-out one in other words when `Overlap.shares` and cosine reach these."""

RATIONALE_RUN = 4
"""Length in words of the runs that are counted between a generated input and its parent's rationale."""

Likeness = npt.NDArray[np.float64]


class Leakage:
    """One rule after the other; the first that finds something names the reason.

    `parent_held_out`, `document_id`: the candidate or a parent is a held-out item by id, or such an id (six letters
    and digits or more, so PubMed's and not a line number) stands in its id or text.
    Then, for each changed field that is not word for word a training item's:
    `exact`: it has the words of a held-out text and no others.
    `ngram`: it shares runs of `ngram` words with any text of a held-out item that no training item has, and what
    they cover is rare enough (`RARE`, `WHOLE`): clean dialogues and abstracts share runs of common words all the time.
    `near`: a question has at least the edit similarity `NEAR` to a held-out one.
    `overlap`: it has at least the share `SHARE` of the rare words and their neighbours of a held-out text.
    `embedding`: a question has at least the cosine `max_similarity` to a held-out one; another text has at least
    the share `SOME` and the cosine `SAME`, so that only suspects are embedded, which is what takes time.
    The last three do not count where the parent has as much in the same field.
    `parent_unknown`: no training item is named as parent, or one that there is not; unless `require_parent` is off.
    `rationale_leak`: a changed input has as many four-word runs of its parent's hidden rationale as `ngram`
    words in a row have, in one place or in several; runs that the parent's own inputs have do not count.
    Fewer are normal: a third of PubMedQA's abstracts have a run in one half that the conclusion has and the
    other half lacks.
    """

    name = "leakage"

    def __init__(self, settings: LeakageSettings) -> None:
        self._settings = settings

    def judge(self, candidates: Sequence[Example], context: FilterContext) -> list[Verdict]:
        """One verdict per candidate, in the same order."""
        held = HeldOut(context, self._settings.ngram)
        changed = [_changed(candidate, context, held) for candidate in candidates]
        verdicts = [_ids(candidate, context, held) for candidate in candidates]
        wordings = {name: _near(context, name) for name in context.questions}
        overlap = _overlap(held)
        for position, candidate in enumerate(candidates):
            for name in changed[position]:
                if verdicts[position].kept:
                    found = self._words(name, candidate.fields[name], held)
                    for measure in (wordings.get(name), overlap):
                        if measure and found.kept:
                            found = measure.verdict(name, candidate, context)
                    verdicts[position] = found if found.detail else verdicts[position]
        self._meaning(candidates, changed, context, held, verdicts)
        for position, candidate in enumerate(candidates):
            last = self._parent_known(candidate, context) if verdicts[position].kept else KEEP
            last = self._rationale(candidate, context) if verdicts[position].kept and last.kept else last
            verdicts[position] = verdicts[position] if last.kept else last
        return verdicts

    def _words(self, name: str, text: str, held: HeldOut) -> Verdict:
        tokens = plain(text)
        if same := held.same(tokens):
            return drop("exact", f"{name}: the words of {same.field} of held-out item {same.item}")
        for one in held.shared(tokens):
            if one.weight >= min(RARE * self._settings.ngram, max(WHOLE, MOST * held.weights[one.place])):
                return drop("ngram", f"{name}: {one.example!r} stands in held-out item {one.text.item}")
        return KEEP

    def _meaning(
        self,
        candidates: Sequence[Example],
        changed: Sequence[Sequence[str]],
        context: FilterContext,
        held: HeldOut,
        verdicts: list[Verdict],
    ) -> None:
        """Compare the texts of what is still kept; put drops and remarks into `verdicts`."""
        left = [(place, name) for place, names in enumerate(changed) if verdicts[place].kept for name in names]
        vectors = _Vectors(context.embed)
        texts = _texts(held, vectors, [candidates[p].fields[n] for p, n in left if n not in context.questions])
        asked = {
            name: _asked(
                context,
                name,
                vectors,
                [candidates[p].fields[n] for p, n in left if n == name],
                self._settings.max_similarity,
            )
            for name in {name for _, name in left} & context.questions
        }
        for place, name in left:
            if verdicts[place].kept:
                found = asked.get(name, texts).verdict(name, candidates[place], context)
                verdicts[place] = found if found.detail else verdicts[place]

    def _parent_known(self, candidate: Example, context: FilterContext) -> Verdict:
        unknown = [identity for identity in candidate.parents if identity not in context.parents]
        if not self._settings.require_parent or (candidate.parents and not unknown):
            return KEEP
        return drop("parent_unknown", f"no training item {unknown[0]}" if unknown else "no parent is named")

    def _rationale(self, candidate: Example, context: FilterContext) -> Verdict:
        task, parent = context.task, context.parent_of(candidate)
        if parent is None or task.rationale is None:
            return KEEP
        # A rationale that is an input itself is among the known runs, so it cannot leak.
        whole = _all_runs([parent.fields.get(task.rationale, "")], RATIONALE_RUN)
        known = _all_runs((parent.fields.get(name, "") for name in task.inputs), RATIONALE_RUN)
        changed = [name for name in changed_fields(candidate, parent) if name in task.inputs]
        shared = (whole - known) & _all_runs((candidate.fields.get(n, "") for n in changed), RATIONALE_RUN)
        needed = min(max(self._settings.ngram - RATIONALE_RUN + 1, 1), max(len(whole), 1))
        if len(shared) < needed:
            return KEEP
        example = " ".join(min(shared))
        return drop("rationale_leak", f"{len(shared)} runs of the parent's {task.rationale}, e.g. {example!r}")


@dataclass(frozen=True)
class _Measure:
    """A likeness between a text and each held-out one, and from where on it is too much."""

    reason: str
    called: str
    bound: float
    items: Sequence[str]
    """The held-out item of each column."""
    of: Callable[[str], Likeness]
    """[items] for a text."""

    def verdict(self, name: str, candidate: Example, context: FilterContext) -> Verdict:
        """Drop a candidate whose field `name` is too like a held-out text that its parent's is not too like."""
        mine = self.of(candidate.fields[name])
        if not (mine >= self.bound).any():
            return KEEP
        parent = context.parent_of(candidate)
        inherited = parent.fields.get(name, "") if parent else ""
        fresh = np.where(self.of(inherited) < self.bound, mine, 0.0) if inherited else mine
        leak = bool(fresh.max() >= self.bound)
        nearest = int((fresh if leak else mine).argmax())
        detail = f"{name}: {self.called} {mine[nearest]:.4f} to held-out item {self.items[nearest]}"
        return drop(self.reason, detail) if leak else Verdict(True, detail=f"{detail}, and its parent is close too")


def _overlap(held: HeldOut) -> _Measure:
    return _Measure(
        "overlap", "shared part", SHARE, [text.item for text in held.texts], lambda text: held.overlaps(plain(text))
    )


def _near(context: FilterContext, name: str) -> _Measure:
    """Edit similarity of the normal forms; 0 where below `NEAR`."""
    others = [normalised(item.fields.get(name, "")) for item in context.held_out]

    def similarities(text: str) -> Likeness:
        scorer = Levenshtein.normalized_similarity
        row = process.cdist([normalised(text)], others, scorer=scorer, score_cutoff=NEAR, dtype=np.float64)
        return np.asarray(row[0])

    return _Measure("near", "edit similarity", NEAR, [item.id for item in context.held_out], similarities)


def _asked(context: FilterContext, name: str, vectors: _Vectors, texts: Sequence[str], bound: float) -> _Measure:
    """Cosine to all held-out questions `name`."""
    others = [item.fields.get(name, "") for item in context.held_out]
    vectors.read([*texts, *others])
    return _Measure(
        "embedding", "cosine", bound, [i.id for i in context.held_out], lambda text: vectors.cosines(text, others)
    )


def _texts(held: HeldOut, vectors: _Vectors, texts: Sequence[str]) -> _Measure:
    """Cosine to the held-out texts with which at least `SOME` is shared; 0 to the others, which are not read."""

    def cosines(text: str) -> Likeness:
        found = np.zeros(len(held.texts))
        places = np.flatnonzero(held.overlaps(plain(text)) >= SOME)
        found[places] = vectors.cosines(text, [held.texts[place].text for place in places])
        return found

    suspects = [text for text in texts if (held.overlaps(plain(text)) >= SOME).any()]
    vectors.read(suspects)
    return _Measure("embedding", "cosine", SAME, [text.item for text in held.texts], cosines)


class _Vectors:
    """Embeddings of texts, each computed once and many at a time."""

    def __init__(self, embed: Embedding) -> None:
        self._embed = embed
        self._known: dict[str, Vectors] = {}

    def read(self, texts: Iterable[str]) -> None:
        fresh = [text for text in dict.fromkeys(texts) if text not in self._known]
        if fresh:
            self._known.update(zip(fresh, self._embed(fresh), strict=True))

    def cosines(self, text: str, others: Sequence[str]) -> Likeness:
        """[others]; four digits, so that verdicts agree with the figure shown on every machine."""
        if not others:
            return np.zeros(0)
        self.read([text, *others])
        row = np.stack([self._known[other] for other in others]) @ self._known[text]
        return row.astype(np.float64).round(4)


def _ids(candidate: Example, context: FilterContext, held: HeldOut) -> Verdict:
    for identity in (candidate.id, *candidate.parents):
        if identity in context.held_out_by_id:
            return drop("parent_held_out", f"{identity} is a validation or test item")
    places = {"id": candidate.id, **candidate.fields}
    named = ((name, held.document(text)) for name, text in places.items())
    where = next(((name, document) for name, document in named if document), None)
    return drop("document_id", f"{where[0]}: names held-out item {where[1]}") if where else KEEP


def _changed(candidate: Example, context: FilterContext, held: HeldOut) -> list[str]:
    """The changed fields, without a parent all, less those that are a training item's."""
    parent = context.parent_of(candidate)
    names = changed_fields(candidate, parent) if parent else tuple(candidate.fields)
    return [name for name in names if tuple(plain(candidate.fields.get(name, ""))) not in held.known]


def _all_runs(texts: Iterable[str], length: int) -> set[Run]:
    return {run for text in texts for run in runs(words(text), length)}
