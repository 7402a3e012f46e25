"""OpenAI's batch interface, through the official client: a file of requests in, one or two files of results out.

Reference: https://platform.openai.com/docs/guides/batch. Other providers that speak it work too, with teacher.base_url.
A batch carries our tag as metadata, so one whose id was lost is found in the list. Finished requests lie in the output
file; failed and expired ones in the error file; neither keeps the order of the requests.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from preceptor.errors import TeacherError
from preceptor.records import Completion, Request
from preceptor.store.batches import Entry
from preceptor.teachers.batches_provider import (
    LOOK_BACK_S,
    SPENT,
    SUBMIT_TIMEOUT_S,
    Found,
    Line,
    Look,
    Phase,
    errors,
    gone,
    incomplete,
    load,
    shortened,
)
from preceptor.teachers.replies import Endpoint, Failure, Kind, read_reply

if TYPE_CHECKING:
    from openai.types import Batch

ENDPOINT = "/v1/chat/completions"
TAG = "preceptor"
"""Name of our tag in a batch's metadata."""

RUNNING = frozenset({"validating", "in_progress", "finalizing", "cancelling"})
ENDED = frozenset({"completed", "expired", "cancelled"})
FULL = "token_limit_exceeded"
"""Code of a batch that is refused because the account's queue holds too many tokens."""


