"""Anthropic's batch interface, through the official client: a list of requests in, a stream of results out.

Reference: https://platform.claude.com/docs/en/build-with-claude/batch-processing. A batch carries no name or metadata
of ours, and what it holds is only shown when it has ended. So every custom id begins with the tag: a batch whose id was
lost is found by its first result, among those created since then with the same number of requests. As long as one of
these is running nothing is proven, and the same requests are not handed in again.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Generator, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from preceptor.errors import TeacherError
from preceptor.records import Completion, Request
from preceptor.store.batches import Entry
from preceptor.teachers import anthropic as dialect
from preceptor.teachers.batches_provider import (
    LOOK_BACK_S,
    SUBMIT_TIMEOUT_S,
    Found,
    Line,
    Look,
    Phase,
    errors,
    gone,
    incomplete,
    load,
    same_host,
)
from preceptor.teachers.replies import Endpoint, Failure, Kind

if TYPE_CHECKING:
    from anthropic.types.messages import MessageBatch

ENDED = "ended"


class AnthropicBatches:
    """A `Provider`. Raises `MissingPackageError` when the package `anthropic` is not installed."""

    max_requests = 100_000
    max_bytes = 255_000_000
    """A little less than the 256 MB that are allowed: the list around the requests needs room too."""

    def __init__(self, endpoint: Endpoint, timeout_s: float) -> None:
        self._endpoint = endpoint
        self._anthropic = load("anthropic")
        self._client = self._anthropic.Anthropic(
            # Given a key, the client looks for none in the environment or in its own files.
            api_key=endpoint.key.get_secret_value() if endpoint.key is not None else "none",
            default_headers=None if endpoint.key is not None else {"Authorization": self._anthropic.Omit()},
            base_url=endpoint.base_url.removesuffix("/v1"),
            timeout=timeout_s,
            open_telemetry=False,  # a span may hold what is asked
            # The key must not go to whatever host a reply names.
            http_client=self._anthropic.DefaultHttpxClient(follow_redirects=False),
        )

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def item(self, custom_id: str, request: Request) -> bytes:
        """One entry of the list."""
        return json.dumps({"custom_id": custom_id, "params": dialect.body(self._endpoint, request)}).encode()

    def prepare(self, tag: str, items: Sequence[bytes]) -> list[dict[str, Any]]:
        """Nothing is uploaded beforehand: the list itself."""
        return [json.loads(item) for item in items]

    def create(self, tag: str, prepared: list[dict[str, Any]]) -> str:
        """Create the batch: once, since the client's own retries might create it twice."""
        version = dialect.version({name for item in prepared for name in item["params"]})
        with errors(self._anthropic, self._endpoint, "create a batch", creating=True):
            batch = self._client.with_options(max_retries=0).messages.batches.create(
                requests=prepared, timeout=SUBMIT_TIMEOUT_S, extra_headers={"anthropic-version": version}
            )
        return str(batch.id)

    def find(self, entry: Entry, known: frozenset[str]) -> str | Found:
        """The batch whose results carry the tag, among those that may be it."""
        undecided = False
        for batch in self._candidates(entry):
            if batch.id in known:
                continue
            if batch.processing_status != ENDED:
                undecided = True
            elif self._tagged(batch, entry.tag):
                return batch.id
        return Found.UNDECIDED if undecided else Found.ABSENT

    def _candidates(self, entry: Entry) -> Iterator[MessageBatch]:
        with errors(self._anthropic, self._endpoint, "list its batches"):
            for batch in self._client.messages.batches.list(limit=100):  # the newest first, page by page
                if batch.created_at.timestamp() < entry.sent - LOOK_BACK_S:
                    return
                counts = batch.request_counts
                total = counts.processing + counts.succeeded + counts.errored + counts.canceled + counts.expired
                if total == entry.requests:
                    yield batch

    def _tagged(self, batch: MessageBatch, tag: str) -> bool:
        if batch.results_url is None:
            return False  # archived after 29 days: not one of ours, whose intention is younger
        with errors(self._anthropic, self._endpoint, f"give the results of the batch {batch.id}"):
            lines = self._lines(batch.id, batch.results_url)
            with contextlib.closing(lines):
                first = next(lines, None)
        return first is not None and first.custom_id.startswith(f"{tag}-")

    def look(self, batch: str) -> Look:
        """Where a batch stands. Its counts are 0 until it ends."""
        with errors(self._anthropic, self._endpoint, f"show the batch {batch}"):
            found = self._client.messages.batches.retrieve(batch)
        counts = found.request_counts
        done = counts.succeeded + counts.errored + counts.canceled + counts.expired
        if found.processing_status != ENDED:
            return Look(Phase.RUNNING, done)
        return Look(Phase.ENDED, done, counts.succeeded, files=(found.results_url,) if found.results_url else ())

    def results(self, batch: str, look: Look) -> Iterator[Line]:
        """The lines of the results."""
        if not look.files:
            raise gone(self._endpoint, batch)
        answered = 0
        with errors(self._anthropic, self._endpoint, f"give the results of the batch {batch}"):
            for line in self._lines(batch, look.files[0]):
                answered += line.content.get("type") == "succeeded"
                yield line
        if answered < look.answered:
            raise incomplete(self._endpoint, batch, look.answered, answered)

    def _lines(self, batch: str, address: str) -> Generator[Line]:
        if not same_host(address, self._endpoint.base_url):
            raise TeacherError(
                f"The endpoint {self._endpoint.base_url} keeps the results of the batch {batch} at another address; "
                "the key is not sent there by itself.",
                f"Set teacher.base_url to the server of {self._endpoint.scrub(address)}.",
            )
        stream = self._client.messages.batches.results(batch)
        try:
            for result in stream:
                content: Mapping[str, Any] = result.result.to_dict(warnings=False)
                yield Line(str(result.custom_id), content)
        finally:
            stream.close()

    def read(self, line: Line, request: Request) -> Completion | Failure:
        """The answer in a result; what expired or was cancelled is worth another try."""
        kind = line.content.get("type")
        if kind == "succeeded":
            message = json.dumps(line.content.get("message")).encode()
            return dialect.read_message(self._endpoint, request, 200, {}, message)
        if kind == "errored":
            response = line.content.get("error")
            return dialect.read_error(self._endpoint, 0, {}, response if isinstance(response, Mapping) else {})
        return Failure(Kind.BUSY, f"The batch ended without an answer to the request ({kind}).")
