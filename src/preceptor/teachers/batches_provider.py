"""What a provider's batch interface must offer, and how the errors of the official clients are understood.

The clients of OpenAI and Anthropic come from one generator: their errors have the same names and fields.
"""

from __future__ import annotations

import contextlib
import importlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from types import ModuleType
from typing import Any, Protocol
from urllib.parse import urlsplit

from preceptor.errors import CredentialsError, MissingPackageError, PreceptorError, TeacherError, UnreachableError
from preceptor.records import Completion, Request
from preceptor.store.batches import Entry
from preceptor.teachers.replies import Endpoint, Failure

SUBMIT_TIMEOUT_S = 600.0
"""How long handing in may take: up to 256 MB are sent."""

LOOK_BACK_S = 86_400.0
"""A batch that is searched for by its tag may seem to be so much older than it is: clocks differ."""

QUOTED = 300
"""Characters of the endpoint's own words that an error repeats."""


class Phase(StrEnum):
    """Where a batch stands."""

    RUNNING = "running"
    ENDED = "ended"
    """Its results can be downloaded; some or all of them may be failures."""
    REFUSED = "refused"
    """It was refused as a whole: nothing of it was worked on."""
    FULL = "full"
    """Refused because too much is queued already; later, or with fewer requests, it may be taken."""


@dataclass(frozen=True)
class Look:
    """What the provider says about a batch."""

    phase: Phase
    done: int = 0
    """Requests that are finished, in whatever way; some providers only tell at the end."""
    answered: int = 0
    """Requests that have an answer, where the provider counts them apart."""
    refusal: TeacherError | None = None
    """Why, when it was refused as a whole."""
    files: tuple[str, ...] = ()
    """Where the results lie, for providers that keep them in files."""


@dataclass(frozen=True, slots=True)
class Line:
    """The result of one request as it was downloaded."""

    custom_id: str
    content: Mapping[str, Any]


class Found(StrEnum):
    """What a search for a batch that may or may not exist has shown, when it has not found it."""

    ABSENT = "absent"
    """No batch that the provider lists is this one."""
    UNDECIDED = "undecided"
    """A batch that is not finished may be this one."""


class NotCreatedError(TeacherError):
    """The batch was certainly not created, and a later try may succeed: too many requests, or nobody there."""

    retryable = True


class UnsureError(TeacherError):
    """The connection failed after the batch may have arrived."""

    retryable = True


class Provider(Protocol):
    """A batch interface. Errors are those of `TeacherError`; those that pass are `retryable`."""

    max_requests: int
    max_bytes: int

    def item(self, custom_id: str, request: Request) -> bytes:
        """One request of a batch as the JSON that is sent."""

    def prepare(self, tag: str, items: Sequence[bytes]) -> Any:
        """Do what can be done before anything costs money, such as uploading a file."""

    def create(self, tag: str, prepared: Any) -> str:
        """Create the batch, in one attempt, and return its id.

        Raises `UnsureError` when it may exist in spite of an error, otherwise what refused it.
        """

    def find(self, entry: Entry, known: frozenset[str]) -> str | Found:
        """The id of the batch with the entry's tag, if there is one. `known` are ids of other batches."""

    def look(self, batch: str) -> Look:
        """Where a batch stands."""

    def results(self, batch: str, look: Look) -> Iterator[Line]:
        """Download the results of a batch that has ended, in any order."""

    def read(self, line: Line, request: Request) -> Completion | Failure:
        """The answer in a result, or why there is none. Raises `TeacherError` for what others would meet too."""

    def close(self) -> None:
        """Close the connections."""


def load(package: str) -> ModuleType:
    """An official client, imported when it is needed. Raises `MissingPackageError`."""
    try:
        return importlib.import_module(package)
    except ModuleNotFoundError as error:
        if error.name != package:
            raise
        raise MissingPackageError.of(package, "its batch interface", 'pip install "preceptor[batch]"') from None


@contextlib.contextmanager
def errors(client: ModuleType, endpoint: Endpoint, doing: str, *, creating: bool = False) -> Iterator[None]:
    """Turn a client's errors into ours. `doing` completes "The endpoint refused to ..."."""
    import httpx2

    try:
        yield
    except client.APIStatusError as error:
        raise _refusal(endpoint, error, doing, creating=creating) from None
    except (client.APIConnectionError, httpx2.HTTPError) as error:
        never_there = isinstance(error.__cause__, httpx2.ConnectError | httpx2.ConnectTimeout)
        reason = endpoint.scrub(str(error.__cause__ or error))
        raise _unreachable(
            f"The connection to {endpoint.base_url} failed while trying to {doing}: {reason}",
            creating=creating,
            certain=never_there,
        ) from None
    except (ValueError, AttributeError) as error:  # a reply that is not what the client's types promise
        said = endpoint.scrub(str(error))
        raise _unreachable(
            f"The endpoint {endpoint.base_url} gave a reply that cannot be read while trying to {doing}: {said}",
            creating=creating,
            certain=False,
        ) from None


