"""Writing tasks from seeds: 25,005 kept ones through the whole loop, ledger on disk; novelty beside rouge_score.

    python bench/instruct.py [--quick] [--no-peers] [--kept N]

Needs no data: a scripted teacher makes tasks up, with lengths like those of Self-Instruct's published seeds, and about
every other one an earlier one with some words changed, so that novelty has work to do. Seconds are wall clock, with the
CPU seconds of the process beside them; ratios are of CPU seconds. The plain loop with rouge_score, as in
Self-Instruct, runs on the first candidates only and is extrapolated to all of them. Prints a table and ends with one
line of JSON.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import importlib.util
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from environments import DEFAULT, python_with
from wordings import Writer

from preceptor.config import InstructSettings
from preceptor.filter.tasks import KnownTasks
from preceptor.pipeline.writing import write_tasks
from preceptor.pipeline.writing_records import Asking
from preceptor.records import CATEGORIES, Instruction, Request, Sampling
from preceptor.store.ledger import Ledger
from preceptor.store.provenance import machine
from preceptor.teachers.scripted import ScriptedTeacher

HERE = Path(__file__).resolve().parent
PEERS = ("rouge-score==0.1.2", "nltk==3.10.4")
SEEDS, KEPT, LOOP = 80, 25_005, 2_000
"""Seeds and kept tasks of BioInstruct; candidates on which rouge_score is measured."""
CHANGED = 0.6
"""Share of tasks that are an earlier one with some words changed."""
RATES = (0.1, 0.2, 0.4, 0.6)

# Deciles 0 to 100 of the words of the 175 published seed tasks of Self-Instruct (Wang et al. 2023).
INSTRUCTION_WORDS = (3, 7, 8, 8, 10, 11, 12, 14, 17, 21.6, 66)
INPUT_WORDS = (0, 0, 0, 1, 4, 7, 11, 19.8, 33, 55.8, 200)
OUTPUT_WORDS = (1, 1, 5, 8.2, 14, 20, 30, 48.8, 67.6, 92.6, 300)

FRAMES = (
    "explain {}", "what is {}?", "define {} and {}", "name {} for {}", "describe the {} of {}",
    "write a note about {}", "list what {} and {} share", "is it wise to choose {} over {}?",
    "summarise the text on {} for {}", "find every {} that the report on {} mentions",
    "say which of the two plans takes less {}", "turn the notes on {} into a letter to {}",
    "sort these names of {} by how often they occur with {}", "correct the mistakes in this recipe for {}",
    "compare how {} is done in the hills with how {} is done here",
    "decide whether the sentence about {} follows from the one about {}",
    "given a paragraph about {}, find each mention of {} and say what it means",
)  # fmt: skip
"""Instructions with gaps, from one fixed word to a dozen."""

Figures = dict[str, Any]


def main() -> None:
    """The loop, then its novelty beside rouge_score."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="300 tasks: a look at whether it runs")
    parser.add_argument("--kept", type=int, help="tasks to keep (25,005; quick: 300)")
    parser.add_argument("--no-peers", action="store_true", help="do not run rouge_score")
    parser.add_argument("--peers", type=Path, default=DEFAULT, help="folder for the peer's environment")
    parser.add_argument("--part", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.part:
        print(json.dumps(write(options.part)))
        return
    figures = _ask([sys.executable, str(Path(__file__).resolve()), "--part", str(options.kept or _kept(options))])
    compared = figures.pop("compared")
    texts, kept = compared["texts"], compared["kept"]
    _print_lengths(figures)
    _print_run(figures)
    figures |= {"vs_rouge_score": None, "identical_decisions": None}
    if not options.no_peers:
        count = min(200 if options.quick else LOOP, len(texts))
        seconds = sum(compared["cpu_seconds"][:count])
        pairs = int(np.cumsum([SEEDS, *kept[:-1]]).sum())  # texts in the pool at each turn
        peer = _beside_rouge_score(compared["seeds"], texts[:count], kept[:count], options.peers)
        whole = pairs * peer["rouge_score_cpu_seconds"] / peer.pop("pairs")
        figures |= {
            **peer,
            "loop_cpu_seconds": seconds,
            "vs_rouge_score_in_loop": peer["rouge_score_cpu_seconds"] / seconds,
            "rouge_score_whole_seconds_extrapolated": whole,
            "vs_rouge_score": whole / figures["novelty_cpu_seconds"],
        }
        _print_peer(figures)
    figures["versions"] = {name: importlib.metadata.version(name) for name in ("numpy", "rapidfuzz", "rouge_score")}
    figures["machine"] = machine()
    print("\nmachine: {processor}, {cores} cores".format(**figures["machine"]))
    print(json.dumps(figures))


def _kept(options: argparse.Namespace) -> int:
    return 300 if options.quick else KEPT


# The teacher.


class Author:
    """Makes tasks up; the same number gives the same task."""

    def __init__(self) -> None:
        self._writer = Writer(7)

    def __call__(self, request: Request) -> str:
        """The answer to a request for a task or for a category."""
        kind, _, number = request.item.partition("/")
        if kind == "category":
            return CATEGORIES[sum(request.messages[-1].content.encode()) % 3]
        task = self.task(int(number))
        return f"Instruction: {task[0]}\nInput: {task[1] or '<none>'}\nOutput: {task[2]}"

    def task(self, number: int) -> tuple[str, str, str]:
        """Instruction, input and output of task `number`; seeds have negative numbers."""
        self._begin("task", number)
        rng = self._writer.rng
        if number > 0 and rng.random() < CHANGED:
            earlier, rate, noise = rng.randrange(number), rng.choice(RATES), rng.random()
            words = self._fresh(earlier).split()
            self._begin("change", noise)
            words = [self._writer.fillers(1)[0] if self._writer.rng.random() < rate else word for word in words]
            instruction = " ".join(words)
        else:
            instruction = self._fresh(number)
        self._begin("rest", number)
        return instruction, self._text(INPUT_WORDS), self._text(OUTPUT_WORDS)

    def _begin(self, *key: object) -> None:
        self._writer.rng = random.Random(repr(key))

    def _fresh(self, number: int) -> str:
        self._begin("fresh", number)
        rng = self._writer.rng
        length = _drawn(rng, INSTRUCTION_WORDS)
        fitting = [frame for frame in FRAMES if len(frame.split()) <= max(length, len(FRAMES[0].split()))]
        frame = rng.choice(fitting)
        gaps = frame.count("{}")
        free = max(length - (len(frame.split()) - gaps), gaps)
        cut = sorted(rng.sample(range(1, free), gaps - 1)) if gaps > 1 else []
        words = self._writer.fillers(free)
        return frame.format(*(" ".join(words[a:b]) for a, b in zip([0, *cut], [*cut, free], strict=True)))

    def _text(self, lengths: Sequence[float]) -> str:
        length = _drawn(self._writer.rng, lengths)
        own = self._writer.fillers(min(length, 2))  # else many would begin with the same words as a seed
        rest = self._writer.document(length - 2, length - 2) if length > 2 else ""
        return f"{' '.join(own)} {rest}".strip()


def _drawn(rng: random.Random, deciles: Sequence[float]) -> int:
    return round(float(np.interp(rng.random() * 10, range(11), deciles)))


# The run.


def write(kept: int) -> Figures:
    """The whole loop in this process."""
    author = Author()
    seeds = [
        Instruction(f"seed-{n}", *author.task(-n - 1), category=CATEGORIES[n % 3], origin="seed") for n in range(SEEDS)
    ]
    texts: list[str] = []
    decided: list[bool] = []
    novelty: tuple[list[float], list[float]] = ([], [])
    _listen(texts, decided, *novelty)
    settings = InstructSettings(target=kept)
    with tempfile.TemporaryDirectory() as folder, Ledger(Path(folder) / "ledger.sqlite") as ledger:
        wall, cpu = time.perf_counter(), time.process_time()
        written = write_tasks(settings, seeds, Asking(ScriptedTeacher(author), Sampling(), ledger))
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
        size = sum(file.stat().st_size for file in Path(folder).iterdir())
    funnel = written.funnel
    fields = [dict(example.fields) for example in written.kept]
    return {
        "kept": funnel.kept,
        "stopped": funnel.stopped,
        "requests": written.spend.calls,
        "candidates": funnel.candidates,
        "dropped": dict(funnel.dropped),
        "seconds": wall,
        "cpu_seconds": cpu,
        "novelty_seconds": sum(novelty[0]),
        "novelty_cpu_seconds": sum(novelty[1]),
        "dropped_by_rouge_share": funnel.dropped.get("rouge_l", 0) / funnel.candidates,
        "median_nearest_f": funnel.nearest_f[5],
        "peak_mib": _peak_mib(),
        "ledger_mib": size / 2**20,
        "instruction_words": _deciles([one["instruction"] for one in fields]),
        "compared": {
            "seeds": [seed.instruction for seed in seeds],
            "texts": texts,
            "kept": decided,
            "cpu_seconds": novelty[1],
        },
    }


def _listen(texts: list[str], kept: list[bool], wall: list[float], cpu: list[float]) -> None:
    """Time all that `KnownTasks` does, and note what it decided by ROUGE-L."""

    def timed(name: str) -> None:
        method = getattr(KnownTasks, name)

        def call(*arguments: Any, **keywords: Any) -> Any:
            begin, used = time.perf_counter(), time.process_time()
            found = method(*arguments, **keywords)
            took = time.perf_counter() - begin, time.process_time() - used
            if name == "judge":
                if found.reason not in ("", "rouge_l"):
                    return found
                texts.append(arguments[1].instruction)
                kept.append(found.kept)
                wall.append(0.0)
                cpu.append(0.0)
            if wall:  # not of the seeds
                wall[-1] += took[0]
                cpu[-1] += took[1]
            return found

        setattr(KnownTasks, name, call)

    for name in ("judge", "nearest_f", "add", "forget"):
        timed(name)


def _beside_rouge_score(seeds: Sequence[str], texts: Sequence[str], kept: Sequence[bool], peers: Path) -> Figures:
    """The plain loop on the same texts: time, comparisons and decisions."""
    here = importlib.util.find_spec("rouge_score") is not None
    python = Path(sys.executable) if here else python_with(PEERS, peers)
    bound = InstructSettings().max_f
    with tempfile.TemporaryDirectory() as folder:
        job = Path(folder) / "job.json"
        job.write_text(json.dumps({"seeds": seeds, "candidates": texts, "bound": bound}), encoding="utf-8")
        peer = _ask([str(python), str(HERE / "filter_peers.py"), "stream", str(job)])
    return {
        "loop_candidates": len(texts),
        "rouge_score_cpu_seconds": peer["seconds"],
        "pairs": peer["pairs"],
        "identical_decisions": sum(a == (f <= bound) for a, f in zip(kept, peer["nearest"], strict=True)),
    }


# Processes and tables.


def _ask(command: list[str]) -> Figures:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"{' '.join(command)} failed:\n{done.stderr[-2000:]}")
    result: Figures = json.loads(done.stdout.splitlines()[-1])
    return result


