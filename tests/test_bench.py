"""The benches run. Their figures are not judged here: this machine may be doing anything else beside."""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from types import ModuleType

import pytest

from preceptor.teachers.scripted import ScriptedTeacher

BENCH = Path(__file__).resolve().parent.parent / "bench"
Pairs = list[tuple[int, str]]


def test_the_quick_bench_of_generation_checks_its_answers_and_ends_with_its_figures() -> None:
    done = subprocess.run(
        [sys.executable, str(BENCH / "generation.py"), "--quick"], capture_output=True, text=True, timeout=200
    )

    assert done.returncode == 0, done.stderr
    line = json.loads(done.stdout.splitlines()[-1])
    assert {name: tool["answers_right"] for name, tool in line["tools"].items()} == {"bare": 400, "preceptor": 400}
    for tool in line["tools"].values():
        assert tool["requests_per_s"]["median"] > 0
        assert tool["client_cpu_us_per_request"] > 0
        assert 1 < tool["most_in_flight"] <= line["concurrency"]
        assert tool["versions"].keys() & {"aiohttp", "httptools"}
    rates = {name: tool["requests_per_s"]["median"] for name, tool in line["tools"].items()}
    assert line["vs_bare"] == pytest.approx(rates["preceptor"] / rates["bare"], abs=0.01)
    assert (line["vs_distilabel"], line["vs_curator"]) == (None, None)  # no peer is installed for a test
    assert line["memory_ratio"] > 0
    assert set(line["memory"]["peak_mib"]) == {"400", "800"}
    assert {"processor", "cores", "memory_gib"} <= set(line["machine"])


def test_the_quick_bench_of_writing_ends_with_its_figures() -> None:
    done = subprocess.run(
        [sys.executable, str(BENCH / "instruct.py"), "--quick"], capture_output=True, text=True, timeout=200
    )

    assert done.returncode == 0, done.stderr
    line = json.loads(done.stdout.splitlines()[-1])
    assert line["kept"] == 300
    assert line["kept"] + sum(line["dropped"].values()) == line["candidates"]
    assert 0.2 <= line["dropped_by_rouge_share"] <= 0.5
    assert line["median_nearest_f"] >= 0.4
    assert line["identical_decisions"] == line["loop_candidates"] == 200
    assert line["vs_rouge_score"] > 1
    assert 0 < line["novelty_seconds"] < line["seconds"]
    assert 0 < line["novelty_cpu_seconds"] < line["cpu_seconds"]
    assert 30 < line["peak_mib"] < 2048
    published = (7, 8, 8, 10, 11, 12, 14, 17, 21.6)
    for made, wanted in zip(line["instruction_words"][1:-1], published, strict=True):
        assert made == pytest.approx(wanted, rel=0.2)
    assert {"numpy", "rapidfuzz", "rouge_score"} <= set(line["versions"])
    assert {"processor", "cores"} <= set(line["machine"])


