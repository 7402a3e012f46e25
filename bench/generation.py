"""How fast is asking a teacher? Preceptor with its ledger on, beside distilabel, curator and a bare aiohttp loop.

    python bench/generation.py            everything: about ten minutes, and the first time the peers' installation
    python bench/generation.py --quick    small, without peers: does it work at all?

One stub on loopback (`stub.py`) answers all tools with the same latency. Each tool runs in a process of its own
(`runners/`), the peers in environments that this script makes. Every answer is checked; one that is missing or wrong
ends the bench. Ends with one line of JSON.

**The clock.** It stops when the last answer is in the caller's hand. For Preceptor, the bare loop and the openai client
it starts at the call, with the prompts made and the modules imported: hashing, looking up the ledger, opening
connections and storing are inside. distilabel and curator start processes or write files first; theirs starts when
their first request reaches the stub, which is to their advantage. What is before the clock stands in the table as
start-up.

**Memory** is the largest resident size of the client's process when it streams: requests are made when the engine takes
them, and answers let go when they are checked. For distilabel its largest child is added.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from environments import DEFAULT, python_with

from preceptor.store.provenance import machine, provenance

HERE = Path(__file__).resolve().parent
LATENCY_S = 0.1
CONCURRENCY = 200
LONGEST_S = 1800
"""A tool that takes longer has hung."""


@dataclass(frozen=True)
class Tool:
    """What is measured."""

    name: str
    runner: str
    """Module that runs it."""
    requirements: tuple[str, ...] = ()
    """What pip installs for it; nothing for those that run in this script's own environment."""
    starts_at_call: bool = True
    """Whether the clock starts at the call, or with the first request at the stub."""


BARE = Tool("bare", "runners.bare")
OURS = Tool("preceptor", "runners.ours")
CURATOR = ("bespokelabs-curator==0.1.31",)
# openai is the newest at the time of writing: with distilabel twice as fast as the releases of distilabel's own time.
# requests is imported by distilabel, which no longer gets it from its other requirements.
PEERS = (
    Tool("openai", "runners.plain_openai", ("openai==3.57.0",)),
    Tool(
        "distilabel",
        "runners.with_distilabel",
        ("distilabel[openai]==1.5.3", "openai==3.57.0", "requests"),
        starts_at_call=False,
    ),
    Tool("curator", "runners.with_curator", CURATOR, starts_at_call=False),
    Tool("curator-litellm", "runners.with_curator_litellm", CURATOR, starts_at_call=False),
)


@dataclass(frozen=True)
class Timed:
    """One run of one tool."""

    rate: float
    """Requests per second."""
    start_up_s: float
    """From the start of the process to the start of the clock."""
    cpu_us: float
    """Processor time of the client, children included, per request; start-up of the peers is in it."""
    stub_cpu_us: float
    """Processor time of the stub, per request."""
    peak_bytes: int
    right: int
    """Answers that came and are right; a run with fewer than it asked for has no figures."""
    most_open: int
    """Most requests in flight at one time."""
    versions: dict[str, str]


class Stub:
    """The running stub."""

    def __init__(self, port: int) -> None:
        self._base = f"http://127.0.0.1:{port}"
        self._opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))

    @property
    def base_url(self) -> str:
        """For the tools."""
        return f"{self._base}/v1"

    def ask(self, path: str) -> dict[str, Any]:
        """What it says at `/stats` or `/reset`."""
        with self._opener.open(f"{self._base}{path}", timeout=30) as reply:
            said: dict[str, Any] = json.load(reply)
        return said


