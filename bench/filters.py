"""Speed and exactness of the filters: near duplicates, novelty by ROUGE-L, leakage.

    python bench/filters.py [--quick] [--no-peers] [--only duplicates novelty leakage]

Needs no data: documents come from a seeded generator. With PRECEPTOR_DATA real text is added, and the section on
leakage. Peers (rouge_score, distilabel) are installed into an environment of their own when first wanted. Every
measured part is a process of its own; times are CPU seconds of that process unless a row says wall, so that other
work on the machine disturbs them little. Prints tables, and ends with one line of JSON.
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
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from environments import DEFAULT, python_with
from rapidfuzz import process
from rapidfuzz.distance import Levenshtein
from wordings import Writer, instructions, with_close_ones

from preceptor.config import DuplicateSettings
from preceptor.data.base import Task
from preceptor.filter.base import FilterContext
from preceptor.filter.duplicates import Duplicates
from preceptor.filter.novelty import Novelty
from preceptor.filter.rouge import rouge_l
from preceptor.filter.text import normalised
from preceptor.records import Example
from preceptor.store.provenance import machine

HERE = Path(__file__).resolve().parent
PEERS = ("rouge-score==0.1.2", "distilabel==1.5.3", "datasketch==1.6.5", "nltk==3.10.4", "requests==2.34.2")
SIMILARITY, BOUND = 0.95, 0.7
AUDITED = 500
"""Kept documents that are compared with every other one, to see whether a pair was missed."""
SEEDS, KEPT = 175, 25_005
"""Texts to begin with, and to end with: the size of BioInstruct."""

Figures = dict[str, Any]


def main() -> None:
    """All sections."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="small sizes: a look at whether it runs")
    parser.add_argument("--only", nargs="+", choices=["duplicates", "novelty", "leakage"])
    parser.add_argument("--no-peers", action="store_true", help="install nothing and compare with nothing")
    parser.add_argument("--documents", type=int, help="near duplicates: number of documents (100,000; quick: 5,000)")
    parser.add_argument("--peers", type=Path, default=DEFAULT, help="folder for the peers' environment")
    parser.add_argument("--part", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.part:
        kind, file = options.part
        print(json.dumps(PARTS[kind](json.loads(Path(file).read_text(encoding="utf-8")))))
        return
    peers = None if options.no_peers else python_with(PEERS, options.peers)
    data = Path(os.environ["PRECEPTOR_DATA"]) if os.environ.get("PRECEPTOR_DATA") else None
    wanted = options.only or ["duplicates", "novelty", "leakage"]
    results: Figures = {"quick": options.quick}
    if "duplicates" in wanted:
        documents = options.documents or (5_000 if options.quick else 100_000)
        results["duplicates"] = duplicates(documents, data, peers)
    if "novelty" in wanted:
        results["novelty"] = novelty(options.quick, data, peers)
    if "leakage" in wanted:
        results["leakage"] = leakage(options.quick, data)
    results["versions"] = {name: importlib.metadata.version(name) for name in ("numpy", "rapidfuzz")}
    results["peers"] = list(PEERS) if peers else []
    results["machine"] = {**machine(), "memory_gib": round(_memory_gib(), 1)}
    print("\nmachine: {processor}, {cores} cores, {memory_gib} GiB".format(**results["machine"]))
    print(json.dumps(results))


# Near duplicates.


def duplicates(count: int, data: Path | None, peers: Path | None) -> Figures:
    """Made-up documents with planted duplicates, and real ones."""
    made = Writer(1).documents(count)
    found = {"made_up": _duplicates_of(made.texts, made.source)}
    if data:
        real = _stretches(data)[:count]
        texts, source = Writer(5).plant(real)
        found["real"] = _duplicates_of(texts, source)
    rows = [
        (
            f"near duplicates, {kind}: {row['documents']:,} documents, {row['mean_words']:.0f} words",
            f"{row['wall_s']:.1f} s wall, {row['cpu_s']:.1f} s CPU, {row['peak_mib']:.0f} MiB; "
            f"recall {row['recall']:.4f} of {row['planted']:,}, first kept {row['first_kept']}, "
            f"not near but dropped {row['wrongly_dropped']}, missed by {row['audited']} audited {row['missed']}",
        )
        for kind, row in found.items()
    ]
    figures: Figures = dict(found)
    if peers:
        for threshold in (0.9, 0.5):
            peer = _ask_peer(peers, "minhash", {"texts": made.texts, "threshold": threshold})
            row = figures[f"minhash_{threshold}"] = {
                "cpu_s": peer["seconds"],
                "peak_mib": peer["peak_mib"],
                "vs_preceptor": peer["seconds"] / found["made_up"]["cpu_s"],
                **_judged(made.texts, made.source, dict.fromkeys(peer["dropped"])),
            }
            rows.append(
                (
                    f"distilabel MinHashDedup, threshold {threshold}, 5 letters",
                    f"{row['cpu_s']:.1f} s CPU ({row['vs_preceptor']:.1f} x ours), {row['peak_mib']:.0f} MiB; "
                    f"recall {row['recall']:.4f}, dropped without a near one planted {row['unplanted_dropped']:,}",
                )
            )
        figures["embedding_dedup_keeps"] = _ask_peer(peers, "both", {"threshold": 0.9})["kept"]
        rows.append(("distilabel EmbeddingDedup keeps, of two duplicates", str(figures["embedding_dedup_keeps"])))
    _table("Near duplicates (edit similarity 0.95)", rows)
    return figures


def _duplicates_of(texts: list[str], source: Mapping[int, int]) -> Figures:
    part = _ask_self("duplicates", {"texts": texts})
    dropped = {int(i): other for i, other in part.pop("dropped").items()}
    return {**part, **_judged(texts, source, dropped), **_audit(texts, dropped)}


def _judge_documents(job: Figures) -> Figures:
    """The filter as a run calls it, in a process of its own."""
    task = Task(name="bench", setting="default", labels=("yes", "no"), inputs=("text",), template="{{ text }}")
    items = [Example(str(i), {"text": text}, "yes") for i, text in enumerate(job["texts"])]
    before = _peak_mib()
    wall, cpu = time.perf_counter(), time.process_time()
    verdicts = Duplicates(DuplicateSettings(max_similarity=SIMILARITY)).judge(items, FilterContext(task, {}, (), _none))
    return {
        "documents": len(items),
        "mean_words": sum(len(text.split()) for text in job["texts"]) / len(items),
        "wall_s": time.perf_counter() - wall,
        "cpu_s": time.process_time() - cpu,
        "peak_mib": _peak_mib(),
        "peak_before_mib": before,
        "dropped": {i: int(v.detail.rsplit(" ", 1)[1]) for i, v in enumerate(verdicts) if not v.kept},
    }


def _judged(texts: Sequence[str], source: Mapping[int, int], dropped: Mapping[int, int | None]) -> Figures:
    """Recall over the planted duplicates that really are near a kept text, and what else was dropped."""
    norm = [normalised(text) for text in texts]
    near = {i for i, j in source.items() if Levenshtein.normalized_similarity(norm[i], norm[j]) >= SIMILARITY}
    due = {i for i in near if source[i] not in dropped}
    figures = {
        "planted": len(due),
        "recall": len(due & dropped.keys()) / max(len(due), 1),
        "unplanted_dropped": len(dropped.keys() - near),
    }
    pairs = [(i, j) for i, j in dropped.items() if j is not None]
    if len(pairs) == len(dropped):
        shares = [Levenshtein.normalized_similarity(norm[i], norm[j]) for i, j in pairs]
        figures["wrongly_dropped"] = sum(share < SIMILARITY for share in shares)
        figures["first_kept"] = all(j < i and j not in dropped for i, j in pairs)
    return figures


def _audit(texts: Sequence[str], dropped: Mapping[int, int | None]) -> Figures:
    """Pairs of kept texts that are near after all: some of them against all, one by one."""
    kept = [normalised(text) for i, text in enumerate(texts) if i not in dropped]
    some = random.Random(0).sample(range(len(kept)), min(AUDITED, len(kept)))
    missed = 0
    for top in range(0, len(some), 50):
        rows = some[top : top + 50]
        shares = process.cdist(
            [kept[i] for i in rows],
            kept,
            scorer=Levenshtein.normalized_similarity,
            score_cutoff=SIMILARITY,
            dtype=np.float32,
        )
        missed += int((shares > 0).sum()) - len(rows)
    return {"audited": len(some), "missed": missed}


def _stretches(data: Path, words: int = 35) -> list[str]:
    """Neighbouring words of real trial abstracts."""
    with (data / "rct-abstracts" / "abstracts.jsonl").open(encoding="utf-8") as lines:
        texts = [" ".join(s["text"] for s in json.loads(line)["sections"]).split() for line in lines]
    parts = [" ".join(text[top : top + words]) for text in texts for top in range(0, len(text) - 20, words)]
    return list(dict.fromkeys(parts))


# Novelty.


def novelty(quick: bool, data: Path | None, peers: Path | None) -> Figures:
    """Pairs beside rouge_score, then candidates one after another."""
    figures: Figures = {}
    rows = []
    for kind, texts in _novelty_texts(data).items():
        row = figures[f"pairs_{kind}"] = _pairs(texts[: 150 if quick else 300], peers)
        name = f"ROUGE-L, {kind}: {row['pairs']:,} pairs"
        text = f"{row['us_per_pair']:.4f} us CPU a pair"
        if peers:
            text += f"; rouge_score {row['rouge_score_us']:.0f} us, {row['vs_rouge_score']:,.0f} x; identical F "
            text += f"{row['identical_f']:,} of {row['pairs']:,}, identical decisions {row['identical_decisions']:,}"
        rows.append((name, text))
    writer = Writer(2)
    seeds = instructions(writer, SEEDS)
    candidates = instructions(writer, 2_000 if quick else 2 * KEPT)
    row = figures["stream"] = _ask_self(
        "stream", {"seeds": seeds, "candidates": candidates, "kept": 1_000 if quick else KEPT}
    )
    rows.append(
        (
            f"one after another: {row['kept']:,} kept of {row['candidates']:,}, {row['dropped_share']:.0%} dropped",
            f"{row['cpu_s']:.1f} s CPU with the nearest of each (median F {row['median_f']:.2f}), "
            f"{row['decide_cpu_s']:.1f} s to decide alone, {row['peak_mib']:.0f} MiB",
        )
    )
    if peers:
        job = {"seeds": seeds, "candidates": candidates[: 200 if quick else 2_000], "bound": BOUND}
        ours, peer = _ask_self("stream", {**job, "kept": None}), _ask_peer(peers, "stream", job)
        row = figures["loop"] = {
            "candidates": len(job["candidates"]),
            "rouge_score_cpu_s": peer["seconds"],
            "cpu_s": ours["cpu_s"],
            "vs_rouge_score": peer["seconds"] / ours["cpu_s"],
            "identical_f": sum(a == b for a, b in zip(ours["nearest"], peer["nearest"], strict=True)),
        }
        rows.append(
            (
                f"the first {row['candidates']:,} of them beside a loop with rouge_score",
                f"{row['cpu_s']:.2f} s CPU; rouge_score {row['rouge_score_cpu_s']:.0f} s, "
                f"{row['vs_rouge_score']:,.0f} x; identical F, and so decisions: {row['identical_f']:,}",
            )
        )
    del figures["stream"]["nearest"]
    _table("Novelty (ROUGE-L F above 0.7 goes)", rows)
    return figures


def _novelty_texts(data: Path | None) -> dict[str, list[str]]:
    texts = {"made_up": instructions(Writer(3), 300)}
    if data:
        with (data / "self-instruct" / "seed_tasks.jsonl").open(encoding="utf-8") as lines:
            seeds = [json.loads(line)["instruction"] for line in lines]
        items = json.loads((data / "pubmedqa" / "ori_pqal.json").read_text(encoding="utf-8"))
        texts["real"] = with_close_ones(seeds + [item["QUESTION"] for item in items.values()], 300)
    return texts


def _pairs(texts: list[str], peers: Path | None) -> Figures:
    """Every pair once for rouge_score; ours computes the square, and its time is per pair of the square."""
    part = _ask_self("pairs", {"texts": texts})
    scores = np.array(part.pop("scores"))
    upper = scores[np.triu_indices(len(texts), 1)]
    figures = {"pairs": len(upper), **part}
    if peers:
        peer = _ask_peer(peers, "rouge", {"texts": texts})
        truth = np.array(peer["scores"])
        figures["rouge_score_us"] = peer["seconds"] / len(truth) * 1e6
        figures["vs_rouge_score"] = figures["rouge_score_us"] / part["us_per_pair"]
        figures["identical_f"] = int((upper == truth).sum())
        figures["identical_decisions"] = int(((upper > BOUND) == (truth > BOUND)).sum())
        figures["above_bound"] = int((truth > BOUND).sum())
    return figures


def _score_pairs(job: Figures) -> Figures:
    """Words, spelling and F-measures, all within the time; the middle of nine runs on one thread."""
    texts, times = job["texts"], []
    for _ in range(9):
        begin = time.process_time()
        scores = rouge_l(texts, texts)
        times.append(time.process_time() - begin)
    return {"us_per_pair": sorted(times)[4] / scores.size * 1e6, "scores": scores.tolist()}


def _stream(job: Figures) -> Figures:
    """Candidates one after another until enough are kept, once with every nearest and once deciding only."""
    pool, nearest = Novelty(BOUND), []
    pool.extend(job["seeds"])
    begin, used = time.process_time(), 0
    for text in job["candidates"]:
        near = pool.nearest(text)
        used += 1
        nearest.append(near.f if near else 0.0)
        if nearest[-1] <= BOUND:
            pool.add(text)
        if len(pool) == job["kept"]:
            break
    seconds = time.process_time() - begin
    again = Novelty(BOUND)
    begin = time.process_time()
    again.extend(job["seeds"])
    for text in job["candidates"][:used]:
        if again.too_close(text) is None:
            again.add(text)
    decide = time.process_time() - begin
    if len(again) != len(pool):
        sys.exit(f"deciding alone kept {len(again)} texts, deciding by the nearest {len(pool)}")
    return {
        "kept": len(pool),
        "candidates": used,
        "dropped_share": sum(f > BOUND for f in nearest) / used,
        "median_f": float(np.median([f for f in nearest if f <= BOUND])),
        "cpu_s": seconds,
        "decide_cpu_s": decide,
        "peak_mib": _peak_mib(),
        "nearest": nearest,
    }


# Leakage.


def leakage(quick: bool, data: Path | None) -> Figures:
    """The rows of `planted.py`."""
    if data is None or importlib.util.find_spec("planted") is None:
        print("\nLeakage: left out, it needs PRECEPTOR_DATA and planted.py")
        return {}
    from planted import leakage_table

    table = leakage_table(data, quick=quick)
    rows = [
        (f"{r.group}: {r.kind}", f"{r.caught} of {r.n}, {r.share:.3f} [{r.low:.3f}, {r.high:.3f}] {r.rules}")
        for r in table
    ]
    _table("Leakage: planted candidates that are dropped", rows)
    return {f"{r.group}: {r.kind}": {"n": r.n, "caught": r.caught, "low": r.low, "high": r.high} for r in table}


# Processes and tables.

PARTS: dict[str, Callable[[Figures], Figures]] = {
    "duplicates": _judge_documents,
    "pairs": _score_pairs,
    "stream": _stream,
}


def _ask_self(part: str, job: Figures) -> Figures:
    return _ask([sys.executable, str(Path(__file__).resolve()), "--part", part], job)


def _ask_peer(python: Path, part: str, job: Figures) -> Figures:
    return _ask([str(python), str(HERE / "filter_peers.py"), part], job)


def _ask(command: list[str], job: Figures) -> Figures:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "job.json"
        file.write_text(json.dumps(job), encoding="utf-8")
        done = subprocess.run([*command, str(file)], capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"{' '.join(command)} failed:\n{done.stderr[-2000:]}")
    result: Figures = json.loads(done.stdout.splitlines()[-1])
    return result


def _table(title: str, rows: Sequence[tuple[str, str]]) -> None:
    print(f"\n{title}", flush=True)
    width = max(len(name) for name, _ in rows)
    for name, text in rows:
        print(f"  {name:<{width}}  {text}", flush=True)


def _peak_mib() -> float:
    """Highest resident memory of this process. Not `ru_maxrss`, which a child takes over from its parent on Linux."""
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines())
    return int(status["VmHWM"].split()[0]) / 1024


def _memory_gib() -> float:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30


def _none(texts: Sequence[str]) -> np.ndarray:
    raise AssertionError("near duplicates need no embeddings")


if __name__ == "__main__":
    main()
