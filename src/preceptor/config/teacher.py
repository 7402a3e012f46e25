"""`[teacher]` and `[budget]`: who writes the data, and what that may cost."""

from __future__ import annotations

from importlib.metadata import entry_points
from typing import Any, Literal, Self

from pydantic import Field, field_validator, model_validator

from preceptor.config.base import Section, Seed
from preceptor.records import Sampling

KINDS = ("local", "openai", "anthropic", "scripted")
TEACHERS = "preceptor.teachers"
"""Group of entry points that add kinds of teachers."""
PHI_KINDS = ("name", "date", "age", "phone", "email", "url", "ip", "ssn", "record", "vehicle", "device", "address")


class PhiSettings(Section):
    """`[teacher.phi]`: the check for identifiers of people, before text leaves the machine."""

    mode: Literal["block", "mask", "warn", "off"] | None = None
    """`block`: one finding and nothing is sent. `mask`: placeholders are sent, and the answers get the values back.
    `warn`: all is sent, and the kinds are counted. None: by the teacher's kind, `block` for an endpoint, else `off`."""
    kinds: tuple[
        Literal["name", "date", "age", "phone", "email", "url", "ip", "ssn", "record", "vehicle", "device", "address"],
        ...,
    ] = PHI_KINDS  # type: ignore[assignment]
    """What is looked for. Years and months are no dates, and ages below 90 are not found."""
    names: Literal["auto", True, False] = "auto"
    """Whether a language model looks for names that no title and no cue announces: `auto` where presidio and a spaCy
    model are installed, true to insist on both, false never. Nothing is downloaded."""
    model: str | None = None
    """The spaCy model: an installed package or a folder. None: the largest English one that is installed."""


class TeacherSettings(Section):
    """`[teacher]`: who writes the data."""

    kind: str = "local"
    """`local` (a model on this machine), `openai` (any endpoint that speaks its /chat/completions), `anthropic`,
    `scripted` (fixed rules), or the name of an entry point of the group `preceptor.teachers`."""
    model: str = "builtin:smollm2-135m-instruct"
    """A built-in model, a local folder, a hub name, or the endpoint's model name."""
    endpoint: Literal["openai", "azure", "together", "vllm", "ollama", "llama.cpp", "transformers", "other"] | None = (
        None
    )
    """Kind `openai`: whose endpoint it is, which tells what it can take. None: read from `base_url`, else `other`."""
    base_url: str | None = None
    """Where the endpoint is, up to and including /v1. None: the provider's own address."""
    key_env: str | None = None
    """Environment variable that holds the key, never the key itself. None: the provider's usual one."""
    key_required: bool = True
    """False for endpoints on your own machine that take no key."""
    preset: Literal["default", "paper"] = "default"
    """`paper`: temperature 0.8 and repetition penalty 2.0, as Dr. LLaMA section 4 reports."""
    temperature: float | None = Field(None, ge=0, le=2)
    top_p: float | None = Field(None, gt=0, le=1)
    repetition_penalty: float | None = Field(None, gt=0)
    frequency_penalty: float | None = None
    presence_penalty: float | None = None
    logprobs: int | None = Field(None, ge=0, le=20)
    """Record the log-probabilities of the answer's tokens, with so many alternatives each."""
    max_tokens: int = Field(256, ge=1)
    seed: Seed | None = 0
    """Sent to the teacher; a local teacher's noise is fixed by it, by the item and by the draw."""
    accepts: tuple[str, ...] = ()
    """Settings beyond the known ones that this endpoint takes, e.g. `["repetition_penalty"]`."""
    structured: Literal["auto", "off"] = "auto"
    """`auto`: ask for answers by JSON schema where the endpoint can; elsewhere the text is parsed and repaired."""
    mode: Literal["live", "batch"] = "live"
    """`batch`: the provider's batch interface, usually at half the price and within a day."""
    wait: bool = False
    """Batch: wait for the end. False: submit and leave; the same command comes back for the answers."""
    poll_s: float = Field(30.0, gt=0)
    """Batch: seconds between two looks."""
    batch_rounds: int = Field(3, ge=1)
    """Batch: how often what failed or expired is submitted, at most."""
    batch_discount: float = Field(0.5, gt=0, le=1)
    """Batch: factor on the prices."""
    batch_size: int = Field(16, ge=1)
    """Local teacher: answers written at a time."""
    concurrency: int = Field(32, ge=1)
    """Endpoint: requests in flight, at most; how many there are follows what the endpoint bears."""
    requests_per_minute: float | None = Field(None, gt=0)
    tokens_per_minute: float | None = Field(None, gt=0)
    """Limits of your account, where the endpoint's headers and replies do not tell them. Tokens: input and output."""
    timeout_s: float = Field(120.0, gt=0)
    retries: int = Field(5, ge=0)
    usd_per_million_input: float | None = Field(None, ge=0)
    usd_per_million_output: float | None = Field(None, ge=0)
    usd_per_million_cached_input: float | None = Field(None, ge=0)
    """Your prices, where they differ from the listed ones or the model is not listed."""
    phi: PhiSettings = PhiSettings()

    @field_validator("kind")
    @classmethod
    def _known_kind(cls, kind: str) -> str:
        known = [*KINDS, *sorted(entry.name for entry in entry_points(group=TEACHERS))]
        if kind not in known:
            raise ValueError(f"teacher.kind = {kind!r} is not one of {', '.join(known)}")
        return kind

    @model_validator(mode="before")
    @classmethod
    def _no_seed_where_none_is_taken(cls, given: Any) -> Any:
        anthropic = isinstance(given, dict) and given.get("kind") == "anthropic"
        return {"seed": None, **given} if anthropic else given

    @model_validator(mode="after")
    def _batches_need_an_endpoint(self) -> Self:
        if self.mode == "batch" and self.kind not in ("openai", "anthropic"):
            raise ValueError('teacher.mode = "batch" needs teacher.kind = "openai" or "anthropic"')
        return self

    @property
    def remote(self) -> bool:
        """Whether prompts leave this program for an endpoint."""
        return self.kind not in ("local", "scripted")

    @property
    def phi_mode(self) -> Literal["block", "mask", "warn", "off"]:
        """What the check for identifiers does. A teacher on this machine is exempt unless the recipe says otherwise.

        An endpoint at a loopback address is not: what listens there may pass the text on.
        """
        return self.phi.mode or ("block" if self.remote else "off")

    def sampling(self) -> Sampling:
        """The generation settings that are sent, the preset's values filled in where the recipe gives none."""
        paper = {"temperature": 0.8, "repetition_penalty": 2.0} if self.preset == "paper" else {}
        names = (
            "temperature",
            "top_p",
            "repetition_penalty",
            "frequency_penalty",
            "presence_penalty",
            "logprobs",
            "seed",
        )
        given = {name: value for name in names if (value := getattr(self, name)) is not None}
        return Sampling(max_tokens=self.max_tokens, **{**paper, **given})


class BudgetSettings(Section):
    """`[budget]`: what a run's teachers may cost at most, over all its starts. Reaching it ends the run."""

    max_usd: float | None = Field(None, gt=0)
    max_tokens: int | None = Field(None, gt=0)
    """Input and output together."""

    @property
    def limited(self) -> bool:
        """Whether there is any limit."""
        return self.max_usd is not None or self.max_tokens is not None
