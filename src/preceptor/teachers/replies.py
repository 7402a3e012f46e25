"""What is sent to a /chat/completions endpoint, and what its reply means. Pure functions: no network here.

Reference: https://platform.openai.com/docs/api-reference/chat. Endpoints differ, so fields are read one by one and a
reply that lacks the answer is a failure, never an empty answer.
"""

from __future__ import annotations

import email.utils
import json
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from functools import lru_cache
from typing import Any

from pydantic import SecretStr

from preceptor.errors import CredentialsError, TeacherError
from preceptor.records import Completion, Request, Sampling, TokenLogprob

RETRIED = frozenset({408, 409, 425, 500, 502, 504})
"""Statuses of a server that failed for the moment, perhaps after the work was done."""

OVERLOADED = frozenset({503, 529})
"""Statuses of a server that is full or starting and did nothing; 429 is a kind of its own."""

FINISHES: Mapping[str, str] = {
    "stop": "stop",
    "eos": "stop",
    "stop_sequence": "stop",
    "length": "length",
    "max_tokens": "length",
    "content_filter": "content_filter",
}
"""An endpoint's `finish_reason` -> ours."""

SCRUBBED_FROM_TEXT = 8
"""Shorter keys are placeholders such as `none`, which may stand in an answer in their own right."""

QUOTED = 300
"""Characters of an endpoint's own words that an error repeats."""


class Kind(StrEnum):
    """Why a request failed; decides whether and how often it is tried again."""

    REFUSED = "refused"
    """The endpoint says that the request is wrong; perhaps all of them are."""
    OWN = "own"
    """Refused for what this one request holds, e.g. too long a text."""
    SHARED = "shared"
    """Refused for what every request to this endpoint has: the key, the model's name, the address, the credit."""
    GARBLED = "garbled"
    """A reply that is no chat completion."""
    BUSY = "busy"
    """The server is broken for the moment."""
    OVERLOADED = "overloaded"
    """The server has too much to do (503, 529)."""
    LIMITED = "limited"
    """Too many requests (429)."""
    BROKEN = "broken"
    """The connection broke before the reply was complete."""
    TIMEOUT = "timeout"
    UNCONNECTED = "unconnected"
    """Nobody took the connection."""


@dataclass(frozen=True, slots=True)
class Failure:
    """One attempt that brought no answer."""

    kind: Kind
    reason: str
    """A sentence without anything particular to the request: failures are counted by it."""
    said: str = ""
    """What the endpoint said, without the key."""
    wait_s: float | None = None
    """How long the endpoint asks to wait."""
    shared: TeacherError | None = None
    """The error to raise when other requests fail alike."""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where to ask, for what, and with which key. Its repr does not show the key."""

    model: str
    base_url: str
    key_env: str
    key: SecretStr | None
    accepts: frozenset[str]
    newer_max_tokens: bool = False
    """Send `max_completion_tokens`: OpenAI's newer models refuse the older name."""
    schema: bool = False
    """Send a request's JSON schema as `response_format`."""

    @property
    def name(self) -> str:
        """`MODEL at BASE_URL`."""
        return f"{self.model} at {self.base_url}"

    @property
    def address(self) -> str:
        """The base address."""
        return self.base_url

    @property
    def url(self) -> str:
        """Where requests are sent."""
        return f"{self.base_url}/chat/completions"

    def headers(self, request: Request) -> dict[str, str]:
        """HTTP headers of a request."""
        headers = {"Content-Type": "application/json"}
        if self.key is not None:
            headers["Authorization"] = f"Bearer {self.key.get_secret_value()}"
        return headers

    def body(self, request: Request) -> bytes:
        """The JSON to send. Settings that are None are left out, so that the endpoint's own defaults hold."""
        messages = [{"role": message.role, "content": message.content} for message in request.messages]
        settings = _settings_json(
            request.sampling,
            request.draw,
            request.schema if self.schema else "",
            self.newer_max_tokens or "max_completion_tokens" in self.accepts,
        )
        text = f'{{"model": {_encode(self.model)}, "messages": {_encode(messages)}{settings}}}'
        return text.encode("utf-8", "replace")

    def read(self, request: Request, status: int, headers: Mapping[str, str], content: bytes) -> Completion | Failure:
        """See `read_reply`."""
        return read_reply(self, request, status, headers, content)

    def scrub(self, text: str) -> str:
        """The text without the key: some endpoints repeat it in their errors."""
        return text.replace(self.key.get_secret_value(), "***") if self.key is not None else text

    def clean(self, text: str) -> str:
        """An answer as it may be stored: no key, and no half characters, which no file could hold."""
        whole = text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
        if self.key is None or len(self.key.get_secret_value()) < SCRUBBED_FROM_TEXT:
            return whole
        return self.scrub(whole)


