"""Controls: examples that no teacher of the run wrote, and labels in disorder. Without them "it helped" means little.

`edit` is "easy data augmentation" (Wei and Zou 2019, "EDA: Easy Data Augmentation Techniques for Boosting Performance
on Text Classification Tasks"): an edit swaps, deletes or inserts words, a share of them, at least one. EDA's fourth
way, to replace a word by a synonym, and the synonyms that it inserts need a thesaurus; none comes with this package,
so the fourth way is left out, and what is inserted is another word of the same text.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import numpy as np

from preceptor.augment.base import Candidates, context_fields, question_field
from preceptor.config import AugmentSettings
from preceptor.data.base import Task
from preceptor.errors import RecipeError
from preceptor.records import Example, Source, content_hash

_END = re.compile(r"[.?!。？！؟\"'”’»)\]]*\s*\Z")


def swap(words: list[str], count: int, rng: np.random.Generator) -> list[str]:
    """`count` times, two places change their words."""
    edited = list(words)
    for _ in range(count):
        first, second = rng.choice(len(edited), 2, replace=False)
        edited[first], edited[second] = edited[second], edited[first]
    return edited


def delete(words: list[str], count: int, rng: np.random.Generator) -> list[str]:
    """`count` words are left out, but never all."""
    gone = set(rng.choice(len(words), min(count, len(words) - 1), replace=False).tolist())
    return [word for place, word in enumerate(words) if place not in gone]


def insert(words: list[str], count: int, rng: np.random.Generator) -> list[str]:
    """`count` words of the text stand once more, anywhere."""
    edited = list(words)
    for word in rng.choice(len(words), count).tolist():
        edited.insert(int(rng.integers(len(edited) + 1)), words[word])
    return edited


WAYS: Mapping[str, Callable[[list[str], int, np.random.Generator], list[str]]] = {
    "swap": swap,
    "delete": delete,
    "insert": insert,
}


def edited(text: str, share: float, rng: np.random.Generator) -> tuple[str, str] | None:
    """The text with a share of its words edited, and in which way; None where no way changes it.

    What ends the text, a question mark say, stays at its end. White space becomes single spaces.
    """
    found = _END.search(text)
    end = found.group().strip() if found else ""
    words = (text[: found.start()] if found else text).split()
    if len(words) < 2:
        return None
    count = max(1, round(share * len(words)))
    for way in rng.permutation(list(WAYS)).tolist():
        new = WAYS[way](words, count, rng)
        if new != words:  # two equal words may have changed places
            return " ".join(new) + end, way
    return None


def edit_all(task: Task, items: Sequence[Example], settings: AugmentSettings) -> Candidates:
    """Edited copies of the items, `settings.draws` of each; their labels stay.

    An edit depends on the seed, the item and the draw, not on what is edited beside it. Raises `RecipeError` where
    the task has no such field.
    """
    field = edited_field(task, settings)
    made = Candidates()
    for item in items:
        for draw in range(settings.draws):
            rng = np.random.default_rng(_seed(settings.edit_seed, item, draw))
            change = edited(item.fields[field], settings.edit_share, rng)
            if change is None:
                made.unreadable["nothing_to_edit"] += 1
            else:
                made.examples.append(_example(item, field, draw, *change))
    return made


def edited_field(task: Task, settings: AugmentSettings) -> str:
    """The field that `edit` changes."""
    if settings.edited == "question":
        return question_field(task)
    if not context_fields(task):
        raise RecipeError(
            f'augment.edit = "context": task {task.name} has no context that `rewrite` could reword too.',
            'Use augment.edit = "question".',
        )
    return context_fields(task)[0]


def _seed(seed: int, item: Example, draw: int) -> list[int]:
    return [seed, int(content_hash(["edit", item.id, draw])[:16], 16)]


def _example(parent: Example, field: str, draw: int, text: str, way: str) -> Example:
    return Example(
        id=f"{parent.id}-edit-{draw}",
        fields={**parent.fields, field: text},
        label=parent.label,
        origin="edit",
        parents=(parent.id,),
        source=Source("edit", prompt=way, prompt_hash="", teacher="", call="", finish="stop", changed=(field,)),
    )


def shuffled(groups: Mapping[str, Sequence[Example]], seeds: Sequence[int]) -> dict[str, list[Example]]:
    """The groups' examples with their labels permuted among all of them, so that the balance of labels stays.

    An example whose label changed keeps the one that it came with as `given_label`, and is no longer taken for one
    that says what its parent says.
    """
    everyone = [example for group in groups.values() for example in group]
    order = np.random.default_rng(list(seeds)).permutation(len(everyone)).tolist()
    labels = iter([everyone[place].label for place in order])
    return {name: [_labelled(example, next(labels)) for example in group] for name, group in groups.items()}


def _labelled(example: Example, label: str) -> Example:
    if label == example.label:
        return example
    return replace(example, label=label, relabelled_from=example.given_label)


def adopted(items: Sequence[Example], parents: Mapping[str, Example]) -> list[Example]:
    """Published items as examples of their parents: what an item leaves out is its parent's.

    Items of parents that are not among the training items get nothing; the filter `leakage` drops them.
    """
    return [_adopted(item, parents.get(item.parents[0])) for item in items]


def _adopted(item: Example, parent: Example | None) -> Example:
    own = {name: text for name, text in item.fields.items() if text.strip()}
    if parent is None or item.source is None:
        return replace(item, fields=own)
    fields = {**parent.fields, **own}
    changed = tuple(name for name, text in fields.items() if text != parent.fields.get(name))
    return replace(item, fields=fields, source=replace(item.source, changed=changed))
