"""Anthropic's dialect, against the types of the official client and a server that behaves like the provider."""

from __future__ import annotations

import inspect
import json
from datetime import UTC, datetime, timedelta
from typing import Any, get_type_hints

import anthropic as official
import httpx2
import pytest
from anthropic.types import Message as OfficialMessage
from anthropic.types.message_create_params import MessageCreateParamsNonStreaming
from batch_server import BatchServer, Fate
from faulty_server import FaultyServer, Reply, Seen
from pydantic import SecretStr

from preceptor.config import TeacherSettings
from preceptor.errors import CredentialsError, TeacherError
from preceptor.records import Completion, Message, Request, Sampling
from preceptor.teachers import anthropic
from preceptor.teachers.anthropic import AnthropicTeacher
from preceptor.teachers.capabilities import ANTHROPIC, address_of, key_env_of
from preceptor.teachers.replies import Endpoint, Failure, Kind

KEY = "sk-ant-very-secret-4711"
ENDPOINT = Endpoint("m", ANTHROPIC.base_url, "A_KEY", SecretStr(KEY), ANTHROPIC.accepts)


def request(*turns: tuple[str, str], **sampling: Any) -> Request:
    return Request(tuple(Message(*turn) for turn in turns or [("user", "q0")]), Sampling(**sampling), item="q0")


def read(status: int, content: Any, headers: dict[str, str] | None = None, **sampling: Any) -> Completion | Failure:
    raw = content if isinstance(content, bytes) else json.dumps(content).encode()
    return anthropic.read_message(ENDPOINT, request(**sampling), status, headers or {}, raw)


def reply(text: str = "fine", stop_reason: Any = "end_turn", **usage: int) -> dict[str, Any]:
    return {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": "m",
        "content": [{"type": "text", "text": text}] if text else [],
        "stop_reason": stop_reason,
        "stop_sequence": None,
        "usage": {"input_tokens": 5, "output_tokens": 3, **usage},
    }


def error(kind: str, **details: Any) -> dict[str, Any]:
    return {"type": "error", "error": {"type": kind, "message": f"No, {KEY}.", **details}, "request_id": "req_1"}


# --- what is sent -------------------------------------------------------------------------------------------------


def test_system_messages_stand_apart_and_turns_keep_their_order() -> None:
    asked = request(("system", "Be brief."), ("user", "q"), ("assistant", "a"), ("system", "Be kind."), ("user", "q2"))
    body = anthropic.body(ENDPOINT, asked)
    assert body == {
        "model": "m",
        "messages": [
            {"role": "user", "content": "q"},
            {"role": "assistant", "content": "a"},
            {"role": "user", "content": "q2"},
        ],
        "system": "Be brief.\n\nBe kind.",
        "max_tokens": 256,
    }


def test_settings_are_sent_as_they_are_and_the_required_bound_always() -> None:
    body = anthropic.body(ENDPOINT, request(temperature=0.8, max_tokens=9))
    assert (body["max_tokens"], body["temperature"]) == (9, 0.8)
    assert "system" not in body
    assert "top_p" not in body


def test_the_body_holds_what_the_official_client_knows() -> None:
    known = get_type_hints(MessageCreateParamsNonStreaming)
    body = anthropic.body(ENDPOINT, request(("system", "s"), ("user", "q")))
    assert set(body) <= set(known)
    inspect.signature(official.Anthropic(api_key=KEY).messages.create).bind(**body)


def test_the_official_client_sends_the_body_and_both_read_the_same_answer() -> None:
    body = anthropic.body(ENDPOINT, request(("system", "s"), ("user", "q0")))
    with (
        BatchServer(key=KEY) as server,
        official.Anthropic(api_key=KEY, base_url=server.base_url.removesuffix("/v1")) as client,
    ):
        raw = client.messages.with_raw_response.create(**body)
        parsed = raw.parse()
    ours = anthropic.read_message(ENDPOINT, request(), raw.status_code, raw.headers, raw.http_response.content)
    assert isinstance(ours, Completion)
    assert parsed.content[0].type == "text"
    assert (ours.text, ours.output_tokens) == (parsed.content[0].text, parsed.usage.output_tokens)
    assert anthropic.limits(raw.headers)["requests"].remaining == 49


def test_the_headers_are_those_of_the_official_client() -> None:
    sent = official.Anthropic(api_key=KEY).default_headers
    ours = anthropic.headers(ENDPOINT, request())
    assert {name: sent[name] for name in ours} == ours
    assert ours["Authorization"] == f"Bearer {KEY}"
    without = Endpoint("m", "http://localhost/v1", "A_KEY", None, ANTHROPIC.accepts)
    assert "Authorization" not in anthropic.headers(without, request())


