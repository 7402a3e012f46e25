"""Answers to benchmarks by both readings, against the plainest way to get them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import torch

import tiny
from preceptor.config import FollowerSettings, MeasureSettings, TrainSettings
from preceptor.data.benchmark import Benchmark, Measured
from preceptor.errors import DataError
from preceptor.evaluate import respond as module
from preceptor.evaluate.respond import respond
from preceptor.models.follower import Follower
from preceptor.records import Instruction, Outcome, Reading
from preceptor.train.methods import attach
from preceptor.train.tune import open_for

LABELS = ("yes", "no", "maybe not sure")
METHODS: dict[str, dict[str, Any]] = {
    "none": {},
    "lora": {"method": "lora", "rank": 4},
    "prefix": {"method": "prefix", "virtual_tokens": 6, "initialisation": "random"},
}


@dataclass(frozen=True)
class Echo(Benchmark):
    """Reads the first word and keeps what it was given."""

    measured: ClassVar[Measured] = "text"

    def parse(self, item: Instruction, text: str, finish: str = "stop") -> Reading:
        outcome = Outcome.ANSWERED if finish == "stop" else Outcome.CUT_OFF
        return Reading(outcome, mentions=(item.id, text))


def benchmark(items: Sequence[Instruction], read: str = "likelihood", max_tokens: int = 8) -> Echo:
    return Echo("echo", "question_answering", (), (), tuple(items), max_tokens, "hash", read=read)


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("followers")
    return {kind: tiny.save_follower(root / kind, kind) for kind in ("llama", "gpt2")}


def opened(folder: Path, method: str = "none", **keys: Any) -> Follower:
    chosen = TrainSettings.model_validate({"max_length": 120, "dtype": "float32", **METHODS[method], **keys})
    follower = open_for(FollowerSettings(name="tiny", model=str(folder)), chosen, seed=1)
    if method == "none":
        return follower
    torch.manual_seed(4)
    found = attach(follower, chosen)
    for name, weight in found.model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(weight, std=0.2)
    return found


def choices(count: int) -> list[Instruction]:
    return [replace(item, options=LABELS) for item in tiny.tasks(count)]


def alone(follower: Follower, item: Instruction, option: str) -> float:
    """Log-probability of an option after the prompt, from all logits of one sequence."""
    prompt = follower.form.prompt_ids([item])[0]
    words = list(follower.loaded.tokenizer(option, add_special_tokens=False)["input_ids"])
    with torch.no_grad():
        logs = torch.log_softmax(follower.model(input_ids=torch.tensor([prompt + words])).logits[0].double(), -1)
    return sum(float(logs[len(prompt) - 1 + k, token]) for k, token in enumerate(words))


@pytest.mark.parametrize("method", list(METHODS))
@pytest.mark.parametrize("kind", ["llama", "gpt2"])
def test_likelihood_takes_the_likeliest_option(kind: str, method: str, folders: dict[str, Path]) -> None:
    follower, items = opened(folders[kind], method), choices(9)
    done = respond(follower, benchmark(items), items, MeasureSettings())
    assert [r.id for r in done.responses] == [item.id for item in items]
    for item, response in zip(items, done.responses, strict=True):
        logs = np.array([alone(follower, item, option) for option in LABELS])
        expected = np.exp(logs) / np.exp(logs).sum()
        assert response.probabilities == pytest.approx(tuple(expected), abs=1e-4)
        assert response.reading == Reading(Outcome.ANSWERED, choice=int(logs.argmax()))
        assert response.text == ""
    assert done.cut == 0


def test_items_may_have_options_of_their_own(folders: dict[str, Path]) -> None:
    follower = opened(folders["llama"])
    options = [("a", "b", "c"), ("pain fell", "pain rose", "sleep"), ("a", "b", "c", "d"), ("yes", "no")]
    items = [replace(item, options=own) for item, own in zip(tiny.tasks(4), options, strict=True)]
    done = respond(follower, benchmark(items), items, MeasureSettings())
    for item, response in zip(items, done.responses, strict=True):
        logs = np.array([alone(follower, item, option) for option in item.options])
        assert response.reading.choice == int(logs.argmax())
        assert sum(response.probabilities) == pytest.approx(1, abs=1e-5)


def greedy(follower: Follower, item: Instruction, most: int) -> tuple[str, str]:
    """Text and reason to stop of the plainest greedy decoding: every token from the logits of the whole sequence."""
    ids = follower.form.prompt_ids([item])[0]
    words = follower.loaded.tokenizer
    own: list[int] = []
    ends = set(follower.model.generation_config.eos_token_id)
    with torch.no_grad():
        while len(own) < most and not ends & set(own):
            own.append(int(follower.model(input_ids=torch.tensor([ids + own])).logits[0, -1].argmax()))
    return words.decode(own, skip_special_tokens=True).strip(), "stop" if ends & set(own) else "length"


@pytest.mark.parametrize("method", list(METHODS))
@pytest.mark.parametrize("kind", ["llama", "gpt2"])
def test_generation_writes_what_greedy_decoding_writes(kind: str, method: str, folders: dict[str, Path]) -> None:
    follower, items = opened(folders[kind], method), tiny.tasks(11)
    # Every sixth word ends an answer, so rows end at different times and leave their batch.
    follower.model.generation_config.eos_token_id = list(range(3, len(follower.loaded.tokenizer), 6))
    done = respond(follower, benchmark(items, "generation", 12), items, MeasureSettings(batch_size=5))
    expected = [greedy(follower, item, 12) for item in items]
    assert [r.text for r in done.responses] == [text for text, _ in expected]
    assert [r.reading.mentions for r in done.responses] == [
        (item.id, text) for item, (text, _) in zip(items, expected, strict=True)
    ]
    assert [r.reading.outcome for r in done.responses] == [
        Outcome.ANSWERED if finish == "stop" else Outcome.CUT_OFF for _, finish in expected
    ]
    assert len({len(text.split()) for text, _ in expected}) > 2


@pytest.mark.parametrize("read", ["likelihood", "generation"])
def test_the_same_answers_whatever_the_order_of_the_items(read: str, folders: dict[str, Path]) -> None:
    follower, items = opened(folders["llama"], "lora"), choices(8)
    asked = benchmark(items, read)
    there = respond(follower, asked, items, MeasureSettings(batch_size=3)).responses
    back = respond(follower, asked, items[::-1], MeasureSettings(batch_size=3)).responses
    assert there == back[::-1]
    assert respond(follower, asked, items, MeasureSettings(batch_size=3)).responses == there


@pytest.mark.parametrize("read", ["likelihood", "generation"])
def test_long_prompts_are_cut_and_counted_and_too_long_ones_refused(read: str, folders: dict[str, Path]) -> None:
    follower = opened(folders["llama"], max_length=40)
    items = choices(5)
    items[2] = replace(items[2], input="sleep " * 60 + items[2].input)
    done = respond(follower, benchmark(items, read), items, MeasureSettings())
    assert done.cut == 1
    items[3] = replace(items[3], instruction="pain " * 60)
    with pytest.raises(DataError, match=f"Item {items[3].id}: the instruction and"):
        respond(follower, benchmark(items, read), items, MeasureSettings())


@pytest.mark.parametrize("read", ["likelihood", "generation"])
def test_progress_ends_with_all_items(read: str, folders: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "CHUNK", 3)
    items, seen = choices(8), []
    respond(opened(folders["llama"]), benchmark(items, read, 3), items, MeasureSettings(batch_size=3), seen.append)
    assert seen == [3, 6, 8]


def test_options_that_cannot_be_compared_are_one_sentence(folders: dict[str, Path]) -> None:
    follower = opened(folders["llama"])
    for options, sentence in [
        ((), "has 0 options"),
        (("yes",), "has 1 options"),
        (("yes", "Yes"), "the same tokens"),  # this tokenizer lowers its letters
        (("yes", " "), "or one is none"),
    ]:
        items = [replace(tiny.tasks(1)[0], options=options)]
        with pytest.raises(DataError, match=sentence) as caught:
            respond(follower, benchmark(items), items, MeasureSettings())
        assert "generation" in caught.value.hint


def test_nothing_to_answer(folders: dict[str, Path]) -> None:
    for read in ("likelihood", "generation"):
        done = respond(opened(folders["llama"]), benchmark([], read), [], MeasureSettings())
        assert (done.responses, done.cut) == ([], 0)
