"""Solved examples before an item: which, in what order, and how they are shown.

Drawn from the training items alone. The items of each label are shuffled by the seed, and so is the order of the
labels; the labels then take turns, each giving its next item, until there are enough, and a label that has run out is
passed over. So the counts of any two labels differ by one at most where there are items, and the items of k shots are
among those of k + 1. In the end the drawn items are shuffled, so that the last label before the item is no habit.

A model that continues text reads a training prompt, its answer, an empty line, the next, and at last the item's prompt:
what stands before each answer is what training shows before it. This is also the form of lm-evaluation-harness
(`target_delimiter` " ", `fewshot_delimiter` two line breaks). A chat model reads the same prompts as a user's turns and
the answers as its own: there its answers have the form that it is to give, and no answer stands in a user's mouth. In
both, fixed shots come first, so all prompts begin alike.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from preceptor.data.base import Rendered, Task, TextLength, render_all
from preceptor.errors import RecipeError
from preceptor.records import Example, Message

BETWEEN = "\n\n"
"""Stands after each solved example; where answers are written, it ends one."""


def draw_shots(items: Sequence[Example], labels: Sequence[str], count: int, seed: int, item: str = "") -> list[Example]:
    """`count` of the items, balanced over `labels` as far as possible; `item` varies the draw. See the module's head.

    The order of `items` changes nothing. There must be at least `count` of them.
    """
    generator = random.Random(f"shots-{seed}-{item}")
    turns = sorted(labels)
    generator.shuffle(turns)
    queues: dict[str, list[Example]] = {label: [] for label in turns}
    for one in sorted(items, key=lambda one: one.id):
        queues[one.label].append(one)
    for label in turns:
        generator.shuffle(queues[label])
    drawn: list[Example] = []
    while len(drawn) < count:
        drawn += [queues[label].pop() for label in turns if queues[label]][: count - len(drawn)]
    random.Random(f"shots-order-{seed}-{item}-{count}").shuffle(drawn)
    return drawn


@dataclass(frozen=True)
class Shots:
    """The solved examples of one baseline."""

    task: Task
    train: tuple[Example, ...]
    """The training items."""
    count: int
    seed: int
    per_item: bool = False
    """Whether each item has its own draw."""
    where: str = "baselines"
    """What errors call it."""

    def __post_init__(self) -> None:
        if self.count > len(self.train):
            raise RecipeError(
                f"{self.where}: shots = {self.count} are more than the {len(self.train)} training items.",
                "Use fewer shots.",
            )

    def before(self, item: Example) -> list[Example]:
        """The solved examples that stand before an item."""
        return draw_shots(self.train, self.task.labels, self.count, self.seed, item.id if self.per_item else "")

    def text(self, item: Example, length: TextLength, limit: int) -> str:
        """They as text, each prompt shortened to `limit` tokens as training shortens it. Empty without any."""
        shown = self.before(item)
        prompts = render_all(self.task, shown, length, limit).prompts
        pairs = zip(prompts, shown, strict=True)
        return "".join(f"{prompt}{self.task.target(one.label)}{BETWEEN}" for prompt, one in pairs)

    def turns(self, item: Example) -> tuple[Message, ...]:
        """They as turns of a chat, whole."""
        shown = self.before(item)
        return tuple(
            message
            for one in shown
            for message in (Message("user", self.task.render(one).strip()), Message("assistant", one.label))
        )


@dataclass(frozen=True, slots=True)
class Room:
    """What one model can read at once."""

    model: str
    window: int
    """Tokens."""
    answer: int
    """Of them, those kept for the answer."""


def text_prompts(shots: Shots, items: Sequence[Example], length: TextLength, limit: int, room: Room) -> Rendered:
    """What a model that continues text reads before it answers, solved examples included.

    An item has `limit` tokens, as in training, and where the window leaves less it is shortened further; the solved
    examples stay whole. Raises `RecipeError` where even items without the field that is shortened do not fit.
    """
    fixed = "" if shots.per_item or not items else shots.text(items[0], length, limit)
    befores = [shots.text(item, length, limit) if shots.per_item else fixed for item in items]
    whole = [lambda text, before=before: length(before + text) for before in befores]
    rendered = fitted(shots, items, whole, room, own=(length, limit))
    prompts = tuple(before + prompt for before, prompt in zip(befores, rendered.prompts, strict=True))
    return Rendered(prompts, rendered.cut)


def fitted(
    shots: Shots,
    items: Sequence[Example],
    whole: Sequence[Callable[[str], int]],
    room: Room,
    own: tuple[TextLength, int] | None = None,
) -> Rendered:
    """The items' own prompts, shortened so that they fit beside what stands before them.

    `whole[i]` counts the tokens of all that is read with a prompt for item i; `own` is a length and a limit for the
    prompt alone. Raises as `text_prompts`.
    """
    task, most = shots.task, room.window - room.answer
    bare = (count(task.render(_bare(task, item))) for count, item in zip(whole, items, strict=True))
    least = max(bare, default=0) if shots.count else 0
    if least > most:
        raise RecipeError(
            f"{shots.where}: shots = {shots.count} needs {least + room.answer} tokens, the window of {room.model} "
            f"holds {room.window}.",
            "Use fewer shots.",
        )
    prompts, cut = [], 0
    for count, item in zip(whole, items, strict=True):
        prompt, shorter = task.render_within(item, *own) if own else (task.render(item), False)
        if count(prompt) > most:
            prompt, shorter = task.render_within(item, count, most)
        prompts.append(prompt)
        cut += shorter
    return Rendered(tuple(prompts), cut)


def _bare(task: Task, item: Example) -> Example:
    """The item without the field that may be shortened."""
    return item if task.shorten is None else replace(item, fields={**item.fields, task.shorten: ""})
