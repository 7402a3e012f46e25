"""Two processes that share a training make the same steps as one: each its items, and under FSDP its parts."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
import two_processes

import tiny
from preceptor.config import TrainSettings
from preceptor.errors import ModelError
from preceptor.train import parallel
from preceptor.train.batches import TrainingItem, evened, stream
from preceptor.train.parallel import Team, shares_of, team
from shared_folders import made_once

TESTS = Path(__file__).resolve().parent.parent


def torchrun(*arguments: str, timeout: int = 500) -> subprocess.CompletedProcess[str]:
    """Two processes of torchrun that find this package and the helpers of the tests."""
    paths = [str(TESTS.parent / "src"), str(TESTS), str(TESTS / "train")]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(paths), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", *arguments]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=timeout)


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[dict[str, Any]]]:
    """The models' folder, and what each of the two processes found."""

    def launch(root: Path) -> None:
        for kind in tiny.ARCHITECTURES:
            tiny.save_model(root / kind, kind)
        done = torchrun(str(TESTS / "train" / "two_processes.py"), str(root))
        assert done.returncode == 0, done.stderr[-3000:]

    root = made_once(tmp_path_factory, "two-processes", launch)
    return root, json.loads((root / "found.json").read_text())


def close(found: dict[str, Any], expected: dict[str, Any]) -> None:
    """The same training within rounding."""
    assert found["losses"] == pytest.approx(expected["losses"], rel=1e-4)
    for mine, theirs in zip(found["checks"], expected["checks"], strict=True):
        assert mine == pytest.approx(theirs, rel=1e-4)
    assert found["selected"] == expected["selected"]
    assert found["tokens"] == expected["tokens"]
    for name, values in expected["weights"].items():
        # The bias of keys moves no softmax: its gradient is rounding, which Adam blows up. GPT-2 has it as the middle
        # third of one bias.
        kept = slice(0)
        if name.endswith("c_attn.bias"):
            kept = slice(len(values) // 3)
        elif not name.endswith("key.bias"):
            kept = slice(None)
        assert found["weights"][name][kept] == pytest.approx(values[kept], abs=3e-4), name


@pytest.mark.parametrize("processes", ["ddp", "fsdp"])
@pytest.mark.parametrize("case", list(two_processes.CASES))
def test_two_processes_give_the_losses_and_weights_of_one(
    case: str, processes: str, shared: tuple[Path, list[dict[str, Any]]]
) -> None:
    root, everybody = shared
    alone = two_processes.train(root, case, processes)
    assert (alone["processes"], alone["parted"], alone["held"]) == (1, [False], alone["whole"])
    assert len(everybody) == 2
    for found in everybody:
        assert found["size"] == [2, 2]
        assert found["backend"] == "gloo"
        assert found[processes][case]["processes"] == 2
        close(found[processes][case], alone)


@pytest.mark.parametrize("case", ["llama-rationale", "gpt2-tokens-of-a-teacher"])
def test_cases_have_steps_in_which_one_process_alone_has_a_rationale(
    case: str, tiny_models: dict[str, Path], tmp_path: Path
) -> None:
    """And steps of which the processes have unequal parts."""
    settings = two_processes.settings_of(case)
    student = tiny.open_tiny(tiny_models[case.partition("-")[0]])
    made = two_processes.items_of(student, settings)[: two_processes.TRAINED]
    assert len({item.weight for item in made}) > 1
    batches = stream(evened(made), settings, 1)
    steps = [list(islice(batches, settings.accumulation)) for _ in range(two_processes.STEPS)]
    shares = [shares_of(step, settings, 2) for step in steps]
    explained = [[[any(i.rationale for i in batch) for batch in own] for own in step] for step in shares]
    assert any(one != other for one, other in explained)
    assert any(any(one) != any(other) for one, other in explained)
    assert any(len({sum(map(len, own)) for own in step}) > 1 for step in shares)


@pytest.mark.parametrize("case", list(two_processes.CASES))
def test_under_fsdp_each_holds_a_part_of_every_weight(case: str, shared: tuple[Path, list[dict[str, Any]]]) -> None:
    for found in shared[1]:
        assert found["fsdp"][case]["parted"] == [True]
        assert found["ddp"][case]["parted"] == [False]
        assert found["ddp"][case]["held"] == found["ddp"][case]["whole"]
    held = [found["fsdp"][case]["held"] for found in shared[1]]
    whole = shared[1][0]["fsdp"][case]["whole"]
    assert sum(held) == whole
    assert max(held) < 0.6 * whole


@pytest.mark.parametrize("processes", ["ddp", "fsdp"])
def test_a_checkpoint_of_two_processes_is_gone_on_from(
    processes: str, shared: tuple[Path, list[dict[str, Any]]]
) -> None:
    root, everybody = shared
    alone = two_processes.train(root, "llama-lora", processes)
    for found in everybody:
        close(found[processes]["resumed"], alone)
    assert [found[processes]["resumed"]["steps"] for found in everybody] == [[1, 2, 3, 4, 5], []]


# --- what goes wrong in one process ----------------------------------------------------------------------------------


def failed(model: Path, *words: str) -> str:
    """What a launch says in which one process fails; that it ends at all is the point."""
    done = torchrun(str(TESTS / "train" / "failing_process.py"), str(model), *words, timeout=240)
    assert done.returncode != 0
    assert "done" not in done.stdout
    # The launcher itself ends in a traceback, of its own files alone.
    assert not [line for line in done.stderr.splitlines() if "preceptor" in line and line.startswith('  File "')]
    return done.stderr


@pytest.mark.parametrize(
    ("processes", "rank", "place"),
    [("fsdp", 1, "forward"), pytest.param("ddp", 0, "backward", marks=pytest.mark.long)],
)
def test_memory_that_runs_out_in_one_process_ends_all_of_them_with_a_sentence(
    processes: str, rank: int, place: str, tiny_models: dict[str, Path]
) -> None:
    said = failed(tiny_models["llama"], processes, str(rank), place, "memory")
    expected = f"Error: Memory ran out in process {rank} of 2 (the first is 0) at step 2 with 2 items at once.\n"
    assert [line[:13] for line in said.splitlines() if line.startswith("Error")] == ["Error: Memory"]
    assert expected + "Lower train.max_length or train.batch_size" in said


@pytest.mark.long
@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("fsdp 0 backward memory", "Error: Memory ran out in process 0 of 2 (the first is 0) at step 2"),
        ("fsdp 0 before memory", "Error: Memory ran out in process 0 of 2 (the first is 0).\n"),
        ("ddp 1 before memory", "Error: Memory ran out in process 1 of 2 (the first is 0).\n"),
        ("ddp 1 before sentence", "Error in process 1 of 2 (the first is 0): It went wrong.\n"),
        ("ddp 0 forward sentence", "Error: It went wrong.\n"),
        ("ddp 1 forward killed", "(SIGKILL)"),
    ],
)
def test_so_does_all_else_that_one_process_alone_meets(words: str, expected: str, tiny_models: dict[str, Path]) -> None:
    assert expected in failed(tiny_models["llama"], *words.split())