@contextmanager
def running_stub() -> Iterator[Stub]:
    """The stub in a process of its own, ended on leaving."""
    command = [sys.executable, "-m", "stub", "--latency-s", str(LATENCY_S)]
    process = subprocess.Popen(command, cwd=HERE, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    with process:  # closes its standard input on leaving, which ends it, and waits
        assert process.stdout is not None
        yield Stub(int(process.stdout.readline()))


def run(tool: Tool, python: Path, stub: Stub, count: int, *, stream: bool = False) -> Timed:
    """Run one tool once. Exits with its last words when it failed or an answer is missing or wrong."""
    stub.ask("/reset")
    with tempfile.TemporaryDirectory(prefix="preceptor-bench-") as folder:
        scratch, result, log = Path(folder, "scratch"), Path(folder, "result.json"), Path(folder, "log.txt")
        scratch.mkdir()
        command = [str(python), "-m", tool.runner, "--base-url", stub.base_url, "--count", str(count)]
        command += ["--concurrency", str(CONCURRENCY), "--scratch", str(scratch), "--result", str(result)]
        command += ["--stream"] if stream else []
        started = time.monotonic()
        try:
            with log.open("w") as output:
                subprocess.run(
                    command,
                    cwd=scratch,
                    env=_environment(scratch),
                    stdout=output,
                    stderr=output,
                    timeout=LONGEST_S,
                    check=True,
                )
        except subprocess.SubprocessError as error:
            sys.exit(f"{tool.name} failed ({error}):\n{log.read_text(errors='replace')[-3000:]}")
        figures = json.loads(result.read_text(encoding="utf-8"))
    seen = stub.ask("/stats")
    if figures["right"] != count or seen["distinct"] != count or seen["requests"] != count:
        sys.exit(f"{tool.name}: {figures['right']} of {count} answers are right; the stub saw {seen}")
    begun = figures["called"] if tool.starts_at_call else seen["first"]
    return Timed(
        rate=count / (figures["ended"] - begun),
        start_up_s=begun - started,
        cpu_us=figures["cpu_s"] / count * 1e6,
        stub_cpu_us=seen["cpu_s"] / count * 1e6,
        peak_bytes=figures["peak_bytes"] + figures["peak_child_bytes"],
        right=figures["right"],
        most_open=seen["most_open"],
        versions=figures["versions"],
    )


def _environment(scratch: Path) -> dict[str, str]:
    """The runner's variables: this folder's modules, caches in the scratch folder, nothing sent to anybody."""
    path = os.pathsep.join([str(HERE), *filter(None, [os.environ.get("PYTHONPATH")])])
    return {
        **os.environ,
        "PYTHONPATH": path,
        "HOME": str(scratch),
        "NO_PROXY": "127.0.0.1",
        "TELEMETRY_ENABLED": "false",  # curator
        "LITELLM_LOCAL_MODEL_COST_MAP": "True",  # curator's prices: those in the package
        "HF_HUB_OFFLINE": "1",
    }


def measure(
    tools: Sequence[tuple[Tool, Path]], stub: Stub, count: int, rounds: int, peer_rounds: int
) -> dict[str, list[Timed]]:
    """All tools, one after the other, several times over; every second round in the opposite order."""
    timed: dict[str, list[Timed]] = {tool.name: [] for tool, _ in tools}
    for number in range(rounds):
        for tool, python in tools if number % 2 == 0 else reversed(tools):
            if tool in PEERS and number >= peer_rounds:
                continue
            timed[tool.name].append(run(tool, python, stub, count))
            latest = timed[tool.name][-1]
            print(f"round {number + 1}: {tool.name} {latest.rate:.0f} requests/s", file=sys.stderr, flush=True)
    return timed


def summary(runs: Sequence[Timed]) -> dict[str, Any]:
    """One tool's figures over its rounds."""
    rates = [one.rate for one in runs]
    return {
        "requests_per_s": {"median": round(statistics.median(rates), 1), "min": round(min(rates), 1)}
        | {"max": round(max(rates), 1), "rounds": len(rates)},
        "client_cpu_us_per_request": round(statistics.median(one.cpu_us for one in runs), 1),
        "stub_cpu_us_per_request": round(statistics.median(one.stub_cpu_us for one in runs), 1),
        "start_up_s": round(statistics.median(one.start_up_s for one in runs), 2),
        "peak_mib": round(max(one.peak_bytes for one in runs) / 2**20, 1),
        "answers_right": sum(one.right for one in runs),
        "most_in_flight": max(one.most_open for one in runs),
        "versions": runs[0].versions,
    }


def table(figures: dict[str, dict[str, Any]]) -> str:
    """For people."""
    lines = [
        f"{'':16}{'requests/s':>12}{'min':>8}{'max':>8}{'rounds':>8}{'client us':>11}{'stub us':>9}"
        f"{'start-up s':>12}{'peak MiB':>10}{'in flight':>11}"
    ]
    for name, one in figures.items():
        rate = one["requests_per_s"]
        lines.append(
            f"{name:16}{rate['median']:12.0f}{rate['min']:8.0f}{rate['max']:8.0f}{rate['rounds']:8d}"
            f"{one['client_cpu_us_per_request']:11.0f}{one['stub_cpu_us_per_request']:9.0f}"
            f"{one['start_up_s']:12.2f}{one['peak_mib']:10.1f}{one['most_in_flight']:11d}"
        )
    return "\n".join(lines)


def ratio(figures: dict[str, dict[str, Any]], other: str) -> float | None:
    """Preceptor's rate over another's, medians; None when the other was not run."""
    if other not in figures:
        return None
    ours, theirs = (float(figures[name]["requests_per_s"]["median"]) for name in (OURS.name, other))
    return round(ours / theirs, 3)


def memory(python: Path, stub: Stub, counts: Sequence[int]) -> dict[str, Any]:
    """Preceptor's peak when it streams few requests, and many."""
    peaks = {count: run(OURS, python, stub, count, stream=True).peak_bytes for count in counts}
    return {"peak_mib": {str(count): round(peak / 2**20, 1) for count, peak in peaks.items()}} | {
        "ratio": round(peaks[counts[-1]] / peaks[counts[0]], 3)
    }


def main() -> None:
    """Measure, print the table, and the line of JSON."""
    options = _options()
    here = Path(sys.executable)
    tools = [(BARE, here), (OURS, here)]
    if not options.quick:
        tools += [(peer, python_with(peer.requirements, options.envs)) for peer in PEERS]
    with running_stub() as stub:
        timed = measure(tools, stub, options.count, options.rounds, options.peer_rounds)
        remembered = memory(here, stub, (options.count, options.many))
    figures = {name: summary(runs) for name, runs in timed.items()}
    print(f"{options.count} requests, {CONCURRENCY} in flight, {LATENCY_S * 1000:.0f} ms latency, every answer right")
    print(table(figures))
    for count, peak in remembered["peak_mib"].items():
        print(f"preceptor, streaming {count} requests: at most {peak} MiB")
    line = {
        "bench": "generation",
        "requests": options.count,
        "concurrency": CONCURRENCY,
        "latency_s": LATENCY_S,
        "vs_distilabel": ratio(figures, "distilabel"),
        "vs_curator": ratio(figures, "curator"),
        "vs_curator_litellm": ratio(figures, "curator-litellm"),
        "vs_openai": ratio(figures, "openai"),
        "vs_bare": ratio(figures, BARE.name),
        "memory_ratio": remembered["ratio"],
        "memory": remembered,
        "tools": figures,
        "code": provenance()["code"],
        "machine": {**machine(), "memory_gib": _memory_gib()},
    }
    print(json.dumps(line))


def _memory_gib() -> float:
    return round(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30, 1)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Speed of asking a teacher, beside the peers.")
    parser.add_argument("--quick", action="store_true", help="400 requests, one round, no peers")
    parser.add_argument("--count", type=int, help="requests of the timed runs (4000)")
    parser.add_argument("--many", type=int, help="requests of the long streaming run (100000)")
    parser.add_argument("--rounds", type=int, help="rounds of the bare loop and of Preceptor (5)")
    parser.add_argument("--peer-rounds", type=int, help="rounds of the peers (2)")
    parser.add_argument("--envs", type=Path, default=DEFAULT, help=f"where the peers' environments lie ({DEFAULT})")
    options = parser.parse_args()
    usual = (400, 800, 1, 0) if options.quick else (4000, 100_000, 5, 2)
    for name, value in zip(("count", "many", "rounds", "peer_rounds"), usual, strict=True):
        if getattr(options, name) is None:
            setattr(options, name, value)
    return options


if __name__ == "__main__":
    main()
