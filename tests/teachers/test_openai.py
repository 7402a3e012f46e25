"""The endpoint teacher against a server that fails in every way an endpoint is known to fail."""

from __future__ import annotations

import itertools
import os
import signal
import socket
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
from faulty_server import FaultyServer, Reply, Seen, good

from preceptor.config import TeacherSettings
from preceptor.errors import CredentialsError, RecipeError, TeacherError, UnreachableError, UnsupportedSettingError
from preceptor.records import Message, Request, Sampling, TokenLogprob
from preceptor.store.ledger import Ledger
from preceptor.teachers.ask import ask
from preceptor.teachers.base import Answer
from preceptor.teachers.openai import OpenAITeacher

KEY = "sk-very-secret-4711/and+more"
KEY_ENV = "TEST_TEACHER_KEY"


@pytest.fixture(autouse=True)
def _key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(KEY_ENV, KEY)


def teacher(server: FaultyServer | str, **settings: object) -> OpenAITeacher:
    base_url = server if isinstance(server, str) else server.base_url
    values = {"kind": "openai", "model": "m", "base_url": base_url, "key_env": KEY_ENV, **settings}
    return OpenAITeacher(TeacherSettings.model_validate(values), first_wait_s=0.01)


def request(text: str, **settings: object) -> Request:
    return Request((Message("system", "Be brief."), Message("user", text)), Sampling(**settings), item=text)  # type: ignore[arg-type]


def requests(count: int) -> list[Request]:
    return [request(f"q{n}") for n in range(count)]


def answers(teacher: OpenAITeacher, asked: list[Request]) -> dict[str, Answer]:
    return {answer.request.item: answer for group in teacher.answer(asked) for answer in group}


def only(teacher: OpenAITeacher) -> Answer:
    return answers(teacher, [request("q0")])["q0"]


# --- what is sent and what is read --------------------------------------------------------------------------------


def test_what_is_sent() -> None:
    with FaultyServer() as server:
        list(teacher(server).answer([request("q0", max_tokens=9, temperature=0.8, seed=3)]))
    (seen,) = server.seen
    assert seen.path == "/v1/chat/completions"
    assert seen.headers["Authorization"] == f"Bearer {KEY}"
    assert seen.body == {
        "model": "m",
        "messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "q0"}],
        "max_tokens": 9,
        "temperature": 0.8,
        "seed": 3,
    }


def test_every_draw_has_a_seed_of_its_own() -> None:
    asked = [replace(request("q0", seed=2**32 - 1), draw=draw) for draw in range(3)]
    with FaultyServer() as server:
        list(teacher(server, concurrency=1).answer(asked))
    assert [seen.body["seed"] for seen in server.seen] == [2**32 - 1, 0, 1]


def test_log_probabilities_are_recorded_and_missing_ones_are_an_error() -> None:
    top = [{"token": "yes", "logprob": -0.1}, {"token": "no", "logprob": -2.5}]
    content = [{"token": "yes", "logprob": -0.1, "top_logprobs": top}]
    reply = good("yes")
    reply.body["choices"][0]["logprobs"] = {"content": content}
    asked = [request("q0", logprobs=2)]
    with FaultyServer(lambda _: reply) as server:
        (group,) = teacher(server, accepts=["logprobs"]).answer(asked)
    assert server.seen[0].body["logprobs"] is True
    assert server.seen[0].body["top_logprobs"] == 2
    assert group[0].completion is not None
    assert group[0].completion.logprobs == (TokenLogprob("yes", -0.1, {"yes": -0.1, "no": -2.5}),)
    with FaultyServer(lambda _: good("yes")) as server:
        (group,) = teacher(server, accepts=["logprobs"]).answer(asked)
    assert group[0].error is not None
    assert "asked for log-probabilities and gives none" in group[0].error.message


