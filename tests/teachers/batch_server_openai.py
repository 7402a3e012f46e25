"""OpenAI's side of the batch server: files, batches, and the validation of a file after its batch is created."""

from __future__ import annotations

import itertools
import json
import time
from typing import TYPE_CHECKING, Any

from aiohttp import web

if TYPE_CHECKING:
    from batch_server import BatchServer, Fate

CLOCKS = ("in_progress", "finalizing", "completed", "failed", "expired", "cancelling", "cancelled")


class OpenAISide:
    """https://platform.openai.com/docs/api-reference/batch, /files."""

    def __init__(self, server: BatchServer) -> None:
        self.server = server
        self.files: dict[str, tuple[dict[str, Any], str]] = {}
        self.batches: dict[str, dict[str, Any]] = {}
        self._looks: dict[str, int] = {}
        self._numbers = itertools.count(1)

    async def handle(self, request: web.Request) -> web.Response:
        sent = request.headers["Authorization"].removeprefix("Bearer ") if "Authorization" in request.headers else None
        if sent != self.server.key:
            return fault(401, f"Incorrect API key provided: {sent}.", code="invalid_api_key")
        parts = request.path.removeprefix("/v1/").split("/")
        match request.method, parts:
            case "POST", ["files"]:
                return await self._upload(request)
            case "GET", ["files", name, "content"] if name in self.files:
                return web.Response(text=self.files[name][1], content_type="application/octet-stream")
            case "GET", ["files", name] if name in self.files:
                return web.json_response(self.files[name][0])
            case "POST", ["batches"]:
                return self._create(await request.json())
            case "GET", ["batches"]:
                return self._list(request)
            case "GET", ["batches", name] if name in self.batches:
                return web.json_response(self._look(name))
            case "POST", ["batches", name, "cancel"] if name in self.batches:
                return web.json_response(self._cancel(name))
            case _, [kind, name, *_] if kind in ("files", "batches"):
                return fault(404, f"No such {kind} object: {name}")
        return fault(404, f"Invalid URL ({request.method} {request.path})")

    async def _upload(self, request: web.Request) -> web.Response:
        form = await request.post()
        uploaded = form.get("file")
        if form.get("purpose") != "batch" or not isinstance(uploaded, web.FileField):
            return fault(400, "A file and the purpose 'batch' are required.")
        return web.json_response(self._store(uploaded.filename, "batch", uploaded.file.read().decode()))

    def _store(self, filename: str, purpose: str, content: str) -> dict[str, Any]:
        name = f"file-{next(self._numbers):024d}"
        record = {
            "id": name,
            "object": "file",
            "bytes": len(content.encode()),
            "created_at": int(time.time()),
            "filename": filename,
            "purpose": purpose,
            "status": "processed",
        }
        self.files[name] = (record, content)
        return record

    def _create(self, body: dict[str, Any]) -> web.Response:
        metadata = body.get("metadata") or {}
        if body.get("completion_window") != "24h":
            return fault(400, "Invalid value for 'completion_window'.", param="completion_window")
        if body.get("endpoint") != "/v1/chat/completions":
            return fault(400, "Invalid value for 'endpoint'.", param="endpoint")
        if len(metadata) > 16 or any(len(k) > 64 or len(v) > 512 for k, v in metadata.items()):
            return fault(400, "Invalid 'metadata'.", param="metadata")
        if body.get("input_file_id") not in self.files:
            return fault(400, f"Invalid file: {body.get('input_file_id')}", param="input_file_id")
        name = f"batch_{next(self._numbers):024d}"
        self._looks[name] = 0
        self.batches[name] = {
            "id": name,
            "object": "batch",
            "endpoint": body["endpoint"],
            "errors": None,
            "input_file_id": body["input_file_id"],
            "completion_window": "24h",
            "status": "validating",
            "output_file_id": None,
            "error_file_id": None,
            "created_at": int(time.time()),
            "expires_at": int(time.time()) + 86_400,
            **{f"{status}_at": None for status in CLOCKS},
            "request_counts": {"total": 0, "completed": 0, "failed": 0},
            "metadata": metadata or None,
        }
        return web.json_response(self.batches[name])

    def _list(self, request: web.Request) -> web.Response:
        newest_first = list(reversed(self.batches.values()))
        after = request.query.get("after")
        if after is not None:
            newest_first = newest_first[[b["id"] for b in newest_first].index(after) + 1 :]
        page = newest_first[: int(request.query.get("limit", 20))]
        ends = {"first_id": page[0]["id"], "last_id": page[-1]["id"]} if page else {"first_id": None, "last_id": None}
        return web.json_response({"object": "list", "data": page, **ends, "has_more": len(page) < len(newest_first)})

    def _look(self, name: str) -> dict[str, Any]:
        batch = self.batches[name]
        if batch["status"] == "cancelling":
            self._end(name, "cancelled")
        elif batch["status"] in ("validating", "in_progress", "finalizing"):
            faults = self._faults(name) if batch["status"] == "validating" else []
            self._looks[name] += 1
            left = self.server.polls - self._looks[name]
            if faults:
                batch["errors"] = {"object": "list", "data": faults}
                self._turn(batch, "failed")
            elif left <= 0:
                self._end(name, "completed")
            else:
                batch["request_counts"]["total"] = len(self._lines(name))
                self._turn(batch, "finalizing" if left == 1 else "in_progress")
        return batch

    def _turn(self, batch: dict[str, Any], status: str) -> None:
        batch["status"] = status
        batch[f"{status}_at"] = int(time.time())

    def _lines(self, name: str) -> list[dict[str, Any]]:
        content = self.files[self.batches[name]["input_file_id"]][1]
        return [json.loads(line) for line in content.splitlines() if line]

    def _faults(self, name: str) -> list[dict[str, Any]]:
        """What the validation of a file finds, in its own words."""
        if self.server.refusal is not None:
            return [{"param": None, "line": None, **self.server.refusal}]
        try:
            lines = self._lines(name)
        except ValueError:
            return [{"code": "invalid_json_line", "message": "A line is no JSON.", "line": 1, "param": None}]
        queued = sum(
            len(self._lines(other)) for other, b in self.batches.items() if b["status"] in ("in_progress", "finalizing")
        )
        if self.server.queue is not None and queued + len(lines) > self.server.queue:
            return [
                {
                    "code": "token_limit_exceeded",
                    "message": "Enqueued token limit reached.",
                    "line": None,
                    "param": None,
                }
            ]
        seen: set[str] = set()
        for number, line in enumerate(lines, 1):
            found = self._fault_of(line, seen)
            if found is not None:
                return [{"code": found, "message": f"Line {number}: {found}", "line": number, "param": None}]
            seen.add(line["custom_id"])
        return [] if lines else [{"code": "empty_file", "message": "The file is empty.", "line": None, "param": None}]

    def _fault_of(self, line: dict[str, Any], seen: set[str]) -> str | None:
        if set(line) != {"custom_id", "method", "url", "body"} or line["method"] != "POST":
            return "invalid_request"
        if line["url"] != "/v1/chat/completions":
            return "url_mismatch"
        if line["custom_id"] in seen:
            return "duplicate_custom_id"
        return None if line["body"].get("model") in self.server.models else "model_not_found"

    def _cancel(self, name: str) -> dict[str, Any]:
        self._turn(self.batches[name], "cancelling")
        return self.batches[name]

    def _end(self, name: str, status: str) -> None:
        batch, out, errors = self.batches[name], [], []
        by_hand = status == "cancelled"
        for line in self._lines(name):
            text = line["body"]["messages"][-1]["content"]
            fate = None if by_hand else self.server.decide(text)
            if fate is None or fate.kind in ("expire", "cancel"):
                ended = "expired" if fate is not None and fate.kind == "expire" else "cancelled"
                status = ended
                error = {"code": f"batch_{ended}", "message": f"This request was {ended}."}
                errors.append({"id": self._id(), "custom_id": line["custom_id"], "response": None, "error": error})
            elif fate.kind == "succeed":
                out.append(self._reply(line, 200, answer(line["body"], text, fate)))
            elif fate.kind == "error":
                error = {"message": "It failed.", "type": "error", "param": None, "code": fate.error or None}
                errors.append(self._reply(line, fate.status, {"error": error}))
        batch["request_counts"] = {"total": len(self._lines(name)), "completed": len(out), "failed": len(errors)}
        if out:
            batch["output_file_id"] = self._store(f"{name}_output.jsonl", "batch_output", self.server.shuffled(out))[
                "id"
            ]
        if errors:
            lines = self.server.shuffled(errors)
            batch["error_file_id"] = self._store(f"{name}_error.jsonl", "batch_output", lines)["id"]
        self._turn(batch, status)

    def _id(self) -> str:
        return f"batch_req_{next(self._numbers)}"

    def _reply(self, line: dict[str, Any], status: int, body: dict[str, Any]) -> dict[str, Any]:
        response = {"status_code": status, "request_id": f"req_{next(self._numbers)}", "body": body}
        return {"id": self._id(), "custom_id": line["custom_id"], "response": response, "error": None}


def answer(body: dict[str, Any], text: str, fate: Fate) -> dict[str, Any]:
    """A chat completion."""
    said = fate.text if fate.text is not None else f"answer to {text}"
    choice = {
        "index": 0,
        "message": {"role": "assistant", "content": said, "refusal": None},
        "logprobs": None,
        "finish_reason": fate.finish or "stop",
    }
    return {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": int(time.time()),
        "model": body["model"],
        "choices": [choice],
        "usage": {"prompt_tokens": 7, "completion_tokens": 3, "total_tokens": 10},
    }


def fault(status: int, message: str, *, code: str | None = None, param: str | None = None) -> web.Response:
    error = {"message": message, "type": "invalid_request_error", "param": param, "code": code}
    return web.json_response({"error": error}, status=status)