@pytest.mark.parametrize("sampling", [{"temperature": 0.8}, {"top_p": 0.9}, {}])
def test_settings_that_the_new_version_refuses_are_sent_with_the_old_one(sampling: dict[str, float]) -> None:
    asked = request(**sampling)
    headers, body = anthropic.headers(ENDPOINT, asked), anthropic.body(ENDPOINT, asked)
    assert (headers["anthropic-version"] == official._constants.ANTHROPIC_API_VERSION) == (not sampling)
    with BatchServer(key=KEY) as server:
        url = f"{server.base_url}/messages"
        newest = {**headers, "anthropic-version": anthropic.VERSION}
        assert httpx2.post(url, json=body, headers=headers).status_code == 200
        assert httpx2.post(url, json=body, headers=newest).status_code == (400 if sampling else 200)


def test_a_recipe_for_anthropic_has_its_address_its_key_and_no_seed() -> None:
    settings = TeacherSettings.model_validate({"kind": "anthropic", "model": "m"})
    assert (address_of(settings), key_env_of(settings)) == ("https://api.anthropic.com/v1", "ANTHROPIC_API_KEY")
    assert set(settings.sampling().asked()) <= ANTHROPIC.accepts
    own = TeacherSettings.model_validate({"kind": "anthropic", "model": "m", "base_url": "http://localhost/v1"})
    assert own.base_url == "http://localhost/v1"


# --- what is read -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("reason", "finish"),
    [
        ("end_turn", "stop"),
        ("stop_sequence", "stop"),
        ("max_tokens", "length"),
        ("model_context_window_exceeded", "length"),
        ("refusal", "content_filter"),
        ("a reason of tomorrow", "stop"),
        (None, "stop"),
    ],
)
def test_endings(reason: str | None, finish: str) -> None:
    found = read(200, reply("fine", reason))
    assert isinstance(found, Completion)
    assert (found.text, found.finish) == ("fine", finish)


def test_every_stop_reason_of_the_official_client_but_tools_has_a_name_of_ours() -> None:
    from typing import get_args

    from anthropic.types.stop_reason import StopReason

    assert set(get_args(StopReason)) - {"tool_use"} == set(anthropic.FINISHES)


def test_tokens_of_the_prompt_cache_count_as_read() -> None:
    found = read(200, reply(cache_creation_input_tokens=10, cache_read_input_tokens=100))
    assert isinstance(found, Completion)
    assert (found.input_tokens, found.output_tokens) == (115, 3)


def test_blocks_that_are_no_text_are_left_out() -> None:
    content = [{"type": "thinking", "thinking": "hm", "signature": "s"}, {"type": "text", "text": "a"}]
    found = read(200, {**reply(), "content": [*content, {"type": "text", "text": "b"}]})
    assert isinstance(found, Completion)
    assert found.text == "ab"


def test_a_refusal_without_words_is_an_answer_and_an_empty_answer_is_none() -> None:
    refused = read(200, reply("", "refusal"))
    assert isinstance(refused, Completion)
    assert (refused.text, refused.finish) == ("", "content_filter")
    empty = read(200, reply(""))
    assert isinstance(empty, Failure)
    assert empty.kind is Kind.GARBLED


@pytest.mark.parametrize("content", [b"<html>", b"[]", b"{}", {"type": "message"}])
def test_a_reply_that_is_no_message_is_a_failure(content: Any) -> None:
    found = read(200, content)
    assert isinstance(found, Failure)
    assert found.kind is Kind.GARBLED


def test_the_key_is_taken_out_of_answers() -> None:
    found = read(200, reply(f"it is {KEY}!"))
    assert isinstance(found, Completion)
    assert found.text == "it is ***!"


# --- failures -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "ours"),
    [
        ("invalid_request_error", Kind.REFUSED),
        ("request_too_large", Kind.OWN),
        ("rate_limit_error", Kind.LIMITED),
        ("api_error", Kind.BUSY),
        ("timeout_error", Kind.BUSY),
        ("overloaded_error", Kind.OVERLOADED),
    ],
)
def test_failures_are_told_apart_by_status_and_in_batches_by_type(kind: str, ours: Kind) -> None:
    live = read(anthropic.STATUSES[kind], error(kind))
    batch = anthropic.read_error(ENDPOINT, 0, {}, error(kind))
    assert isinstance(live, Failure)
    assert live == batch
    assert live.kind is ours
    assert live.said == "No, ***."


