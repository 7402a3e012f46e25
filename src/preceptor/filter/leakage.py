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

# "Development" below is the first half of bench/planted.py: 1,457 trial abstracts, 140 training items of PubMedQA and
# 585 dialogues, all clean, and 300 edits and 1,138 back-translations planted there. Each bound is moved alone.

RARE = 0.875
"""Shared runs leak when their words weigh as much as this times `ngram` rare words: 7 for runs of 8.

Development: 2 clean dialogues, which share turns of phrase of twenty words with a held-out one, no abstract (the
highest has 3.5). At 0.5 it is 7 dialogues; without any bound it was 143 abstracts, 15 training items and 100
dialogues. The price: of PubMedQA's sentences half weigh too little to be recognised when one is taken alone.
"""

WHOLE, MOST = 2.0, 0.8
"""... or as `MOST` of the held-out text, and at least as `WHOLE` rare words: a short text quoted in another.

Development: 1.5 to 3 and 0.6 to 1 make no difference of more than one text; "Do you smoke?" "No." weighs less.
"""

NEAR = 0.85
"""Normalised edit similarity from which a question is a held-out one with a few words changed.

Of PubMedQA's real training questions none is closer than 0.59 to a held-out one; nine in ten held-out questions
keep 0.85 or more when one of their words is changed, while most no longer share 8 words in a row.
"""

SHARE = 0.24
"""`Overlap.shares` from which a text is a held-out one edited or translated there and back.

Development: 1 clean dialogue and nothing else; 99 of 100 edited contexts. At 0.22 it is 2 dialogues, at 0.20 also an
abstract and a training item; at 0.26 one point fewer of the dialogues are recognised, at 0.28 two.
"""

SOME, SAME = 0.11, 0.92
"""A text other than a question is a held-out one in other words when `Overlap.shares` and cosine reach these.

Development: nothing clean, and 4 % of the back-translations, mostly short ones. With a cosine of 0.90 it is one clean
dialogue, with 0.85 it is five.
"""

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
        changed: list[list[str]] = []
        verdicts = [_ids(candidate, context, held) for candidate in candidates]
        overlap = _overlap(held)
        wording = {name: (_near(context, name), overlap) for name in context.questions}
        for place, candidate in enumerate(candidates):
            changed.append(_changed(candidate, context, held))
            for name in changed[place]:
                if verdicts[place].kept:
                    found = self._words(name, candidate.fields[name], held)
                    if found.kept:
                        found = _first(wording.get(name, (overlap,)), name, candidate, context)
                    verdicts[place] = found if found.detail else verdicts[place]
        left = [(place, name) for place, names in enumerate(changed) if verdicts[place].kept for name in names]
        meaning = self._meaning([(name, candidates[place].fields[name]) for place, name in left], context, held)
        for place, name in left:
            if verdicts[place].kept:
                found = _first((meaning[name],), name, candidates[place], context)
                verdicts[place] = found if found.detail else verdicts[place]
        for place, candidate in enumerate(candidates):
            last = self._parent_known(candidate, context) if verdicts[place].kept else KEEP
            last = self._rationale(candidate, context) if verdicts[place].kept and last.kept else last
            verdicts[place] = verdicts[place] if last.kept else last
        return verdicts

    def _words(self, name: str, text: str, held: HeldOut) -> Verdict:
        tokens = plain(text)
        if same := held.same(tokens):
            return drop("exact", f"{name}: the words of {same.field} of held-out item {same.item}")
        for one in held.shared(tokens):
            if one.weight >= min(RARE * self._settings.ngram, max(WHOLE, MOST * held.weights[one.place])):
                return drop("ngram", f"{name}: {one.example!r} stands in held-out item {one.text.item}")
        return KEEP

    def _meaning(self, texts: Sequence[tuple[str, str]], context: FilterContext, held: HeldOut) -> dict[str, _Measure]:
        """By field, how to compare these texts, given as (field, text), by meaning; all are embedded at once."""
        read = _Vectors(context.embed)
        others = [text for name, text in texts if name not in context.questions]
        suspects = _suspects(held, read, others) if others else None
        found = {name: suspects for name, _ in texts if suspects}
        for name in {name for name, _ in texts} & context.questions:
            asked = [text for field, text in texts if field == name]
            found[name] = _asked(context, name, read, asked, self._settings.max_similarity)
        return found

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


def _asked(context: FilterContext, name: str, read: _Vectors, texts: Sequence[str], bound: float) -> _Measure:
    """Cosine to all held-out questions `name`."""
    others = read([item.fields.get(name, "") for item in context.held_out])
    read(texts)
    items = [item.id for item in context.held_out]
    return _Measure("embedding", "cosine", bound, items, lambda text: _cosines(read([text]), others))


def _suspects(held: HeldOut, read: _Vectors, texts: Sequence[str]) -> _Measure:
    """Cosine to the held-out texts with which at least `SOME` is shared; 0 to the others, which are not read."""

    def alike(text: str) -> npt.NDArray[np.intp]:
        return np.flatnonzero(held.overlaps(plain(text)) >= SOME)

    def cosines(text: str) -> Likeness:
        found = np.zeros(len(held.texts))
        if (places := alike(text)).size:
            found[places] = _cosines(read([text]), read([held.texts[place].text for place in places]))
        return found

    read([text for text in texts if alike(text).size])
    return _Measure("embedding", "cosine", SAME, [text.item for text in held.texts], cosines)


class _Vectors:
    """Embeddings of texts: many at a time, each once."""

    def __init__(self, embed: Embedding) -> None:
        self._embed = embed
        self._known: dict[str, Vectors] = {}

    def __call__(self, texts: Sequence[str]) -> Vectors:
        """[n, width]"""
        fresh = [text for text in dict.fromkeys(texts) if text not in self._known]
        if fresh:
            self._known.update(zip(fresh, self._embed(fresh), strict=True))
        return np.stack([self._known[text] for text in texts]) if texts else np.zeros((0, 0), dtype=np.float32)


def _cosines(one: Vectors, others: Vectors) -> Likeness:
    """[others]; four digits, so that verdicts agree with the figure shown on every machine."""
    return (others @ one[0]).astype(np.float64).round(4) if len(others) else np.zeros(0)


def _first(measures: Iterable[_Measure], name: str, candidate: Example, context: FilterContext) -> Verdict:
    """The first drop, else the last remark."""
    verdict = KEEP
    for measure in measures:
        found = measure.verdict(name, candidate, context)
        if not found.kept:
            return found
        verdict = found if found.detail else verdict
    return verdict


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
    names = set(changed_fields(candidate, parent)) if parent else set(candidate.fields)
    return [name for name, text in candidate.fields.items() if name in names and plain(text) not in held.known]


def _all_runs(texts: Iterable[str], length: int) -> set[Run]:
    return {run for text in texts for run in runs(words(text), length)}