def test_a_schema_is_sent_where_the_endpoint_takes_one() -> None:
    schema = '{"type": "object"}'
    asked = [replace(request("q0"), schema=schema)]
    with FaultyServer() as server:
        list(teacher(server, endpoint="vllm").answer(asked))
        list(teacher(server, endpoint="vllm", structured="off").answer(asked))
        list(teacher(server).answer(asked))
    form = {"type": "json_schema", "json_schema": {"name": "answer", "strict": True, "schema": {"type": "object"}}}
    assert [seen.body.get("response_format") for seen in server.seen] == [form, None, None]


@pytest.mark.parametrize(
    ("settings", "address", "accepts", "refuses"),
    [
        ({}, "https://api.openai.com/v1", "logprobs", "repetition_penalty"),
        ({"endpoint": "together"}, "https://api.together.xyz/v1", "repetition_penalty", "logprobs"),
        ({"endpoint": "ollama"}, "http://127.0.0.1:11434/v1", "seed", "repetition_penalty"),
        ({"endpoint": "vllm", "base_url": "http://h/v1"}, "http://h/v1", "repetition_penalty", "nothing"),
        ({"base_url": "https://x.openai.azure.com/openai/v1"}, "https://x.openai.azure.com/openai/v1", "schema", "x"),
        ({"base_url": "http://h/v1"}, "http://h/v1", "temperature", "schema"),
    ],
)
def test_what_an_endpoint_takes_is_known_by_its_name_or_host(
    settings: dict[str, str], address: str, accepts: str, refuses: str
) -> None:
    made = OpenAITeacher(TeacherSettings.model_validate({"kind": "openai", "key_env": KEY_ENV, **settings}))
    assert made.name.endswith(f" at {address}")
    assert accepts in made.accepts
    assert refuses not in made.accepts


def test_an_endpoint_without_a_usual_address_needs_one() -> None:
    with pytest.raises(RecipeError, match=r"teacher\.base_url is missing: endpoint 'vllm'"):
        OpenAITeacher(TeacherSettings(kind="openai", endpoint="vllm", key_env=KEY_ENV))


def test_an_answer_is_read_with_its_tokens() -> None:
    with FaultyServer(lambda _: good("a reworded question")) as server:
        completion = only(teacher(server)).completion
    assert completion is not None
    assert (completion.text, completion.finish) == ("a reworded question", "stop")
    assert (completion.input_tokens, completion.output_tokens) == (7, 3)


def test_the_newer_name_of_max_tokens_is_used_where_the_recipe_says_so() -> None:
    with FaultyServer() as server:
        list(teacher(server, accepts=["max_completion_tokens"]).answer([request("q0", max_tokens=9)]))
    assert server.seen[0].body["max_completion_tokens"] == 9
    assert "max_tokens" not in server.seen[0].body


def test_a_server_without_a_key_is_sent_none() -> None:
    with FaultyServer() as server:
        list(teacher(server, key_required=False).answer([request("q0")]))
    assert "Authorization" not in server.seen[0].headers


@pytest.mark.parametrize(
    ("reply", "text", "finish"),
    [
        (good("cut", finish="length"), "cut", "length"),
        (good("", finish="content_filter"), "", "content_filter"),
        (good(None, refusal="I cannot help."), "I cannot help.", "content_filter"),  # type: ignore[arg-type]
        (good(None, finish="length"), "", "length"),  # type: ignore[arg-type]
        (good([{"type": "text", "text": "in "}, {"type": "text", "text": "parts"}]), "in parts", "stop"),  # type: ignore[arg-type]
        (good("no reason given", finish=None), "no reason given", "stop"),
        (good("half a character \ud800"), "half a character �", "stop"),
        (Reply(400, {"error": {"code": "content_filter", "message": "no"}}), "", "content_filter"),
    ],
)
def test_endings(reply: Reply, text: str, finish: str) -> None:
    with FaultyServer(lambda _: reply) as server:
        completion = only(teacher(server)).completion
    assert completion is not None
    assert (completion.text, completion.finish) == (text, finish)


def test_without_a_reason_an_answer_of_full_length_counts_as_cut() -> None:
    with FaultyServer(lambda _: good("full", finish=None)) as server:
        (group,) = teacher(server).answer([request("q0", max_tokens=3)])
    assert group[0].completion is not None
    assert group[0].completion.finish == "length"


