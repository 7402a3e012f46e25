"""What is sent to Anthropic's /v1/messages, and what its reply means. Pure functions: no network here.

Reference: https://platform.claude.com/docs/en/api/messages and https://platform.claude.com/docs/en/api/errors. The
batch interface takes and gives the same records, so both ways of asking share this module.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from preceptor.config import TeacherSettings
from preceptor.errors import TeacherError
from preceptor.records import Completion, Request
from preceptor.teachers.capabilities import ANTHROPIC, address_of, key_env_of
from preceptor.teachers.endpoint import FIRST_WAIT_S, EndpointTeacher
from preceptor.teachers.openai import key_from_environment
from preceptor.teachers.replies import (
    Endpoint,
    Failure,
    Kind,
    failure_of,
    parsed_object,
    quoted,
    stop_if_refused_or_moved,
)

VERSION = "2026-10-21"
"""The interface's version that is sent. It refuses the settings of `SAMPLED`, for every model."""

OLD_VERSION = "2023-06-01"
"""Sent with requests that hold a setting of `SAMPLED`: models up to Claude Opus 4.6 take it there."""

SAMPLED = frozenset({"temperature", "top_p", "top_k"})
FINISHES: Mapping[str, str] = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "pause_turn": "stop",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "refusal": "content_filter",
}
"""`stop_reason` -> our name of it."""

STATUSES: Mapping[str, int] = {
    "invalid_request_error": 400,
    "authentication_error": 401,
    "billing_error": 402,
    "permission_error": 403,
    "not_found_error": 404,
    "request_too_large": 413,
    "rate_limit_error": 429,
    "api_error": 500,
    "timeout_error": 504,
    "overloaded_error": 529,
}
"""Type of an error -> its HTTP status. A batch reports the type alone."""

SPENT = frozenset(
    {
        "contract_spend_limit_reached",
        "enforced_spend_limit_reached",
        "linked_organization_billing_unavailable",
        "linked_organization_spend_limit_reached",
    }
)
"""`error.details.error_code` of an account that may spend no more. Some come as 429, which waiting does not cure."""


@dataclass(frozen=True, slots=True)
class Limit:
    """One of the account's limits per minute, as a reply's headers state it."""

    limit: int
    remaining: int
    reset_s: float
    """Seconds until it is full again."""


def version(settings: Iterable[str]) -> str:
    """The interface's version for a request, or for a batch of them, with settings of these names."""
    return OLD_VERSION if SAMPLED.intersection(settings) else VERSION


def headers(endpoint: Endpoint, request: Request) -> dict[str, str]:
    """HTTP headers of a request."""
    found = {"Content-Type": "application/json", "anthropic-version": version(request.sampling.asked())}
    if endpoint.key is not None:
        found["Authorization"] = f"Bearer {endpoint.key.get_secret_value()}"
    return found


def body(endpoint: Endpoint, request: Request) -> dict[str, Any]:
    """The JSON to send: system messages stand apart, and settings that are None are left out."""
    system = "\n\n".join(message.content for message in request.messages if message.role == "system")
    turns = [{"role": m.role, "content": m.content} for m in request.messages if m.role != "system"]
    start: dict[str, Any] = {"model": endpoint.model, "messages": turns}
    return {**start, **({"system": system} if system else {}), **request.sampling.asked()}


def read_message(
    endpoint: Endpoint, request: Request, status: int, headers: Mapping[str, str], content: bytes
) -> Completion | Failure:
    """The answer in a reply, or why there is none.

    Raises `CredentialsError` or `TeacherError` for what no request to this endpoint could get past.
    """
    parsed = parsed_object(content)
    if 200 <= status < 300 and parsed.get("type") != "error":
        return _read_answer(endpoint, request, parsed)
    return read_error(endpoint, status, headers, parsed)


def read_error(endpoint: Endpoint, status: int, headers: Mapping[str, str], parsed: Mapping[str, Any]) -> Failure:
    """Why a request failed. `parsed` is the reply's JSON, or an empty mapping; a `status` of 0 is found by its type.

    Raises like `read_message`.
    """
    error = parsed.get("error")
    error = error if isinstance(error, dict) else {}
    kind = str(error.get("type") or "")
    if not 300 <= status < 600:
        status = STATUSES.get(kind, 500)
    said = quoted(endpoint, error.get("message") or "")
    _stop_if_shared(endpoint, status, headers, error, said)
    return failure_of(status, said, wait_asked_for(headers), own=status == 413)


def wait_asked_for(headers: Mapping[str, str]) -> float | None:
    """Seconds to wait before the next request: from `retry-after`, else until the first spent limit is full again."""
    named = _lowered(headers)
    value = named.get("retry-after", "").strip()
    if value.replace(".", "", 1).isdecimal():
        return float(value)
    spent = [limit.reset_s for limit in limits(headers).values() if limit.remaining == 0]
    return min(spent) if spent else None