@pytest.mark.long
def test_an_error_of_the_program_keeps_its_traceback(tiny_models: dict[str, Path]) -> None:
    done = torchrun(
        str(TESTS / "train" / "failing_process.py"), str(tiny_models["llama"]), "ddp", "1", "forward", "bug"
    )
    assert done.returncode != 0
    assert "\nValueError: It went wrong.\n" in done.stderr


def test_that_another_process_is_gone_is_a_sentence_where_no_launcher_ends_this_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(parallel, "LAUNCHER_S", 0.0)
    group = Team(0, 2)
    with pytest.raises(ModelError, match="Another process of this run has ended"), parallel._while_all_live(group):
        raise RuntimeError("[pair.cc:534] Connection closed by peer [127.0.0.1]:29735")
    assert group.broken
    with pytest.raises(RuntimeError, match="shapes"), parallel._while_all_live(group):
        raise RuntimeError("mat1 and mat2 shapes cannot be multiplied")


# --- dealing out --------------------------------------------------------------------------------------------------


def items(*lengths: int) -> list[TrainingItem]:
    return [TrainingItem((k,) * length, ()) for k, length in enumerate(lengths)]


@pytest.mark.parametrize("size", [2, 3, 5])
@pytest.mark.parametrize("batch_size", [1, 2, 4])
def test_every_item_is_dealt_once_and_all_have_as_many_batches(size: int, batch_size: int) -> None:
    settings = TrainSettings(batch_size=batch_size)
    for count in range(1, 18):
        made = items(*((7 * k) % 11 + 1 for k in range(count)))
        batches = [made[: count // 2], made[count // 2 :]]
        shares = shares_of(batches, settings, size)
        dealt = [item for share in shares for batch in share for item in batch]
        assert sorted(item.prompt for item in dealt) == sorted(item.prompt for item in made)
        working = [share for share in shares if share]
        assert len(working) == min(size, count)
        assert len({len(share) for share in working}) == 1
        assert all(batch for share in working for batch in share)
        # One item beyond the limit at most: where shares differ by one and cannot be cut further.
        assert max(len(batch) for share in working for batch in share) <= batch_size + 1


def test_alone_nothing_is_shared() -> None:
    group, batches = Team(), [items(1, 2), items(3)]
    assert group.share(batches, TrainSettings()) == batches
    assert (group.divisor(3), group.mean(0.5), group.first_says("this"), group.first) == (3, 0.5, "this", True)
    assert team().size == 1