@pytest.fixture
def work(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> ModuleType:
    """What runners share, asked for ten answers."""
    monkeypatch.syspath_prepend(str(BENCH))
    options = ["--base-url", "none", "--count", "10", "--concurrency", "1", "--scratch", str(tmp_path)]
    monkeypatch.setattr(sys, "argv", ["runner", *options, "--result", str(tmp_path / "result.json")])
    return importlib.import_module("runners.work")


def wrong(pairs: Pairs) -> Pairs:
    return [*pairs[:-1], (9, "something else")]


def missing(pairs: Pairs) -> Pairs:
    return pairs[:-1]


def twice(pairs: Pairs) -> Pairs:
    return [*pairs, pairs[-1]]


def swapped(pairs: Pairs) -> Pairs:
    return [(1, pairs[0][1]), (0, pairs[1][1]), *pairs[2:]]


def test_a_runner_counts_the_right_answers(work: ModuleType, tmp_path: Path) -> None:
    def ask(_job: object, prompts: Iterable[str]) -> Pairs:
        return [(index, work.right_answer(prompt)) for index, prompt in enumerate(prompts)]

    work.main(ask, ["aiohttp"])

    figures = json.loads((tmp_path / "result.json").read_text(encoding="utf-8"))
    assert figures["right"] == 10
    assert figures["ended"] >= figures["called"]
    assert 2**20 < figures["peak_bytes"] < 2**40


@pytest.mark.parametrize("spoil", [wrong, missing, twice, swapped])
def test_a_runner_fails_when_an_answer_is(work: ModuleType, spoil: Callable[[Pairs], Pairs]) -> None:
    def ask(_job: object, prompts: Iterable[str]) -> Pairs:
        return spoil([(index, work.right_answer(prompt)) for index, prompt in enumerate(prompts)])

    with pytest.raises(SystemExit, match="of 10 answers are there and right"):
        work.main(ask, ["aiohttp"])


def test_the_requests_of_the_bench_are_all_different(work: ModuleType) -> None:
    prompts = {work.prompt(index) for index in range(4000)}

    assert len(prompts) == 4000
    assert len({work.right_answer(prompt) for prompt in prompts}) == 4000


def test_a_peers_environment_is_made_once_and_made_again_when_it_is_half_made(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.syspath_prepend(str(BENCH))
    environments = importlib.import_module("environments")
    made: list[Path] = []
    codes = [1, 0]

    def pip(command: list[str], **_options: object) -> subprocess.CompletedProcess[str]:
        assert command[1:4] == ["-m", "pip", "install"]
        assert command[-1] == "peer[extra]==1.0"
        return subprocess.CompletedProcess(command, codes.pop(0), stdout="no such version")

    def create(folder: Path, *, with_pip: bool) -> None:
        assert with_pip
        made.append(folder)
        folder.mkdir()

    monkeypatch.setattr(environments.venv, "create", create)
    monkeypatch.setattr(environments.subprocess, "run", pip)

    with pytest.raises(SystemExit, match="no such version"):
        environments.python_with(["peer[extra]==1.0"], tmp_path)
    first = environments.python_with(["peer[extra]==1.0"], tmp_path)
    second = environments.python_with(["peer[extra]==1.0"], tmp_path)

    assert first == second == made[0] / "bin" / "python"
    assert made[0].name.startswith("peer-")
    assert len(made) == 2


def test_the_bench_of_judging_counts_what_is_read(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.syspath_prepend(str(BENCH))
    judging = importlib.import_module("judging")
    (tmp_path / "mts-dialog").mkdir()
    lines = ["ID,section_header,section_text,dialogue", "0,CC,Cough.,Doctor: Well?", "1,CC,Fever.,Doctor: And you?"]
    (tmp_path / judging.FILE).write_text("\n".join(lines), encoding="utf-8")
    monkeypatch.setattr(judging, "make_teacher", lambda settings, folder: ScriptedTeacher())

    judging.main(["--data", str(tmp_path)])

    texts = json.loads(capsys.readouterr().out.splitlines()[-1])["texts"]
    assert texts["the reference itself"]["answers"] == {"unread": 0, "first": 0, "second": 0, "equal": 4}
    other = texts["the next item's note"]
    assert (other["judge_read"], other["judge_order_flips"], sum(other["answers"].values())) == (2, 0, 4)


def test_the_bench_of_objectives_measures_each_promise_and_trains_nothing_twice(
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    data_root: Path,
    tiny_models: dict[str, Path],
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.syspath_prepend(str(BENCH))
    bench = importlib.import_module("objectives")
    monkeypatch.setitem(bench.MODELS, "smollm2", str(tiny_models["llama"]))
    few = ["--items", "12", "--test-items", "10", "--epochs", "1", "--seeds", "1", "2", "--teacher-epochs", "1"]
    named = ["--student", "smollm2", "--teacher", str(tiny_models["llama"]), "--objectives", *bench.PROMISES]
    options = ["--data", str(data_root), "--out", str(tmp_path), *few, *named]
    bench.main(options)
    first = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert set(first["cells"]) == {
        *(f"reasoning-free {n}" for n in ("label", "distillation", "tokens", "contrastive", "corrupted", "weights")),
        *(f"reasoning-required {name}" for name in ("label", "rationale")),
    }
    assert {one["steps"] for cells in first["cells"].values() for one in cells} == {2}  # 12 items in batches of 8
    for name, (figure, _) in bench.PROMISES.items():
        for part in ("validation", "test"):
            found = first["against"][name][part][figure]
            setting = "reasoning-required" if name == "rationale" else "reasoning-free"
            cells, others = (first["cells"][f"{setting} {one}"] for one in (name, bench.beside(name)))
            differences = [a[part][figure] - b[part][figure] for a, b in zip(cells, others, strict=True)]
            assert found["mean"] == pytest.approx(sum(differences) / 2, abs=1e-4)
            assert found["low"] <= found["mean"] <= found["high"]
            assert first["as_promised"][name][part] in (True, False)
    monkeypatch.setattr(bench, "train_cell", None)
    bench.main(options)
    again = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert again["cells"] == first["cells"]


def test_the_quick_bench_of_comparisons_ends_with_its_figures() -> None:
    done = subprocess.run(
        [sys.executable, str(BENCH / "comparisons.py"), "--quick"], capture_output=True, text=True, timeout=200
    )

    assert done.returncode == 0, done.stderr
    line = json.loads(done.stdout.splitlines()[-1])
    assert len(line["lines"]) == 18
    for one in line["lines"]:
        assert one["by_both"] <= min(one["by_test"], one["by_interval"])
        assert 0.02 < one["detectable"] < 0.12
    assert sum(one["by_both"] for one in line["lines"] if one["gap"]) > 4 * sum(
        one["by_both"] for one in line["lines"] if not one["gap"]
    )


@pytest.mark.long
def test_the_quick_bench_of_evaluation_ends_with_its_figures(data_root: Path) -> None:
    done = subprocess.run(
        [sys.executable, str(BENCH / "evaluation.py"), "--quick", "--items", "3", "--no-peers"],
        env={**os.environ, "PRECEPTOR_DATA": str(data_root)},
        capture_output=True,
        text=True,
        timeout=600,
    )

    assert done.returncode == 0, done.stderr
    line = json.loads(done.stdout.splitlines()[-1])
    assert line["items"] == 3
    assert set(line["parts"]) == {"zero_shot", "five_shot", "options"}
    for part in line["parts"].values():
        assert part["ours"]["items_per_s"] > 0
        assert part["ours"]["peak_mib"] > 100
    assert line["five_shot_vs_lm_eval"] is None  # no peer is installed for a test
    assert line["same_decisions"] is None
    assert {"torch", "transformers", "lm_eval"} <= set(line["versions"])


@pytest.mark.long
def test_the_quick_bench_of_training_ends_with_its_figures(data_root: Path) -> None:
    """Without peers: our own trainings of both students, and their losses beside a plain loop."""
    done = subprocess.run(
        [sys.executable, str(BENCH / "training.py"), "--quick", "--no-peers"],
        env={**os.environ, "PRECEPTOR_DATA": str(data_root)},
        capture_output=True,
        text=True,
        timeout=1500,
    )

    assert done.returncode == 0, done.stderr
    line = json.loads(done.stdout.splitlines()[-1])
    assert 0 < line["of_matmul_limit"] < 1
    assert line["vs_trl"] is None  # no peer is installed for a test
    assert line["losses"]["largest_difference_ours_float32"] < 1e-3
    tens = line["losses"]["tens"]
    # Far from float32 in the first steps, as any loop in that type is; not from the stock loop in the same type.
    assert tens["ours bfloat16"] == pytest.approx(tens["plain bfloat16"], rel=0.02)
    assert {name: len(means) for name, means in tens.items()} == dict.fromkeys(
        ("plain float32", "ours float32", "ours bfloat16", "plain bfloat16"), 1
    )
    assert line["cached"]["loss_difference"] < 0.02
    assert line["cached"]["ratio"] > 0
    for part in (line["trl"]["ours"], line["encoder"]["ours"], line["cached"]["plain"], line["cached"]["kept"]):
        assert part["tokens_per_s"] > 0
        assert part["peak_mib"] > 100


@pytest.mark.long
def test_the_bench_for_an_accelerator_measures_one_or_nothing(data_root: Path) -> None:
    """Its quick form runs anywhere, to see that the script works."""
    command = [sys.executable, str(BENCH / "training.py"), "--gpu", "--no-peers"]
    environment = {**os.environ, "PRECEPTOR_DATA": str(data_root), "CUDA_VISIBLE_DEVICES": ""}
    whole, quick = (
        subprocess.run([*command, *more], env=environment, capture_output=True, text=True, timeout=600)
        for more in ((), ("--quick",))
    )
    assert (whole.returncode, whole.stdout) == (1, "")
    assert whole.stderr.startswith("--gpu measures a CUDA device, and torch finds none here.")
    assert quick.returncode == 0, quick.stderr
    line = json.loads(quick.stdout.splitlines()[-1])
    assert 0 < line["of_matmul_limit"] < 1
    assert line["gpu"]["sizes"]["4"]["ours"]["device_peak_mib"] is None


def test_the_bench_of_evaluation_counts_decisions_that_differ(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(BENCH))
    compared = importlib.import_module("evaluation").compared
    ours = {"a": [-1.0, -2.0], "b": [-1.0, -1.03], "c": [-3.0, -1.0]}
    close = compared(ours, {**ours, "b": [-1.02, -1.0]}, 1 / 16)
    assert list(close["differ"]) == ["b"]
    assert close["same"]
    assert not compared(ours, {**ours, "b": [-1.02, -1.0]}, 0.0)["same"]
    assert not compared(ours, {**ours, "a": [-2.0, -1.0]}, 1 / 16)["same"]
    assert compared(ours, ours, 0.0) == {"differ": {}, "same": True, "largest_difference": 0.0}


def test_students_are_ranked_by_validation_alone(tmp_path: Path) -> None:
    def write(student: str, seed: int, losses: Iterable[float], selected: int, arm: str = "none") -> None:
        checks = [{"step": step, "loss": loss, "accuracy": 0.5} for step, loss in enumerate(losses)]
        kept = {"fit": {"checks": checks, "selected": selected}, "extra": {"cell": {"student": student, "arm": arm}}}
        (tmp_path / f"{student}-{arm}-{seed}.json").write_text(json.dumps({"predictions": kept}), encoding="utf-8")

    write("a-lora", 1, [0.9, 0.5], 1)
    write("a-lora", 2, [0.7, 0.1], 0)  # what was not kept does not count
    write("a-full", 1, [0.3], 0)
    write("b-lora", 1, [0.8], 0)
    (tmp_path / "b-untrained.json").write_text(json.dumps({"predictions": {"fit": None}}), encoding="utf-8")
    command = [sys.executable, str(BENCH / "chosen.py"), str(tmp_path), "--best", "1"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)

    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout.splitlines()[-1]) == {"a": ["a-full none"], "b": ["b-lora none"]}
    assert "2 seeds  log loss 0.6000" in done.stdout
    empty = subprocess.run([*command[:2], str(BENCH)], capture_output=True, text=True, timeout=60)
    assert empty.returncode == 1
    assert "holds no results" in empty.stderr
