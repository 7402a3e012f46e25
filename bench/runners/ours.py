"""Preceptor's engine with the ledger on: `teachers.ask` and the teacher behind an endpoint."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import httptools  # noqa: F401 - the teacher's imports are not timed, nor are anybody's
from runners import work

import preceptor.teachers.openai  # noqa: F401 - as above
from preceptor.config import TeacherSettings
from preceptor.records import Message, Request
from preceptor.store.ledger import Ledger
from preceptor.teachers.ask import answers_of, gather
from preceptor.teachers.ask import ask as ask_list
from preceptor.teachers.base import Answer
from preceptor.teachers.make import make_teacher


def ask(job: work.Job, prompts: Iterable[str]) -> Iterator[tuple[int, str]]:
    """Answers with every one of them in a fresh ledger file: of a list at once, of a stream from the ledger."""
    settings = TeacherSettings(
        kind="openai",
        model=work.MODEL,
        base_url=job.base_url,
        key_required=False,
        concurrency=job.concurrency,
        max_tokens=work.MAX_TOKENS,
        temperature=work.TEMPERATURE,
        seed=None,
    )
    teacher, sampling = make_teacher(settings, job.scratch), settings.sampling()

    def requests(texts: Iterable[str]) -> Iterator[Request]:
        for index, text in enumerate(texts):
            yield Request((Message("user", text),), sampling, item=str(index))

    with Ledger(job.scratch / "ledger.sqlite") as ledger:
        answers: Iterable[Answer]
        if job.stream:
            gather(teacher, requests(prompts), ledger)
            answers = answers_of(teacher, requests(map(work.prompt, range(job.count))), ledger)
        else:
            answers = ask_list(teacher, list(requests(prompts)), ledger).answers
        for answer in answers:
            if answer.completion is not None:
                yield int(answer.request.item), answer.completion.text
        if ledger.count() != job.count:
            raise RuntimeError(f"the ledger holds {ledger.count()} of {job.count} answers")


if __name__ == "__main__":
    work.main(ask, ["httptools"])