def test_the_name_tells_endpoints_apart_and_the_slash_does_not() -> None:
    assert teacher("https://a.example/v1/").name == "m at https://a.example/v1"


def test_settings_are_refused_before_anything_is_sent(tmp_path: Path) -> None:
    with FaultyServer() as server, Ledger(tmp_path / "ledger") as ledger:
        asked = [request("q0", repetition_penalty=2.0)]
        with pytest.raises(UnsupportedSettingError, match="repetition_penalty"):
            ask(teacher(server), asked, ledger)
        assert server.seen == []
        ask(teacher(server, accepts=["repetition_penalty"]), asked, ledger)
    assert server.seen[0].body["repetition_penalty"] == 2.0


# --- concurrency and promptness -----------------------------------------------------------------------------------


def test_no_more_requests_are_open_than_allowed_and_as_many_as_allowed() -> None:
    with FaultyServer(lambda _: Reply(body=good().body, delay_s=0.05)) as server:
        assert len(answers(teacher(server, concurrency=3), requests(12))) == 12
    assert server.most_open == 3


def test_answers_are_handed_over_while_others_are_still_open() -> None:
    def behave(seen: Seen) -> Reply:
        return Reply(body=good().body, delay_s=0.6 if seen.text == "q3" else 0.0)

    began = time.monotonic()
    with FaultyServer(behave) as server:
        arrivals = {a.request.item: time.monotonic() - began for g in teacher(server).answer(requests(4)) for a in g}
    assert max(arrivals[f"q{n}"] for n in range(3)) < 0.4
    assert arrivals["q3"] > 0.5


def test_a_consumer_that_stops_early_ends_the_open_requests() -> None:
    with FaultyServer(lambda seen: Reply(body=good().body, delay_s=0.0 if seen.text == "q0" else 30.0)) as server:
        groups = teacher(server, concurrency=2).answer(requests(50))
        next(groups)
        began = time.monotonic()
        groups.close()  # type: ignore[attr-defined]
        assert time.monotonic() - began < 2
    assert len(server.seen) < 6


# --- faults that pass ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [429, 500, 502, 503, 529])
def test_a_server_in_trouble_is_asked_again(status: int) -> None:
    def behave(seen: Seen) -> Reply:
        return Reply(status, {"error": {"message": "later"}}) if seen.attempt < 2 else good("at last")

    with FaultyServer(behave) as server:
        completion = only(teacher(server)).completion
    assert completion is not None
    assert completion.text == "at last"
    assert len(server.seen) == 3


def test_a_connection_that_breaks_is_tried_again() -> None:
    with FaultyServer(lambda seen: Reply(hang_up=True) if seen.attempt == 0 else good()) as server:
        assert only(teacher(server)).completion is not None


def test_a_slow_answer_is_given_up_and_tried_again() -> None:
    with FaultyServer(lambda seen: Reply(body=good().body, delay_s=5.0 if seen.attempt == 0 else 0)) as server:
        began = time.monotonic()
        assert only(teacher(server, timeout_s=0.3)).completion is not None
        assert time.monotonic() - began < 2


def test_the_wait_that_the_server_asks_for_is_kept_by_all() -> None:
    """One limited request holds back the others: the limit is that of the key."""

    def behave(seen: Seen) -> Reply:
        if seen.text == "q0" and seen.attempt == 0:
            return Reply(429, {}, {"Retry-After": "0.5"})
        return Reply(body=good().body, delay_s=0.02)

    with FaultyServer(behave) as server:
        assert len(answers(teacher(server, concurrency=2), requests(6))) == 6
    times = sorted(seen.time for seen in server.seen)
    assert max(later - earlier for earlier, later in itertools.pairwise(times)) > 0.4
    assert times[-1] - times[0] < 2


