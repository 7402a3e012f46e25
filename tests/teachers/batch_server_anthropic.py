"""Anthropic's side of the batch server: messages, and batches of them."""

from __future__ import annotations

import itertools
import re
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from aiohttp import web

if TYPE_CHECKING:
    from batch_server import BatchServer, Fate

CUSTOM_ID = re.compile(r"^[a-zA-Z0-9_-]{1,64}$")
PARAMETERS = frozenset({"model", "max_tokens", "messages", "system", "stop_sequences"})
VERSIONS = {"2023-06-01": PARAMETERS | {"temperature", "top_p", "top_k"}, "2026-10-21": PARAMETERS}
"""Version -> what it takes; the newer one refuses the settings of sampling."""
STATUSES = {
    "invalid_request_error": 400,
    "authentication_error": 401,
    "permission_error": 403,
    "not_found_error": 404,
    "rate_limit_error": 429,
    "api_error": 500,
    "overloaded_error": 529,
}


class AnthropicSide:
    """https://platform.claude.com/docs/en/api/messages and /messages/batches."""

    def __init__(self, server: BatchServer) -> None:
        self.server = server
        self.batches: dict[str, dict[str, Any]] = {}
        self.requests: dict[str, list[dict[str, Any]]] = {}
        self.results: dict[str, str] = {}
        self._looks: dict[str, int] = {}
        self._versions: dict[str, str] = {}
        self._numbers = itertools.count(1)

    async def handle(self, request: web.Request) -> web.Response:
        # The provider takes either; the official client sends the second since its version 2.
        sent = (
            request.headers.get("x-api-key") or request.headers.get("Authorization", "").removeprefix("Bearer ") or None
        )
        if sent != self.server.key:
            return fault("authentication_error", f"invalid x-api-key {sent}")
        if request.headers.get("anthropic-version") not in VERSIONS:
            return fault("invalid_request_error", "anthropic-version: a valid version is required")
        match request.method, request.path.removeprefix("/v1/messages").strip("/").split("/"):
            case "POST", [""]:
                return self._message(await request.json(), request.headers["anthropic-version"])
            case "POST", ["batches"]:
                return self._create(request, (await request.json()).get("requests"))
            case "GET", ["batches"]:
                if self.server.listing_ages:
                    for name in self.batches:
                        self._look(name)
                return self._list(request)
            case "GET", ["batches", name] if name in self.batches:
                return web.json_response(self._look(name))
            case "GET", ["batches", name, "results"] if name in self.results:
                return web.Response(text=self.results[name], content_type="application/x-jsonl")
            case "POST", ["batches", name, "cancel"] if name in self.batches:
                self.batches[name] |= {"processing_status": "canceling", "cancel_initiated_at": moment()}
                return web.json_response(self.batches[name])
        return fault("not_found_error", "Not found")

    def _message(self, params: dict[str, Any], version: str) -> web.Response:
        wrong = self._wrong(params, version)
        if wrong is not None:
            return fault(*wrong)
        text = params["messages"][-1]["content"]
        fate = self.server.decide(text)
        if fate.kind != "succeed":
            return fault(fate.error or "overloaded_error", "It failed.")
        headers = {
            "anthropic-ratelimit-requests-limit": "50",
            "anthropic-ratelimit-requests-remaining": "49",
            "anthropic-ratelimit-requests-reset": moment(60),
        }
        return web.json_response(message(params, text, fate), headers=headers)

    def _wrong(self, params: dict[str, Any], version: str) -> tuple[str, str] | None:
        """Type and words of the fault of a message's parameters, if any."""
        unknown = sorted(set(params) - VERSIONS[version])
        if unknown:
            return "invalid_request_error", f"{unknown[0]}: Extra inputs are not permitted"
        if not isinstance(params.get("max_tokens"), int) or params["max_tokens"] < 1:
            return "invalid_request_error", "max_tokens: Field required"
        turns = params.get("messages")
        if not turns or any(turn.get("role") not in ("user", "assistant") for turn in turns):
            return "invalid_request_error", "messages: Input should be a list of turns of 'user' and 'assistant'"
        if not 0 <= params.get("temperature", 1) <= 1:
            return "invalid_request_error", "temperature: range: 0..1"
        return (
            None if params.get("model") in self.server.models else ("not_found_error", f"model: {params.get('model')}")
        )

    def _create(self, request: web.Request, requests: Any) -> web.Response:
        if not isinstance(requests, list) or not 1 <= len(requests) <= 100_000:
            return fault("invalid_request_error", "requests: List should have 1 to 100000 items")
        ids = [str(item.get("custom_id")) for item in requests]
        if len(set(ids)) < len(ids):
            return fault("invalid_request_error", "requests: custom_id is not unique")
        if not all(CUSTOM_ID.match(one) for one in ids):
            return fault("invalid_request_error", "requests: custom_id should match '^[a-zA-Z0-9_-]{1,64}$'")
        name = f"msgbatch_{next(self._numbers):024d}"
        self.requests[name] = requests
        self._versions[name] = request.headers["anthropic-version"]
        self._looks[name] = 0
        self.batches[name] = {
            "id": name,
            "type": "message_batch",
            "processing_status": "in_progress",
            "request_counts": counts(processing=len(requests)),
            "created_at": moment(),
            "expires_at": moment(86_400),
            "ended_at": None,
            "archived_at": None,
            "cancel_initiated_at": None,
            "results_url": None,
        }
        return web.json_response(self.batches[name])

    def _list(self, request: web.Request) -> web.Response:
        newest_first = list(reversed(self.batches.values()))
        after = request.query.get("after_id")
        if after is not None:
            newest_first = newest_first[[b["id"] for b in newest_first].index(after) + 1 :]
        page = newest_first[: int(request.query.get("limit", 20))]
        ends = {"first_id": page[0]["id"], "last_id": page[-1]["id"]} if page else {"first_id": None, "last_id": None}
        return web.json_response({"data": page, **ends, "has_more": len(page) < len(newest_first)})

    def _look(self, name: str) -> dict[str, Any]:
        batch = self.batches[name]
        if batch["processing_status"] == "canceling":
            self._end(name, cancelled=True)
        elif batch["processing_status"] == "in_progress":
            self._looks[name] += 1
            if self._looks[name] >= self.server.polls:
                self._end(name, cancelled=False)
        return batch

    def _end(self, name: str, *, cancelled: bool) -> None:
        lines: list[dict[str, Any]] = []
        tally = counts()
        for item in self.requests[name]:
            result = {"type": "canceled"} if cancelled else self._result(item["params"], self._versions[name])
            if result is not None:
                tally[result["type"]] += 1
                lines.append({"custom_id": item["custom_id"], "result": result})
        self.results[name] = self.server.shuffled(lines)
        self.batches[name] |= {
            "processing_status": "ended",
            "ended_at": moment(),
            "request_counts": tally,
            "results_url": f"{self.server.base_url}/messages/batches/{name}/results",
        }

    def _result(self, params: dict[str, Any], version: str) -> dict[str, Any] | None:
        wrong = self._wrong(params, version)
        if wrong is not None:
            return {"type": "errored", "error": error(*wrong)}
        text = params["messages"][-1]["content"]
        fate = self.server.decide(text)
        if fate.kind == "vanish":
            return None
        if fate.kind == "succeed":
            return {"type": "succeeded", "message": message(params, text, fate)}
        if fate.kind == "error":
            return {"type": "errored", "error": error(fate.error or "api_error", "It failed.")}
        return {"type": "expired" if fate.kind == "expire" else "canceled"}


def message(params: dict[str, Any], text: str, fate: Fate) -> dict[str, Any]:
    """A message."""
    said = fate.text if fate.text is not None else f"answer to {text}"
    return {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": params["model"],
        "content": [{"type": "text", "text": said, "citations": None}] if said else [],
        "stop_reason": fate.finish or "end_turn",
        "stop_sequence": None,
        "usage": {
            "input_tokens": 5,
            "cache_creation_input_tokens": 1,
            "cache_read_input_tokens": 1,
            "output_tokens": 3,
            "service_tier": "batch",
        },
    }


def counts(**given: int) -> dict[str, int]:
    return {"processing": 0, "succeeded": 0, "errored": 0, "canceled": 0, "expired": 0, **given}


def error(kind: str, words: str) -> dict[str, Any]:
    return {"type": "error", "error": {"type": kind, "message": words}, "request_id": "req_1"}


def fault(kind: str, words: str) -> web.Response:
    return web.json_response(error(kind, words), status=STATUSES[kind], headers={"request-id": "req_1"})


def moment(later_s: float = 0) -> str:
    return (datetime.now(UTC) + timedelta(seconds=later_s)).isoformat().replace("+00:00", "Z")