@pytest.mark.parametrize(
    ("kind", "raised", "words"),
    [
        ("authentication_error", CredentialsError, "refused the key in A_KEY"),
        ("permission_error", CredentialsError, "refused the key in A_KEY"),
        ("not_found_error", TeacherError, "knows no model 'm'"),
        ("billing_error", TeacherError, "may spend no more"),
    ],
)
def test_what_all_requests_share_is_raised_without_the_key(kind: str, raised: type[TeacherError], words: str) -> None:
    with pytest.raises(raised, match=words) as caught:
        read(anthropic.STATUSES[kind], error(kind))
    assert KEY not in str(caught.value)
    with pytest.raises(raised, match=words):
        anthropic.read_error(ENDPOINT, 0, {}, error(kind))


def test_a_spent_account_is_no_rate_limit() -> None:
    content = error("rate_limit_error", details={"error_code": "enforced_spend_limit_reached"})
    with pytest.raises(TeacherError, match="may spend no more"):
        read(429, content, {"retry-after": "5"})


def test_redirects_are_not_followed() -> None:
    with pytest.raises(TeacherError, match=r"points to https://elsewhere\.example"):
        read(307, b"", {"Location": "https://elsewhere.example"})


def test_the_server_in_trouble_is_the_official_clients_error_too() -> None:
    with (
        BatchServer(fate=lambda _text, _tries: Fate("error", error="overloaded_error")) as server,
        official.Anthropic(api_key=server.key, base_url=server.base_url.removesuffix("/v1"), max_retries=0) as client,
        pytest.raises(official.APIStatusError) as caught,
    ):
        client.messages.create(**anthropic.body(ENDPOINT, request()))
    assert caught.value.status_code == 529
    ours = read(caught.value.status_code, caught.value.response.content)
    assert isinstance(ours, Failure)
    assert ours.kind is Kind.OVERLOADED


# --- limits -------------------------------------------------------------------------------------------------------


def test_limits_are_read_whatever_the_headers_case() -> None:
    later = (datetime.now(UTC) + timedelta(seconds=30)).isoformat().replace("+00:00", "Z")
    headers = {
        "Anthropic-RateLimit-Input-Tokens-Limit": "40000",
        "anthropic-ratelimit-input-tokens-remaining": "0",
        "anthropic-ratelimit-input-tokens-reset": later,
        "anthropic-ratelimit-requests-limit": "50",
        "anthropic-ratelimit-requests-remaining": "49",
        "anthropic-ratelimit-requests-reset": "nonsense",
    }
    found = anthropic.limits(headers)
    assert set(found) == {"input-tokens", "requests"}
    assert (found["input-tokens"].limit, found["input-tokens"].remaining) == (40000, 0)
    assert found["input-tokens"].reset_s == pytest.approx(30, abs=5)
    assert found["requests"].reset_s == 0
    assert anthropic.wait_asked_for(headers) == pytest.approx(30, abs=5)
    assert anthropic.wait_asked_for({**headers, "Retry-After": "7"}) == 7
    assert anthropic.wait_asked_for({}) is None


def test_a_limit_says_how_long_to_wait() -> None:
    found = read(429, error("rate_limit_error"), {"retry-after": "12"})
    assert isinstance(found, Failure)
    assert found.wait_s == 12


def test_the_replies_used_here_are_valid_messages() -> None:
    OfficialMessage.model_validate(reply("fine", "refusal"))


# --- live ---------------------------------------------------------------------------------------------------------


def test_the_live_engine_speaks_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("A_KEY", KEY)

    def behave(seen: Seen) -> Reply:
        if seen.attempt == 0:
            return Reply(529, {"type": "error", "error": {"type": "overloaded_error", "message": "later"}})
        usage = {"input_tokens": 5, "cache_read_input_tokens": 20, "output_tokens": 3}
        content = [{"type": "text", "text": f"answer to {seen.text}"}]
        return Reply(body={"type": "message", "content": content, "stop_reason": "end_turn", "usage": usage})

    with FaultyServer(behave) as server:
        values = {"kind": "anthropic", "model": "m", "base_url": server.base_url, "key_env": "A_KEY"}
        teacher = AnthropicTeacher(TeacherSettings.model_validate(values), first_wait_s=0.01)
        asked = Request((Message("system", "Be brief."), Message("user", "q0")), Sampling(max_tokens=9))
        answers = [answer for group in teacher.answer([asked]) for answer in group]
    completion = answers[0].completion
    assert completion is not None
    assert (completion.text, completion.finish) == ("answer to q0", "stop")
    assert (completion.input_tokens, completion.cached_tokens, completion.output_tokens) == (25, 20, 3)
    assert [seen.path for seen in server.seen] == ["/v1/messages"] * 2
    assert server.seen[0].body["system"] == "Be brief."
    assert server.seen[0].headers["Authorization"] == f"Bearer {KEY}"
    assert teacher.name == f"m at {server.base_url}"