class OpenAIBatches:
    """A `Provider`. Raises `MissingPackageError` when the package `openai` is not installed."""

    max_requests = 50_000
    max_bytes = 200_000_000

    def __init__(self, endpoint: Endpoint, timeout_s: float) -> None:
        self._endpoint = endpoint
        self._openai = load("openai")
        self._client = self._openai.OpenAI(
            # Without one the client would look for a key in the environment.
            api_key=endpoint.key.get_secret_value() if endpoint.key is not None else "none",
            base_url=endpoint.base_url,
            timeout=timeout_s,
            # The key must not go to whatever host a reply names.
            http_client=self._openai.DefaultHttpxClient(
                follow_redirects=False, event_hooks={} if endpoint.key is not None else {"request": [_without_key]}
            ),
        )

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def item(self, custom_id: str, request: Request) -> bytes:
        """One line of the file."""
        body = json.loads(self._endpoint.body(request))
        return json.dumps({"custom_id": custom_id, "method": "POST", "url": ENDPOINT, "body": body}).encode()

    def prepare(self, tag: str, items: Sequence[bytes]) -> str:
        """Upload the file and return its id. It costs nothing, and the provider deletes it after 30 days."""
        content = b"\n".join(items) + b"\n"
        with errors(self._openai, self._endpoint, "take the file of a batch"):
            uploaded = self._client.files.create(
                file=(f"{TAG}-{tag}.jsonl", content), purpose="batch", timeout=SUBMIT_TIMEOUT_S
            )
        return str(uploaded.id)

    def create(self, tag: str, prepared: str) -> str:
        """Create the batch: once, since the client's own retries might create it twice."""
        with errors(self._openai, self._endpoint, "create a batch", creating=True):
            batch = self._client.with_options(max_retries=0).batches.create(
                input_file_id=prepared,
                endpoint=ENDPOINT,
                completion_window="24h",
                metadata={TAG: tag},
                timeout=SUBMIT_TIMEOUT_S,
            )
        return str(batch.id)

    def find(self, entry: Entry, known: frozenset[str]) -> str | Found:
        """The batch whose metadata holds the tag."""
        with errors(self._openai, self._endpoint, "list its batches"):
            for batch in self._client.batches.list(limit=100):  # the newest first, page by page
                if (batch.metadata or {}).get(TAG) == entry.tag:
                    return str(batch.id)
                if batch.created_at < entry.sent - LOOK_BACK_S:
                    break
        return Found.ABSENT

    def look(self, batch: str) -> Look:
        """Where a batch stands."""
        with errors(self._openai, self._endpoint, f"show the batch {batch}"):
            found = self._client.batches.retrieve(batch)
        counts = found.request_counts
        completed, failed = (counts.completed, counts.failed) if counts is not None else (0, 0)
        if found.status in ENDED:
            files = tuple(name for name in (found.output_file_id, found.error_file_id) if name)
            return Look(Phase.ENDED, completed + failed, files=files)
        if found.status == "failed":
            return self._refused(found)
        return Look(Phase.RUNNING, completed + failed)

    def results(self, batch: str, look: Look) -> Iterator[Line]:
        """The lines of the output file and of the error file."""
        seen = 0
        for name in look.files:
            with errors(self._openai, self._endpoint, f"give the results of the batch {batch}"):
                try:
                    for line in self._lines(name):
                        seen += 1
                        yield line
                except self._openai.NotFoundError:
                    raise gone(self._endpoint, batch) from None
        if seen < look.done:
            raise incomplete(self._endpoint, batch, look.done, seen)

    def _lines(self, name: str) -> Iterator[Line]:
        rest = b""
        with self._client.files.with_streaming_response.content(name) as response:
            for part in response.iter_bytes():
                # Not by the lines of text: an answer may hold characters that count as ends of lines there.
                *lines, rest = (rest + part).split(b"\n")
                for line in lines:
                    if line.strip():
                        yield _line(line)
        if rest.strip():
            yield _line(rest)

    def read(self, line: Line, request: Request) -> Completion | Failure:
        """The answer in a line; a line without a reply (expired, cancelled) is worth another try."""
        response, error = line.content.get("response"), line.content.get("error")
        status = response.get("status_code") if isinstance(response, Mapping) else None
        if isinstance(response, Mapping) and isinstance(status, int) and 100 <= status < 600:
            body = json.dumps(response.get("body")).encode()
            return read_reply(self._endpoint, request, status, {}, body)
        code = error.get("code") if isinstance(error, Mapping) else None
        said = error.get("message") if isinstance(error, Mapping) else None
        reason = f"The batch ended without an answer to the request ({code or f'status {status}'})."
        return Failure(Kind.BUSY, reason, self._endpoint.scrub(shortened(said or "")))

    def _refused(self, batch: Batch) -> Look:
        """Why a batch failed as a whole: the provider found a fault in its file, or in the account."""
        faults = (batch.errors.data if batch.errors is not None else None) or []
        fault = faults[0] if faults else None
        code = (fault.code if fault is not None else None) or "no reason given"
        said = self._endpoint.scrub(shortened((fault.message if fault is not None else None) or code))
        if code == FULL:
            return Look(Phase.FULL, refusal=TeacherError("The account's queue for batches is full.", said))
        if code == "model_not_found":
            return Look(
                Phase.REFUSED,
                refusal=TeacherError(
                    f"The endpoint {self._endpoint.base_url} knows no model {self._endpoint.model!r} for batches.",
                    f"Correct teacher.model. The endpoint says: {said}",
                ),
            )
        if code in SPENT:
            return Look(
                Phase.REFUSED,
                refusal=TeacherError(
                    f"The account at {self._endpoint.base_url} may spend no more ({code}).",
                    f"Add credit and run the same command again. The endpoint says: {said}",
                ),
            )
        line = f", line {fault.line}" if fault is not None and fault.line is not None else ""
        return Look(
            Phase.REFUSED,
            refusal=TeacherError(
                f"The endpoint {self._endpoint.base_url} refused the batch {batch.id} ({code}{line}).",
                f"Nothing of it was worked on. The endpoint says: {said}",
            ),
        )


def _without_key(request: Any) -> None:
    """A server that takes no key is sent none; the client itself insists on one."""
    del request.headers["Authorization"]


def _line(raw: bytes) -> Line:
    content: Any = json.loads(raw)
    if not isinstance(content, dict):
        raise ValueError("a line is no object")
    return Line(str(content.get("custom_id")), content)
