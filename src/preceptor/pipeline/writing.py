"""The loop of Self-Instruct: ask for tasks round by round until there are enough, or no more are to be had.

    a round     requests that show drawn tasks               augment/instruct.py
    candidates  the tasks that their answers hold            augment/reading_tasks.py
    rules       what is no usable task goes                  filter/tasks.py
    novelty     what says a known task again goes            filter/tasks.py, filter/novelty.py
    outputs     asked for here with `outputs = "separate"`
    category    the teacher's word for it, else the rules'   filter/categories.py
    kept        unless its category or the target is full

Everything depends on the settings, the seeds and the teacher's answers alone, and all answers are in the ledger: a loop
that was ended in whatever way starts again, asks nothing twice and comes to the same tasks. What is compared and drawn
from is what earlier rounds kept, so the number of requests in flight changes nothing.

Within a round a candidate also goes when it is too near to an earlier one of the same round that passed the rules and
is dropped afterwards, for its output or its category; later rounds know kept tasks only.
"""

from __future__ import annotations

import math
from collections import Counter, deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from preceptor.augment.instruct import STRATEGY, TaskWriter, kinds_of, read_output, short_enough
from preceptor.augment.reading_tasks import Draft, read_category
from preceptor.config import InstructSettings
from preceptor.data.parsers import unread
from preceptor.errors import TeacherError
from preceptor.filter.categories import category_of
from preceptor.filter.tasks import REASONS, KnownTasks, TaskRules
from preceptor.pipeline.writing_records import Asking, EvenSample, Standing, Written
from preceptor.records import (
    CATEGORIES,
    Example,
    Instruction,
    Outcome,
    Request,
    Source,
    Spend,
    TasksFunnel,
    Verdict,
    drop,
    instruction_of,
)
from preceptor.teachers.ask import ask
from preceptor.teachers.asker import sampling_of
from preceptor.teachers.base import Answer
from preceptor.teachers.tally import Tally

NO_ANSWER = "no_answer_from_teacher"
"""Among the unreadable: requests that failed."""
NO_OUTPUT = "no_output_from_teacher"
FULL, ENOUGH = "category_full", "target_reached"
DROPS = (*REASONS, NO_OUTPUT, FULL, ENOUGH)
"""All reasons for which a candidate is dropped, in the order of the funnel. `no_output_from_teacher`: the request for
its output failed. `category_full`: its category has its share of the target. `target_reached`: the last round held more
new tasks than were missing."""

LEAST_ROUND = 16
"""Requests of a round at least, however few tasks are missing: each round is a wait for its slowest answer."""
CATEGORY_TOKENS = 32
NEAREST = 1000
"""Kept tasks whose nearest one is looked for, which costs twice as much as only deciding: between once and twice so
many, all of them where there are fewer."""


@dataclass
class _Candidate:
    """A task on its way."""

    id: str
    shown: tuple[Instruction, ...]
    draft: Draft
    call: str
    finish: str
    """Why the teacher stopped in the answer that holds the output."""
    place: int = 0
    """Among the candidates that were found new."""
    f: float | None = None
    """ROUGE-L F to the nearest known task, where it is in the sample."""
    number: int | None = None
    """Among the known tasks, once it was found new."""
    category: str = ""
    by: str = ""
    verdict: Verdict | None = None
    """Set when it is dropped."""


def write_tasks(
    settings: InstructSettings,
    seeds: Sequence[Instruction],
    asking: Asking,
    on_progress: Callable[[Standing], None] | None = None,
) -> Written:
    """Write tasks until the target, the budget, the least yield or the most requests is reached; never fails for these,
    see `TasksFunnel.stopped`.

    Raises `RecipeError` for too few seeds, `TeacherError` when not one request of the first round is answered,
    `BatchPending` while a round waits at a provider, and what `ask` raises; after `PartFinished` and
    `KeyboardInterrupt`, too, the same call goes on from the ledger.
    """
    return _Loop(settings, seeds, asking, on_progress or (lambda standing: None)).run()


