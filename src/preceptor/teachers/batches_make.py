"""From `[teacher]` with `mode = "batch"` to the teacher."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

from pydantic import SecretStr

from preceptor.config import TeacherSettings
from preceptor.errors import CredentialsError, RecipeError
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
    kind: Literal["openai", "anthropic"] = "anthropic" if settings.kind == "anthropic" else "openai"
    endpoint = _endpoint(settings, kind)
    return BatchTeacher(
        endpoint,
        _provider(kind, endpoint, settings.timeout_s),
        book_path,
        wait=settings.wait,
        poll_s=settings.poll_s,
        rounds=settings.batch_rounds,
        say=say,
    )


def _provider(kind: Literal["openai", "anthropic"], endpoint: Endpoint, timeout_s: float) -> Callable[[], Provider]:
    load(kind)  # a missing package is known before anything is done
    if kind == "anthropic":
        from preceptor.teachers.batches_anthropic import AnthropicBatches

        return lambda: AnthropicBatches(endpoint, timeout_s)
    from preceptor.teachers.batches_openai import OpenAIBatches

    return lambda: OpenAIBatches(endpoint, timeout_s)


def _endpoint(settings: TeacherSettings, kind: str) -> Endpoint:
    standard = anthropic.STANDARD if kind == "anthropic" else openai.STANDARD
    parts = urlsplit(settings.base_url)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.username or parts.password or parts.query:
        raise RecipeError(
            f"teacher.base_url for {parts.hostname or 'the batches'} is not a plain address.",
            f"Example: {anthropic.BASE_URL if kind == 'anthropic' else 'https://api.openai.com/v1'}",
        )
    key = os.environ.get(settings.key_env, "").strip()
    if settings.key_required and (not key or not (key.isascii() and key.isprintable()) or " " in key):
        raise CredentialsError(
            f"The environment variable {settings.key_env} does not hold the key for {settings.base_url}.",
            f"Run: export {settings.key_env}=...",
        )
    return Endpoint(
        model=settings.model,
        base_url=settings.base_url.rstrip("/"),
        key_env=settings.key_env,
        key=SecretStr(key) if settings.key_required else None,
        accepts=standard | frozenset(settings.accepts),
    )
