"""A teacher behind any endpoint that speaks OpenAI's /chat/completions: OpenAI, Azure, vLLM, Ollama, llama.cpp,
Together, `transformers serve`.
"""

from __future__ import annotations

import os

from pydantic import SecretStr

from preceptor.config import TeacherSettings
from preceptor.errors import CredentialsError
from preceptor.teachers.capabilities import address_of, capabilities_of, key_env_of
from preceptor.teachers.endpoint import FIRST_WAIT_S, EndpointTeacher
from preceptor.teachers.replies import Endpoint


class OpenAITeacher(EndpointTeacher):
    """Asks `settings.model` at `settings.base_url`.

    The key is read from the environment when the teacher is made, and only if `settings.key_required`: a server that
    takes no key is sent none.

    Raises `CredentialsError` when the key is missing or cannot be a key, `RecipeError` when the address is none.
    """

    def __init__(self, settings: TeacherSettings, *, first_wait_s: float = FIRST_WAIT_S) -> None:
        endpoint = endpoint_of(settings)
        super().__init__(endpoint, endpoint.accepts, settings, first_wait_s)


def endpoint_of(settings: TeacherSettings) -> Endpoint:
    """The endpoint that the settings name. Raises `CredentialsError` or `RecipeError`."""
    can = capabilities_of(settings)
    accepts = can.accepts | frozenset(settings.accepts)
    if settings.structured == "off":
        accepts -= {"schema"}
    return Endpoint(
        model=settings.model,
        base_url=address_of(settings),
        key_env=key_env_of(settings),
        key=key_from_environment(settings) if settings.key_required else None,
        accepts=accepts,
        newer_max_tokens=can.newer_max_tokens,
        schema="schema" in accepts,
    )


def key_from_environment(settings: TeacherSettings) -> SecretStr:
    """The endpoint's key. Raises `CredentialsError` when it is missing or cannot be one; never shows it."""
    variable = key_env_of(settings)
    key = os.environ.get(variable, "").strip()
    if not key:
        raise CredentialsError(
            f"The environment variable {variable} with the key for {address_of(settings)} is not set.",
            f"Run: export {variable}=... or, for a server that takes no key, set teacher.key_required = false.",
        )
    if not (key.isascii() and key.isprintable()) or " " in key:
        raise CredentialsError(
            f"The environment variable {variable} does not hold a key: it has spaces or special characters.",
            "Copy the key again, without quotes or line breaks.",
        )
    return SecretStr(key)
