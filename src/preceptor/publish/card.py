"""The data card: what a set of tasks is, how it came to be, and what it is not for.

Every number comes from the run's records. Text that a model or a user wrote is escaped: in running text and tables
every mark of Markdown, and examples stand in fences longer than any run of backticks in them.
"""

from __future__ import annotations

import json
import random
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import jinja2
from markupsafe import Markup

from preceptor.publish.diversity import most_common
from preceptor.records import SHORT, Example, Spend, TasksFunnel

EXAMPLES = 3
_SEED = 0
# Valid inside a JSON string, but some readers take them for the end of a line, and YAML refuses others.
_UNSAFE = re.compile("[\x7f-\x9f\u2028\u2029\ufeff\ufffe\uffff]")
_MARKS = re.compile(r"([\\`*_{}\[\]<>#|~&$])")
_SIZES = (
    (1_000, "n<1K"),
    (10_000, "1K<n<10K"),
    (100_000, "10K<n<100K"),
    (1_000_000, "100K<n<1M"),
    (10_000_000, "1M<n<10M"),
)


@dataclass(frozen=True)
class Card:
    """What a data card says beyond the tasks themselves."""

    name: str
    """Short name of the set, e.g. the recipe's."""
    title: str
    teacher: str
    """Who wrote the tasks."""
    settings: Mapping[str, Any]
    """The teacher's settings, e.g. temperature. Never a key."""
    prompts: Mapping[str, str]
    """Name of each prompt file -> its hash."""
    seeds: str
    """Name of the seed set, or its file; without a funnel, the file that the tasks come from."""
    seeds_hash: str
    seeds_count: int
    funnel: TasksFunnel | None
    """What became of all that the teacher wrote; None when the tasks come from a file."""
    spend: Spend | None
    """What was asked, and what it cost."""
    command: str
    """The line that made the set."""
    version: str
    """Of this package."""
    diversity: Mapping[str, Any] = field(default_factory=dict)
    """The figures of `diversity_of`; empty: they are computed from the tasks when the card is written."""
    licence: str = "unknown"
    """The hub's name of the licence that the publisher chose, e.g. `cc-by-4.0`; `unknown`: not chosen yet."""
    language: str = "en"
    """ISO 639-1 code, or empty when it was not looked at."""
    notice: str = ""
    """A sentence to show first, e.g. that a rule-based teacher wrote the tasks."""
    notes: tuple[str, ...] = ()
    """More sentences that a reader must know."""


def render(card: Card, kept: Sequence[Example]) -> str:
    """The card as Markdown with a YAML head as the Hugging Face hub reads it.

    Raises `ValueError` when the card is about another number of tasks than `kept`.
    """
    for counted in (card.diversity["tasks"], card.funnel.kept if card.funnel else len(kept)):
        if counted != len(kept):
            raise ValueError(f"the card is about {counted} tasks, but {len(kept)} are published")
    return _template().render(
        card=card,
        task_categories=task_categories(kept),
        size_category=size_category(len(kept)),
        diversity=card.diversity,
        roots=card.diversity["roots"],
        funnel=card.funnel,
        spend=card.spend,
        examples=random.Random(_SEED).sample(list(kept), min(EXAMPLES, len(kept))),
        seed=_SEED,
        short=SHORT,
    )


def task_categories(kept: Sequence[Example]) -> list[str]:
    """The hub's names of what the tasks are."""
    asks = any(task.label == "question_answering" for task in kept)
    return ["text-generation", *(["question-answering"] if asks else [])]


def size_category(count: int) -> str:
    """The hub's name for a set of so many items."""
    return next((name for limit, name in _SIZES if count < limit), "n>10M")


# --- escaping -----------------------------------------------------------------------------------------------------


def json_text(value: Any) -> str:
    """JSON on one line that is also YAML: characters that end a line or cannot be printed are escaped."""
    text = json.dumps(value, ensure_ascii=False)
    return _UNSAFE.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def yaml(value: Any) -> Markup:
    """A value in the card's head."""
    return Markup(json_text(value))  # noqa: S704 - it stands in no markup


def plain(value: Any) -> str:
    """A value in running text or a table: on one line, with every mark of Markdown escaped."""
    if isinstance(value, Markup):
        return str(value)
    return _MARKS.sub(r"\\\1", " ".join(str(value).split()))


def fence(text: str, kind: str = "") -> Markup:
    """A text as it is, between fences that nothing in it can end."""
    bar = "`" * max(3, 1 + max((len(run) for run in re.findall(r"`+", text)), default=0))
    return Markup(f"{bar}{kind}\n{text}\n{bar}")  # noqa: S704 - Markdown; the fence is longer than any inside


def code(text: str) -> Markup:
    """A text as a code span on one line."""
    line = " ".join(text.split()) or " "
    bar = "`" * (1 + max((len(run) for run in re.findall(r"`+", line)), default=0))
    space = " " if line.startswith("`") or line.endswith("`") else ""
    return Markup(f"{bar}{space}{line}{space}{bar}")  # noqa: S704 - as above


def share(part: float, whole: float) -> str:
    """`part` of `whole` in percent with one decimal."""
    return f"{100 * part / whole:.1f} %" if whole else "–"


def figure(value: float | None, digits: int = 3) -> str:
    """A number, or a dash where there is none."""
    return "–" if value is None else f"{value:.{digits}f}"


def sorted_counts(counts: Mapping[str, int]) -> list[tuple[str, int]]:
    """Most frequent first."""
    return most_common(counts)


@cache
def _template() -> jinja2.Template:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("preceptor", "publish"),
        autoescape=False,  # noqa: S701 - Markdown: `plain` escapes every value that is no Markup
        finalize=plain,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters |= {
        function.__name__: function for function in (fence, code, share, figure, sorted_counts, yaml)
    }
    environment.filters["count"] = lambda value: f"{value:,}"
    return environment.get_template("card.md.jinja")
