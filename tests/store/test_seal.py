"""The record of looks at the test items: whole lines, counted by what was looked at."""

from __future__ import annotations

import json
import multiprocessing
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from preceptor.errors import DataError, StorageError
from preceptor.store.seal import LOOKS, NOTHING, UNCHOSEN, Choice, Look, count, looks_in, read_looks, record, with_state

RESULTS = Path(__file__).resolve().parents[2] / "results"
LOOK = Look(
    "r", "hash", "cell", "identity", "test", "model", "settings", {"train.alpha": 64}, "validation accuracy .61"
)


def test_a_look_is_one_line_in_every_folder_with_its_time(tmp_path: Path) -> None:
    folders = [tmp_path / "run", tmp_path / "book", tmp_path / "run"]
    record(folders, LOOK)
    record(folders, replace(LOOK, cell="other"))
    for folder in folders[:2]:
        lines = [json.loads(line) for line in (folder / LOOKS).read_text().splitlines()]
        assert [line["cell"] for line in lines] == ["cell", "other"]
        assert lines[0]["chosen"] == {"train.alpha": 64}
        assert abs((datetime.fromisoformat(lines[0]["time"]) - datetime.now(UTC)).total_seconds()) < 60
    assert read_looks(tmp_path / "run") == read_looks(tmp_path / "book")
    assert read_looks(tmp_path / "nowhere") == []


def _append(folder: Path, name: str) -> None:
    for number in range(50):
        record([folder], replace(LOOK, cell=f"{name}-{number}", by="x" * 3000))


def test_processes_that_look_at_once_write_whole_lines(tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    workers = [context.Process(target=_append, args=(tmp_path, name)) for name in "abc"]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert len({look.cell for look in read_looks(tmp_path)}) == 150


def test_a_full_disk_leaves_no_half_line(
    tmp_path: Path, little_space: Callable[[], AbstractContextManager[None]]
) -> None:
    record([tmp_path], replace(LOOK, by="x" * 6000))
    with little_space(), pytest.raises(StorageError, match=r"Cannot write .*looks\.jsonl"):
        record([tmp_path], replace(LOOK, by="y" * 6000))
    record([tmp_path], replace(LOOK, by="z"))
    assert [look.by[0] for look in read_looks(tmp_path)] == ["x", "z"]


def test_a_line_that_is_none_is_named(tmp_path: Path) -> None:
    record([tmp_path], LOOK)
    with (tmp_path / LOOKS).open("a") as file:
        file.write('{"cell": 1}\n')
    with pytest.raises(DataError, match=r"looks\.jsonl, line 2: is no look at test items"):
        read_looks(tmp_path)


def test_only_looks_at_the_same_items_count_and_what_is_not_on_record_is_said() -> None:
    looks = [
        LOOK,
        replace(LOOK, identity="two", chosen={}, settings="others"),
        replace(LOOK, identity="three", student="another", settings="third"),
        replace(LOOK, identity="four", test="other items"),
    ]
    found = count(looks, "qa", "test", 20, ["identity", "two", "four", "five"])
    assert (found.times, found.students, found.settings, found.chosen, found.unrecorded) == (3, 2, 3, 2, 2)


def test_a_look_that_stands_in_several_records_is_one(tmp_path: Path) -> None:
    record([tmp_path / "run", tmp_path / "book"], replace(LOOK, time="then"))
    record([tmp_path / "book"], replace(LOOK, time="later"))
    assert [look.time for look in looks_in([tmp_path / "run", tmp_path / "book"])] == ["then", "later"]


FIT = {
    "steps": 60,
    "selected": 20,
    "checks": [{"step": 20, "loss": 0.5, "macro_f1": 0.25}, {"step": 60, "loss": 0.7, "macro_f1": 0.2}],
}


def test_a_state_that_validation_chose_is_named_and_is_no_choice_of_settings() -> None:
    said = "state after step 20 of 60 by validation loss 0.500"
    assert with_state(UNCHOSEN, "loss", FIT) == Choice({}, said)
    swept = Choice({"train.alpha": 64}, "validation accuracy 0.610")
    assert with_state(swept, "loss", FIT) == Choice({"train.alpha": 64}, f"validation accuracy 0.610; {said}")
    assert with_state(UNCHOSEN, "macro_f1", FIT).by == "state after step 20 of 60 by validation macro-F1 0.250"


def test_the_last_state_or_the_only_one_was_not_chosen() -> None:
    assert with_state(UNCHOSEN, "last", FIT).by == NOTHING
    assert with_state(UNCHOSEN, "loss", {**FIT, "checks": FIT["checks"][:1]}) is UNCHOSEN


def test_records_of_the_repository_can_still_be_read() -> None:
    kept = [folder for folder in RESULTS.iterdir() if (folder / LOOKS).exists()]
    assert kept
    for folder in kept:
        looks = read_looks(folder)
        assert len(looks) == len(looks_in([folder, folder])) == len((folder / LOOKS).read_text().splitlines())