def test_a_wait_given_as_a_date_is_understood() -> None:
    from email.utils import formatdate

    def behave(seen: Seen) -> Reply:
        headers = {"Retry-After": formatdate(time.time() + 2, usegmt=True)}
        return Reply(503, {}, headers) if seen.attempt == 0 else good()

    with FaultyServer(behave) as server:
        assert only(teacher(server)).completion is not None
    assert server.seen[1].time - server.seen[0].time > 0.8


def test_a_limit_under_which_others_are_answered_is_a_queue_and_no_failure() -> None:
    """The server takes one request in 30 ms; the last of eight is limited more often than it may fail."""
    window: list[float] = []

    def behave(seen: Seen) -> Reply:
        if window and seen.time - window[-1] < 0.03:
            return Reply(429, {})
        window.append(seen.time)
        return good()

    with FaultyServer(behave) as server:
        done = answers(teacher(server, concurrency=8, retries=3), requests(24))
    assert [a for a in done.values() if a.error] == []
    assert max(server.asked().values()) > 1 + 3


def test_a_limit_that_never_ends_is_each_requests_error() -> None:
    with FaultyServer(lambda _: Reply(429, {"error": {"message": "slow down"}})) as server:
        done = answers(teacher(server, retries=2), requests(3))
    assert server.asked() == {f"q{n}": 3 for n in range(3)}
    error = done["q0"].error
    assert error is not None
    assert error.message == "The endpoint takes no more requests for now (status 429)."
    assert "slow down" in error.hint


def test_a_very_long_wait_ends_the_run() -> None:
    with (
        FaultyServer(lambda _: Reply(429, {}, {"Retry-After": "7200"})) as server,
        pytest.raises(TeacherError, match="asks to wait 7200 s"),
    ):
        only(teacher(server))


# --- faults of one request ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("reply", "reason"),
    [
        (Reply(body="{not json"), "is not JSON"),
        (Reply(body="<html><body>Welcome</body></html>"), "is not JSON"),
        (Reply(body="[1, 2]"), "is not JSON"),
        (Reply(body={"choices": []}), "holds no answer"),
        (Reply(body={"choices": [{"finish_reason": "stop"}]}), "holds no answer"),
        (Reply(body={"object": "list"}), "holds no answer"),
        (good(None), "an answer without text"),  # type: ignore[arg-type]
        (Reply(body="x" * (17 * 2**20)), "is not JSON"),
    ],
)
def test_a_reply_without_an_answer_is_tried_again_and_then_that_requests_error(reply: Reply, reason: str) -> None:
    with FaultyServer(lambda seen: reply if seen.text == "q1" else good()) as server:
        done = answers(teacher(server), requests(3))
    assert server.asked() == {"q0": 1, "q1": 3, "q2": 1}
    assert done["q1"].error is not None
    assert reason in done["q1"].error.message
    assert done["q0"].completion is not None


def test_a_refused_request_is_not_tried_again() -> None:
    reply = Reply(422, {"detail": "repetition_penalty: extra fields not permitted"})
    with FaultyServer(lambda seen: reply if seen.text == "q1" else good()) as server:
        done = answers(teacher(server), requests(3))
    assert server.asked()["q1"] == 1
    assert done["q1"].error is not None
    assert done["q1"].error.message == "The endpoint refused the request with status 422."
    assert "extra fields not permitted" in done["q1"].error.hint


def test_a_routers_error_inside_a_success_counts_as_that_error() -> None:
    def behave(seen: Seen) -> Reply:
        return Reply(200, {"error": {"code": 502, "message": "upstream"}}) if seen.attempt == 0 else good()

    with FaultyServer(behave) as server:
        assert only(teacher(server)).completion is not None
    assert len(server.seen) == 2


def test_requests_that_are_too_long_do_not_stop_the_others() -> None:
    reply = Reply(400, {"error": {"code": "context_length_exceeded", "message": "too long"}})
    with FaultyServer(lambda seen: good() if seen.text == "q19" else reply) as server:
        done = answers(teacher(server, concurrency=1), requests(20))
    assert done["q19"].completion is not None
    assert sum(a.error is not None for a in done.values()) == 19


