"""What is asked of a teacher, what it answers and what that costs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from preceptor.records.hashing import content_hash


@dataclass(frozen=True, slots=True)
class Message:
    """One turn of a chat with a teacher."""

    role: str
    """`system`, `user` or `assistant`."""
    content: str


@dataclass(frozen=True, slots=True)
class Sampling:
    """Generation settings of a teacher. None means: not sent, the endpoint's own default holds."""

    max_tokens: int = 256
    """Upper bound on the answer's tokens."""
    temperature: float | None = None
    top_p: float | None = None
    repetition_penalty: float | None = None
    """transformers' and vLLM's penalty; it also hits words of the prompt. The paper's value is 2.0."""
    frequency_penalty: float | None = None
    presence_penalty: float | None = None
    seed: int | None = None
    logprobs: int | None = None
    """Ask for the log-probability of every token of the answer, with so many alternatives beside it."""

    def asked(self) -> dict[str, float | int]:
        """The settings that are set, by name."""
        return {name: value for name in self.__slots__ if (value := getattr(self, name)) is not None}


@dataclass(frozen=True, slots=True)
class Request:
    """One question to a teacher."""

    messages: tuple[Message, ...]
    sampling: Sampling
    item: str = ""
    """What the request is about (example id and strategy). Part of the key: it also keys the sampling noise."""
    draw: int = 0
    """Which of several answers to the same question this is."""
    schema: str = ""
    """JSON schema of the answer, as text; empty: free text. An endpoint without structured outputs is not sent it."""

    def plain(self) -> dict[str, Any]:
        """The request as plain values, for the ledger and for hashing. A schema stands there only when there is one."""
        plain: dict[str, Any] = {
            "messages": [{"role": m.role, "content": m.content} for m in self.messages],
            "sampling": self.sampling.asked(),
            "item": self.item,
            "draw": self.draw,
        }
        return {**plain, "schema": self.schema} if self.schema else plain

    def key(self, teacher: str) -> str:
        """Identity of the call in the ledger: SHA-256 over teacher, messages, settings, item and draw."""
        return content_hash({"teacher": teacher, **self.plain()})


@dataclass(frozen=True, slots=True)
class TokenLogprob:
    """One token of an answer, as an endpoint reports it."""

    token: str
    logprob: float
    """Natural logarithm of its probability."""
    top: Mapping[str, float] = field(default_factory=dict)
    """The most probable tokens at this place, with their log-probabilities."""


@dataclass(frozen=True, slots=True)
class Completion:
    """A teacher's answer."""

    text: str
    finish: str = "stop"
    """`stop`, `length` (cut off at max_tokens) or `content_filter` (refused by the endpoint)."""
    input_tokens: int = 0
    output_tokens: int = 0
    call: str = ""
    """The request's key in the ledger."""
    cached_tokens: int = 0
    """Of the input tokens, those that the endpoint read from its cache at a lower price."""
    logprobs: tuple[TokenLogprob, ...] = ()
    """Of every token, where they were asked for."""
    seconds: float = 0.0
    """From sending to the whole answer; 0 where nobody measured it."""

    @property
    def metered(self) -> bool:
        """Whether the endpoint said how many tokens it counted."""
        return bool(self.input_tokens or self.output_tokens)


@dataclass(frozen=True)
class Spend:
    """What teachers were asked and what it cost."""

    calls: int = 0
    """Calls answered in total, including those found in the ledger."""
    from_ledger: int = 0
    """Of those, how many had been answered before and were not asked again."""
    input_tokens: int = 0
    output_tokens: int = 0
    usd: float | None = None
    """Money, when the recipe gives prices; 0.0 for a local teacher; None when unknown."""
    failed: int = 0
    """Requests that ended without an answer."""
    failures: Mapping[str, int] = field(default_factory=dict)
    """Reasons of the failures, counted."""
    unknown: int = 0
    """Requests that were sent and whose end nobody knows (broken off, timed out): perhaps paid, without an answer."""
    unknown_usd: float | None = None
    """What those may have cost at most, on top of `usd`; None without a budget, under which alone it is bounded."""

    def plus(self, other: Spend) -> Spend:
        """Both together; the money is unknown when either is."""
        known = self.usd is not None and other.usd is not None
        return Spend(
            calls=self.calls + other.calls,
            from_ledger=self.from_ledger + other.from_ledger,
            input_tokens=self.input_tokens + other.input_tokens,
            output_tokens=self.output_tokens + other.output_tokens,
            usd=(self.usd or 0.0) + (other.usd or 0.0) if known else None,
            failed=self.failed + other.failed,
            failures=dict(Counter(self.failures) + Counter(other.failures)),
            unknown=self.unknown + other.unknown,
            unknown_usd=_sum(self.unknown_usd, other.unknown_usd),
        )


def _sum(one: float | None, other: float | None) -> float | None:
    return None if one is None and other is None else (one or 0.0) + (other or 0.0)
