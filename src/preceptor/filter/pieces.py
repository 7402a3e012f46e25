"""Finds, among very many items, all pairs that a bound on the edit similarity could let through.

Two texts of normalised edit similarity `bound` or more differ by few edits, and an edit spoils one place. So of any
k + 1 pieces of a text that do not overlap, where k is the number of edits that the bound allows, one stands unspoiled
in the other text, and at most k characters from where it was: the pigeonhole principle of Li, Deng, Wang and Feng
2011, "Pass-Join". As in Deng, Li and Feng 2014, "A pivotal prefix based filtering algorithm for string similarity
search", the pieces are the rarest ones, so that common phrases bring no pairs together. What is found is no decision:
the caller computes the similarity.

Chosen over MinHash by measurement (`bench/filters.py`): no pair is missed, and 100,000 documents take half of the time
of a MinHash filter that at its usual bound finds 0.42 of the planted pairs, and that at a bound low enough for nearly
all of them finds eight in ten documents to be duplicates.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from typing import NamedTuple, Protocol, Self

import numpy as np
import numpy.typing as npt
from rapidfuzz import process
from rapidfuzz.distance import Levenshtein

Q = 8
"""Characters in a piece, at most."""

Q_LEAST = 5
"""With shorter pieces nearly every text has nearly every piece; all pairs are compared then.

CPU seconds for 29,546 real texts of 35 words (stretches of trial abstracts): at 0.95 2.1 with size 6 and 2.4 with 8,
at 0.9 11 with 4, 5.7 with 6 and 19 with 8, at 0.85 98 with 4. All pairs would take about 15, 34 and 100, reckoned from
6,000 texts.
"""

CROWDED = 0.3
"""An item with more hits than this share of the stored items is compared with all of them, which takes less time.

A hit costs about 0.1 us, a comparison by rapidfuzz 0.04. Texts that are four fifths the same are such a case.
"""

_PAD = "\n"
"""Fills up the end of a text, so that one shorter than a piece has a piece too; the normal form has none of it."""

_BITS = 24
"""Pieces are counted and looked up in tables of 2^24 places; two kinds of pieces that share one look less rare."""

_PLACE_BITS = 16
_MULTIPLIER = np.uint64(0x9E3779B97F4A7C15)
_AT_A_TIME = 1 << 21
"""Hits that are expanded at a time; bounds the memory to some 100 MiB."""
ROUNDING = 1e-6
"""rapidfuzz 3.14 rounds cut-offs to 32 bits, and so loses pairs exactly at a bound like 0.8 or 0.85."""
_LETTERS, _MOST = 1 << 20, 1024
"""Characters, and items, of a block."""
_ROWS = 256
"""Where all pairs are compared: items at a time."""

Hashes = npt.NDArray[np.uint64]
Integers = npt.NDArray[np.int64]
Columns = Sequence[Sequence[str]]
"""The texts by field, then by item. Near means near in every field."""


class Pairs(NamedTuple):
    """Pairs that may be near, as numbers of items; the same pair may come more than once."""

    found: Integers
    """Items that were stored."""
    asked: Integers
    """Items that were asked about."""


class Index(Protocol):
    """Items are stored, and others asked about."""

    def store(self, items: Integers) -> None:
        """Store items by their numbers."""

    def take(self, other: Self, items: Integers) -> None:
        """Store those of another index's items that are among `items`, without working them out again."""

    def ask(self, items: Integers) -> Iterator[Pairs]:
        """All pairs of a stored item and one of these that may be near, in parts of bounded size."""


class EveryPair:
    """Compares everything by the first field."""

    def __init__(self, columns: Columns, bound: float) -> None:
        self._column, self._bound = columns[0], bound
        self._stored: list[int] = []

    def __len__(self) -> int:
        return len(self._stored)

    def store(self, items: Integers) -> None:
        """Store items by their numbers."""
        self._stored.extend(items.tolist())

    def take(self, other: Self, items: Integers) -> None:
        """Store items by their numbers."""
        self.store(items)

    def ask(self, items: Integers) -> Iterator[Pairs]:
        """All pairs of a stored item and one of these that are near in the first field."""
        stored = np.array(self._stored, dtype=np.int64)
        texts = [self._column[i] for i in self._stored]
        for top in range(0, len(items), _ROWS):
            rows = items[top : top + _ROWS]
            shares = process.cdist(
                [self._column[i] for i in rows],
                texts,
                scorer=Levenshtein.normalized_similarity,
                score_cutoff=self._bound - ROUNDING,
                dtype=np.float32,
            )
            asked, found = np.nonzero(shares)
            yield Pairs(stored[found], rows[asked])


class _Pieces(NamedTuple):
    """Pieces of items, one per row."""

    hash: Hashes
    item: Integers
    place: Integers
    """Where the piece begins in its text."""

    def at(self, rows: Integers | npt.NDArray[np.bool_]) -> _Pieces:
        return _Pieces(self.hash[rows], self.item[rows], self.place[rows])

    def beside(self, other: _Pieces) -> _Pieces:
        return _Pieces(
            np.concatenate([self.hash, other.hash]),
            np.concatenate([self.item, other.item]),
            np.concatenate([self.place, other.place]),
        )


