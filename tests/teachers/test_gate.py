"""What identifies people is found before the first request leaves, and nothing of it is stored or shown."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from faulty_server import FaultyServer, Seen, good

from preceptor.config import PhiSettings, TeacherSettings
from preceptor.errors import PrivacyError
from preceptor.records import Message, Request, Sampling
from preceptor.store.ledger import Ledger
from preceptor.teachers.ask import ask
from preceptor.teachers.openai import OpenAITeacher
from preceptor.teachers.phi import PhiGate, make_gate

PHONE, DATE = "(617) 555-0142", "March 14, 2019"


def teacher(server: FaultyServer) -> OpenAITeacher:
    values = {"kind": "openai", "model": "m", "base_url": server.base_url, "key_required": False}
    return OpenAITeacher(TeacherSettings.model_validate(values), first_wait_s=0.01)


def requests() -> list[Request]:
    texts = ["Does rest help?", f"Call {PHONE} before {DATE}. Does rest help?", "Does sleep help?"]
    return [
        Request((Message("system", "Reword."), Message("user", t)), Sampling(), f"q{n}") for n, t in enumerate(texts)
    ]


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    with Ledger(tmp_path / "ledger") as opened:
        yield opened


def test_in_block_nothing_at_all_is_sent(ledger: Ledger) -> None:
    with FaultyServer() as server:
        with pytest.raises(PrivacyError, match=r"1 of 3 prompts.*nothing was sent") as caught:
            ask(teacher(server), requests(), ledger, gate=PhiGate("block"))
        assert server.seen == []
    assert "555" not in str(caught.value)
    assert "2019" not in str(caught.value)


def test_in_mask_the_endpoint_sees_placeholders_and_the_answer_has_the_values(
    ledger: Ledger, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def echo(seen: Seen) -> object:
        return good(f"In other words: {seen.text}")

    with FaultyServer(echo) as server:  # type: ignore[arg-type]
        asked = ask(teacher(server), requests(), ledger, gate=PhiGate("mask"))
        again = ask(teacher(server), requests(), ledger, gate=PhiGate("mask"))
        assert len(server.seen) == 3
        sent = " ".join(str(seen.body) for seen in server.seen)
    assert "555" not in sent
    assert "2019" not in sent
    assert "[PHONE_1]" in sent
    assert [a.request for a in asked.answers] == requests()
    assert asked.answers[1].completion is not None
    assert asked.answers[1].completion.text == f"In other words: Call {PHONE} before {DATE}. Does rest help?"
    assert again.answers == asked.answers
    ledger.close()
    assert b"555-0142" not in b"".join(p.read_bytes() for p in tmp_path.glob("ledger*"))
    assert "Placeholders are sent instead" in capsys.readouterr().err


def test_an_answer_with_an_invented_placeholder_is_not_used(ledger: Ledger) -> None:
    with FaultyServer(lambda _: good("Ask [NAME_7] about [PHONE_1].")) as server:
        answers = ask(teacher(server), requests(), ledger, gate=PhiGate("mask")).answers
    assert answers[0].completion is not None  # nothing was masked there, so brackets are the teacher's own
    assert answers[1].completion is None
    assert answers[1].error is not None
    assert "stands for nothing" in answers[1].error.message


def test_in_warn_people_are_told_how_many(ledger: Ledger, capsys: pytest.CaptureFixture[str]) -> None:
    with FaultyServer() as server:
        ask(teacher(server), requests(), ledger, gate=PhiGate("warn"))
        assert PHONE in str([seen.body for seen in server.seen])
    said = capsys.readouterr().err
    assert "1 of 3 prompts hold what may identify people" in said
    assert "555" not in said


@pytest.mark.parametrize(
    ("kind", "mode"), [("openai", "block"), ("anthropic", "block"), ("local", None), ("scripted", None)]
)
def test_endpoints_are_blocked_by_default_and_teachers_on_this_machine_are_exempt(kind: str, mode: str | None) -> None:
    gate = make_gate(TeacherSettings.model_validate({"kind": kind}))
    assert (gate.mode if gate else None) == mode
    chosen = make_gate(TeacherSettings.model_validate({"kind": kind, "phi": PhiSettings(mode="warn")}))
    assert chosen is not None
    assert chosen.mode == "warn"
