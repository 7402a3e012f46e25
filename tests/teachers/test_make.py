"""Teachers of other packages, and what a person reads while a teacher is asked."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from decimal import Decimal
from pathlib import Path

import pytest
from pydantic import ValidationError

from preceptor.config import TeacherSettings
from preceptor.records import Completion, Request
from preceptor.teachers.base import Answer, Control
from preceptor.teachers.make import make_teacher
from preceptor.teachers.prices import Price
from preceptor.teachers.tally import Tally


class Parrot:
    """A teacher of another package."""

    accepts = frozenset({"max_tokens", "seed"})

    def __init__(self, settings: TeacherSettings) -> None:
        self.name = f"parrot {settings.model}"

    def key(self, request: Request) -> str:
        return request.key(self.name)

    def answer(self, requests: Iterable[Request], control: Control | None = None) -> Iterator[Sequence[Answer]]:
        for request in requests:
            yield [Answer(request, completion=Completion(request.messages[-1].content))]


def test_a_teacher_of_another_package_is_found_by_its_entry_point(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ValidationError, match="'parrot' is not one of local, openai, anthropic, scripted"):
        TeacherSettings(kind="parrot")
    installed = tmp_path / "parrot-1.0.dist-info"
    installed.mkdir()
    (installed / "METADATA").write_text("Metadata-Version: 2.1\nName: parrot\nVersion: 1.0\n")
    (installed / "entry_points.txt").write_text(f"[preceptor.teachers]\nparrot = {__name__}:Parrot\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    settings = TeacherSettings(kind="parrot", model="grey")
    assert settings.remote  # nobody knows where it sends its prompts: they are checked for identifiers
    assert settings.phi_mode == "block"
    assert make_teacher(settings, tmp_path).name == "parrot grey"


def test_the_live_line_says_what_is_done_failed_cached_and_paid() -> None:
    tally = Tally(10, Price(Decimal(1), Decimal(10)), Control())
    assert tally.words == "0/10 done"
    tally.add(Completion("a", input_tokens=1000, output_tokens=100), cached=True)
    assert tally.words == "1/10 done, 1 from the ledger, $0.0020"
    tally.add(Completion("b", input_tokens=1000, output_tokens=100))
    tally.failed += 1
    tally.began -= 4
    tally.control.paused_until = time.monotonic() + 30
    words = tally.words
    assert words.startswith("2/10 done, 1 failed, 1 from the ledger, 0.5/s, $0.0040, waiting 30 s")
    tally.control.paused_until = time.monotonic() - 1
    assert "waiting" not in tally.words  # it is over
    assert (tally.done, tally.read, tally.written) == (3, 2000, 200)
