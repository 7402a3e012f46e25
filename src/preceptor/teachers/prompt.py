"""Prompts are versioned files of the package; a changed prompt is a new version, never an edit of a released one."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

import jinja2

from preceptor.records import Message


@dataclass(frozen=True, slots=True)
class Prompt:
    """A versioned prompt file of the package."""

    name: str
    """File name without its ending, e.g. `rewrite-question.v1`."""
    text: str
    hash: str
    """First 16 hex digits of the SHA-256 of the text."""

    def messages(self, **values: object) -> tuple[Message, ...]:
        """Render to a system and a user message: the file's parts above and below its line `---`."""
        system, found, user = _compiled(self.text).render(**values).partition("\n---\n")
        if not found:
            return (Message("user", system.strip()),)
        return (Message("system", system.strip()), Message("user", user.strip()))


@cache  # compiling takes a hundred times as long as rendering
def _compiled(text: str) -> jinja2.Template:
    # No autoescape: the output is a model's prompt, not a page.
    environment = jinja2.Environment(
        undefined=jinja2.StrictUndefined,
        autoescape=False,  # noqa: S701
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.from_string(text)


@cache
def read_prompt(stage: str, name: str) -> Prompt:
    """Read a prompt file that ships with a stage's package, e.g. `read_prompt("filter", "label.v1")`."""
    text = (files(f"preceptor.{stage}") / "prompts" / f"{name}.jinja").read_text(encoding="utf-8")
    return Prompt(name, text, hashlib.sha256(text.encode("utf-8")).hexdigest()[:16])
