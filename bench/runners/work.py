"""What all runners share: the requests, the right answers, the clock and the result file. Standard library alone.

A runner is a process of its own. It asks for `Job.count` answers with one tool and hands back `(index, text)` pairs;
this module stops the clock, checks every pair and writes the figures. Runners live in the environments of different
tools, so nothing here may need a package.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import importlib.metadata
import json
import platform
import resource
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

MODEL = "stub-model"
MAX_TOKENS = 128
TEMPERATURE = 0.8

VOCABULARY = """
patients treatment dose trial group response after weeks the of in with was were not and higher lower risk
rate outcome control therapy blood pressure among adults children between compared significant reduced
increased change score pain sleep heart lung kidney infection surgery follow early late daily oral placebo
median months care clinic nurses diet exercise weight glucose survival relapse imaging screening vaccine fever
stroke
"""
WORDS = VOCABULARY.split()
"""Sixty-four words, from which made-up texts are drawn."""

OPENING = "Rewrite the question below so that it asks the same thing in other words."
"""How every request of the bench begins."""

PROMPT = """{opening} Keep every number, every \
negation and the direction of every comparison. Do not answer it, do not explain anything, and write one question only.

Abstract {number}: {abstract}.

Question {number}: Is {first} associated with {second} in this group?

Rewritten question:"""


def prompt(index: int) -> str:
    """The request with this number: about 110 words, different from all others."""
    digest = hashlib.blake2b(b"prompt %d" % index, digest_size=64).digest()
    words = [WORDS[byte & 63] for byte in digest]
    return PROMPT.format(opening=OPENING, number=index, abstract=" ".join(words), first=words[0], second=words[1])


def right_answer(content: str) -> str:
    """What the stub says to this request: 48 words, about 60 tokens, fixed by the text."""
    digest = hashlib.blake2b(content.encode(), digest_size=48).digest()
    return " ".join([WORDS[byte & 63] for byte in digest])


@dataclass(frozen=True)
class Job:
    """What one runner is to do."""

    base_url: str
    """Of the stub, up to and with `/v1`."""
    count: int
    """Number of requests, all different."""
    concurrency: int
    """Requests in flight, at most."""
    scratch: Path
    """An empty folder for caches and ledgers."""
    result: Path
    """The figures go here, as JSON."""
    stream: bool
    """Make each request when the tool takes it and let go of each answer when it is checked."""


Ask = Callable[[Job, Iterable[str]], Iterable[tuple[int, str]]]
"""Sends the prompts and gives, in any order, the number of each prompt and the text that came back."""


def main(ask: Ask, packages: Iterable[str]) -> None:
    """Run `ask` under the clock, check its answers and write the result file. Exits with 1 if an answer is wrong.

    The clock is started with the prompts made and the tool's modules imported, and stopped when the last answer is
    in hand. With `--stream` the prompts are made, and the answers checked, while the clock runs. `packages` are those
    whose versions go into the result.
    """
    asked = job()
    prompts = _prompts(asked.count) if asked.stream else list(_prompts(asked.count))
    cpu, called = _cpu_s(), time.monotonic()
    given = ask(asked, prompts)
    answers = given if asked.stream else list(given)
    ended, cpu_ended = time.monotonic(), _cpu_s()
    right = _count_right(answers, asked.count)
    if asked.stream:
        ended, cpu_ended = time.monotonic(), _cpu_s()
    figures = {
        "right": right,
        "called": called,
        "ended": ended,
        "cpu_s": cpu_ended - cpu,
        "peak_bytes": _peak_bytes(),
        "peak_child_bytes": resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024,
        "versions": {"python": platform.python_version(), **_versions(packages)},
    }
    asked.result.write_text(json.dumps(figures), encoding="utf-8")
    if right != asked.count:
        sys.exit(f"{right} of {asked.count} answers are there and right")


def _versions(packages: Iterable[str]) -> dict[str, str]:
    found = {}
    for name in packages:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            found[name] = importlib.metadata.version(name)
    return found


def _prompts(count: int) -> Iterator[str]:
    return (prompt(index) for index in range(count))


def _count_right(answers: Iterable[tuple[int, str]], count: int) -> int:
    """How many of the requests were answered, with the right text, exactly once."""
    times = bytearray(count)
    for index, text in answers:
        if text == right_answer(prompt(index)):
            times[index] = min(times[index] + 1, 2)
    return times.count(1)


def _cpu_s() -> float:
    """Processor seconds of this process and of its children that have ended."""
    return sum(
        used.ru_utime + used.ru_stime
        for used in (resource.getrusage(resource.RUSAGE_SELF), resource.getrusage(resource.RUSAGE_CHILDREN))
    )


def _peak_bytes() -> int:
    """Largest resident memory of this process.

    From /proc where there is one: `ru_maxrss` also holds what the starting process was before it became this one.
    """
    status = Path("/proc/self/status")
    if status.exists():
        for line in status.read_text(encoding="ascii").splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def job() -> Job:
    """What the command line asks for."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--base-url", required=True)
    parser.add_argument("--count", type=int, required=True)
    parser.add_argument("--concurrency", type=int, required=True)
    parser.add_argument("--scratch", type=Path, required=True)
    parser.add_argument("--result", type=Path, required=True)
    parser.add_argument("--stream", action="store_true")
    return Job(**vars(parser.parse_args()))
