"""The teacher on this machine: real models, tiny and built-in."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
import torch

import tiny
from preceptor.config import TeacherSettings
from preceptor.errors import ModelError, TeacherError, UnsupportedSettingError
from preceptor.models import generate
from preceptor.models.load import Loaded, load_causal
from preceptor.records import Message, Request, Sampling
from preceptor.store.ledger import Ledger
from preceptor.teachers.ask import ask
from preceptor.teachers.base import Answer
from preceptor.teachers.local import LocalTeacher
from preceptor.teachers.tally import Tally

QUESTIONS = [" ".join(tiny.WORDS[n : n + 1 + n % 7]) for n in range(20)]


@pytest.fixture
def model(tiny_models: dict[str, Path]) -> str:
    return str(tiny_models["llama"])


@pytest.fixture(autouse=True)
def _float32(monkeypatch: pytest.MonkeyPatch) -> None:
    """Batches round bfloat16 differently; what is tested here is the teacher."""
    monkeypatch.setattr("preceptor.models.load.fast_bfloat16", lambda: False)


def teacher(model: str, batch_size: int = 4) -> LocalTeacher:
    return LocalTeacher(TeacherSettings(model=model, batch_size=batch_size))


def request(text: str, *, draw: int = 0, item: str | None = None, system: str = "", **settings: object) -> Request:
    sampling = Sampling(**{"max_tokens": 10, "temperature": 1.0, **settings})  # type: ignore[arg-type]
    messages = (Message("system", system),) if system else ()
    return Request((*messages, Message("user", text)), sampling, item=text if item is None else item, draw=draw)


def texts(groups: Sequence[Sequence[Answer]]) -> dict[tuple[str, int], str]:
    return {
        (a.request.item, a.request.draw): a.completion.text
        for group in groups
        for a in group
        if a.completion is not None
    }


def test_answers_do_not_depend_on_batch_size_or_order(model: str) -> None:
    requests = [request(q) for q in QUESTIONS]
    expected = texts(list(teacher(model, 4).answer(requests)))
    assert len(expected) == 20
    assert texts(list(teacher(model, 7).answer(requests[::-1]))) == expected
    assert texts(list(teacher(model, 1).answer(requests[5:8]))).items() <= expected.items()


def test_item_draw_and_seed_make_the_noise(model: str) -> None:
    def one(**changes: object) -> str:
        ((answer,),) = teacher(model).answer([request(QUESTIONS[6], **changes)])  # type: ignore[arg-type]
        assert answer.completion is not None
        return answer.completion.text

    base = one(item="a")
    assert one(item="a") == base
    assert one(item="a", seed=0) == base  # no seed counts as 0
    assert len({base, one(item="b"), one(item="a", draw=1), one(item="a", seed=1)}) == 4


@pytest.mark.parametrize("temperature", [None, 0])
def test_without_a_temperature_every_draw_is_the_most_probable_text(model: str, temperature: float | None) -> None:
    groups = list(teacher(model).answer([request(QUESTIONS[6], draw=d, temperature=temperature) for d in range(3)]))
    assert len(set(texts(groups).values())) == 1


def test_a_chunk_is_a_group_and_holds_prompts_of_similar_length(model: str) -> None:
    groups = [
        [len(a.request.messages[0].content.split()) for a in g]
        for g in teacher(model, 6).answer([request(q) for q in QUESTIONS])
    ]
    assert [len(group) for group in groups] == [6, 6, 6, 2]
    lengths = [length for group in groups for length in group]
    assert lengths == sorted(lengths, reverse=True)


def test_a_restart_goes_on_with_the_same_chunks(model: str, tmp_path: Path) -> None:
    requests = [request(q) for q in QUESTIONS]
    whole = [sorted(a.request.item for a in group) for group in teacher(model).answer(requests)]

    class Stopped(Exception):
        """Stands for a kill."""

    def stop_after_two_chunks(tally: Tally) -> None:
        if tally.done >= 8:
            raise Stopped

    with Ledger(tmp_path / "ledger") as ledger:
        with pytest.raises(Stopped):
            ask(teacher(model), requests, ledger, on_progress=stop_after_two_chunks)
        assert ledger.count() == 8
        missing = [r for r in requests if not ledger.get([r.key(model)])]
        rest = [sorted(a.request.item for a in group) for group in teacher(model).answer(missing[::-1])]
    assert rest == whole[2:]


def test_requests_with_other_settings_are_written_apart(model: str) -> None:
    requests = [request(q, max_tokens=3 + n % 2) for n, q in enumerate(QUESTIONS)]
    for group in teacher(model, 16).answer(requests):
        assert len({a.request.sampling for a in group}) == 1
        assert all(a.completion and a.completion.output_tokens <= a.request.sampling.max_tokens for a in group)


def test_a_prompt_that_does_not_fit_is_that_requests_error(model: str) -> None:
    fits, too_long = request("drug " * 20), request("drug " * 60)
    answers = {a.request: a for group in teacher(model).answer([too_long, fits]) for a in group}
    assert answers[fits].completion is not None
    error = answers[too_long].error
    assert error is not None
    assert error.message.startswith(f"The prompt and max_tokens do not fit into the {tiny.WINDOW} tokens")


def test_counts_and_ending(model: str) -> None:
    ((answer,),) = teacher(model).answer([request("pain fell", max_tokens=5, temperature=None)])
    assert answer.completion is not None
    assert answer.completion.input_tokens == 3  # the two words and the mark of the beginning
    assert answer.completion.output_tokens == 5
    assert answer.completion.finish == "length"


def test_top_p_without_temperature_is_refused(model: str) -> None:
    with pytest.raises(UnsupportedSettingError, match="top_p without a temperature"):
        list(teacher(model).answer([request("a", temperature=None, top_p=0.9)]))


def test_a_setting_of_other_teachers_is_refused(model: str, tmp_path: Path) -> None:
    with Ledger(tmp_path / "ledger") as ledger, pytest.raises(UnsupportedSettingError, match="frequency_penalty"):
        ask(teacher(model), [request("a", frequency_penalty=1.0)], ledger)


def test_a_model_that_is_not_there_is_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="There is no model folder"):
        list(teacher(str(tmp_path / "nowhere")).answer([request("a")]))


def test_running_out_of_memory_names_the_remedy(model: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def exhausted(*_args: object, **_settings: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory.")

    monkeypatch.setattr(generate, "write", exhausted)
    with pytest.raises(TeacherError, match=r"ran out of memory with 1 answers.*Lower teacher\.batch_size"):
        list(teacher(model).answer([request("a")]))


def prompt_of(loaded: Loaded, asked: Request, monkeypatch: pytest.MonkeyPatch) -> str:
    """The text that the teacher lets the model continue."""
    seen: list[list[int]] = []

    def watched(_loaded: Loaded, prompts: list[list[int]], **_settings: object) -> list[generate.Written]:
        seen.extend(prompts)
        return [generate.Written("x", "stop", 1, 1) for _ in prompts]

    monkeypatch.setattr(generate, "write", watched)
    monkeypatch.setattr("preceptor.models.load.load_causal", lambda _name: loaded)
    list(teacher("any").answer([asked]))
    return str(loaded.tokenizer.decode(seen[0]))


def test_chat_templates(model: str, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = request("pain ?", system="drug")
    loaded = load_causal(model, "float32")
    assert prompt_of(loaded, asked, monkeypatch) == "<s> drug pain ?"
    turns = (
        "{% for m in messages %}{{ m.role[0] + ' ' + m.content + ' ' }}{% endfor %}"
        "{% if add_generation_prompt %}answer{% endif %}"
    )
    loaded.tokenizer.chat_template = turns
    assert prompt_of(loaded, asked, monkeypatch) == "<unk> drug <unk> pain ? answer"
    refuses = "{% if messages[0].role == 'system' %}{{ raise_exception('no system turn') }}{% endif %}"
    loaded.tokenizer.chat_template = refuses + turns
    assert prompt_of(loaded, asked, monkeypatch) == "<unk> drug pain ? answer"


@pytest.mark.long
def test_the_built_in_model_writes_alike_in_any_batch() -> None:
    """The real model: chat template and keyed noise, in float32."""
    questions = ["Does sleep help memory?", "Is a daily walk good for people with back pain?"]
    asked = [request(f"Rewrite in other words: {q}", temperature=0.8, max_tokens=8) for q in questions]
    together, apart = (teacher("builtin:smollm2-135m-instruct", size) for size in (2, 1))
    expected = texts(list(together.answer(asked)))
    apart._loaded = together._loaded  # loading takes longer than writing
    assert texts(list(apart.answer(asked))) == expected
    assert all(len(text.split()) > 2 for text in expected.values())
