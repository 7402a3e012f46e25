"""Items, real or generated, and what filters say about them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from preceptor.records.hashing import content_hash

REAL = "real"
"""`Example.origin` of an item that came with the data; generated items carry their strategy's name."""

SAYING_THE_SAME = frozenset({"rewrite", "edit", "published"})
"""Origins of examples that say what their parent says, with its label."""


@dataclass(frozen=True, slots=True)
class Source:
    """How a generated example came to be."""

    strategy: str
    """Name of the augmentation strategy, e.g. `rewrite`."""
    prompt: str
    """Name and version of the prompt file, e.g. `rewrite-question.v1`; of an edit, its way; of a published item, the
    file."""
    prompt_hash: str
    """First 16 hex digits of the SHA-256 of the prompt file; empty without one."""
    teacher: str
    """The teacher's name, e.g. `builtin:smollm2-135m-instruct`; empty where none was asked."""
    call: str
    """Key of the call in the ledger; empty where no teacher was asked."""
    finish: str
    """Why the teacher stopped: `stop`, `length`, `content_filter`."""
    changed: tuple[str, ...]
    """Names of the fields that were written; the others are the parent's."""


@dataclass(frozen=True, slots=True)
class Example:
    """One labelled item, real or generated."""

    id: str
    """Unique within a data set; for PubMedQA the PMID."""
    fields: Mapping[str, str]
    """Text by field name, e.g. `question`, `context`, `conclusion`."""
    label: str
    """One of the task's labels."""
    origin: str = REAL
    """`real`, or the name of the strategy that generated it."""
    parents: tuple[str, ...] = ()
    """Ids of the real examples it was made from."""
    human: str | None = None
    """What one person answered under the same conditions as the model, where the data set records it."""
    source: Source | None = None
    """How it was generated; None for real examples."""
    weight: float = 1.0
    """How much it counts in training, beside a real item's 1. Above 0."""
    relabelled_from: str | None = None
    """The label that it came with, where a filter gave it another one; None when it kept its label."""

    @property
    def given_label(self) -> str:
        """The label that it came with: its parent's or its teacher's."""
        return self.label if self.relabelled_from is None else self.relabelled_from


@dataclass(frozen=True, slots=True)
class Verdict:
    """What one filter says about one generated example."""

    kept: bool
    """Whether the example may stay."""
    reason: str = ""
    """A short stable code such as `not_a_question`; empty when kept."""
    detail: str = ""
    """The evidence, e.g. the number that was lost or the similarity that was too low."""
    example: Example | None = None
    """The example as it goes on, where the filter changed its label or weight; None when it stays as it is."""


KEEP = Verdict(kept=True)


def drop(reason: str, detail: str = "") -> Verdict:
    """The verdict that removes an example, with its reason."""
    return Verdict(kept=False, reason=reason, detail=detail)


def fingerprint(examples: Iterable[Example]) -> str:
    """Hash of all of examples, in order, that can change what is learnt from them."""
    # A weight of 1 adds nothing, so that what was trained before there were weights is still found.
    return content_hash([(e.id, dict(e.fields), e.label, *([e.weight] if e.weight != 1.0 else [])) for e in examples])