# --- faults of all requests ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [401, 403])
def test_a_refused_key_ends_the_run_and_is_not_shown(status: int) -> None:
    with FaultyServer(lambda _: Reply(status, {"error": {"message": f"bad key {KEY} given"}})) as server:
        with pytest.raises(CredentialsError) as caught:
            answers(teacher(server, concurrency=2), requests(50))
        assert KEY_ENV in caught.value.message
    assert "bad key *** given" in caught.value.hint
    assert len(server.seen) <= 2


def test_an_unknown_model_ends_the_run() -> None:
    with (
        FaultyServer(lambda _: Reply(404, {"error": {"message": "no such model"}})) as server,
        pytest.raises(TeacherError, match=r"knows no model 'm'.*no such model"),
    ):
        answers(teacher(server, concurrency=2), requests(50))
    assert len(server.seen) <= 5  # three in a row, and what was open


def test_an_empty_account_ends_the_run() -> None:
    reply = Reply(429, {"error": {"code": "insufficient_quota", "message": "You exceeded your quota"}})
    with (
        FaultyServer(lambda seen: good() if seen.text == "q0" else reply) as server,
        pytest.raises(TeacherError, match="no credit left"),
    ):
        answers(teacher(server, concurrency=1), requests(30))
    assert len(server.seen) == 9  # the answer, and eight in a row


def test_the_older_name_of_max_tokens_gets_the_remedy_as_hint() -> None:
    reply = Reply(400, {"error": {"code": "unsupported_parameter", "param": "max_tokens", "message": "use another"}})
    with (
        FaultyServer(lambda _: reply) as server,
        pytest.raises(TeacherError, match=r'accepts = \["max_completion_tokens"\]'),
    ):
        only(teacher(server))


@pytest.mark.parametrize("reply", [Reply(400, {"error": "bad"}), Reply(body="<html>portal</html>")])
def test_when_nothing_but_the_same_failure_comes_the_run_ends(reply: Reply) -> None:
    with FaultyServer(lambda _: reply) as server, pytest.raises(TeacherError, match="The first 8 requests to"):
        answers(teacher(server, concurrency=2), requests(100))
    assert len(server.asked()) < 12


def test_a_redirect_is_not_followed() -> None:
    with FaultyServer() as other:
        away = Reply(307, {}, {"Location": f"{other.base_url}/chat/completions?key={KEY}"})
        with FaultyServer(lambda _: away) as server, pytest.raises(TeacherError, match="points to") as caught:
            only(teacher(server))
        assert other.seen == []
    assert KEY not in str(caught.value)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def test_nobody_listening_ends_the_run_within_seconds() -> None:
    settings = TeacherSettings(kind="openai", model="m", base_url=f"http://127.0.0.1:{free_port()}/v1", key_env=KEY_ENV)
    began = time.monotonic()
    with pytest.raises(UnreachableError, match="Nobody answers at http://127") as caught:
        list(OpenAITeacher(settings).answer(requests(1000)))
    assert time.monotonic() - began < 4
    assert caught.value.retryable


def test_a_server_that_dies_ends_the_run_and_what_was_answered_is_handed_over() -> None:
    got: list[str] = []
    with FaultyServer() as server:
        groups = teacher(server, concurrency=1, retries=2).answer(requests(2000))
        got += [a.request.item for a in next(groups)]
    with pytest.raises(UnreachableError):
        got.extend(a.request.item for group in groups for a in group)
    assert len(got) >= len({seen.text for seen in server.seen}) - 1  # the last one may have died with the server


def test_a_server_that_hangs_up_on_everybody_ends_the_run() -> None:
    with FaultyServer(lambda _: Reply(hang_up=True)) as server, pytest.raises(UnreachableError, match="Nobody answers"):
        answers(teacher(server, concurrency=2, retries=1), requests(100))
    assert len(server.asked()) < 10


# --- the key ------------------------------------------------------------------------------------------------------