class Texts:
    """All items of a search: what their pieces are, how rare each is, how many edits each text allows."""

    def __init__(self, columns: Columns, bound: float) -> None:
        self.columns, self.bound = columns, bound
        self.size = piece_size(bound)
        self.lengths = [np.array([len(text) for text in column], dtype=np.int64) for column in columns]
        self.edits = [allowed_edits(lengths, bound) for lengths in self.lengths]
        self.most_edits = [allowed_edits(np.ceil(lengths / bound).astype(np.int64), bound) for lengths in self.lengths]
        self._counts = np.zeros(1 << _BITS, dtype=np.int32)
        for items in blocks(columns):
            for field in range(len(columns)):
                kinds, counts = np.unique(_slot(self.all_pieces(items, field).hash), return_counts=True)
                self._counts[kinds] += counts.astype(np.int32)

    def all_pieces(self, items: Integers, field: int) -> _Pieces:
        """Every piece of one field of these items: length + 1 of each, in order."""
        column, q = self.columns[field], self.size
        joined = (_PAD * q).join([*(column[i] for i in items.tolist()), ""])
        letters = np.frombuffer(joined.encode("utf-32-le", "surrogatepass"), np.uint32).astype(np.uint64)
        hashes = np.full(max(len(letters) - q + 1, 0), field, dtype=np.uint64)
        for shift in range(q):
            hashes *= _MULTIPLIER
            hashes += letters[shift : shift + len(hashes)]
        hashes ^= hashes >> np.uint64(29)  # the high bits of such a sum are mixed well, the low ones are not
        hashes *= _MULTIPLIER
        counts = self.lengths[field][items] + 1
        place = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
        start = np.cumsum(counts + q - 1) - (counts + q - 1)
        return _Pieces(hashes[np.repeat(start, counts) + place], np.repeat(items, counts), place)

    def rare_pieces(self, items: Integers) -> list[_Pieces]:
        """By field, the pieces under which these items are stored: each item's in the field where they are rarest."""
        every = [self.all_pieces(items, field) for field in range(len(self.columns))]
        counts = [self._counts[_slot(pieces.hash)] for pieces in every]
        ends = [np.cumsum(lengths[items] + 1) for lengths in self.lengths]
        chosen: list[list[Integers]] = [[] for _ in every]
        for row, item in enumerate(items.tolist()):
            best: tuple[int, int, Integers] | None = None
            for field, lengths in enumerate(self.lengths):
                start = ends[field][row] - lengths[item] - 1
                own = counts[field][start : ends[field][row]]
                places = _rarest(own, self.size, int(self.edits[field][item]) + 1)
                option = (int(own[places].sum()), field, places + start)
                if best is None or option[:2] < best[:2]:
                    best = option
            if best is not None:
                chosen[best[1]].append(best[2])
        picked = [np.concatenate([*rows, np.empty(0, np.int64)]) for rows in chosen]
        return [pieces.at(rows) for pieces, rows in zip(every, picked, strict=True)]


class SharedPieces:
    """Looks up the pieces of the items that are asked about among the rare pieces of those stored."""

    def __init__(self, texts: Texts) -> None:
        self._texts = texts
        self._present = np.zeros(1 << _BITS, dtype=np.bool_)
        empty = np.empty(0, np.int64)
        self._every = EveryPair(texts.columns, texts.bound)
        self._stored = [_Pieces(empty.astype(np.uint64), empty, empty) for _ in texts.columns]

    def store(self, items: Integers) -> None:
        """Store items by their numbers."""
        self._every.store(items)
        for field, pieces in enumerate(self._texts.rare_pieces(items)):
            self._merge(field, pieces._replace(hash=_keys(pieces.hash, pieces.place)))

    def take(self, other: Self, items: Integers) -> None:
        """Store those of another index's items that are among `items`."""
        self._every.store(items)
        for field, pieces in enumerate(other._stored):
            self._merge(field, pieces.at(np.isin(pieces.item, items)))

    def _merge(self, field: int, pieces: _Pieces) -> None:
        self._present[_slot(pieces.hash)] = True
        both = self._stored[field].beside(pieces)
        self._stored[field] = both.at(np.argsort(both.hash, kind="stable"))

    def ask(self, items: Integers) -> Iterator[Pairs]:
        """All pairs of a stored item and one of these that may be near, in parts of bounded size."""
        looked_up = [self._look_up(items, field) for field in range(len(self._stored))]
        hits = np.zeros(len(self._texts.lengths[0]), dtype=np.int64)
        for asked, first, behind in looked_up:
            np.add.at(hits, asked.item, behind - first)
        crowded = hits > CROWDED * len(self._every)
        yield from self._every.ask(items[crowded[items]])
        for field, (asked, first, behind) in enumerate(looked_up):
            for rows, found in _expanded(first, np.where(crowded[asked.item], first, behind)):
                yield self._possible(field, asked.item[rows], asked.place[rows], found)

    def _look_up(self, items: Integers, field: int) -> tuple[_Pieces, Integers, Integers]:
        """Pieces of these items that some stored item may have, and the ranges of the stored ones that are equal."""
        asked = self._texts.all_pieces(items, field)
        asked = asked.at(self._present[_slot(asked.hash)])
        stored, shift = self._stored[field].hash, self._texts.most_edits[field][asked.item]
        first = np.searchsorted(stored, _keys(asked.hash, asked.place - shift), "left")
        return asked, first, np.searchsorted(stored, _keys(asked.hash, asked.place + shift), "right")

    def _possible(self, field: int, asked: Integers, place: Integers, hits: Integers) -> Pairs:
        """The hits without those whose places or lengths differ by more than the edits allow, each pair once."""
        texts, found = self._texts, self._stored[field].item[hits]
        stay = np.abs(self._stored[field].place[hits] - place) <= texts.edits[field][found]
        for lengths, edits in zip(texts.lengths, texts.edits, strict=True):
            stay &= np.abs(lengths[found] - lengths[asked]) <= edits[found]
        count = len(texts.lengths[0])
        return Pairs(*np.divmod(np.unique(found[stay] * count + asked[stay]), count))