def _deciles(texts: Sequence[str]) -> list[float]:
    words = np.percentile([len(text.split()) for text in texts], range(0, 101, 10))
    return [round(float(n), 1) for n in words]


def _published() -> Sequence[float]:
    """Deciles of the published seeds: from the file where it is, else as written down here."""
    root = os.environ.get("PRECEPTOR_DATA")
    path = Path(root) / "self-instruct" / "seed_tasks.jsonl" if root else None
    if path is None or not path.is_file():
        return INSTRUCTION_WORDS
    with path.open(encoding="utf-8") as lines:
        return _deciles([json.loads(line)["instruction"] for line in lines])


def _print_lengths(figures: Figures) -> None:
    print("Words of an instruction, deciles 0 to 100")
    print(f"  Self-Instruct's seeds  {' '.join(f'{n:5g}' for n in _published())}")
    print(f"  kept here              {' '.join(f'{n:5g}' for n in figures['instruction_words'])}", flush=True)


def _print_run(figures: Figures) -> None:
    print(
        "\n{kept:,} kept of {candidates:,} candidates, {dropped_by_rouge_share:.0%} dropped by ROUGE-L, median F of "
        "the kept to the nearest {median_nearest_f:.2f}\n  {seconds:.1f} s ({cpu_seconds:.1f} s CPU) with {requests:,} "
        "requests through a ledger of {ledger_mib:.0f} MiB; of it novelty {novelty_seconds:.1f} s "
        "({novelty_cpu_seconds:.1f} s CPU); peak {peak_mib:.0f} "
        "MiB\n  dropped: {dropped}".format(**figures),
        flush=True,
    )


def _print_peer(figures: Figures) -> None:
    print(
        "\nThe first {loop_candidates:,} that were compared: {loop_cpu_seconds:.2f} s CPU; the plain loop with "
        "rouge_score {rouge_score_cpu_seconds:.0f} s CPU, {vs_rouge_score_in_loop:,.0f} x\n  identical decisions "
        "{identical_decisions:,}".format(**figures)
    )
    hours = figures["rouge_score_whole_seconds_extrapolated"] / 3600
    print(
        f"All of them: the plain loop would take {hours:.1f} h, {figures['vs_rouge_score']:,.0f} x; extrapolated "
        "by the number of pairs, not measured"
    )


def _peak_mib() -> float:
    """Highest resident memory of this process. Not `ru_maxrss`, which a child takes over from its parent on Linux."""
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines())
    return int(status["VmHWM"].split()[0]) / 1024


if __name__ == "__main__":
    main()