_encode = json.JSONEncoder(ensure_ascii=False).encode  # made once: json.dumps makes one for every call


@lru_cache(maxsize=1024)  # a run's requests differ in little but their messages
def _settings_json(sampling: Sampling, draw: int, schema: str, newer_max_tokens: bool) -> str:
    """The part of the body after the messages: `, "max_tokens": 256, ...`."""
    settings: dict[str, Any] = sampling.asked()
    if newer_max_tokens:
        settings["max_completion_tokens"] = settings.pop("max_tokens")
    if draw and "seed" in settings:  # else an endpoint that honours seeds would give every draw alike
        settings["seed"] = (settings["seed"] + draw) % 2**32
    if "logprobs" in settings:
        settings |= {"logprobs": True, "top_logprobs": settings["logprobs"]}
    if schema:
        form = {"name": "answer", "strict": True, "schema": json.loads(schema)}
        settings["response_format"] = {"type": "json_schema", "json_schema": form}
    return "".join(f", {_encode(name)}: {_encode(value)}" for name, value in settings.items())


def read_reply(
    endpoint: Endpoint, request: Request, status: int, headers: Mapping[str, str], content: bytes
) -> Completion | Failure:
    """The answer in a reply, or why there is none.

    Raises `CredentialsError` or `TeacherError` for what no request to this endpoint could get past.
    """
    parsed = parsed_object(content)
    error = _error_of(parsed)
    if 200 <= status < 300 and isinstance(error.get("code"), int) and error["code"] >= 400:
        status = error["code"]  # a router that passes on another server's error inside a success
    if 200 <= status < 300:
        return _read_completion(endpoint, request, parsed)
    said = _said(endpoint, error, parsed)
    if error.get("code") == "content_filter":
        return Completion("", "content_filter")
    _stop_if_shared(endpoint, status, headers, error, said)
    own = error.get("code") == "context_length_exceeded"
    return failure_of(status, said, _wait_asked_for(headers), own=own)


def failure_of(status: int, said: str, wait_s: float | None, *, own: bool) -> Failure:
    """The failure behind a status that is not shared; `own`: refused for what the one request holds."""
    if status == 429:
        return Failure(Kind.LIMITED, "The endpoint takes no more requests for now (status 429).", said, wait_s)
    if status in OVERLOADED:
        return Failure(Kind.OVERLOADED, f"The endpoint has too much to do (status {status}).", said, wait_s)
    if status in RETRIED:
        return Failure(Kind.BUSY, f"The endpoint failed with status {status}.", said, wait_s)
    kind = Kind.OWN if own else Kind.REFUSED
    return Failure(kind, f"The endpoint refused the request with status {status}.", said)


def parsed_object(content: bytes) -> dict[str, Any]:
    """The JSON object that a reply is; empty when it is none."""
    try:
        parsed = json.loads(content)
    except (ValueError, RecursionError):
        return {}
    return parsed if isinstance(parsed, dict) else {}