def _refusal(endpoint: Endpoint, error: Any, doing: str, *, creating: bool) -> PreceptorError:
    status = int(error.status_code)
    code, words = _details(error.body)
    said = " ".join(endpoint.clean(endpoint.scrub(words)).split())[:QUOTED]
    quoted = f" The endpoint says: {said}" if said else ""
    if status == 402 or code in SPENT:
        return TeacherError(
            f"The account at {endpoint.base_url} may spend no more (status {status}).",
            f"Add credit and run the same command again: what was answered is kept.{quoted}",
        )
    if status in (401, 403):
        what = f"the key in {endpoint.key_env}" if endpoint.key else "a request without a key"
        return CredentialsError(
            f"The endpoint {endpoint.base_url} refused {what} (status {status}).",
            f"Set {endpoint.key_env} to a key that may use {endpoint.model} and its batch interface.{quoted}",
        )
    if status in (408, 409, 429) or status >= 500:
        return _unreachable(
            f"The endpoint {endpoint.base_url} could not {doing} for now (status {status}).",
            creating=creating,
            certain=status == 429,
            hint=quoted.strip(),
        )
    if 300 <= status < 400:
        target = endpoint.scrub(error.response.headers.get("location", "another address"))
        return TeacherError(
            f"The endpoint {endpoint.base_url} points to {target}; the key is not sent there by itself.",
            "Set teacher.base_url to the address that answers.",
        )
    return TeacherError(
        f"The endpoint {endpoint.base_url} refused to {doing} (status {status}).",
        f"Is it a batch interface, and is the key that of the account which handed the batch in?{quoted}",
    )


SPENT = frozenset(
    {
        "billing_hard_limit_reached",
        "contract_spend_limit_reached",
        "credit_balance_exhausted",
        "enforced_spend_limit_reached",
        "insufficient_quota",
        "linked_organization_billing_unavailable",
        "linked_organization_spend_limit_reached",
    }
)
"""Codes of an account that may spend no more. Some come as 429, which waiting does not cure."""


def _details(body: object) -> tuple[str, str]:
    """Code and words of an error; OpenAI's client gives the inner object, Anthropic's the whole reply."""
    if not isinstance(body, dict):
        return "", ""
    error = body["error"] if isinstance(body.get("error"), dict) else body
    details = error.get("details")
    code = (details.get("error_code") if isinstance(details, dict) else None) or error.get("code") or ""
    return str(code), str(error.get("message") or "")


def _unreachable(message: str, *, creating: bool, certain: bool, hint: str = "") -> TeacherError:
    """The error of a call that may succeed later; `certain` when nothing can have been created by it."""
    if creating:
        return NotCreatedError(message, hint) if certain else UnsureError(message, hint)
    return UnreachableError(message, hint or "Run the same command again: nothing is lost.")


def same_host(address: str, other: str) -> bool:
    """Whether two addresses are those of one server, so that the key may go to both."""
    one, two = urlsplit(address), urlsplit(other)
    return (one.scheme, one.hostname, one.port) == (two.scheme, two.hostname, two.port)


def gone(endpoint: Endpoint, batch: str) -> TeacherError:
    """The results of a batch that was paid for are no longer there."""
    return TeacherError(
        f"The results of the batch {batch} at {endpoint.base_url} are gone: providers keep them for a month.",
        "They would have to be asked, and paid, again: for that, remove batches.sqlite from the run's folder when no "
        "other batch is under way.",
    )


def shortened(text: object) -> str:
    """Somebody's words on one line, not too long."""
    line = " ".join(str(text).split())
    return line if len(line) <= QUOTED else f"{line[:QUOTED]}..."


def incomplete(endpoint: Endpoint, batch: str, counted: int, seen: int) -> UnreachableError:
    """The download holds fewer results than the provider counts: to ask the rest again might pay it twice."""
    return UnreachableError(
        f"The results of the batch {batch} at {endpoint.base_url} hold {seen} of {counted} requests.",
        "Run the same command again: nothing is asked, or paid, twice.",
    )