@dataclass
class _Loop:
    settings: InstructSettings
    seeds: Sequence[Instruction]
    asking: Asking
    report: Callable[[Standing], None]

    asked: int = 0
    candidates: int = 0
    kept: list[Example] = field(default_factory=list)
    dropped: list[tuple[Example, Verdict]] = field(default_factory=list)
    novel: int = 0
    """Candidates that were found new."""
    nearest: EvenSample = field(default_factory=lambda: EvenSample(NEAREST))
    by: Counter[str] = field(default_factory=Counter)
    filled: Counter[str] = field(default_factory=Counter)
    reasons: Counter[str] = field(default_factory=Counter)
    unreadable: Counter[str] = field(default_factory=Counter)
    outcomes: Counter[str] = field(default_factory=Counter)
    spend: Spend = field(default_factory=lambda: Spend(usd=0.0))
    calls: dict[str, list[int]] = field(default_factory=dict)
    stopped: str = ""
    failure: TeacherError | None = None
    """Set when a whole round failed."""

    def __post_init__(self) -> None:
        teacher, settings = self.asking.teacher, self.settings
        self.writer = TaskWriter(settings, self.asking.sampling, "schema" in teacher.accepts)
        self.kinds = kinds_of(self.seeds, settings)
        self.rules = TaskRules(settings.rules, self.seeds)
        self.known = KnownTasks(settings.max_f, self.seeds)
        self.pool = short_enough(self.seeds, settings)
        self.window: deque[tuple[int, int, int]] = deque()  # requests, candidates and kept of the last rounds
        # Rounded up, so that shares that sum to 1 leave room for the whole target.
        self.room: dict[str, int] = {
            name: math.ceil(share * settings.target - 1e-9) for name, share in settings.balance.items()
        }

    def run(self) -> Written:
        while not self.stopped:
            self._round()
        return Written(self.kept, self.dropped, self._funnel(), self.spend, self.calls, again=self.failure is not None)

    # --- one round ------------------------------------------------------------------------------------------------

    def _round(self) -> None:
        kept_before = len(self.kept)
        shown, requests = self._requests()
        answers = self._ask(requests)
        ended = len(answers)
        self._refuse_silence(answers, ended)
        candidates = [one for answer in answers for one in self._read(answer, shown[answer.request.item])]
        self._look(candidates)
        if self.settings.outputs == "separate":
            self._add_outputs(_open(candidates))
        self._sort(_open(candidates))
        for candidate in candidates:
            self._settle(candidate)
        self.asked += ended
        self.candidates += len(candidates)
        self.window.append((ended, len(candidates), len(self.kept) - kept_before))
        while sum(n for n, _, _ in self.window) - self.window[0][0] >= self.settings.window:
            self.window.popleft()
        if self.settings.pool == "growing":
            self.pool += short_enough([instruction_of(e) for e in self.kept[kept_before:]], self.settings)
        self.stopped = self._why_stopped()
        self.report(self._standing())

    def _requests(self) -> tuple[dict[str, tuple[Instruction, ...]], list[Request]]:
        """The round's requests, and for each one by its item the tasks that it shows."""
        shown: dict[str, tuple[Instruction, ...]] = {}
        requests = []
        by_kind = {kind: [task for task in self.pool if task.category == kind] for kind in self.kinds}
        open_kinds = [kind for kind in self.kinds if self.filled[kind] < self._room(kind)] or self.kinds
        for number in range(self.asked, self.asked + self._size()):
            kind = open_kinds[number % len(open_kinds)] if open_kinds else ""
            drawn = self.writer.draw(number, by_kind[kind] if kind else self.pool, kind)
            request = self.writer.request(number, drawn)
            shown[request.item] = drawn.tasks
            requests.append(request)
        return shown, requests

    def _size(self) -> int:
        """A whole round, or what the missing tasks will probably take."""
        size, most = self.settings.round_size, self.settings.max_requests
        if self.asked:
            each = max(len(self.kept), 1) / self.asked
            size = min(size, max(LEAST_ROUND, math.ceil((self.settings.target - len(self.kept)) / each)))
        return size if most is None else min(size, most - self.asked)

    def _ask(self, requests: Sequence[Request]) -> list[Answer]:
        """Ask, and note what it cost and whether it used up the budget."""
        if not requests:
            return []
        a = self.asking
        asked = ask(
            a.teacher,
            requests,
            a.ledger,
            price=a.price,
            limits=a.limits,
            gate=a.gate,
            on_progress=lambda tally: self.report(self._standing(tally)),
            partly=True,
            until=a.until,
        )
        self.spend = self.spend.plus(asked.spend)
        for answer in asked.answers:
            if (c := answer.completion) is not None:
                self.calls[c.call] = [c.input_tokens, c.output_tokens, c.cached_tokens]
        if asked.stopped:
            self.stopped = f"the budget is used up: {asked.stopped}"
        return asked.answers

    def _refuse_silence(self, answers: Sequence[Answer], ended: int) -> None:
        """A first round without any answer is an error; in a later one it ends the loop."""
        errors = [answer.error for answer in answers if answer.error is not None]
        if not errors or len(errors) < ended:
            return
        if not self.asked:
            raise TeacherError(
                f"The teacher {self.asking.teacher.name} answered none of {ended} requests; the first: "
                f"{errors[0].message}",
                errors[0].hint,
            )
        self.failure = errors[0]

    # --- from an answer to kept and dropped -----------------------------------------------------------------------

    def _read(self, answer: Answer, shown: tuple[Instruction, ...]) -> list[_Candidate]:
        if answer.completion is None:
            self.unreadable[NO_ANSWER] += 1
            return []
        read = self.writer.read(answer.completion)
        self.unreadable += read.unreadable
        outcome = Outcome.ANSWERED if read.drafts else unread(answer.completion.text, answer.completion.finish)
        self.outcomes[str(outcome)] += 1
        name, call, finish = answer.request.item.replace("/", "-"), answer.completion.call, answer.completion.finish
        return [_Candidate(f"{name}-{i}", shown, draft, call, finish) for i, draft in enumerate(read.drafts)]

    def _look(self, candidates: Sequence[_Candidate]) -> None:
        """Rules and novelty, one after another."""
        with_output = self.writer.with_output
        for candidate in candidates:
            draft = candidate.draft
            verdict = self.rules.judge_request(draft)
            if verdict.kept and with_output:
                verdict = self.rules.judge_output(draft)
            if verdict.kept:
                verdict = self.known.judge(draft, with_output=with_output)
            if verdict.kept:
                if self.nearest.wants(self.novel):
                    candidate.f = self.known.nearest_f(draft)
                candidate.place, self.novel = self.novel, self.novel + 1
                candidate.number = self.known.add(draft)
            else:
                candidate.verdict = verdict

    def _add_outputs(self, candidates: Sequence[_Candidate]) -> None:
        """Ask for the outputs of what has passed so far. Those that the budget did not allow count as failed."""
        requests = [self.writer.output_request(c.id, c.draft.instruction, c.draft.input) for c in candidates]
        said = {answer.request.item: answer.completion for answer in self._ask(requests)}
        for candidate, request in zip(candidates, requests, strict=True):
            completion = said.get(request.item)
            if completion is None:
                candidate.verdict = drop(NO_OUTPUT)
                continue
            candidate.draft = replace(candidate.draft, output=read_output(completion.text))
            candidate.finish = completion.finish
            verdict = self.rules.judge_output(candidate.draft, completion.finish)
            if not verdict.kept:
                candidate.verdict = verdict

    def _sort(self, candidates: Sequence[_Candidate]) -> None:
        """Say the category of each: by the teacher where it can be read, else by the rules."""
        said: dict[str, str | None] = {}
        if self.settings.categories == "teacher" and not self.stopped:
            sampling = sampling_of(self.asking.sampling, 0.0, CATEGORY_TOKENS)
            asked = (
                self.writer.category_request(c.id, c.draft.instruction, c.draft.input, sampling) for c in candidates
            )
            answers = self._ask(list(asked))
            said = {
                a.request.item: read_category(a.completion.text, CATEGORIES)
                for a in answers
                if a.completion is not None
            }
        for candidate in candidates:
            named = said.get(f"category/{candidate.id}")
            candidate.category = named or category_of(candidate.draft.instruction, candidate.draft.input)
            candidate.by = "teacher" if named else "rules"

    def _settle(self, candidate: _Candidate) -> None:
        """Keep the candidate, or drop it: by its verdict, or because there is no room for it."""
        verdict, category = candidate.verdict, candidate.category
        if verdict is None and len(self.kept) >= self.settings.target:
            verdict = drop(ENOUGH)
        if verdict is None and self.filled[category] >= self._room(category):
            verdict = drop(FULL, f"{self.filled[category]:,} tasks of {category}")
        example = self._example(candidate)
        if verdict is not None:
            if candidate.number is not None:
                self.known.forget(candidate.number, candidate.draft)
            self.dropped.append((example, verdict))
            self.reasons[verdict.reason] += 1
            return
        self.kept.append(example)
        if candidate.f is not None:
            self.nearest.add(candidate.place, candidate.f)
        self.by[candidate.by] += 1
        self.filled[category] += 1

    def _room(self, category: str) -> float:
        return self.room.get(category, math.inf)

    def _example(self, candidate: _Candidate) -> Example:
        draft = candidate.draft
        fields = {"instruction": draft.instruction, "input": draft.input, "output": draft.output}
        source = Source(
            strategy=STRATEGY,
            prompt=self.writer.prompt.name,
            prompt_hash=self.writer.prompt.hash,
            teacher=self.asking.teacher.name,
            call=candidate.call,
            finish=candidate.finish,
            changed=tuple(fields),
        )
        # A dropped one whose category nobody said has the rules' as its label: an example needs one.
        label = candidate.category or category_of(draft.instruction, draft.input)
        return Example(
            candidate.id,
            fields,
            label,
            origin=STRATEGY,
            parents=tuple(task.id for task in candidate.shown),
            source=source,
        )

    # --- when to stop, and what is told ----------------------------------------------------------------------------

    def _why_stopped(self) -> str:
        settings = self.settings
        if len(self.kept) >= settings.target:
            return f"the target of {settings.target:,} tasks is reached"
        if self.stopped:  # by the budget
            return self.stopped
        if self.failure is not None:
            return f"the teacher answered none of the last {self.window[-1][0]:,} requests: {self.failure.message}"
        if settings.max_requests is not None and self.asked >= settings.max_requests:
            return f"all {settings.max_requests:,} requests that the recipe allows were made"
        requests, candidates, kept = (sum(counts) for counts in zip(*self.window, strict=True))
        if requests >= settings.window and kept < settings.min_yield * max(candidates, 1):
            return (
                f"of the last {requests:,} requests {kept:,} of {candidates:,} tasks were kept, "
                f"less than the least yield of {settings.min_yield:g}"
            )
        return ""

    def _standing(self, tally: Tally | None = None) -> Standing:
        return Standing(
            len(self.kept),
            self.settings.target,
            self.asked,
            self.candidates,
            dict(self.reasons),
            dict(self.unreadable),
            "" if tally is None else tally.words,
        )

    def _funnel(self) -> TasksFunnel:
        nearest = self.nearest.values
        deciles = np.percentile(nearest, range(0, 101, 10)).tolist() if nearest else ()
        return TasksFunnel(
            teacher=self.asking.teacher.name,
            seeds=len(self.seeds),
            requests=self.asked,
            candidates=self.candidates,
            unreadable=dict(self.unreadable.most_common()),
            dropped={reason: self.reasons[reason] for reason in DROPS if self.reasons[reason]},
            kept=len(self.kept),
            kept_by_category={name: self.filled[name] for name in CATEGORIES if self.filled[name]},
            category_by=dict(self.by),
            stopped=self.stopped,
            nearest_f=tuple(deciles),
            outcomes=dict(self.outcomes),
        )


def _open(candidates: Iterable[_Candidate]) -> list[_Candidate]:
    """Those that are not dropped yet."""
    return [candidate for candidate in candidates if candidate.verdict is None]