def _error_of(parsed: Mapping[str, Any]) -> Mapping[str, Any]:
    error = parsed.get("error")
    if isinstance(error, dict):
        return error
    return {"message": error} if isinstance(error, str) else {}


def _said(endpoint: Endpoint, error: Mapping[str, Any], parsed: Mapping[str, Any]) -> str:
    words = error.get("message") or parsed.get("message") or parsed.get("detail") or ""
    return quoted(endpoint, words)


def quoted(endpoint: Endpoint, words: Any) -> str:
    """An endpoint's own words as an error may repeat them: one line, without the key, not too long."""
    text = words if isinstance(words, str) else json.dumps(words)
    text = " ".join(endpoint.clean(endpoint.scrub(text)).split())
    return text if len(text) <= QUOTED else f"{text[:QUOTED]}..."


def stop_if_refused_or_moved(endpoint: Endpoint, status: int, location: str, said: str) -> None:
    """Raise for a refused key (401, 403) and for a redirect; `said` are the endpoint's own words."""
    if status in (401, 403):
        what = f"the key in {endpoint.key_env}" if endpoint.key else "a request without a key"
        raise CredentialsError(
            f"The endpoint {endpoint.base_url} refused {what} (status {status}).",
            f"Set {endpoint.key_env} to a key that may use {endpoint.model}, and teacher.key_required = true."
            f"{f' The endpoint says: {said}' if said else ''}",
        )
    if 300 <= status < 400:
        target = endpoint.scrub(location or "another address")
        raise TeacherError(
            f"The endpoint {endpoint.base_url} points to {target}; the key is not sent there by itself.",
            "Set teacher.base_url to the address that answers.",
        )


def _stop_if_shared(
    endpoint: Endpoint, status: int, headers: Mapping[str, str], error: Mapping[str, Any], said: str
) -> None:
    words = f" The endpoint says: {said}" if said else ""
    name = f"{endpoint.model} at {endpoint.base_url}"
    stop_if_refused_or_moved(endpoint, status, headers.get("Location", ""), said)
    if status == 404:
        raise TeacherError(
            f"The endpoint {endpoint.base_url} knows no model {endpoint.model!r}, or no chat (status 404).",
            f"Correct teacher.model or teacher.base_url.{words}",
        )
    if status == 402 or error.get("code") == "insufficient_quota":
        raise TeacherError(
            f"The account at {endpoint.base_url} has no credit left (status {status}).",
            f"Add credit and run the same command again: what was answered is kept.{words}",
        )
    if error.get("code") in ("unsupported_parameter", "unsupported_value"):
        setting = error.get("param") or "a setting"
        remedy = 'Set teacher.accepts = ["max_completion_tokens"]' if setting == "max_tokens" else "Remove it"
        raise TeacherError(f"The teacher {name} does not take {setting!r}.", f"{remedy} in [teacher].{words}")


def _wait_asked_for(headers: Mapping[str, str]) -> float | None:
    """Seconds from the header Retry-After, which holds seconds or a date (RFC 9110, section 10.2.3)."""
    value = headers.get("Retry-After", "").strip()
    if not value:
        return None
    if value.replace(".", "", 1).isdecimal():
        return float(value)
    try:
        return max(0.0, email.utils.parsedate_to_datetime(value).timestamp() - time.time())
    except ValueError:
        return None


_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_DURATION = re.compile(r"(\d+(?:\.\d+)?)(ms|[smhd])")


def exhausted_for(headers: Mapping[str, str]) -> float | None:
    """Seconds until the limit renews whose rest is 0 by the rate headers; None when there is something left.

    Read are OpenAI's `x-ratelimit-remaining-requests` and `-reset-requests` (`6m0s`) and the same of tokens, and
    Anthropic's `anthropic-ratelimit-requests-remaining` and `-reset` (a time, RFC 3339).
    """
    waits = []
    for kind in ("requests", "tokens"):
        for left, reset in (
            (f"x-ratelimit-remaining-{kind}", f"x-ratelimit-reset-{kind}"),
            (f"anthropic-ratelimit-{kind}-remaining", f"anthropic-ratelimit-{kind}-reset"),
        ):
            if headers.get(left, "").strip() == "0" and (wait := _until(headers.get(reset, "").strip())) is not None:
                waits.append(wait)
    return max(waits, default=None)


