"""What each provider's endpoint can take. A setting that it cannot take is refused before anything is sent.

Read from the providers' references in November 2026; what your endpoint takes beyond that is named in
`teacher.accepts`. Anything not known is `other`: the settings that OpenAI's reference has had from the start.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

from preceptor.config import TeacherSettings
from preceptor.errors import RecipeError

STANDARD = frozenset({"max_tokens", "temperature", "top_p", "frequency_penalty", "presence_penalty", "seed"})


@dataclass(frozen=True, slots=True)
class Capabilities:
    """One provider's endpoint."""

    base_url: str = ""
    """Its usual address; empty: the recipe must name it."""
    key_env: str = "OPENAI_API_KEY"
    accepts: frozenset[str] = STANDARD
    """Names of the `Sampling` settings it takes, and `schema`: `response_format` with a JSON schema."""
    newer_max_tokens: bool = False
    """`max_tokens` is called `max_completion_tokens` there."""


ENDPOINTS: Mapping[str, Capabilities] = {
    # platform.openai.com/docs/api-reference/chat: max_tokens is deprecated, and refused by the reasoning models.
    "openai": Capabilities(
        "https://api.openai.com/v1", accepts=STANDARD | {"logprobs", "schema"}, newer_max_tokens=True
    ),
    # learn.microsoft.com/azure/ai-services/openai: /openai/v1 takes what OpenAI's own takes.
    "azure": Capabilities(
        key_env="AZURE_OPENAI_API_KEY", accepts=STANDARD | {"logprobs", "schema"}, newer_max_tokens=True
    ),
    # docs.together.ai/reference/chat-completions: logprobs has another form there and is left out.
    "together": Capabilities(
        "https://api.together.xyz/v1", "TOGETHER_API_KEY", STANDARD | {"repetition_penalty", "schema"}
    ),
    # docs.vllm.ai, OpenAI-compatible server, extra parameters.
    "vllm": Capabilities(accepts=STANDARD | {"repetition_penalty", "logprobs", "schema"}),
    # docs.ollama.com/openai
    "ollama": Capabilities("http://127.0.0.1:11434/v1", accepts=STANDARD | {"schema"}),
    # github.com/ggml-org/llama.cpp, tools/server: its repeat_penalty has another name and reach.
    "llama.cpp": Capabilities(accepts=STANDARD | {"logprobs", "schema"}),
    # `transformers serve` 5.23, tried: refuses a repetition penalty, says nothing and ignores it for logprobs.
    "transformers": Capabilities(accepts=STANDARD),
    "other": Capabilities(),
}

ANTHROPIC = Capabilities(
    "https://api.anthropic.com/v1", "ANTHROPIC_API_KEY", frozenset({"max_tokens", "temperature", "top_p"})
)
"""platform.claude.com/docs/en/api/messages: no seed, no penalties, no log-probabilities; later models refuse all but
`max_tokens`."""

HOSTS = {"api.openai.com": "openai", "api.together.xyz": "together"}
AZURE = (".openai.azure.com", ".services.ai.azure.com")


def capabilities_of(settings: TeacherSettings) -> Capabilities:
    """What the endpoint that the settings name can take, by `endpoint`, else by its host."""
    if settings.kind == "anthropic":
        return ANTHROPIC
    if settings.endpoint is not None:
        return ENDPOINTS[settings.endpoint]
    if settings.base_url is None:
        return ENDPOINTS["openai"]
    host = urlsplit(settings.base_url).hostname or ""
    return ENDPOINTS["azure" if host.endswith(AZURE) else HOSTS.get(host, "other")]


def address_of(settings: TeacherSettings) -> str:
    """The endpoint's address without a slash at its end.

    Raises `RecipeError` when there is none, when it is no address, or when it carries a secret.
    """
    address = settings.base_url or capabilities_of(settings).base_url
    if not address:
        raise RecipeError(
            f"teacher.base_url is missing: endpoint {settings.endpoint!r} has no usual address.",
            "Example: http://127.0.0.1:8000/v1",
        )
    parts = urlsplit(address)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise RecipeError(f"teacher.base_url = {address!r} is not an address.", "Example: https://api.openai.com/v1")
    if parts.username or parts.password or parts.query or parts.fragment:
        raise RecipeError(
            f"teacher.base_url for {parts.hostname} holds a user name, a key or a query.",
            "It would stand in every report: give the plain address, and the key in the environment variable that "
            "teacher.key_env names.",
        )
    return address.rstrip("/")


def key_env_of(settings: TeacherSettings) -> str:
    """The environment variable that holds the key."""
    return settings.key_env or capabilities_of(settings).key_env
