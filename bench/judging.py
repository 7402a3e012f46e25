"""Whether a judge can be read, and whether the order decides: texts whose right verdict is known beforehand.

    PRECEPTOR_DATA=... python bench/judging.py [--model FOLDER_OR_NAME] [--count 20] [--ledger FILE]

Items are the first of MTS-Dialog's validation file. The text beside the reference is either the reference itself (a
good judge gives both the same) or the next item's note (a good judge prefers the reference). A local model judges at
temperature 0 with 64 tokens, the defaults of `[evaluate.judge]`. With `--ledger` nothing is asked twice.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import tempfile
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

from preceptor.config import JudgingSettings, TeacherSettings
from preceptor.evaluate.judging import TextJudge, read_rating
from preceptor.records import Instruction, Sampling
from preceptor.store.ledger import Ledger
from preceptor.teachers.ask import answers_of
from preceptor.teachers.asker import Asker
from preceptor.teachers.make import make_teacher

FILE = "mts-dialog/MTS-Dialog-ValidationSet.csv"
TASK = "Write the section of the clinical note that summarises this conversation."


def items_of(path: Path, count: int) -> list[Instruction]:
    """The first `count` dialogues with their notes."""
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))[:count]
    return [Instruction(row["ID"], TASK, row["dialogue"], row["section_text"], "generation") for row in rows]


def answers_in_words(judge: TextJudge, items: Sequence[Instruction], texts: Sequence[str]) -> dict[str, int]:
    """Of single answers: how many hold two scores, and which of the two texts shown has the higher one."""
    said = Counter[str]()
    requests = [r for item, text in zip(items, texts, strict=True) for r in judge.requests(item, text)]
    for answer in answers_of(judge.ask.teacher, requests, judge.ask.ledger):
        rated = read_rating(answer.completion, text_first=True)
        said["unread" if rated is None else "first" if rated.lead > 0 else "second" if rated.lead < 0 else "equal"] += 1
    return {name: said[name] for name in ("unread", "first", "second", "equal")}


def main(arguments: Iterable[str] | None = None) -> None:
    """Print a table, then one line of JSON."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--data", type=Path, default=Path(os.environ.get("PRECEPTOR_DATA", "../shared/data")))
    parser.add_argument("--model", default=TeacherSettings().model)
    parser.add_argument("--count", type=int, default=20)
    parser.add_argument("--ledger", type=Path)
    asked = parser.parse_args(None if arguments is None else list(arguments))
    start = time.process_time()
    items, settings = items_of(asked.data / FILE, asked.count), JudgingSettings()
    notes = [item.output for item in items]
    with tempfile.TemporaryDirectory() as folder:
        teacher = make_teacher(TeacherSettings(model=asked.model), Path(folder))
        ledger = Ledger(asked.ledger or Path(folder) / "ledger.sqlite")
        sampling = Sampling(max_tokens=settings.max_tokens, temperature=settings.temperature)
        judge, figures = TextJudge(Asker(teacher, ledger), sampling), {}
        for name, texts in (("the reference itself", notes), ("the next item's note", notes[1:] + notes[:1])):
            judged = judge(items, texts)
            figures[name] = {**judged.counts, "answers": answers_in_words(judge, items, texts)}
            print(f"{name}: {figures[name]}")
    print(json.dumps({"judge": teacher.name, "cpu_seconds": round(time.process_time() - start), "texts": figures}))


if __name__ == "__main__":
    main()
