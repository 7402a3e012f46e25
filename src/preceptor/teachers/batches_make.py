"""From `[teacher]` with `mode = "batch"` to the teacher."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from preceptor.config import TeacherSettings
from preceptor.teachers import anthropic, openai
from preceptor.teachers.batches import BatchTeacher
from preceptor.teachers.batches_provider import Provider, load
from preceptor.teachers.replies import Endpoint


def make_batch_teacher(
    settings: TeacherSettings, book_path: Path, say: Callable[[str], None] | None = None
) -> BatchTeacher:
    """The teacher that `[teacher]` with `mode = "batch"` describes; `book_path` is a file in the run's folder.

    Raises `CredentialsError` when the key is missing, `RecipeError` when the address is none, `MissingPackageError`
    when the provider's client is not installed.
    """
    endpoint = anthropic.endpoint_of(settings) if settings.kind == "anthropic" else openai.endpoint_of(settings)
    return BatchTeacher(
        endpoint,
        _provider(endpoint, settings.timeout_s),
        book_path,
        wait=settings.wait,
        poll_s=settings.poll_s,
        rounds=settings.batch_rounds,
        say=say,
    )


def _provider(endpoint: Endpoint, timeout_s: float) -> Callable[[], Provider]:
    if isinstance(endpoint, anthropic.Messages):
        load("anthropic")  # a missing package is known before anything is done
        from preceptor.teachers.batches_anthropic import AnthropicBatches

        return lambda: AnthropicBatches(endpoint, timeout_s)
    load("openai")
    from preceptor.teachers.batches_openai import OpenAIBatches

    return lambda: OpenAIBatches(endpoint, timeout_s)