def _until(text: str) -> float | None:
    if parts := _DURATION.findall(text):
        return sum(float(number) * _UNITS[unit] for number, unit in parts)
    try:
        return max(0.0, datetime.fromisoformat(text).timestamp() - time.time())
    except ValueError:
        return None


def _read_completion(endpoint: Endpoint, request: Request, parsed: Mapping[str, Any]) -> Completion | Failure:
    if not parsed:
        return Failure(
            Kind.GARBLED,
            "The endpoint's reply is not JSON.",
            f"Does {endpoint.base_url} end where /chat/completions begins, usually with /v1?",
        )
    choices = parsed.get("choices")
    choice = choices[0] if isinstance(choices, list) and choices else None
    message = choice.get("message") if isinstance(choice, dict) else None
    if not isinstance(choice, dict) or not isinstance(message, dict):
        return Failure(
            Kind.GARBLED, "The endpoint's reply holds no answer.", _said(endpoint, _error_of(parsed), parsed)
        )
    if choice.get("finish_reason") == "error":
        return Failure(Kind.BUSY, "The endpoint broke off the answer.", _said(endpoint, _error_of(choice), choice))
    usage = _table(parsed.get("usage"))
    read, written = _count(usage.get("prompt_tokens")), _count(usage.get("completion_tokens"))
    cached = min(read, _count(_table(usage.get("prompt_tokens_details")).get("cached_tokens")))
    finish = _finish(choice.get("finish_reason"), written, request.sampling.max_tokens)
    text = _text(message.get("content"))
    if text is None and isinstance(message.get("refusal"), str):
        text, finish = message["refusal"], "content_filter"
    if text is None and finish == "stop":
        return Failure(Kind.GARBLED, "The endpoint's reply holds an answer without text.")
    logprobs = _logprobs(choice.get("logprobs"))
    if request.sampling.logprobs is not None and text and not logprobs:
        return Failure(
            Kind.GARBLED,
            "The endpoint was asked for log-probabilities and gives none.",
            "Remove teacher.logprobs, and logprobs from teacher.accepts.",
        )
    return Completion(endpoint.clean(text or ""), finish, read, written, cached_tokens=cached, logprobs=logprobs)


def _table(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _count(value: Any) -> int:
    return max(0, value) if isinstance(value, int) and not isinstance(value, bool) else 0


def _logprobs(value: Any) -> tuple[TokenLogprob, ...]:
    """What stands in `choices[0].logprobs.content`; places that are malformed make the whole empty."""
    content = _table(value).get("content")
    if not isinstance(content, list):
        return ()
    try:
        return tuple(
            TokenLogprob(
                str(place["token"]),
                float(place["logprob"]),
                {str(other["token"]): float(other["logprob"]) for other in place.get("top_logprobs") or ()},
            )
            for place in content
        )
    except (KeyError, TypeError, ValueError):
        return ()


def _text(content: Any) -> str | None:
    """The text of a message: a string, or a list of parts of which the texts count."""
    if isinstance(content, str):
        return content
    if isinstance(content, list):
        texts = [part.get("text") for part in content if isinstance(part, dict)]
        return "".join(text for text in texts if isinstance(text, str)) if any(texts) else None
    return None


def _finish(reason: Any, written: int, max_tokens: int) -> str:
    """Our name of the reason; where an endpoint gives none of its own, an answer of full length was cut off."""
    known = FINISHES.get(reason) if isinstance(reason, str) else None
    return known or ("length" if written >= max_tokens else "stop")
