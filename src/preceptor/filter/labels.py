"""Labellers: who says what label an example should have, from what a student would see of it.

By a teacher, whose answers are votes, or by students of which each labels only what it was not trained on. What kind
of labeller it is, the filter `agreement` does not know.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from preceptor.data.base import Task
from preceptor.records import Example, Outcome, Request, Sampling, content_hash
from preceptor.teachers.asker import Ask, draws_of
from preceptor.teachers.base import Answer
from preceptor.teachers.prompt import Prompt, read_prompt

NO_ANSWER = "no_answer"
"""Stands among the outcomes where a call failed, or nobody could be asked."""
PROMPT = "label.v1"


class Vote(NamedTuple):
    """One answer of a labeller."""

    outcome: str
    """One of the four outcomes of parsing, or `no_answer`."""
    label: str | None = None
    """The label, exactly when the outcome is `answered`."""

    @property
    def word(self) -> str:
        """The label, or why there is none."""
        return self.label or self.outcome


@dataclass(frozen=True, slots=True)
class Label:
    """What a labeller says about one example."""

    outcome: str
    """That of most votes, which is `answered` unless most have no label."""
    label: str | None
    """The label; None unless the outcome is `answered`, and when no label has more than half of the votes."""
    shares: Mapping[str, float] = field(default_factory=dict)
    """By label: its share of all votes, unread ones included, or its probability."""
    votes: tuple[Vote, ...] = ()
    """Its answers; empty where probabilities were read."""


Labeller = Callable[[Sequence[Example]], list[Label]]
"""One label per example, in the same order. It never looks at the examples' own labels."""


def majority(votes: Sequence[Vote], labels: Sequence[str]) -> Label:
    """The label that more than half of the votes name; a vote without a label counts against all of them."""
    named = Counter(vote.label for vote in votes)
    shares = {label: named[label] / len(votes) for label in labels}
    winner = next((label for label in labels if 2 * named[label] > len(votes)), None)
    unread = Counter(vote.outcome for vote in votes if vote.label is None)
    # Mostly unread: the most frequent way to fail stands for all. Otherwise there is an answer, if a split one.
    outcome = unread.most_common(1)[0][0] if 2 * unread.total() > len(votes) else str(Outcome.ANSWERED)
    return Label(outcome, winner, shares, tuple(votes))


@dataclass(frozen=True)
class TeacherLabeller:
    """Shows a teacher the prompt that a student is trained on and reads its answers with the task's strict parser."""

    task: Task
    sampling: Sampling
    draws: int
    """Votes per example."""
    ask: Ask

    def __call__(self, examples: Sequence[Example]) -> list[Label]:
        """The majority of the draws for each example."""
        answers = self.ask([r for example in examples for r in draws_of(self.request(example), self.draws)])
        votes = [_vote(self.task, answer) for answer in answers]
        return [majority(votes[i : i + self.draws], self.task.labels) for i in range(0, len(votes), self.draws)]

    def request(self, example: Example) -> Request:
        """What it asks about one example."""
        messages = prompt().messages(prompt=self.task.render(example), labels=self.task.labels)
        return Request(messages, self.sampling, item=f"label/{example.id}")


def prompt() -> Prompt:
    """The prompt that teachers are shown."""
    return read_prompt("filter", PROMPT)


def _vote(task: Task, answer: Answer) -> Vote:
    if answer.completion is None:
        return Vote(NO_ANSWER)
    parsed = task.parse(answer.completion.text, finish=answer.completion.finish)
    return Vote(str(parsed.outcome), parsed.label)


@dataclass(frozen=True)
class Fold:
    """A student that was trained on some of the real items."""

    trained_on: frozenset[str]
    """Their ids."""
    label: Labeller


def cross_fitted(folds: Sequence[Fold]) -> Labeller:
    """A labeller in which nobody labels what it has learnt from: an item it was trained on, or a child of one.

    Where several may label an example, its id decides. An example that nobody may label has no answer.
    """

    def label(examples: Sequence[Example]) -> list[Label]:
        found = [Label(NO_ANSWER, None)] * len(examples)
        chosen = [_free(folds, example) for example in examples]
        for fold in folds:
            mine = [i for i, one in enumerate(chosen) if one is fold]
            if mine:
                for i, said in zip(mine, fold.label([examples[i] for i in mine]), strict=True):
                    found[i] = said
        return found

    return label


def _free(folds: Sequence[Fold], example: Example) -> Fold | None:
    free = [fold for fold in folds if not fold.trained_on.intersection((example.id, *example.parents))]
    return free[int(content_hash(example.id)[:8], 16) % len(free)] if free else None
