"""The batch teacher against a server that behaves like both providers: nothing is lost, and nothing is paid twice."""

from __future__ import annotations

import pickle
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from batch_runs import (
    KEY_ENV,
    PROVIDERS,
    WHILE_COLLECTING,
    WHILE_HANDING_IN,
    Forker,
    Store,
    come_back,
    find,
    make,
    request,
    requests,
    run,
)
from batch_server import BatchServer, Call, Fate, Trouble

from preceptor.config import TeacherSettings
from preceptor.errors import (
    BatchPending,
    CredentialsError,
    MissingPackageError,
    PreceptorError,
    RecipeError,
    StorageError,
    TeacherError,
    UnreachableError,
)
from preceptor.store.ledger import Ledger
from preceptor.teachers import batches
from preceptor.teachers.ask import ask
from preceptor.teachers.base import Control
from preceptor.teachers.batches_make import make_batch_teacher

KEY = "sk-very-secret-4711-and-more"
NOW = {"x-should-retry": "false"}
"""Tells the official clients not to try again by themselves, which would only make the tests slow."""


@pytest.fixture(autouse=True)
def _key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(KEY_ENV, KEY)


@pytest.fixture(params=sorted(PROVIDERS))
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def server() -> Iterator[BatchServer]:
    with BatchServer(key=KEY) as running:
        yield running


