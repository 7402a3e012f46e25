"""The loop that writes tasks: both pools, both ways to outputs, every end, and the same result after a restart."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from preceptor.augment.instruct import OPENINGS
from preceptor.config import BudgetSettings, InstructSettings, PhiSettings, TeacherSettings
from preceptor.errors import BatchPending, PrivacyError, RecipeError, TeacherError
from preceptor.pipeline.writing import DROPS, Asking, EvenSample, Standing, Written, write_tasks
from preceptor.pipeline.writing_forecast import forecast_writing
from preceptor.records import Instruction, Request, Sampling, instruction_of
from preceptor.store.ledger import Ledger
from preceptor.teachers.base import Answer, Control
from preceptor.teachers.phi import make_gate
from preceptor.teachers.prices import Price
from preceptor.teachers.scripted import ScriptedTeacher, follow_rules

QA, IE, GEN = "question_answering", "information_extraction", "generation"
SEEDS = [
    Instruction("s0", "Who rang the bell at midnight?", "It was the sexton who rang it.", "the sexton", QA, "seed"),
    Instruction("s1", "Is a pound heavier than an ounce?", "", "yes", QA, "seed"),
    Instruction("s2", "When does the bakery open on Sundays?", "Sundays from seven.", "at seven", QA, "seed"),
    Instruction("s3", "Extract all prices.", "Milk 2, bread 3.", "2; 3", IE, "seed"),
    Instruction("s4", "List every river named below.", "The Rhine and the Main.", "Rhine, Main", IE, "seed"),
    Instruction("s5", "Find the sender of the note.", "Yours, Ellen", "Ellen", IE, "seed"),
    Instruction("s6", "Write a riddle about shadows.", "", "I follow you all day and leave at night.", GEN, "seed"),
    Instruction("s7", "Explain how soap removes grease.", "", "It binds both grease and water.", GEN, "seed"),
    Instruction("s8", "Summarise the joke in a line.", "A man walks into a bar. Ouch.", "He hit a bar.", GEN, "seed"),
]
WORDS = (
    *("amber", "birch", "cedar", "dingo", "eagle", "fjord", "gecko", "heron", "igloo"),
    *("jelly", "koala", "lemur", "mango", "nylon", "otter", "panda", "quail", "raven"),
)


def number_of(request: Request) -> int:
    return int(re.findall(r"\d+", request.item)[0])


def words(number: int, count: int = 8) -> str:
    """Words that hardly any other number gives."""
    return " ".join(f"{WORDS[(number * 7 + i * i) % len(WORDS)]}{number}x{i}" for i in range(count))


def task(number: int, output: str = "", instruction: str = "") -> str:
    return (
        f"Instruction: {instruction or f'What is said of {words(number)}?'}\nInput: It is said that {number} is it.\n"
        f"Output: {output or f'number {number}'}"
    )


class Counting(ScriptedTeacher):
    """Answers by a script and notes every request that it answers."""

    def __init__(self, script: Callable[[Request], str] = follow_rules, *, schema: bool = False) -> None:
        super().__init__(script)
        self.asked: list[Request] = []
        self._schema = schema

    @property
    def accepts(self) -> frozenset[str]:
        return super().accepts | ({"schema"} if self._schema else set())

    def _answer(self, request: Request) -> Answer:
        self.asked.append(request)
        return super()._answer(request)

    def items(self, start: str) -> list[str]:
        return [request.item for request in self.asked if request.item.startswith(start)]


def settings(**given: Any) -> InstructSettings:
    return InstructSettings(**{"target": 30, "round_size": 8, "categories": "rules", **given})


def go(
    made: InstructSettings,
    teacher: Any,
    ledger: Ledger | None = None,
    on_progress: Callable[[Standing], None] | None = None,
    **terms: Any,
) -> Written:
    if ledger is not None:
        return checked(write_tasks(made, SEEDS, Asking(teacher, Sampling(), ledger, **terms), on_progress))
    with Ledger(":memory:") as own:
        return go(made, teacher, own, on_progress, **terms)


def checked(written: Written) -> Written:
    """What holds of every result: nothing vanishes, and the counts are those of what is there."""
    funnel = written.funnel
    assert funnel.candidates == funnel.kept + sum(funnel.dropped.values())
    assert funnel.kept == len(written.kept) == sum(funnel.kept_by_category.values()) == sum(funnel.category_by.values())
    assert Counter(verdict.reason for _, verdict in written.dropped) == funnel.dropped
    assert list(funnel.dropped) == [reason for reason in DROPS if reason in funnel.dropped]
    assert Counter(example.label for example in written.kept) == funnel.kept_by_category
    failed = funnel.unreadable.get("no_answer_from_teacher", 0)
    assert funnel.requests == sum(funnel.outcomes.values()) + failed
    assert funnel.stopped
    ids = [example.id for example in (*written.kept, *(example for example, _ in written.dropped))]
    assert len(set(ids)) == len(ids)
    assert len(funnel.nearest_f) == (11 if written.kept else 0)
    assert list(funnel.nearest_f) == sorted(funnel.nearest_f)
    assert all(0 <= f <= 0.7 for f in funnel.nearest_f)
    assert len(written.calls) == written.spend.calls
    return written


def plain(written: Written) -> str:
    """All of a result but where its answers came from."""
    kept = [asdict(example) for example in written.kept]
    dropped = [(asdict(example), asdict(verdict)) for example, verdict in written.dropped]
    return json.dumps([kept, dropped, asdict(written.funnel), written.calls])


# --- what comes out ------------------------------------------------------------------------------------------------


def test_tasks_are_written_until_the_target_is_reached() -> None:
    teacher = Counting()
    written = go(settings(), teacher)
    assert written.funnel.kept == 30
    assert written.funnel.stopped == "the target of 30 tasks is reached"
    assert written.funnel.seeds == 9
    assert written.funnel.requests == len(teacher.asked) == written.spend.calls
    example = written.kept[0]
    assert set(example.fields) == {"instruction", "input", "output"}
    assert example.origin == "instruct"
    assert len(set(example.parents)) == 3
    assert set(example.parents) <= {seed.id for seed in SEEDS}
    assert example.source is not None
    assert (example.source.teacher, example.source.prompt) == ("scripted", "instruct-turns.v1")
    assert example.source.call in written.calls
    made = instruction_of(example)
    assert (made.id, made.category, made.origin) == (example.id, example.label, "instruct")


def test_what_the_target_does_not_need_is_dropped_and_counted() -> None:
    written = go(settings(target=5), Counting(lambda r: task(number_of(r))))
    assert written.funnel.requests == 8
    assert written.funnel.dropped == {"target_reached": 3}


def test_the_last_rounds_are_no_larger_than_what_is_missing() -> None:
    teacher = Counting(lambda r: task(number_of(r)))
    written = go(settings(target=110, round_size=100), teacher)
    assert written.funnel.requests == 100 + 16
    assert written.funnel.dropped == {"target_reached": 6}


def test_rules_and_novelty_drop_with_their_reasons() -> None:
    texts = {
        0: task(0),
        1: task(0),  # the same again
        2: task(0, output="something else"),
        3: task(0, instruction=f"What is said about {words(0)}?"),
        4: task(4, instruction="Draw what you think of today."),
        5: task(5, output="that which is:"),
        6: task(6, instruction="When does the bakery close on Sundays?"),  # near a seed
        7: "no task at all",
    }
    written = go(settings(max_requests=8), Counting(lambda r: texts[number_of(r)]))
    dropped = {example.id: verdict.reason for example, verdict in written.dropped}
    assert dropped == {
        "instruct-1-0": "duplicate",
        "instruct-2-0": "same_input_other_output",
        "instruct-3-0": "rouge_l",
        "instruct-4-0": "blocked_word",
        "instruct-5-0": "output_cut_off",
        "instruct-6-0": "rouge_l",
    }
    assert [example.id for example in written.kept] == ["instruct-0-0"]
    assert written.funnel.unreadable == {"no_instruction": 1}
    assert written.funnel.outcomes == {"answered": 7, "unparsed": 1}


def test_several_tasks_in_one_answer_are_candidates_of_their_own() -> None:
    def three(request: Request) -> str:
        number = number_of(request)
        parts = [task(10 * number), f"Instruction: {words(number)}", task(10 * number + 2)]
        return "\n\n".join(f"### Task {n}\n{part}" for n, part in enumerate(parts, 1))

    written = go(settings(tasks_per_answer=3, max_requests=4), Counting(three))
    assert written.funnel.requests == 4
    assert [example.id for example in written.kept][:3] == ["instruct-0-0", "instruct-0-1", "instruct-1-0"]
    assert written.funnel.candidates == written.funnel.kept == 8
    assert written.funnel.unreadable == {"no_output": 4}
    assert written.funnel.outcomes == {"answered": 4}


class Cut(Counting):
    """Every answer is cut off at the limit."""

    def _answer(self, request: Request) -> Answer:
        answer = super()._answer(request)
        assert answer.completion is not None
        return replace(answer, completion=replace(answer.completion, finish="length"))


def test_of_an_answer_that_was_cut_off_the_whole_tasks_stay() -> None:
    written = go(settings(max_requests=2), Cut(lambda r: f"{task(number_of(r))}\n\n{task(100 + number_of(r))}"))
    assert [example.id for example in written.kept] == ["instruct-0-0", "instruct-1-0"]
    assert written.funnel.unreadable == {"cut_off": 2}
    assert written.kept[0].source is not None
    assert written.kept[0].source.finish == "length"


def test_a_teacher_with_structured_outputs_is_asked_by_schema() -> None:
    def answer(request: Request) -> str:
        assert request.schema
        if request.item.startswith("category/"):
            return '{"category": "generation"}'
        number = number_of(request)
        made = [
            {"instruction": f"What is said of {words(n)}?", "input": "", "output": f"this {n}"}
            for n in (number, 900 + number)
        ]
        return json.dumps({"tasks": made})

    written = go(settings(tasks_per_answer=2, max_requests=3, categories="teacher"), Counting(answer, schema=True))
    assert written.funnel.kept_by_category == {"generation": 6}
    assert written.kept[0].source is not None
    assert written.kept[0].source.prompt == "instruct-json.v1"


# --- pools ---------------------------------------------------------------------------------------------------------


def shown(request: Request) -> list[str]:
    return [m.content.split("\n")[0].removeprefix("Instruction: ") for m in request.messages if m.role == "assistant"]


@pytest.mark.parametrize("pool", ["seeds", "growing"])
def test_shown_tasks_come_from_the_pool_of_earlier_rounds(pool: str) -> None:
    teacher = Counting(lambda r: task(number_of(r)))
    written = go(settings(target=32, pool=pool, round_size=16), teacher)
    seeds = {seed.instruction for seed in SEEDS}
    texts = {example.fields["instruction"]: example.id for example in written.kept}
    first, second = teacher.asked[:16], teacher.asked[16:]
    assert all(set(shown(request)) <= seeds for request in first)
    later = {text for request in second for text in shown(request)} - seeds
    if pool == "seeds":
        assert not later
        return
    assert later
    assert {texts[text] for text in later} <= {f"instruct-{n}-0" for n in range(16)}
    parents = {parent for example in written.kept[16:] for parent in example.parents}
    assert {texts[text] for text in later} <= parents


def test_the_order_in_which_answers_come_changes_nothing() -> None:
    class Backwards(Counting):
        def answer(self, requests: Iterable[Request], control: Control | None = None) -> Iterator[Sequence[Answer]]:
            yield [self._answer(request) for request in reversed(list(requests))]

    made = settings(pool="growing", categories="teacher")
    assert plain(go(made, Backwards())) == plain(go(made, Counting()))


def test_tasks_by_category_are_shown_and_asked_for_in_turn() -> None:
    teacher = Counting(lambda r: task(number_of(r)))
    go(settings(mix="by_category", max_requests=6), teacher)
    for number, request in enumerate(teacher.asked):
        kinds = {seed.category for seed in SEEDS if seed.instruction in shown(request)}
        assert kinds == {(QA, IE, GEN)[number % 3]}
    assert "find pieces of information" in teacher.asked[1].messages[-1].content


def test_first_words_are_asked_for_by_category() -> None:
    teacher = Counting(lambda r: task(number_of(r)))
    go(settings(mix="by_opening", max_requests=24), teacher)
    asked = [request.messages[-1].content.split('"')[1] for request in teacher.asked]
    for number, word in enumerate(asked):
        assert word in OPENINGS[(QA, IE, GEN)[number % 3]]
    assert len(set(asked)) > 12
    for request in teacher.asked:
        earlier = [message.content.split('"')[1] for message in request.messages if message.role == "user"][:-1]
        assert earlier == [text.split()[0] for text in shown(request)]


def test_a_full_category_is_no_longer_asked_for() -> None:
    teacher = Counting()
    written = go(settings(mix="by_category", balance={"generation": 0.1}, max_requests=64), teacher)
    assert written.funnel.kept_by_category["generation"] == 3
    late = [request.messages[-1].content for request in teacher.asked[24:]]
    assert late
    assert not any("write, summarise" in text for text in late)


# --- outputs in a second call --------------------------------------------------------------------------------------


def test_outputs_are_asked_for_what_passed_so_far() -> None:
    def answer(request: Request) -> str:
        number = number_of(request)
        if request.item.startswith("output/"):
            return ["", "Output: yes, it is", "It is said that 2 is it.", "as follows:"][number]
        text = task(number).rsplit("\n", 1)[0]
        return (
            text if number < 4 else task(0).rsplit("\n", 1)[0] if number == 4 else "Instruction: Draw it all by hand."
        )

    teacher = Counting(answer)
    written = go(settings(outputs="separate", max_requests=6), teacher)
    assert teacher.items("output/") == [f"output/instruct-{n}-0" for n in range(4)]
    assert {example.id: verdict.reason for example, verdict in written.dropped} == {
        "instruct-0-0": "empty_output",
        "instruct-2-0": "output_is_input",
        "instruct-3-0": "output_cut_off",
        "instruct-4-0": "duplicate",
        "instruct-5-0": "blocked_word",
    }
    assert [example.fields["output"] for example in written.kept] == ["yes, it is"]
    assert written.spend.calls == 10


def test_a_task_that_was_dropped_for_its_output_may_come_again_later() -> None:
    def answer(request: Request) -> str:
        if request.item.startswith("output/"):
            return "" if number_of(request) < 8 else "fine"
        return task(number_of(request) % 8).rsplit("\n", 1)[0]

    written = go(settings(outputs="separate", max_requests=24), Counting(answer))
    assert [example.id for example in written.kept] == [f"instruct-{n}-0" for n in range(8, 16)]
    assert written.funnel.dropped == {"empty_output": 8, "duplicate": 8}


def test_an_output_that_was_cut_off_is_judged_as_such() -> None:
    def answer(request: Request) -> str:
        return (
            "He went up the hill and then he saw that the old mill was on the" if "output" in request.item else task(0)
        )

    class CutOutputs(Counting):
        def _answer(self, request: Request) -> Answer:
            answer = super()._answer(request)
            assert answer.completion is not None
            finish = "length" if request.item.startswith("output/") else "stop"
            return replace(answer, completion=replace(answer.completion, finish=finish))

    written = go(settings(outputs="separate", max_requests=1), CutOutputs(answer))
    assert written.funnel.dropped == {"output_cut_off": 1}
    assert written.dropped[0][0].source is not None
    assert written.dropped[0][0].source.finish == "length"


# --- categories ----------------------------------------------------------------------------------------------------


def test_the_teacher_says_the_category_of_new_tasks_and_the_rules_where_it_cannot_be_read() -> None:
    def answer(request: Request) -> str:
        if request.item.startswith("category/"):
            assert request.sampling.temperature == 0
            return "information_extraction" if number_of(request) % 2 else "who knows"
        return task(number_of(request) // 2)

    teacher = Counting(answer)
    written = go(settings(categories="teacher", max_requests=8), teacher)
    assert teacher.items("category/") == [f"category/instruct-{n}-0" for n in (0, 2, 4, 6)]  # not of duplicates
    assert written.funnel.category_by == {"rules": 4}
    teacher = Counting(lambda r: answer(replace(r, item=r.item.replace("2", "1"))))
    written = go(settings(categories="teacher", max_requests=8), teacher)
    assert written.funnel.category_by == {"rules": 3, "teacher": 1}
    assert written.funnel.kept_by_category == {"question_answering": 3, "information_extraction": 1}


def test_rules_ask_nobody() -> None:
    teacher = Counting()
    written = go(settings(max_requests=8), teacher)
    assert len(teacher.asked) == 8
    assert set(written.funnel.category_by) == {"rules"}


def test_a_category_takes_no_more_than_its_share() -> None:
    written = go(settings(balance={"question_answering": 0.2}, max_requests=16), Counting(lambda r: task(number_of(r))))
    assert written.funnel.kept_by_category == {"question_answering": 6}
    assert written.funnel.dropped == {"category_full": 10}
    # What had no room is not known: the same may come again.
    again = go(settings(balance={"question_answering": 0}, max_requests=16), Counting(lambda r: task(number_of(r) % 8)))
    assert again.funnel.dropped == {"category_full": 16}


# --- ends ----------------------------------------------------------------------------------------------------------


def test_the_most_requests() -> None:
    written = go(settings(max_requests=11), Counting(lambda r: task(number_of(r))))
    assert (written.funnel.requests, written.funnel.kept) == (11, 11)
    assert written.funnel.stopped == "all 11 requests that the recipe allows were made"


def test_the_least_yield() -> None:
    def drying_up(request: Request) -> str:
        return task(min(number_of(request), 10))

    written = go(settings(min_yield=0.2, window=16), Counting(drying_up))
    assert written.funnel.kept == 11
    # 8 of 8, then 3 of 8, then none of 8: the last two rounds hold 3 of 16.
    assert written.funnel.requests == 24
    assert written.funnel.stopped == (
        "of the last 16 requests 3 of 16 tasks were kept, less than the least yield of 0.2"
    )
    assert go(settings(min_yield=0.1, window=16), Counting(drying_up)).funnel.requests == 32
    assert go(settings(min_yield=0.2, window=40, max_requests=200), Counting(drying_up)).funnel.requests == 48


def test_answers_without_any_task_are_the_least_yield_too() -> None:
    written = go(settings(window=8), Counting(lambda r: "What a day."))
    assert written.funnel.requests == 8
    assert "0 of 0 tasks were kept" in written.funnel.stopped
    assert written.kept == []


class Frugal(Counting):
    """Takes room in the budget as a teacher behind an endpoint does."""

    def answer(self, requests: Iterable[Request], control: Control | None = None) -> Iterator[Sequence[Answer]]:
        assert control is not None
        for request in requests:
            room = control.budget.reserve(request.item, 200, 100)
            if room is None:
                control.stopped = "budget"
                return
            answer = self._answer(request)
            assert answer.completion is not None
            control.budget.settle(room, answer.completion)
            yield [replace(answer, ticket=room.ticket)]


@pytest.mark.parametrize("outputs", ["together", "separate"])
def test_a_used_up_budget_ends_the_loop_and_loses_nothing(outputs: str, tmp_path: Path) -> None:
    made = settings(outputs=outputs, categories="teacher")
    with Ledger(tmp_path / "whole.sqlite") as whole:
        everything = go(made, Frugal(), whole)
    terms = {"price": Price(10**6, 10**6), "limits": BudgetSettings(max_tokens=7000)}
    with Ledger(tmp_path / "ledger.sqlite") as ledger:
        first = go(made, Frugal(), ledger, **terms)
        assert 0 < first.funnel.kept < 30
        assert first.funnel.stopped.startswith("the budget is used up: ")
        assert "of 7,000 tokens" in first.funnel.stopped
        again = go(made, Frugal(), ledger, **terms)
        assert plain(again) == plain(first)
        # With more of it the loop goes on to what it would have been at once.
        rest = Frugal()
        raised = go(made, rest, ledger, price=terms["price"], limits=BudgetSettings(max_tokens=10**6))
        assert plain(raised) == plain(everything)
        assert len(rest.asked) == everything.spend.calls - first.spend.calls
    assert raised.spend.usd is not None


def test_an_interrupt_passes_on_and_the_next_start_asks_only_what_is_missing(tmp_path: Path) -> None:
    made = settings(pool="growing", categories="teacher")
    whole = go(made, Counting())

    class Interrupted(Counting):
        def _answer(self, request: Request) -> Answer:
            if len(self.asked) == 21:
                raise KeyboardInterrupt
            return super()._answer(request)

    with Ledger(tmp_path / "ledger.sqlite") as ledger:
        with pytest.raises(KeyboardInterrupt):
            go(made, Interrupted(), ledger)
        rest = Counting()
        again = go(made, rest, ledger)
    assert plain(again) == plain(whole)
    assert len(rest.asked) == whole.spend.calls - 21
    assert again.spend.from_ledger == 21


@pytest.mark.parametrize("outputs", ["together", "separate"])
def test_a_restart_after_any_round_comes_to_the_same_byte_for_byte(outputs: str, tmp_path: Path) -> None:
    made = settings(outputs=outputs, pool="growing", categories="teacher", tasks_per_answer=2)
    whole = go(made, Counting())

    class Killed(Exception):
        pass

    for rounds in (1, 2, 3):
        seen: list[int] = []

        def kill(standing: Standing, seen: list[int] = seen, rounds: int = rounds) -> None:
            if not standing.asking:
                seen.append(standing.kept)
            if len(seen) == rounds:
                raise Killed

        with Ledger(tmp_path / f"{outputs}-{rounds}.sqlite") as ledger:
            with pytest.raises(Killed):
                go(made, Counting(), ledger, kill)
            done = ledger.count()
            rest = Counting()
            assert plain(go(made, rest, ledger)) == plain(whole)
            assert len(rest.asked) == whole.spend.calls - done
            nobody = Counting()
            assert plain(go(made, nobody, ledger)) == plain(whole)
            assert nobody.asked == []


class Failing(Counting):
    """Some requests fail."""

    def __init__(self, fails: Callable[[Request], bool]) -> None:
        super().__init__(lambda r: task(number_of(r)))
        self.fails = fails

    def _answer(self, request: Request) -> Answer:
        if self.fails(request):
            return Answer(request, error=TeacherError("Hung up.", "Try again."))
        return super()._answer(request)


def test_requests_that_fail_are_counted() -> None:
    written = go(settings(max_requests=16), Failing(lambda r: number_of(r) % 4 == 0))
    assert written.funnel.unreadable == {"no_answer_from_teacher": 4}
    assert written.funnel.kept == 12
    assert written.spend.failed == 4


def test_a_first_round_without_an_answer_is_an_error() -> None:
    with pytest.raises(TeacherError, match=r"answered none of 8 requests; the first: Hung up\."):
        go(settings(), Failing(lambda r: True))


def test_a_later_round_without_an_answer_ends_the_loop() -> None:
    written = go(settings(), Failing(lambda r: number_of(r) >= 8))
    assert written.funnel.kept == 8
    assert written.funnel.stopped == "the teacher answered none of the last 8 requests: Hung up."


def test_outputs_that_fail_drop_their_tasks() -> None:
    written = go(settings(outputs="separate", max_requests=4), Failing(lambda r: r.item == "output/instruct-2-0"))
    assert written.funnel.dropped == {"no_output_from_teacher": 1}
    assert written.funnel.kept == 3


def test_too_few_seeds_are_refused_before_anything_is_asked() -> None:
    teacher = Counting()
    with Ledger(":memory:") as ledger, pytest.raises(RecipeError, match="only 2 seeds"):
        write_tasks(settings(), SEEDS[:2], Asking(teacher, Sampling(), ledger))
    assert teacher.asked == []


# --- other terms ---------------------------------------------------------------------------------------------------


class Batches(Counting):
    """Hands in what it was not asked before, and has it the next time."""

    def __init__(self) -> None:
        super().__init__()
        self.handed_in: set[str] = set()

    def answer(self, requests: Iterable[Request], control: Control | None = None) -> Iterator[Sequence[Answer]]:
        given = list(requests)
        waiting = [request for request in given if self.key(request) not in self.handed_in]
        self.handed_in |= {self.key(request) for request in waiting}
        if waiting:
            raise BatchPending("Waiting.")
        yield [self._answer(request) for request in given]


def test_batches_go_round_by_round(tmp_path: Path) -> None:
    made = settings(categories="teacher")
    whole, teacher, pending = go(made, Counting()), Batches(), 0
    with Ledger(tmp_path / "ledger.sqlite") as ledger:
        while True:
            try:
                written = go(made, teacher, ledger)
                break
            except BatchPending:
                pending += 1
    assert plain(written) == plain(whole)
    assert pending >= 4  # tasks and categories of at least two rounds
    assert len(teacher.asked) == whole.spend.calls  # nothing was asked twice


def test_the_gate_sees_every_request() -> None:
    seeds = [replace(seed, input="Call me at 212-555-0182, says Mrs. Agnes Miller.") for seed in SEEDS]
    remote = TeacherSettings(kind="openai", model="m", key_required=False, phi=PhiSettings(names=False))
    teacher = Counting()
    with Ledger(":memory:") as ledger, pytest.raises(PrivacyError):
        write_tasks(settings(), seeds, Asking(teacher, Sampling(), ledger, gate=make_gate(remote)))
    assert teacher.asked == []


def test_progress_says_what_was_kept_and_why_the_rest_was_not() -> None:
    seen: list[Standing] = []
    go(settings(), Counting(lambda r: task(number_of(r) // 2)), on_progress=seen.append)
    last = seen[-1]
    assert (last.kept, last.target, last.asking) == (30, 30, "")
    assert last.asked == last.candidates
    assert "30 of 30 kept" in last.words
    assert f"{last.dropped['duplicate']} duplicate" in last.words
    assert any(standing.asking for standing in seen)
    assert [s.kept for s in seen] == sorted(s.kept for s in seen)


def test_an_even_sample_is_every_nth() -> None:
    sample = EvenSample(10)
    for place in range(1000):
        if sample.wants(place):
            sample.add(place, float(place))
    values = sample.values
    assert 10 <= len(values) < 20
    assert len({b - a for a, b in pairwise(values)}) == 1
    few = EvenSample(10)
    for place in (0, 2, 3):
        few.add(place, float(place))
    assert few.values == [0.0, 2.0, 3.0]


def test_deciles_of_the_nearest_are_those_of_the_kept() -> None:
    texts = {number: f"Name a thing of {words(number, 6)}." for number in (0, 1)}
    written = go(settings(max_requests=2), Counting(lambda r: task(number_of(r), instruction=texts[number_of(r)])))
    # The first shares "a" with seeds of seven words ("Is a pound heavier than an ounce?"): 2 * 1 / (10 + 7) at most.
    assert written.funnel.nearest_f[0] == pytest.approx(2 * 1 / (10 + 5))
    assert written.funnel.nearest_f[-1] == pytest.approx(2 * 4 / 20)


# --- the forecast --------------------------------------------------------------------------------------------------


def test_the_forecast_spans_good_and_bad_yields() -> None:
    terms = TeacherSettings(kind="scripted", usd_per_million_input=1.0, usd_per_million_output=2.0)
    price = Price(10**6, 2 * 10**6)
    made = settings(target=3000, outputs="separate", categories="teacher", tasks_per_answer=2)
    teacher = Counting()
    with Ledger(":memory:") as ledger:
        lines = forecast_writing(made, SEEDS, teacher, ledger, terms, price, BudgetSettings(max_usd=0.001))
        assert teacher.asked == []
        assert ledger.count() == 0
    text = "\n".join(lines)
    assert "Tasks: 3,000 from 9 seeds" in text
    assert "100% to 30%" in text
    assert "Requests for tasks: 1,500 to 5,000" in text
    assert "Requests for outputs: 3,000 to 10,000" in text
    assert "Requests for categories: 3,000" in text
    assert "prices from the recipe" in text
    assert "which will end the run early" in text
    low, high = (int(n.replace(",", "")) for n in re.search(r"Tokens written: ([\d,]+) to ([\d,]+)", text).groups())  # type: ignore[union-attr]
    assert low == pytest.approx(0.1 * (256 * (1500 + 3000) + 32 * 3000), rel=0.01)
    assert high == pytest.approx(256 * (5000 + 10000) + 32 * 3000, rel=0.01)


def test_the_forecast_of_a_capped_recipe_and_an_unknown_price() -> None:
    terms = TeacherSettings(kind="openai", model="nobody-knows", key_required=False)
    with Ledger(":memory:") as ledger:
        lines = forecast_writing(settings(max_requests=7), SEEDS, Counting(), ledger, terms, None, BudgetSettings())
    assert "Requests for tasks: 7" in lines
    assert any(line.startswith("Money: unknown") for line in lines)
    assert not any("categories" in line for line in lines)


def test_the_forecast_measures_on_what_was_answered() -> None:
    terms = TeacherSettings(kind="scripted")
    with Ledger(":memory:") as ledger:
        go(settings(), Counting(), ledger)
        lines = forecast_writing(settings(), SEEDS, Counting(), ledger, terms, None, BudgetSettings())
    assert "Measured on earlier answers in this run." in lines
    assert any(line.startswith("In the ledger already") for line in lines)
