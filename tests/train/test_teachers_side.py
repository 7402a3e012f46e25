"""What a teacher thinks: computed as the model says it, kept small, and refused where it would mean nothing."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import tiny
from preceptor.config import DistillationSettings, StudentSettings, TrainSettings
from preceptor.errors import DataError, ModelError, RecipeError
from preceptor.models.score import normalised
from preceptor.models.student import Student
from preceptor.store.stages import MARK, write_json
from preceptor.train.batches import TrainingItem, make_items
from preceptor.train.cell import open_for, train_cell
from preceptor.train.objectives import equipped, fit
from preceptor.train.teaching import (
    check_teacher,
    cut_for_teacher,
    identity_of,
    likeliest,
    open_teacher,
    read_taught,
    write_labels,
    write_tokens,
)

EXAMPLES = tiny.examples(9)


def settings(model: Path, **keys: Any) -> DistillationSettings:
    return DistillationSettings.model_validate({"teacher": str(model), **keys})


def opened(model: Path, **keys: Any) -> Student:
    return open_teacher(settings(model, **keys), tiny.TASK, Path(), max_length=48, dtype="float32")


@pytest.fixture
def trained(tiny_models: dict[str, Path], tmp_path: Path) -> dict[str, Path]:
    """Folders of finished students, by architecture."""
    train = TrainSettings(method="lora", rank=2, steps=4, learning_rate=1e-2, max_length=48, dtype="float32")
    for kind in ("llama", "bert"):
        (tmp_path / kind).mkdir()
        student = StudentSettings(name="tiny", model=str(tiny_models[kind]))
        parts = {"real": EXAMPLES, "generated": [], "validation": tiny.examples(4, "held-out")}
        train_cell(tmp_path / kind, student, train, tiny.TASK, seed=1, **parts)
    return {kind: tmp_path / kind for kind in ("llama", "bert")}


# --- labels --------------------------------------------------------------------------------------------------------


def test_the_labels_of_a_trained_teacher_are_its_own_and_reach_their_items(
    trained: dict[str, Path], tiny_models: dict[str, Path], tmp_path: Path
) -> None:
    student = tiny.open_tiny(tiny_models["gpt2"])
    items = make_items(student, tiny.TASK, EXAMPLES)
    for kind in ("llama", "bert"):
        teacher = opened(tiny_models[kind], weights=str(trained[kind]))
        untrained = tiny.open_tiny(tiny_models[kind])
        prompts = [item.prompt for item in make_items(untrained, tiny.TASK, EXAMPLES)]
        folders = []
        for number, part in enumerate((EXAMPLES[:5], EXAMPLES[5:])):
            folders.append(tmp_path / f"{kind}-{number}")
            folders[-1].mkdir()
            write_labels(folders[-1], teacher, tiny.TASK, part)
        found = np.array([item.taught.labels for item in read_taught(folders, items, settings(tiny_models[kind]))])
        np.testing.assert_allclose(found, teacher.logprobs(prompts), atol=1e-5)
        assert np.abs(found - untrained.logprobs(prompts)).max() > 1e-2
        with pytest.raises(ModelError, match="is about other items"):
            read_taught(folders[:1], items, settings(tiny_models[kind]))


def test_the_identity_is_that_of_the_weights_wherever_they_lie(
    trained: dict[str, Path], tiny_models: dict[str, Path], tmp_path: Path
) -> None:
    model = tiny_models["llama"]
    first = identity_of(settings(model, weights="llama"), tmp_path)
    moved = trained["llama"].rename(tmp_path / "moved")
    assert identity_of(settings(model, weights=str(moved)), Path("/elsewhere")) == first
    assert identity_of(settings(model), tmp_path) != first
    file = next(moved.glob("*.safetensors"))
    file.write_bytes(file.read_bytes() + b" ")
    assert identity_of(settings(model, weights="moved"), tmp_path) != first


def test_labels_in_another_order_are_another_teacher_and_in_the_same_one_none(
    trained: dict[str, Path], tiny_models: dict[str, Path], tmp_path: Path
) -> None:
    given = settings(tiny_models["bert"], weights="bert")
    plain = identity_of(given, tmp_path)
    assert identity_of(given, tmp_path, tiny.TASK.labels) == plain
    assert identity_of(given, tmp_path, tiny.TASK.labels[::-1]) == {**plain, "labels": list(tiny.TASK.labels)}


def test_a_teacher_that_a_run_made_anew_is_another_one(tmp_path: Path) -> None:
    plain = identity_of(settings(tmp_path), tmp_path)
    assert set(plain) == {"teacher", "head", "weights"}  # results of models that no run made stay valid
    found = [plain]
    for made in ("first", "second"):
        write_json(tmp_path / MARK, {"identity": made})
        found.append(identity_of(settings(tmp_path), tmp_path))
    assert found[1] != found[2] != found[0] != found[1]


# --- tokens --------------------------------------------------------------------------------------------------------


def test_the_likeliest_tokens_keep_their_probabilities_among_all(tiny_models: dict[str, Path]) -> None:
    """Softmax before the choice: the k probabilities do not sum to 1."""
    teacher = tiny.open_tiny(tiny_models["llama"])
    rows = [dataclasses.replace(i, target=(*i.target, *i.target)) for i in make_items(teacher, tiny.TASK, EXAMPLES)]
    found = likeliest(teacher, rows, settings(tiny_models["llama"], top_k=3, temperature=2.0))
    for row, taught in zip(rows, found, strict=True):
        with torch.inference_mode():
            logits = teacher.model(input_ids=torch.tensor([[*row.prompt, *row.target]])).logits[0]
        chances = torch.softmax(logits[len(row.prompt) - 1 : -1] / 2.0, -1)
        best = chances.topk(3)
        assert taught.ids is not None
        assert taught.probabilities is not None
        assert (taught.ids.dtype, taught.probabilities.dtype) == (np.uint32, np.float16)
        assert np.array_equal(taught.ids, best.indices.numpy())
        np.testing.assert_allclose(taught.probabilities[:, :3], best.values.numpy(), rtol=1e-3)
        np.testing.assert_allclose(taught.probabilities[:, 3], 1 - best.values.sum(1).numpy(), atol=1e-3)
        assert taught.probabilities[:, :3].sum(1).max() < 0.99


def test_tokens_are_kept_small_and_reach_their_items_and_rationales(
    tiny_models: dict[str, Path], tmp_path: Path
) -> None:
    chosen = TrainSettings.model_validate(
        {
            "objectives": {"distillation": 1, "rationale": 1},
            "distillation": {"teacher": str(tiny_models["llama"]), "targets": "tokens", "top_k": 4},
        }
    )
    student = tiny.open_tiny(tiny_models["llama"])
    plain = make_items(student, tiny.TASK, EXAMPLES)
    without = chosen.model_copy(update={"objectives": chosen.objectives.model_copy(update={"distillation": 0})})
    rows = equipped(student, tiny.TASK, EXAMPLES, plain, without)
    rows[2] = dataclasses.replace(rows[2], rationale=None)
    write_tokens(tmp_path, student, rows, chosen.distillation)
    positions = sum(len(i.target) + (len(i.rationale.target) if i.rationale else 0) for i in rows)
    size = sum(path.stat().st_size for path in tmp_path.iterdir())
    assert size < positions * (4 * 4 + 5 * 2) + 6 * 300
    found = read_taught([tmp_path], rows, chosen.distillation)
    assert found[2].rationale is None
    for item in found:
        for row in (item, item.rationale):
            if row is not None:
                (expected,) = likeliest(student, [row], chosen.distillation)
                assert np.array_equal(row.taught.ids, expected.ids)
                assert isinstance(row.taught.ids.base, np.memmap)
    with pytest.raises(ModelError, match="is about other items"):
        read_taught([tmp_path], [dataclasses.replace(rows[0], target=(1,)), *rows[1:]], chosen.distillation)


def test_files_that_cannot_be_read_are_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="cannot be read from"):
        read_taught([tmp_path], [TrainingItem((1,), (2,))], DistillationSettings(teacher="x"))


# --- what is refused -----------------------------------------------------------------------------------------------


def test_another_vocabulary_is_refused_for_tokens_and_not_for_labels(
    tiny_models: dict[str, Path], tmp_path: Path
) -> None:
    other = tiny.save_model(tmp_path / "other", "llama", [*tiny.WORDS, "another"])
    student = tiny.open_tiny(tiny_models["llama"])
    with pytest.raises(RecipeError, match="have different vocabularies"):
        check_teacher(student, settings(other, targets="tokens"), tmp_path)
    check_teacher(student, settings(other), tmp_path)
    check_teacher(student, settings(tiny_models["gpt2"], targets="tokens"), tmp_path)  # the same words


def test_encoders_teach_labels_only_and_only_when_trained(
    trained: dict[str, Path], tiny_models: dict[str, Path], tmp_path: Path
) -> None:
    student, encoder = tiny.open_tiny(tiny_models["llama"]), tiny.open_tiny(tiny_models["bert"])
    with pytest.raises(RecipeError, match="the head of an untrained one is drawn at random"):
        check_teacher(student, settings(tiny_models["bert"]), tmp_path)
    check_teacher(student, settings(tiny_models["bert"], weights="bert"), tmp_path)
    for one, model in ((student, "bert"), (encoder, "llama")):
        with pytest.raises(RecipeError, match="needs language models on both sides"):
            check_teacher(one, settings(tiny_models[model], weights=model, targets="tokens"), tmp_path)
    check_teacher(encoder, settings(tiny_models["llama"]), tmp_path)


def test_labels_in_another_order_reach_the_columns_of_their_names(
    trained: dict[str, Path], tiny_models: dict[str, Path], tmp_path: Path
) -> None:
    turned = dataclasses.replace(tiny.TASK, labels=tuple(reversed(tiny.TASK.labels)))
    for kind in ("llama", "bert"):
        given = settings(tiny_models[kind], weights=kind)
        check_teacher(tiny.open_tiny(tiny_models["gpt2"], turned.labels), given, tmp_path)
        found = []
        for name, task in (("plain", tiny.TASK), ("turned", turned)):
            folder = tmp_path / f"{kind}-{name}"
            folder.mkdir()
            teacher = open_teacher(given, task, tmp_path, max_length=48, dtype="float32")
            write_labels(folder, teacher, task, EXAMPLES)
            found.append(np.load(folder / "labels.npy"))
        np.testing.assert_array_equal(found[1], found[0][:, ::-1])


def test_weights_for_other_labels_are_refused_and_so_are_outputs_without_names(
    trained: dict[str, Path], tiny_models: dict[str, Path], tmp_path: Path
) -> None:
    for kind in ("llama", "bert"):
        given = settings(tiny_models[kind], weights=kind)
        for labels in (("yes", "no"), ("yes", "no", "unsure")):
            with pytest.raises(RecipeError, match=r"knows other labels \(yes, no, maybe\) than the task \(yes, no"):
                check_teacher(tiny.open_tiny(tiny_models["gpt2"], labels), given, tmp_path)
        probe = json.loads((trained[kind] / "probe.json").read_text())
        del probe["labels"]  # as an earlier version wrote it
        (trained[kind] / "probe.json").write_text(json.dumps(probe))
        with pytest.raises(RecipeError, match=r"knows other labels \(3 labels\) than the task \(yes, no\)"):
            check_teacher(tiny.open_tiny(tiny_models["gpt2"], ("yes", "no")), given, tmp_path)
        if kind == "llama":  # the words that it says are its labels
            check_teacher(tiny.open_tiny(tiny_models["gpt2"]), given, tmp_path)
        else:
            with pytest.raises(RecipeError, match="does not say for which labels"):
                check_teacher(tiny.open_tiny(tiny_models["gpt2"]), given, tmp_path)
            config = {"id2label": {"2": "maybe", "0": "yes", "1": "no"}, "architectures": ["BertForCausalLM"]}
            (trained[kind] / "config.json").write_text(json.dumps(config))
            with pytest.raises(RecipeError, match="does not say for which labels"):  # names of no classification
                check_teacher(tiny.open_tiny(tiny_models["gpt2"]), given, tmp_path)
            config["architectures"] = ["BertForSequenceClassification"]  # as of one that was trained whole
            (trained[kind] / "config.json").write_text(json.dumps(config))
            check_teacher(tiny.open_tiny(tiny_models["gpt2"]), given, tmp_path)
            assert opened(tiny_models[kind], weights=str(trained[kind])).labels == ("yes", "no", "maybe")


def test_weights_of_another_model_or_kind_are_one_sentence(
    trained: dict[str, Path], tiny_models: dict[str, Path], tmp_path: Path
) -> None:
    student = tiny.open_tiny(tiny_models["gpt2"])
    with pytest.raises(ModelError, match=r"cannot be loaded.*Name in train\.distillation\.weights a student that was"):
        opened(tiny_models["llama"], weights=str(trained["bert"]))
    probe = json.loads((trained["llama"] / "probe.json").read_text())
    (trained["llama"] / "probe.json").write_text(json.dumps({**probe, "targets": [[3]]}))
    with pytest.raises(RecipeError, match="was not trained on a task with labels"):
        check_teacher(student, settings(tiny_models["llama"], weights="llama"), tmp_path)
    (trained["llama"] / "probe.json").write_text("{")
    with pytest.raises(ModelError, match=r"its probe\.json is missing or damaged"):
        check_teacher(student, settings(tiny_models["llama"], weights="llama"), tmp_path)
    (trained["llama"] / "adapter_config.json").write_text("{")
    with pytest.raises(DataError, match=r"adapter_config\.json, line 1: is not valid JSON"):
        check_teacher(student, settings(tiny_models["llama"], weights="llama"), tmp_path)


def test_virtual_tokens_inside_of_prompts_are_refused_on_both_sides(
    tiny_models: dict[str, Path], tmp_path: Path
) -> None:
    keys = {"method": "prompt", "prompt_position": "before-answer", "virtual_tokens": 2, "learning_rate": 1e-1}
    train = TrainSettings.model_validate({**keys, "steps": 2, "max_length": 48, "dtype": "float32"})
    entry = StudentSettings(name="tiny", model=str(tiny_models["llama"]))
    (tmp_path / "prompted").mkdir()
    parts = {"real": EXAMPLES, "generated": [], "validation": tiny.examples(4, "held-out")}
    train_cell(tmp_path / "prompted", entry, train, tiny.TASK, seed=1, **parts)
    with pytest.raises(RecipeError, match="reads virtual tokens inside of its prompts"):
        check_teacher(
            tiny.open_tiny(tiny_models["llama"]), settings(tiny_models["llama"], weights="prompted"), tmp_path
        )
    student = open_for(entry, train, tiny.TASK, 1)
    with pytest.raises(RecipeError, match="the virtual tokens inside of them mean nothing to it"):
        check_teacher(student, settings(tiny_models["llama"], targets="tokens"), tmp_path)
    check_teacher(student, settings(tiny_models["llama"]), tmp_path)


def test_a_teacher_that_sees_less_than_its_student_is_refused_for_tokens(
    tiny_models: dict[str, Path], tmp_path: Path
) -> None:
    narrow = tiny.save_model(tmp_path / "narrow", "llama", window=40)
    student = tiny.open_tiny(tiny_models["llama"], max_length=48)
    with pytest.raises(
        RecipeError, match=r"may read 48 tokens and the teacher .* only 40\. Lower train\.max_length to 40"
    ):
        check_teacher(student, settings(narrow, targets="tokens"), tmp_path)
    check_teacher(tiny.open_tiny(tiny_models["llama"], max_length=40), settings(narrow, targets="tokens"), tmp_path)
    check_teacher(student, settings(narrow), tmp_path)


def test_prompts_that_were_shortened_for_the_teacher_are_counted(tiny_models: dict[str, Path], tmp_path: Path) -> None:
    teacher = open_teacher(settings(tiny_models["llama"]), tiny.TASK, Path(), max_length=24, dtype="float32")
    write_labels(tmp_path, teacher, tiny.TASK, EXAMPLES)
    limits = [teacher.length(tiny.TASK.render(example)) > teacher.limit for example in EXAMPLES]
    assert 0 < sum(limits) < len(EXAMPLES)
    assert cut_for_teacher([tmp_path]) == sum(limits)


def test_a_folder_without_weights_is_one_sentence(tiny_models: dict[str, Path], tmp_path: Path) -> None:
    student = tiny.open_tiny(tiny_models["llama"])
    with pytest.raises(ModelError, match="There is no trained student in"):
        check_teacher(student, settings(tiny_models["llama"], weights="nowhere"), tmp_path)


# --- what it is for ------------------------------------------------------------------------------------------------


def divergence(student: Student, teacher: Student, items: list[TrainingItem]) -> float:
    prompts = [item.prompt for item in items]
    p, q = normalised(teacher.logprobs(prompts)), normalised(student.logprobs(prompts))
    return float((p * np.log(p / q)).sum(1).mean())


@pytest.mark.parametrize("targets", ["labels", "tokens"])
def test_a_student_comes_nearer_to_its_teacher_than_by_the_labels(
    targets: str, tiny_models: dict[str, Path], tmp_path: Path
) -> None:
    """The teacher answers half of the labels' way and half its own: the student follows it on items never trained."""
    teacher = tiny.open_tiny(tiny_models["llama"])
    train, held_out = (make_items(teacher, tiny.TASK, tiny.examples(n, name)) for n, name in ((30, "a"), (12, "b")))
    shifted = [
        dataclasses.replace(i, label=(i.label + 1) % 3, target=train[(i.label + 1) % 3].target) for i in train[::2]
    ]
    plain = TrainSettings(method="full", dtype="float32", batch_size=6, learning_rate=2e-3)
    fit(teacher, [*train, *shifted], held_out, plain, steps=40, seed=1)
    chosen = plain.model_copy(
        update={
            "objectives": plain.objectives.model_copy(update={"label": 0.0, "distillation": 1.0}),
            "distillation": settings(tiny_models["llama"], targets=targets, top_k=8),
        }
    )
    if targets == "labels":
        write_labels(tmp_path, teacher, tiny.TASK, tiny.examples(30, "a"))
    else:
        write_tokens(tmp_path, teacher, train, chosen.distillation)
    found = {}
    for name, given in (("label", plain), ("distillation", chosen)):
        student = tiny.open_tiny(tiny_models["llama"])
        items = equipped(student, tiny.TASK, tiny.examples(30, "a"), train, given, [tmp_path])
        fit(student, items, held_out, given.model_copy(update={"select": "last"}), steps=40, seed=2)
        found[name] = divergence(student, teacher, held_out)
    assert found["distillation"] < 0.3 * found["label"]