@pytest.fixture
def small(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Five requests in a batch, two answers in a group."""
    monkeypatch.setattr(find(PROVIDERS[kind]), "max_requests", 5)
    monkeypatch.setattr(batches, "GROUP", 2)


def creations(server: BatchServer) -> int:
    return sum(c.method == "POST" and c.path in ("/v1/batches", "/v1/messages/batches") for c in server.calls)


def is_creation(call: Call) -> bool:
    return call.method == "POST" and call.path.endswith("/batches")


def is_look(call: Call) -> bool:
    return call.method == "GET" and "/batches/" in call.path and not call.path.endswith("/results")


# --- the whole life -----------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("small")
def test_the_first_call_hands_in_and_the_same_call_later_comes_back(
    kind: str, server: BatchServer, tmp_path: Path
) -> None:
    server.polls = 2
    with pytest.raises(BatchPending, match="12 requests in 3 batches") as caught:
        run(make(kind, server.base_url, tmp_path), requests(12), tmp_path)
    assert caught.value.exit_status == 75
    assert caught.value.message.endswith("the same command comes back for them.")
    assert come_back(make(kind, server.base_url, tmp_path), requests(12), tmp_path) is None
    store = run(make(kind, server.base_url, tmp_path), requests(12), tmp_path)
    assert store.texts == {f"q{n}": f"answer to q{n}" for n in range(12)}
    assert server.paid == {f"q{n}": 1 for n in range(12)}
    assert creations(server) == 3


def test_answers_have_their_tokens_and_their_end(kind: str, server: BatchServer, tmp_path: Path) -> None:
    cut = "length" if kind == "openai" else "max_tokens"
    server.fate = lambda text, _: Fate(finish=cut) if text == "q1" else Fate()
    (group,) = make(kind, server.base_url, tmp_path, wait=True).answer(requests(2))
    found = {answer.request.item: answer.completion for answer in group}
    assert found["q0"] is not None
    assert found["q1"] is not None
    assert (found["q0"].finish, found["q0"].input_tokens, found["q0"].output_tokens) == ("stop", 7, 3)
    assert found["q1"].finish == "length"


def test_waiting_looks_until_all_is_there_and_says_how_far_it_is(
    kind: str, server: BatchServer, tmp_path: Path
) -> None:
    server.polls = 3
    said: list[str] = []
    teacher = make(kind, server.base_url, tmp_path, wait=True)
    teacher.say = said.append
    assert len(run(teacher, requests(4), tmp_path).texts) == 4
    assert len(said) == 3
    assert said[0] == f"4 requests in 1 batch at {server.base_url}, 0 of them done"


class OnceOver:
    """A time that is over when the provider has the requests."""

    over = True

    def check(self, left: int, what: str) -> None:
        raise AssertionError("who waits in batches says so himself")


def test_waiting_ends_with_the_time_that_a_run_is_given(kind: str, server: BatchServer, tmp_path: Path) -> None:
    server.polls = 3
    teacher = make(kind, server.base_url, tmp_path, wait=True)
    with pytest.raises(BatchPending, match="4 requests in 1 batch"):
        list(teacher.answer(requests(4), Control(until=OnceOver())))
    assert len(run(teacher, requests(4), tmp_path).texts) == 4
    assert set(server.paid.values()) == {1}


@pytest.mark.usefixtures("small")
def test_answers_are_handed_over_while_other_batches_run(kind: str, server: BatchServer, tmp_path: Path) -> None:
    come_back(make(kind, server.base_url, tmp_path), requests(12), tmp_path)
    server.polls = 2
    side = server.openai if kind == "openai" else server.anthropic
    side._looks[list(side.batches)[1]] = 1  # the second batch is further than the others
    assert come_back(make(kind, server.base_url, tmp_path), requests(12), tmp_path) is None
    assert sorted(Store(tmp_path).texts) == sorted(f"q{n}" for n in range(5, 10))
    assert len(run(make(kind, server.base_url, tmp_path), requests(12), tmp_path).texts) == 12
    assert set(server.paid.values()) == {1}


def test_a_line_is_a_line_whatever_an_answer_holds(kind: str, server: BatchServer, tmp_path: Path) -> None:
    text = "one\u2028two\x85three\x0cfour"
    server.fate = lambda _text, _tries: Fate(text=text)
    assert run(make(kind, server.base_url, tmp_path, wait=True), requests(3), tmp_path).texts["q1"] == text


def test_the_settings_are_sent_with_every_request(kind: str, server: BatchServer, tmp_path: Path) -> None:
    run(make(kind, server.base_url, tmp_path, wait=True), [request("q0", temperature=0.5, max_tokens=9)], tmp_path)
    if kind == "openai":
        ((_, content), *_) = server.openai.files.values()
        assert '"temperature": 0.5' in content
        assert '"max_tokens": 9' in content
    else:
        ((item,),) = server.anthropic.requests.values()
        assert item["params"]["temperature"] == 0.5
        assert item["params"]["system"] == "Be brief."


def test_in_the_ledger_a_batch_is_the_same_teacher_at_half_the_price(
    kind: str, server: BatchServer, tmp_path: Path
) -> None:
    teacher = make(kind, server.base_url, tmp_path, wait=True)
    assert teacher.name == f"m at {server.base_url}"
    assert teacher.discount == 0.5
    with Ledger(tmp_path / "ledger.sqlite") as ledger:
        asked = ask(teacher, requests(3), ledger)
        assert [a.completion and a.completion.text for a in asked.answers] == [f"answer to q{n}" for n in range(3)]
        before = len(server.calls)
        assert ask(teacher, requests(3), ledger).spend.from_ledger == 3
    assert len(server.calls) == before


@pytest.mark.usefixtures("small")
def test_requests_of_another_call_do_not_disturb(kind: str, server: BatchServer, tmp_path: Path) -> None:
    """Two strategies of one run share a book."""
    others = [request(f"other {n}") for n in range(3)]
    for asked in (requests(4), others):
        assert come_back(make(kind, server.base_url, tmp_path), asked, tmp_path) is None
    for asked in (others, requests(4)):
        run(make(kind, server.base_url, tmp_path), asked, tmp_path)
    assert len(Store(tmp_path).texts) == 7
    assert set(server.paid.values()) == {1}
    assert creations(server) == 2


def test_a_lost_ledger_is_filled_from_the_batches_without_paying_again(
    kind: str, server: BatchServer, tmp_path: Path
) -> None:
    run(make(kind, server.base_url, tmp_path, wait=True), requests(5), tmp_path)
    (tmp_path / "answers.jsonl").unlink()
    assert len(run(make(kind, server.base_url, tmp_path, wait=True), requests(5), tmp_path).texts) == 5
    assert creations(server) == 1


# --- limits -------------------------------------------------------------------------------------------------------


def test_batches_are_cut_by_their_size(
    kind: str, server: BatchServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(find(PROVIDERS[kind]), "max_bytes", 700)
    run(make(kind, server.base_url, tmp_path, wait=True), requests(9), tmp_path)
    assert creations(server) > 2
    if kind == "openai":
        sizes = [record["bytes"] for record, _ in server.openai.files.values() if record["purpose"] == "batch"]
        assert max(sizes) <= 700
    assert server.paid == {f"q{n}": 1 for n in range(9)}


def test_the_limits_are_those_of_the_providers() -> None:
    openai, anthropic = find(PROVIDERS["openai"]), find(PROVIDERS["anthropic"])
    assert (openai.max_requests, openai.max_bytes) == (50_000, 200_000_000)
    assert anthropic.max_requests == 100_000
    assert anthropic.max_bytes < 256_000_000


def test_a_full_queue_is_filled_with_less_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with BatchServer(key=KEY, queue=5, polls=2) as server:
        with pytest.raises(BatchPending):
            run(make("openai", server.base_url, tmp_path), requests(16), tmp_path)
        with pytest.raises(BatchPending, match=r"8 requests in 1 batch .*queue for batches is full"):
            run(make("openai", server.base_url, tmp_path), requests(16), tmp_path)
        store = run(make("openai", server.base_url, tmp_path, wait=True), requests(16), tmp_path)
    assert len(store.texts) == 16
    assert store.errors == {}
    assert set(server.paid.values()) == {1}
    sizes = [batch["request_counts"]["total"] for batch in server.openai.batches.values()]
    assert max(sizes) == 4


# --- failures -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("fate", [Fate("expire"), Fate("cancel"), Fate("error", status=500), Fate("vanish")])
def test_what_failed_for_a_passing_reason_is_handed_in_once_more_and_nothing_else(
    kind: str, server: BatchServer, tmp_path: Path, fate: Fate
) -> None:
    server.fate = lambda text, tries: fate if text in ("q1", "q4") and tries == 0 else Fate()
    for _ in range(2):
        assert come_back(make(kind, server.base_url, tmp_path), requests(6), tmp_path) is None
    store = run(make(kind, server.base_url, tmp_path), requests(6), tmp_path)
    assert len(store.texts) == 6
    assert server.tries == {f"q{n}": 2 if n in (1, 4) else 1 for n in range(6)}
    assert set(server.paid.values()) == {1}
    assert creations(server) == 2


def test_what_keeps_failing_is_an_error_after_so_many_batches(kind: str, server: BatchServer, tmp_path: Path) -> None:
    server.fate = lambda text, _: Fate("expire") if text == "q1" else Fate()
    store = run(make(kind, server.base_url, tmp_path, wait=True, batch_rounds=2), requests(3), tmp_path)
    assert sorted(store.texts) == ["q0", "q2"]
    assert server.tries["q1"] == 2
    assert "ended without an answer" in store.errors["q1"]
    assert "(in 2 batches)" in store.errors["q1"]


def test_a_lasting_fault_of_one_request_is_its_error_and_not_tried_again(
    kind: str, server: BatchServer, tmp_path: Path
) -> None:
    server.fate = lambda text, _: Fate("error", status=400, error="invalid_request_error") if text == "q1" else Fate()
    store = run(make(kind, server.base_url, tmp_path, wait=True), requests(3), tmp_path)
    assert store.errors == {"q1": "The endpoint refused the request with status 400. (It failed.)"}
    assert server.tries["q1"] == 1


def test_failures_are_held_back_while_others_run_and_not_asked_anew(
    kind: str, server: BatchServer, tmp_path: Path
) -> None:
    """Otherwise every return would hand in the hopeless one again."""

    def fate(text: str, tries: int) -> Fate:
        if text == "q0":
            return Fate("error", status=400, error="invalid_request_error")
        return Fate("expire") if text == "q1" and tries == 0 else Fate()

    server.fate = fate
    for _ in range(2):
        assert come_back(make(kind, server.base_url, tmp_path), requests(3), tmp_path) is None
    store = run(make(kind, server.base_url, tmp_path), requests(3), tmp_path)
    assert set(store.errors) == {"q0"}
    assert server.tries == {"q0": 1, "q1": 2, "q2": 1}
    server.fate = lambda _text, _tries: Fate()
    assert len(run(make(kind, server.base_url, tmp_path, wait=True), requests(3), tmp_path).texts) == 3
    assert server.tries["q0"] == 2  # told of, so asked anew


def test_a_batch_that_is_cancelled_by_hand_is_handed_in_again(kind: str, server: BatchServer, tmp_path: Path) -> None:
    come_back(make(kind, server.base_url, tmp_path), requests(3), tmp_path)
    if kind == "openai":
        server.openai._cancel(*server.openai.batches)
    else:
        (batch,) = server.anthropic.batches.values()
        batch["processing_status"] = "canceling"
    assert len(run(make(kind, server.base_url, tmp_path, wait=True), requests(3), tmp_path).texts) == 3
    assert creations(server) == 2
    assert set(server.paid.values()) == {1}


def test_openai_lines_without_a_status_are_tried_again(tmp_path: Path) -> None:
    """Seen in the wild: a batch is completed, and some of its lines have the status 0."""
    with BatchServer(key=KEY, fate=lambda _, tries: Fate("error", status=0) if tries == 0 else Fate()) as server:
        assert len(run(make("openai", server.base_url, tmp_path, wait=True), requests(2), tmp_path).texts) == 2


def test_a_refused_batch_is_one_sentence_and_its_requests_are_free_again(tmp_path: Path) -> None:
    with BatchServer(key=KEY, refusal={"code": "invalid_json_line", "message": "Line 3 is odd.", "line": 3}) as server:
        come_back(make("openai", server.base_url, tmp_path), requests(3), tmp_path)
        with pytest.raises(TeacherError, match=r"refused the batch batch_\d+ \(invalid_json_line, line 3\)") as caught:
            run(make("openai", server.base_url, tmp_path), requests(3), tmp_path)
        assert "Line 3 is odd." in caught.value.hint
        server.refusal = None
        assert len(run(make("openai", server.base_url, tmp_path, wait=True), requests(3), tmp_path).texts) == 3
    assert set(server.paid.values()) == {1}


def test_an_unknown_model_is_one_sentence(kind: str, server: BatchServer, tmp_path: Path) -> None:
    server.models = ("another",)
    with pytest.raises(TeacherError, match="knows no model 'm'"):
        run(make(kind, server.base_url, tmp_path, wait=True), requests(3), tmp_path)
    assert server.paid == {}
    server.models = ("m",)  # the account may use it now
    assert len(run(make(kind, server.base_url, tmp_path, wait=True), requests(3), tmp_path).texts) == 3


def test_a_wrong_key_is_one_sentence_without_the_key(
    kind: str, server: BatchServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(KEY_ENV, "sk-a-wrong-one-4712")
    with pytest.raises(CredentialsError, match=f"refused the key in {KEY_ENV}") as caught:
        run(make(kind, server.base_url, tmp_path), requests(3), tmp_path)
    assert "***" in str(caught.value)
    assert "sk-a-wrong-one-4712" not in str(caught.value)
    assert server.created() == 0
    monkeypatch.setenv(KEY_ENV, KEY)
    assert len(run(make(kind, server.base_url, tmp_path, wait=True), requests(3), tmp_path).texts) == 3


def test_what_fails_for_all_of_a_batch_is_one_sentence(kind: str, server: BatchServer, tmp_path: Path) -> None:
    server.fate = lambda _text, _tries: Fate("error", status=400, error="invalid_request_error")
    with pytest.raises(TeacherError, match=r"All 8 requests of the batch .* failed: The endpoint refused the request"):
        run(make(kind, server.base_url, tmp_path, wait=True), requests(8), tmp_path)


def test_a_spent_account_ends_the_run_after_what_was_answered(kind: str, server: BatchServer, tmp_path: Path) -> None:
    spent = {"openai": Fate("error", status=429, error="insufficient_quota"), "anthropic": Fate("error", error="x")}
    if kind == "anthropic":
        spent[kind] = Fate("error", error="permission_error")
    server.fate = lambda text, tries: spent[kind] if text == "q2" and tries == 0 else Fate()
    come_back(make(kind, server.base_url, tmp_path), requests(3), tmp_path)
    with pytest.raises(TeacherError):
        run(make(kind, server.base_url, tmp_path), requests(3), tmp_path)
    assert sorted(Store(tmp_path).texts) == ["q0", "q1"]
    assert len(run(make(kind, server.base_url, tmp_path, wait=True), requests(3), tmp_path).texts) == 3
    assert set(server.paid.values()) == {1}


# --- connections --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "trouble", [Trouble(500, after=True), Trouble(hang_up=True, after=True)], ids=["500", "broken"]
)
def test_a_batch_whose_reply_was_lost_is_found_and_not_created_again(
    kind: str, server: BatchServer, tmp_path: Path, trouble: Trouble
) -> None:
    server.trouble = lambda call: trouble if is_creation(call) and call.nth == 0 else None
    server.listing_ages = True
    assert len(run(make(kind, server.base_url, tmp_path, wait=True), requests(4), tmp_path).texts) == 4
    assert creations(server) == 1
    assert set(server.paid.values()) == {1}


def test_a_batch_that_never_arrived_is_handed_in_again_only_when_that_is_settled(
    kind: str, server: BatchServer, tmp_path: Path
) -> None:
    server.trouble = lambda call: Trouble(502) if is_creation(call) and call.nth == 0 else None
    patient = make(kind, server.base_url, tmp_path, settle_s=3600)
    with pytest.raises(BatchPending, match=r"whether 1 arrived is not known yet"):
        run(patient, requests(4), tmp_path)
    assert come_back(patient, requests(4), tmp_path) is None
    assert creations(server) == 1
    settled = make(kind, server.base_url, tmp_path, settle_s=0, wait=True)
    assert len(run(settled, requests(4), tmp_path).texts) == 4
    assert creations(server) == 2
    assert set(server.paid.values()) == {1}


def test_too_many_calls_are_no_failure(kind: str, server: BatchServer, tmp_path: Path) -> None:
    server.trouble = lambda call: Trouble(429) if is_creation(call) and call.nth == 0 else None
    with pytest.raises(TeacherError, match=r"could not create a batch for now \(status 429\)") as caught:
        run(make(kind, server.base_url, tmp_path), requests(4), tmp_path)
    assert caught.value.retryable
    assert len(run(make(kind, server.base_url, tmp_path, wait=True), requests(4), tmp_path).texts) == 4
    assert set(server.paid.values()) == {1}


def test_waiting_survives_a_server_in_trouble_and_gives_up_in_the_end(
    kind: str, server: BatchServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.trouble = lambda call: Trouble(503, headers=NOW) if is_look(call) and call.nth < 4 else None
    assert len(run(make(kind, server.base_url, tmp_path, wait=True), requests(2), tmp_path).texts) == 2
    server.trouble = lambda call: Trouble(503, headers=NOW) if is_look(call) else None
    monkeypatch.setattr(batches, "PATIENCE", 3)
    with pytest.raises(UnreachableError, match="status 503"):
        run(make(kind, server.base_url, tmp_path, wait=True), [request("more")], tmp_path)
    server.trouble = lambda _call: None
    assert "more" in run(make(kind, server.base_url, tmp_path, wait=True), [request("more")], tmp_path).texts
    assert creations(server) == 2


def test_nobody_there_is_one_sentence(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("time.sleep", lambda _s: None)  # the clients' own pauses
    with pytest.raises(TeacherError, match=r"The connection to http://127\.0\.0\.1:9/v1 failed") as caught:
        run(make(kind, "http://127.0.0.1:9/v1", tmp_path), requests(2), tmp_path)
    assert caught.value.retryable


def test_a_download_that_is_cut_short_is_repeated_and_not_paid_again(
    kind: str, server: BatchServer, tmp_path: Path
) -> None:
    come_back(make(kind, server.base_url, tmp_path), requests(6), tmp_path)
    whole = server.shuffled
    server.shuffled = lambda lines: "".join(whole(lines).splitlines(keepends=True)[:-2])  # type: ignore[method-assign]
    with pytest.raises(UnreachableError, match="4 of 6 requests"):
        run(make(kind, server.base_url, tmp_path), requests(6), tmp_path)
    assert len(Store(tmp_path).texts) == 4
    assert creations(server) == 1


def test_results_that_are_gone_are_not_asked_and_paid_again_by_themselves(
    kind: str, server: BatchServer, tmp_path: Path
) -> None:
    server.polls = 2
    for _ in range(2):
        come_back(make(kind, server.base_url, tmp_path), requests(2), tmp_path)
    if kind == "openai":
        (batch,) = server.openai.batches.values()
        server.openai._look(batch["id"])
        server.openai.files.clear()
    else:
        (name,) = server.anthropic.batches
        server.anthropic._look(name)["results_url"] = None
    with pytest.raises(TeacherError, match="are gone"):
        run(make(kind, server.base_url, tmp_path), requests(2), tmp_path)
    assert creations(server) == 1


def test_the_key_goes_to_no_other_server(kind: str, server: BatchServer, tmp_path: Path) -> None:
    with BatchServer(key=KEY) as other:
        elsewhere = Trouble(307, headers={"Location": f"{other.base_url}/batches"})
        server.trouble = lambda call: elsewhere if call.method == "POST" else None
        with pytest.raises(TeacherError, match=f"points to {other.base_url}/batches"):
            run(make(kind, server.base_url, tmp_path), requests(2), tmp_path)
        server.trouble = lambda _call: None
        if kind == "anthropic":
            come_back(make(kind, server.base_url, tmp_path), requests(2), tmp_path)
            (name,) = server.anthropic.batches
            server.anthropic._look(name)["results_url"] = f"{other.base_url}/messages/batches/{name}/results"
            with pytest.raises(TeacherError, match="at another address"):
                run(make(kind, server.base_url, tmp_path), requests(2), tmp_path)
        assert other.calls == []


def test_an_interrupt_while_waiting_detaches(
    kind: str, server: BatchServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.polls = 3

    def interrupted(_seconds: float) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(time, "sleep", interrupted)
        with pytest.raises(BatchPending, match="4 requests in 1 batch"):
            run(make(kind, server.base_url, tmp_path, wait=True), requests(4), tmp_path)
    assert len(run(make(kind, server.base_url, tmp_path, wait=True), requests(4), tmp_path).texts) == 4
    assert creations(server) == 1


# --- lost batches at Anthropic, which has no names for them ----------------------------------------------------------


def lose(server: BatchServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Hand in four requests, and forget the id as a killed process would."""
    from preceptor.store.batches import BatchBook

    with monkeypatch.context() as patch:
        patch.setattr(BatchBook, "submitted", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            run(make("anthropic", server.base_url, tmp_path), requests(4), tmp_path)


def hand_in_as_somebody_else(server: BatchServer, count: int) -> None:
    import anthropic

    with anthropic.Anthropic(api_key=KEY, base_url=server.base_url.removesuffix("/v1")) as client:
        message: Any = {"model": "m", "max_tokens": 3, "messages": [{"role": "user", "content": "theirs"}]}
        client.messages.batches.create(requests=[{"custom_id": f"theirs-{n}", "params": message} for n in range(count)])


def test_while_a_batch_that_may_be_the_lost_one_runs_nothing_is_handed_in(
    server: BatchServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hand_in_as_somebody_else(server, 4)
    lose(server, tmp_path, monkeypatch)
    hand_in_as_somebody_else(server, 4)
    for _ in range(3):  # listing does not advance a batch: all three run on
        assert come_back(make("anthropic", server.base_url, tmp_path, settle_s=0), requests(4), tmp_path) is None
    assert server.created() == 3
    for name in server.anthropic.batches:
        server.anthropic._look(name)
    assert len(run(make("anthropic", server.base_url, tmp_path), requests(4), tmp_path).texts) == 4
    assert server.created() == 3
    assert [server.paid[f"q{n}"] for n in range(4)] == [1, 1, 1, 1]


def test_batches_of_others_are_not_taken_for_the_lost_one(
    server: BatchServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from preceptor.teachers.batches_anthropic import AnthropicBatches

    with monkeypatch.context() as patch:  # dies before the call: there is no batch
        patch.setattr(AnthropicBatches, "create", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            run(make("anthropic", server.base_url, tmp_path), requests(4), tmp_path)
    hand_in_as_somebody_else(server, 4)
    hand_in_as_somebody_else(server, 5)  # runs on, but is not of this size
    server.anthropic._look(next(iter(server.anthropic.batches)))
    teacher = make("anthropic", server.base_url, tmp_path, settle_s=0, wait=True)
    assert len(run(teacher, requests(4), tmp_path).texts) == 4
    assert server.created() == 3


# --- kill -9 ------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def forker() -> Iterator[Forker]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(KEY_ENV, KEY)
        with Forker() as running:
            yield running


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("moment", [*WHILE_HANDING_IN, *WHILE_COLLECTING])
def test_killed_at_any_moment_every_request_is_answered_and_paid_exactly_once(
    kind: str, server: BatchServer, tmp_path: Path, forker: Forker, moment: str
) -> None:
    server.fate = lambda text, tries: Fate("expire") if text in ("q1", "q7") and tries == 0 else Fate()
    if moment in WHILE_COLLECTING:
        assert come_back(make(kind, server.base_url, tmp_path), requests(12), tmp_path) is None
    status = forker.run(kind, server.base_url, tmp_path, (WHILE_HANDING_IN | WHILE_COLLECTING)[moment])
    assert status == -signal.SIGKILL
    deadline = time.monotonic() + 20
    store = None
    while store is None:
        assert time.monotonic() < deadline
        store = come_back(make(kind, server.base_url, tmp_path), requests(12), tmp_path)
        # Time passes at the provider too, whether or not anybody looks.
        for side in (server.openai, server.anthropic):
            for name in side.batches:
                side._look(name)
        time.sleep(0.05)
    assert store.texts == {f"q{n}": f"answer to q{n}" for n in range(12)}
    assert store.errors == {}
    assert server.paid == {f"q{n}": 1 for n in range(12)}
    assert server.tries == {f"q{n}": 2 if n in (1, 7) else 1 for n in range(12)}
    for path in tmp_path.rglob("*"):
        assert KEY.encode() not in path.read_bytes()


# --- keys, packages, recipes --------------------------------------------------------------------------------------


def test_the_key_is_never_written_nor_said(
    kind: str, server: BatchServer, tmp_path: Path, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level("DEBUG")
    server.fate = lambda text, tries: Fate("error", status=500) if text == "q1" and tries == 0 else Fate()
    server.trouble = lambda call: (
        Trouble(400, body={"error": {"message": f"Not with {KEY}."}}) if is_creation(call) and call.nth == 0 else None
    )
    teacher = make(kind, server.base_url, tmp_path, wait=True)
    with pytest.raises(TeacherError) as caught:
        run(teacher, requests(3), tmp_path)
    assert "Not with ***." in str(caught.value)
    run(teacher, requests(3), tmp_path)
    assert KEY not in repr(teacher.endpoint)
    assert KEY not in repr(vars(teacher))
    assert KEY not in caplog.text
    assert KEY not in "".join(capfd.readouterr())
    for path in tmp_path.rglob("*"):
        assert KEY.encode() not in path.read_bytes()


def test_a_server_without_a_key_is_sent_none(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OPENAI_API_KEY", "ANTHROPIC_API_KEY", "ANTHROPIC_AUTH_TOKEN"):
        monkeypatch.setenv(name, KEY)  # the clients' own variables, which no recipe has named
    with BatchServer(key=None) as server:
        teacher = make(kind, server.base_url, tmp_path, wait=True, key_required=False)
        assert len(run(teacher, requests(2), tmp_path).texts) == 2


def test_a_missing_key_and_a_bad_address_are_said_before_anything_is_done(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(RecipeError, match="holds a user name, a key or a query"):
        make(kind, f"https://user:{KEY}@api.example/v1", tmp_path)
    monkeypatch.delenv(KEY_ENV)
    with pytest.raises(CredentialsError, match=KEY_ENV):
        make(kind, "https://api.example/v1", tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_missing_package_is_one_sentence_with_the_line_that_installs_it(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, kind, None)
    with pytest.raises(MissingPackageError, match=kind) as caught:
        make(kind, "https://api.example/v1", tmp_path)
    assert 'pip install "preceptor[batch]"' in caught.value.hint


def test_making_a_batch_teacher_is_all_that_imports_the_clients() -> None:
    import subprocess

    code = "import sys, preceptor.teachers.batches_make; print({'openai', 'anthropic'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def test_batches_need_an_endpoint() -> None:
    with pytest.raises(ValueError, match='mode = "batch" needs'):
        TeacherSettings.model_validate({"kind": "local", "mode": "batch"})


def test_a_recipe_says_how_to_wait(tmp_path: Path) -> None:
    values = {"kind": "openai", "mode": "batch", "key_env": KEY_ENV, "wait": True, "poll_s": 7, "batch_rounds": 2}
    teacher = make_batch_teacher(TeacherSettings.model_validate(values), tmp_path / "batches.sqlite")
    assert (teacher.wait, teacher.poll_s, teacher.rounds) == (True, 7, 2)


def test_pending_survives_pickling_and_is_no_error_of_the_teacher() -> None:
    error = pickle.loads(pickle.dumps(BatchPending("4 requests wait.", "Come back.")))
    assert (error.message, error.hint, error.exit_status, error.retryable) == (
        "4 requests wait.",
        "Come back.",
        75,
        True,
    )
    assert not isinstance(error, TeacherError)
    assert PreceptorError("x").exit_status == 1


def test_the_command_ends_with_its_own_status_when_batches_wait(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from preceptor import cli

    def waiting() -> None:
        raise BatchPending("4 requests wait.", "Come back.")

    monkeypatch.setattr(cli, "app", waiting)
    with pytest.raises(SystemExit) as caught:
        cli.main()
    assert caught.value.code == 75
    assert capsys.readouterr().err == "4 requests wait.\nCome back.\n"


def test_two_processes_cannot_hand_in_the_same_request(kind: str, server: BatchServer, tmp_path: Path) -> None:
    teacher = make(kind, server.base_url, tmp_path)
    come_back(teacher, requests(1), tmp_path)
    from preceptor.store.batches import BatchBook

    with (
        BatchBook(teacher.book, teacher.name) as book,
        pytest.raises(StorageError, match="another process has handed in"),
    ):
        book.intend("aaaa", [teacher.key(requests(1)[0])])
