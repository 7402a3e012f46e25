"""The batch server is driven by the official clients: what they accept from it, they would accept from the provider."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import anthropic
import openai
import pytest
from anthropic.types.messages import MessageBatchSucceededResult
from batch_server import BatchServer, Fate

LINES = [
    {
        "custom_id": f"c{n}",
        "method": "POST",
        "url": "/v1/chat/completions",
        "body": {"model": "m", "messages": [{"role": "user", "content": f"q{n}"}], "max_tokens": 5},
    }
    for n in range(20)
]
REQUESTS: list[Any] = [
    {
        "custom_id": f"c{n}",
        "params": {"model": "m", "messages": [{"role": "user", "content": f"q{n}"}], "max_tokens": 5},
    }
    for n in range(20)
]


@pytest.fixture
def server() -> Iterator[BatchServer]:
    with BatchServer(polls=3) as running:
        yield running


def openai_client(server: BatchServer, key: str | None = None) -> openai.OpenAI:
    # Strict: a reply that lacks a field, or has one of another type, is an error.
    return openai.OpenAI(
        api_key=key or server.key, base_url=server.base_url, max_retries=0, _strict_response_validation=True
    )


def anthropic_client(server: BatchServer, key: str | None = None) -> anthropic.Anthropic:
    return anthropic.Anthropic(
        api_key=key or server.key,
        base_url=server.base_url.removesuffix("/v1"),
        max_retries=0,
        _strict_response_validation=True,
    )


def hand_in(client: openai.OpenAI, lines: list[dict[str, Any]]) -> str:
    content = "\n".join(json.dumps(line) for line in lines).encode()
    uploaded = client.files.create(file=("in.jsonl", content), purpose="batch")
    return client.batches.create(
        input_file_id=uploaded.id, endpoint="/v1/chat/completions", completion_window="24h", metadata={"tag": "t"}
    ).id


def test_the_life_of_an_openai_batch(server: BatchServer) -> None:
    server.fate = lambda text, _: Fate("error", status=500) if text == "q3" else Fate()
    with openai_client(server) as client:
        name = hand_in(client, LINES)
        statuses = [client.batches.retrieve(name).status for _ in range(4)]
        assert statuses == ["in_progress", "finalizing", "completed", "completed"]
        batch = client.batches.retrieve(name)
        assert batch.metadata == {"tag": "t"}
        assert batch.request_counts is not None
        assert (batch.request_counts.total, batch.request_counts.completed, batch.request_counts.failed) == (20, 19, 1)
        assert batch.output_file_id is not None
        assert batch.error_file_id is not None
        out = [json.loads(line) for line in client.files.content(batch.output_file_id).text.splitlines()]
        errors = [json.loads(line) for line in client.files.content(batch.error_file_id).text.splitlines()]
    assert sorted(line["custom_id"] for line in out) != [line["custom_id"] for line in out]
    for line in out:
        openai.types.chat.ChatCompletion.model_validate(line["response"]["body"])
    assert [(line["custom_id"], line["response"]["status_code"]) for line in errors] == [("c3", 500)]
    assert sum(server.paid.values()) == 19


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"custom_id": "c1"}, "duplicate_custom_id"),
        ({"url": "/v1/embeddings"}, "url_mismatch"),
        ({"body": {"model": "unknown", "messages": []}}, "model_not_found"),
    ],
)
def test_openai_finds_faults_of_a_file_after_the_batch_is_created(
    server: BatchServer, change: dict[str, Any], code: str
) -> None:
    with openai_client(server) as client:
        batch = client.batches.retrieve(hand_in(client, [*LINES[:2], {**LINES[2], **change}]))
    assert batch.status == "failed"
    assert batch.errors is not None
    assert batch.errors.data is not None
    assert [(fault.code, fault.line) for fault in batch.errors.data] == [(code, 3)]
    assert server.paid == {}


def test_openai_lists_the_newest_first_page_by_page_and_cancels(server: BatchServer) -> None:
    with openai_client(server) as client:
        names = [hand_in(client, LINES[:1]) for _ in range(5)]
        assert [batch.id for batch in client.batches.list(limit=2)] == names[::-1]
        assert client.batches.cancel(names[0]).status == "cancelling"
        batch = client.batches.retrieve(names[0])
        assert batch.status == "cancelled"
        assert batch.error_file_id is not None
        (line,) = client.files.content(batch.error_file_id).text.splitlines()
    assert json.loads(line)["error"]["code"] == "batch_cancelled"


def test_the_life_of_an_anthropic_batch(server: BatchServer) -> None:
    fates = {"q3": Fate("error"), "q4": Fate("expire"), "q5": Fate("cancel")}
    server.fate = lambda text, _: fates.get(text, Fate())
    with anthropic_client(server) as client:
        batch = client.messages.batches.create(requests=REQUESTS)
        assert (batch.processing_status, batch.request_counts.processing) == ("in_progress", 20)
        with pytest.raises(anthropic.AnthropicError, match="results_url"):
            client.messages.batches.results(batch.id)
        statuses = [client.messages.batches.retrieve(batch.id).processing_status for _ in range(2)]
        assert statuses == ["in_progress", "ended"]
        counts = client.messages.batches.retrieve(batch.id).request_counts
        assert (counts.processing, counts.succeeded, counts.errored, counts.expired, counts.canceled) == (
            0,
            17,
            1,
            1,
            1,
        )
        results = list(client.messages.batches.results(batch.id))
    assert sorted(r.custom_id for r in results) != [r.custom_id for r in results]
    types = {r.custom_id: r.result.type for r in results}
    assert (types["c3"], types["c4"], types["c5"], types["c6"]) == ("errored", "expired", "canceled", "succeeded")
    (one,) = (r.result for r in results if r.custom_id == "c6")
    assert isinstance(one, MessageBatchSucceededResult)
    assert one.message.content[0].type == "text"
    assert sum(server.paid.values()) == 17


def test_anthropic_lists_the_newest_first_page_by_page_and_cancels(server: BatchServer) -> None:
    with anthropic_client(server) as client:
        names = [client.messages.batches.create(requests=REQUESTS[:1]).id for _ in range(5)]
        assert [batch.id for batch in client.messages.batches.list(limit=2)] == names[::-1]
        assert client.messages.batches.cancel(names[0]).processing_status == "canceling"
        assert client.messages.batches.retrieve(names[0]).request_counts.canceled == 1


def test_anthropic_refuses_ids_outside_its_pattern_and_ids_that_stand_twice(server: BatchServer) -> None:
    with anthropic_client(server) as client:
        for ids in (["a.b"], ["x" * 65], ["a", "a"]):
            with pytest.raises(anthropic.BadRequestError, match="custom_id"):
                client.messages.batches.create(requests=[{**REQUESTS[0], "custom_id": one} for one in ids])


def test_a_wrong_key_is_refused_by_both(server: BatchServer) -> None:
    with openai_client(server, "sk-wrong") as client, pytest.raises(openai.AuthenticationError):
        client.batches.list()
    with anthropic_client(server, "sk-wrong") as other, pytest.raises(anthropic.AuthenticationError):
        other.messages.batches.list()