def test_a_missing_key_is_a_sentence_that_names_the_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(KEY_ENV)
    with pytest.raises(CredentialsError, match=f"environment variable {KEY_ENV}"):
        teacher("https://a.example/v1")
    teacher("https://a.example/v1", key_required=False)


def test_what_cannot_be_a_key_is_refused_without_showing_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(KEY_ENV, "first line\nX-Injected: yes")
    with pytest.raises(CredentialsError) as caught:
        teacher("https://a.example/v1")
    assert "Injected" not in str(caught.value)


@pytest.mark.parametrize(
    "address",
    ["https://user:pw-4711@a.example/v1", "https://a.example/v1?api_key=pw-4711", "ftp://a.example", "a.example"],
)
def test_an_address_that_holds_a_secret_or_is_none_is_refused(address: str) -> None:
    with pytest.raises(RecipeError, match=r"teacher\.base_url") as caught:
        teacher(address)
    assert "pw-4711" not in str(caught.value)


def test_the_key_is_nowhere_even_if_the_endpoint_repeats_it(tmp_path: Path) -> None:
    def behave(seen: Seen) -> Reply:
        if seen.text == "q0":
            return good(f"my key is {KEY}")
        return Reply(400, {"error": {"message": f"header was Bearer {KEY}"}})

    with FaultyServer(behave) as server, Ledger(tmp_path / "ledger") as ledger:
        asked = teacher(server)
        result = ask(asked, requests(3), ledger)
        shown = repr(asked) + repr(vars(asked)) + repr(result) + "".join(str(a.error) for a in result.answers)
    assert KEY not in shown
    assert "my key is ***" in shown
    assert all(KEY.encode() not in file.read_bytes() for file in tmp_path.iterdir())


def test_a_placeholder_for_a_key_does_not_change_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(KEY_ENV, "none")
    with FaultyServer(lambda _: good("none of the patients")) as server:
        completion = only(teacher(server)).completion
    assert completion is not None
    assert completion.text == "none of the patients"


# --- killed and started again -------------------------------------------------------------------------------------


def chat(number: int) -> Request:
    """What the child process below asks."""
    return Request((Message("user", f"q{number}"),), Sampling(), item=str(number))


CHILD = """
import sys
from preceptor.config import TeacherSettings
from preceptor.records import Message, Request, Sampling, TokenLogprob
from preceptor.store.ledger import Ledger
from preceptor.teachers.ask import ask
from preceptor.teachers.openai import OpenAITeacher
settings = TeacherSettings(kind="openai", model="m", base_url=sys.argv[1], key_required=False, concurrency=4)
requests = [Request((Message("user", f"q{n}"),), Sampling(), item=str(n)) for n in range(200)]
with Ledger(sys.argv[2]) as ledger:
    print(ask(OpenAITeacher(settings), requests, ledger).spend.from_ledger)
"""


def test_killed_and_started_again_it_asks_nothing_that_was_answered(tmp_path: Path) -> None:
    path = tmp_path / "ledger"

    def start() -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-c", CHILD, server.base_url, str(path)], stdout=subprocess.PIPE, text=True
        )

    with FaultyServer(lambda _: Reply(body=good().body, delay_s=0.02)) as server:
        for stop_at in (40, 90):
            with start() as child:
                while len(server.asked()) < stop_at:
                    time.sleep(0.005)
                    assert child.poll() is None
                os.kill(child.pid, signal.SIGKILL)
        sent_before = set(server.asked())
        with Ledger(path) as ledger:
            keys = {f"q{n}": teacher(server).key(chat(n)) for n in range(200)}
            held = ledger.get(list(keys.values()))
        stored = len(held)
        asked_before = server.asked()
        with start() as child:
            output, _ = child.communicate(timeout=60)
    assert int(output) == stored
    assert all(server.asked()[text] == asked_before[text] for text, key in keys.items() if key in held)
    # What was open or had just arrived at a kill had to be asked again; what was stored was not.
    lost = 2 * (4 + 4)
    assert stored >= len(sent_before) - lost
    assert len(server.seen) <= 200 + lost
    assert len(server.asked()) == 200