def limits(headers: Mapping[str, str]) -> dict[str, Limit]:
    """The account's limits: `requests`, `tokens`, `input-tokens`, `output-tokens`; what is absent is left out."""
    named, found = _lowered(headers), {}
    for name in ("requests", "tokens", "input-tokens", "output-tokens"):
        limit, remaining, reset = (
            named.get(f"anthropic-ratelimit-{name}-{part}", "") for part in ("limit", "remaining", "reset")
        )
        if limit.isdecimal() and remaining.isdecimal():
            found[name] = Limit(int(limit), int(remaining), _seconds_until(reset))
    return found


def _lowered(headers: Mapping[str, str]) -> dict[str, str]:
    return {name.lower(): value for name, value in headers.items()}


def _seconds_until(moment: str) -> float:
    """Seconds until an RFC 3339 time; 0 when it has passed or is none."""
    try:
        then = datetime.fromisoformat(moment)
    except ValueError:
        return 0.0
    return max(0.0, (then if then.tzinfo else then.replace(tzinfo=UTC)).timestamp() - time.time())


def _stop_if_shared(
    endpoint: Endpoint, status: int, headers: Mapping[str, str], error: Mapping[str, Any], said: str
) -> None:
    words = f" The endpoint says: {said}" if said else ""
    details = error.get("details")
    code = details.get("error_code") if isinstance(details, dict) else None
    if status == 402 or code in SPENT:
        raise TeacherError(
            f"The account at {endpoint.base_url} may spend no more (status {status}).",
            f"Add credit or raise its limit, and run the same command again: what was answered is kept.{words}",
        )
    stop_if_refused_or_moved(endpoint, status, _lowered(headers).get("location", ""), said)
    if status == 404:
        raise TeacherError(
            f"The endpoint {endpoint.base_url} knows no model {endpoint.model!r}, or no messages (status 404).",
            f"Correct teacher.model or teacher.base_url.{words}",
        )


def _read_answer(endpoint: Endpoint, request: Request, parsed: Mapping[str, Any]) -> Completion | Failure:
    if not parsed:
        return Failure(
            Kind.GARBLED,
            "The endpoint's reply is not JSON.",
            f"Does {endpoint.base_url} end where /messages begins, usually with /v1?",
        )
    blocks = parsed.get("content")
    if not isinstance(blocks, list):
        return Failure(Kind.GARBLED, "The endpoint's reply holds no answer.")
    usage = parsed.get("usage")
    usage = usage if isinstance(usage, dict) else {}
    # Tokens that were written to or read from a prompt cache are not part of `input_tokens`.
    read = sum(
        _count(usage, name) for name in ("input_tokens", "cache_creation_input_tokens", "cache_read_input_tokens")
    )
    written = _count(usage, "output_tokens")
    reason = parsed.get("stop_reason")
    finish = FINISHES.get(reason) if isinstance(reason, str) else None
    if finish is None:
        finish = "length" if written >= request.sampling.max_tokens else "stop"
    text = "".join(block["text"] for block in blocks if isinstance(block, dict) and isinstance(block.get("text"), str))
    if not text and finish == "stop":
        return Failure(Kind.GARBLED, "The endpoint's reply holds an answer without text.")
    cached = _count(usage, "cache_read_input_tokens")
    return Completion(endpoint.clean(text), finish, read, written, cached_tokens=cached)


def _count(usage: Mapping[str, Any], name: str) -> int:
    count = usage.get(name)
    return count if isinstance(count, int) else 0


@dataclass(frozen=True, slots=True)
class Messages(Endpoint):
    """The dialect of /v1/messages, for the live engine."""

    @property
    def url(self) -> str:
        """Where requests are sent."""
        return f"{self.base_url}/messages"

    def headers(self, request: Request) -> dict[str, str]:
        """See the function of the module."""
        return headers(self, request)

    def body(self, request: Request) -> bytes:
        """See the function of the module."""
        return json.dumps(body(self, request), ensure_ascii=False).encode("utf-8", "replace")

    def read(self, request: Request, status: int, headers: Mapping[str, str], content: bytes) -> Completion | Failure:
        """See `read_message`."""
        return read_message(self, request, status, headers, content)


def endpoint_of(settings: TeacherSettings) -> Messages:
    """The endpoint that the settings name. Raises `CredentialsError` or `RecipeError`."""
    return Messages(
        model=settings.model,
        base_url=address_of(settings),
        key_env=key_env_of(settings),
        key=key_from_environment(settings) if settings.key_required else None,
        accepts=ANTHROPIC.accepts | frozenset(settings.accepts),
    )


class AnthropicTeacher(EndpointTeacher):
    """Asks `settings.model` at Anthropic's own interface. Raises like `OpenAITeacher`."""

    def __init__(self, settings: TeacherSettings, *, first_wait_s: float = FIRST_WAIT_S) -> None:
        endpoint = endpoint_of(settings)
        super().__init__(endpoint, endpoint.accepts, settings, first_wait_s)