def blocks(columns: Columns, first: int = 0) -> Iterator[Integers]:
    """The numbers of the items from `first` on, in order, as many at a time as have about `_LETTERS` characters."""
    top, letters = first, 0
    for item, texts in enumerate(zip(*(column[first:] for column in columns), strict=True), start=first):
        letters += sum(map(len, texts))
        if letters >= _LETTERS or item - top >= _MOST:
            yield np.arange(top, item + 1)
            top, letters = item + 1, 0
    if top < len(columns[0]):
        yield np.arange(top, len(columns[0]))


def make_index(columns: Columns, bound: float) -> Callable[[], Index]:
    """What makes empty indexes over these texts; what they have in common is worked out once."""
    if piece_size(bound) < Q_LEAST:
        return lambda: EveryPair(columns, bound)
    texts = Texts(columns, bound)
    return lambda: SharedPieces(texts)


def allowed_edits(lengths: Integers, bound: float) -> Integers:
    """Most edits between texts of these lengths and any text that is at least `bound` similar.

    Similarity is 1 - edits / longer, and the longer text has at most length / bound characters.
    """
    return (lengths * ((1 - bound) / bound) + 1e-6).astype(np.int64)


def piece_size(bound: float) -> int:
    """Characters in a piece: `Q`, or two thirds of a text's characters per edit, which leaves room to choose.

    A text has bound / (1 - bound) characters for each edit, so pieces up to that size would fit.
    """
    return Q if bound == 1 else min(Q, round(2 / 3 * bound / (1 - bound)))


def _slot(hashes: Hashes) -> Hashes:
    return hashes >> np.uint64(64 - _BITS)


def _keys(hashes: Hashes, places: Integers) -> Hashes:
    """Order by piece, then by place, as far as 16 bits count: the places near one are neighbours."""
    last = (1 << _PLACE_BITS) - 1
    return (hashes & ~np.uint64(last)) | np.clip(places, 0, last).astype(np.uint64)


def _rarest(counts: npt.NDArray[np.int32], size: int, needed: int) -> Integers:
    """Places of `needed` pieces that do not overlap, the rarest first where they leave room for the others."""
    free = bytearray(b"\1") * len(counts)
    places: list[int] = []
    for place in np.argsort(counts, kind="stable").tolist():
        if free[place]:
            places.append(place)
            if len(places) == needed:
                return np.array(places, dtype=np.int64)
            low, high = max(place - size + 1, 0), min(place + size, len(counts))
            free[low:high] = bytes(high - low)
    # No room: cut into equal parts, and take the rarest piece that lies within each.
    cuts = [n * (len(counts) + size - 1) // needed for n in range(needed + 1)]
    return np.array(
        [low + counts[low : high - size + 1].argmin() for low, high in pairwise(cuts)],
        dtype=np.int64,
    )


def _expanded(first: Integers, behind: Integers) -> Iterator[tuple[Integers, Integers]]:
    """From ranges `first` to `behind` to rows and every number in a row's range, about `_AT_A_TIME` at once."""
    sizes = behind - first
    rows = np.flatnonzero(sizes)
    total = np.cumsum(sizes[rows])
    top = 0
    while top < len(rows):
        done = total[top - 1] if top else 0
        end = max(int(np.searchsorted(total, done + _AT_A_TIME, "right")), top + 1)
        part = rows[top:end]
        row = np.repeat(part, sizes[part])
        within = np.arange(len(row)) - np.repeat(np.cumsum(sizes[part]) - sizes[part], sizes[part])
        yield row, first[row] + within
        top = end
