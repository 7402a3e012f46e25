"""How varied a set of tasks is: figures as plain values, for `results.json`, the data card and the report.

`diversity_of` gives a dictionary:

    tasks           how many
    categories      category -> tasks
    empty_inputs    tasks whose input is empty
    roots           what the instructions tell, by the rule of `roots.py`:
                    verbs, questions, none (how many tasks of each kind), different_verbs,
                    top: [{verb, tasks, objects: [{noun, tasks}]}], the `VERBS_SHOWN` most frequent verbs, each with
                    its `OBJECTS` most frequent objects,
                    question_words: word -> tasks
    words           instruction, input, output -> mean, quantiles {"0", "10", ..., "100"}, histogram {edges, counts}:
                    counts[i] texts have edges[i] <= words < edges[i + 1]; the last count is all from the last edge up
    distinct        instruction, output -> {"1", "2", "3"} -> all, sampled: different n-grams / n-grams. `sampled` is
                    the mean over `samples` samples of `sample_size` tasks: the share falls as a set grows
    samples, sample_size
    nearest_f       deciles of the ROUGE-L F to the nearest seed or earlier task, where they are known
"""

from __future__ import annotations

import random
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from preceptor.publish.roots import root_of
from preceptor.records import Example

FIELDS = ("instruction", "input", "output")
VERBS_SHOWN = 20
OBJECTS = 4
"""BioInstruct and Self-Instruct show the 20 most common root verbs with the 4 most common objects of each."""
SAMPLES = 20
SAMPLE_SIZE = 200
SEED = 0
"""Of the samples: the same tasks in the same order give the same figures."""

_WORD = re.compile(r"[^\W_]+(?:['’-][^\W_]+)*")
_BINS = 20
_STEPS = (1, 2, 5, 10, 20, 25, 50, 100, 200, 250, 500, 1000)

Integers = npt.NDArray[np.int64]


def diversity_of(tasks: Sequence[Example], nearest_f: Sequence[float] = ()) -> dict[str, Any]:
    """The figures of a set of tasks; `nearest_f` are the deciles of `TasksFunnel`. See the head of this file.

    Without tasks all counts are 0, and there are neither quantiles nor shares.
    """
    texts = {name: [task.fields[name] for task in tasks] for name in FIELDS}
    return {
        "tasks": len(tasks),
        "categories": dict(Counter(task.label for task in tasks).most_common()),
        "empty_inputs": sum(not text.strip() for text in texts["input"]),
        "roots": roots_of(texts["instruction"]),
        "words": {name: lengths_of([len(text.split()) for text in column]) for name, column in texts.items()},
        "distinct": {name: distinct_of(texts[name]) for name in ("instruction", "output")},
        "samples": SAMPLES,
        "sample_size": min(len(tasks), SAMPLE_SIZE),
        "nearest_f": list(nearest_f),
    }


def roots_of(instructions: Sequence[str]) -> dict[str, Any]:
    """Root verbs with their objects, and what the questions ask."""
    roots = [root_of(text) for text in instructions]
    kinds = Counter(root.kind for root in roots)
    verbs = Counter(root.word for root in roots if root.kind == "verb")
    objects: dict[str, Counter[str]] = {}
    for root in roots:
        if root.kind == "verb" and root.object:
            objects.setdefault(root.word, Counter())[root.object] += 1
    return {
        "verbs": kinds["verb"],
        "questions": kinds["question"],
        "none": kinds["none"],
        "different_verbs": len(verbs),
        "top": [
            {
                "verb": verb,
                "tasks": count,
                "objects": [
                    {"noun": noun, "tasks": number}
                    for noun, number in most_common(objects.get(verb, Counter()), OBJECTS)
                ],
            }
            for verb, count in most_common(verbs, VERBS_SHOWN)
        ],
        "question_words": dict(most_common(Counter(root.word for root in roots if root.kind == "question"))),
    }


def most_common(counts: Mapping[str, int], limit: int | None = None) -> list[tuple[str, int]]:
    """By count, then by name, so that ties do not depend on the order of the tasks."""
    return sorted(counts.items(), key=lambda entry: (-entry[1], entry[0]))[:limit]


def lengths_of(counts: Sequence[int]) -> dict[str, Any]:
    """Mean, deciles and histogram of lengths in words."""
    if not counts:
        return {"mean": None, "quantiles": {}, "histogram": {"edges": [0], "counts": [0]}}
    lengths = np.asarray(counts)
    quantiles = np.quantile(lengths, np.arange(11) / 10, method="inverted_cdf")  # lengths that occur
    reach = float(np.quantile(lengths, 0.98, method="inverted_cdf"))
    wide = next((step for step in _STEPS if step * _BINS > reach), _STEPS[-1])
    edges = wide * np.arange(min(_BINS, int(reach // wide) + 1) + 1)
    # One bin more than edges - 1: the last one has no upper edge, else one long text would flatten the rest.
    histogram = np.histogram(lengths, np.append(edges, max(int(lengths.max()), int(edges[-1])) + 1))[0]
    if len(edges) > 1 and not histogram[-1]:
        edges, histogram = edges[:-1], histogram[:-1]
    return {
        "mean": round(float(lengths.mean()), 2),
        "quantiles": {str(10 * i): int(value) for i, value in enumerate(quantiles)},
        "histogram": {"edges": edges.tolist(), "counts": histogram.tolist()},
    }


def distinct_of(texts: Sequence[str]) -> dict[str, dict[str, float | None]]:
    """Different n-grams as a share of all, for n = 1, 2, 3: distinct-n of Li et al. 2016, over a whole set of texts.

    Words are runs of letters and digits in lower case; no n-gram spans two texts.
    """
    known: dict[str, int] = {}
    rows = [[known.setdefault(word, len(known)) for word in _WORD.findall(text.casefold())] for text in texts]
    generator, size = random.Random(SEED), min(len(rows), SAMPLE_SIZE)
    whole = _shares(rows)
    sampled = [_shares(generator.sample(rows, size)) for _ in range(SAMPLES)] if len(rows) > size else [whole]
    return {
        str(n): {"all": _rounded([whole[n - 1]]), "sampled": _rounded([shares[n - 1] for shares in sampled])}
        for n in (1, 2, 3)
    }


def _rounded(shares: Sequence[float | None]) -> float | None:
    """Mean of those that are known: texts too short for an n-gram have no share."""
    found = [share for share in shares if share is not None]
    return round(sum(found) / len(found), 4) if found else None


def _shares(rows: Sequence[Sequence[int]]) -> list[float | None]:
    """Distinct-1, -2, -3 of texts as word numbers; None where there is no n-gram."""
    words: Integers = np.fromiter((word for row in rows for word in row), np.int64)
    text: Integers = np.repeat(np.arange(len(rows)), [len(row) for row in rows])
    base, grams, shares = int(words.max(initial=0)) + 1, words, []
    for n in (1, 2, 3):
        if n > 1:
            # An n-gram is the rank of its beginning and its last word; both are small enough for 64 bits together.
            ranks: Integers = np.unique(grams, return_inverse=True)[1]
            grams = ranks[:-1] * base + words[n - 1 :]
        within = grams[text[: len(grams)] == text[n - 1 :]]
        shares.append(len(np.unique(within)) / len(within) if len(within) else None)
    return shares
