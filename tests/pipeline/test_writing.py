"""What the loop that writes tasks keeps and drops: rules, both pools, both ways to outputs, categories."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

import pytest
from writing_runs import GEN, IE, QA, SEEDS, Counting, checked, go, number_of, plain, settings, task, words

from preceptor.augment.instruct import OPENINGS
from preceptor.pipeline.writing import write_tasks
from preceptor.pipeline.writing_records import Asking
from preceptor.records import Request, Sampling, instruction_of
from preceptor.store.ledger import Ledger
from preceptor.teachers.base import Answer, Control

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


@pytest.mark.parametrize("pool", ["seeds", "growing"])
def test_long_tasks_are_not_shown_but_known(pool: str) -> None:
    long = replace(SEEDS[0], id="long", instruction="Who rang " + words(0, 30) + "?")
    teacher = Counting(lambda r: task(number_of(r), instruction=long.instruction if number_of(r) == 0 else ""))
    with Ledger(":memory:") as ledger:
        made = settings(pool=pool, shown_words=20, max_requests=32, rules={"language": "any"})
        written = checked(write_tasks(made, [long, *SEEDS], Asking(teacher, Sampling(), ledger)))
    reasons = {example.id: verdict.reason for example, verdict in written.dropped}
    assert reasons.pop("instruct-0-0") == "rouge_l"
    assert set(reasons.values()) <= {"target_reached"}
    texts = {text for request in teacher.asked for text in shown(request)}
    assert texts <= {seed.instruction for seed in SEEDS}  # a kept one has more than twenty words


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
