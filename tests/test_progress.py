"""Progress is a line now and then where no terminal is, and nothing when quiet."""

from __future__ import annotations

import pytest

from preceptor import progress


def test_lines_without_a_terminal(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "LINE_EVERY_S", 0.0)
    with progress.Progress().task("train", 4) as advance:
        advance(1, "loss 0.5")
        advance(4)
    out, err = capsys.readouterr()
    assert out == ""
    assert err.splitlines()[0].startswith("train: loss 0.5, about")
    assert err.splitlines()[1].startswith("train: 4/4")


def test_who_knows_better_says_how_long_the_rest_takes(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is gone on from half way has not been that fast."""
    monkeypatch.setattr(progress, "LINE_EVERY_S", 0.0)
    with progress.Progress().task("train", 1000) as advance:
        advance(900, "step 90/100", 123.4)
    assert capsys.readouterr().err == "train: step 90/100, about 123 s left\n"


def test_few_lines_when_things_go_fast(capsys: pytest.CaptureFixture[str]) -> None:
    with progress.Progress().task("train", 1000) as advance:
        for done in range(1, 1001):
            advance(done)
    assert len(capsys.readouterr().err.splitlines()) == 1


def test_quiet(capsys: pytest.CaptureFixture[str]) -> None:
    quiet = progress.Progress(quiet=True)
    quiet.say("nothing")
    with quiet.task("train", 1) as advance:
        advance(1)
    assert capsys.readouterr().err == ""
