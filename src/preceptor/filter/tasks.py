"""Drops tasks that a teacher wrote and that no student should learn from.

Reasons, in the order in which they are looked for. Those of the instruction and input, after Self-Instruct (Wang et al.
2023, section 2.2, and its repository):

- bad_start: the instruction begins with punctuation or a letter beyond ASCII, as leftovers of a list or a prompt do.
- too_short, too_long: the instruction has fewer or more words than allowed.
- blocked_word: it asks for what a language model cannot see or make (an image, a file, a map).
- blocked_start: it begins as tasks do that are not wanted here ("write a program").
- not_english: what is written is mostly not English.
- input_is_instruction: the input only says the instruction again, so there is nothing to work on.
- copied_seed: a seed's whole input or output, if six words or longer, stands in it. Weak teachers do that.

Those of the output:

- empty_output: it has no words.
- output_too_long: it has more words than allowed.
- output_cut_off: it ends openly (in ":" or ","), or was cut off at the teacher's limit.
- repeated_output: it says the same line or the same four words over and over.
- output_is_input, output_is_instruction: nothing was done.
- not_english, copied_seed: as above.

Those beside other tasks (`KnownTasks`); the first stays:

- same_input_other_output: a kept task has the same instruction and input, and another output: one of them is wrong.
- duplicate: a kept task is the same in all three parts.
- rouge_l: the ROUGE-L F of its instruction to a seed's or a kept task's is above the bound.

Words are runs of what is no blank where lengths are counted, as in Self-Instruct, and those of `filter.text` where
texts are compared. What no rule can see: whether the output is right.
"""

from __future__ import annotations

import re
import string
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Protocol

from preceptor.config import RuleSettings
from preceptor.filter.novelty import Novelty
from preceptor.filter.text import normalised, runs, words
from preceptor.language import looks_cut_off, looks_english
from preceptor.records import KEEP, Verdict, drop

REASONS = (
    "bad_start",
    "too_short",
    "too_long",
    "blocked_word",
    "blocked_start",
    "not_english",
    "input_is_instruction",
    "empty_output",
    "output_too_long",
    "output_cut_off",
    "repeated_output",
    "output_is_input",
    "output_is_instruction",
    "copied_seed",
    "same_input_other_output",
    "duplicate",
    "rouge_l",
)
"""All reasons of this module, in the order in which a report shows them."""

COPIED_WORDS = 6
"""Shorter inputs and outputs ("yes", a drug's name) may be alike by chance."""
REPEATED_LINE, REPEATED_RUN = 3, 4
"""How often a line of some length, or four neighbouring words, may not stand in an output."""
_RUN = 4
_LINE_WORDS = 2
_MOSTLY = 0.5
_OPEN_END = re.compile(r"(?:[:,(\[{&=]|\s[-–—])\s*\Z")


class Written(Protocol):
    """What is judged: a seed, a task being written, or a finished one."""

    @property
    def instruction(self) -> str:
        """What is to be done."""

    @property
    def input(self) -> str:
        """What it is to be done on; may be empty."""

    @property
    def output(self) -> str:
        """The answer."""


class TaskRules:
    """Judges one task by itself."""

    def __init__(self, settings: RuleSettings, seeds: Sequence[Written]) -> None:
        self._settings = settings
        self._blocked = _any_of(settings.blocked_words)
        self._starts = tuple(start.lower() for start in settings.blocked_starts)
        self._copies = _padded(text for seed in seeds for text in (seed.input, seed.output))

    def judge_request(self, task: Written) -> Verdict:
        """By instruction and input alone, e.g. before the output is asked for."""
        count = len(task.instruction.split())
        most, least = self._settings.max_words, self._settings.min_words
        first = task.instruction[:1]
        if not first.isascii() or first in string.punctuation:
            return drop("bad_start", f"begins with {first!r}")
        if count < least:
            return drop("too_short", f"{count} words, at least {least} needed")
        if count > most:
            return drop("too_long", f"{count} words, at most {most} allowed")
        if self._blocked and (found := self._blocked.search(task.instruction)):
            return drop("blocked_word", found.group().lower())
        opening = " ".join(task.instruction.lower().split())
        if start := next((start for start in self._starts if opening.startswith(start)), None):
            return drop("blocked_start", start)
        if self._settings.language == "en" and not looks_english(f"{task.instruction}\n{task.input}"):
            return drop("not_english")
        if normalised(task.instruction) == normalised(task.input):
            return drop("input_is_instruction")
        return self._copied(task.instruction, task.input)

    def judge_output(self, task: Written, finish: str = "stop") -> Verdict:
        """By the output; `finish` says why the teacher stopped after it."""
        output, most = task.output, self._settings.max_output_words
        said = normalised(output)
        if not said:
            return drop("empty_output")
        if (count := len(output.split())) > most:
            return drop("output_too_long", f"{count} words, at most {most} allowed")
        if _OPEN_END.search(output):
            return drop("output_cut_off", f"ends in {output.strip()[-1]!r}")
        if finish == "length" and looks_cut_off(output):
            return drop("output_cut_off", "the teacher reached max_tokens")
        if repeated := _repeated(output):
            return drop("repeated_output", repeated)
        if said == normalised(task.input):
            return drop("output_is_input")
        if said == normalised(task.instruction):
            return drop("output_is_instruction")
        if self._settings.language == "en" and not looks_english(f"{task.instruction}\n{output}"):
            return drop("not_english", "output")
        return self._copied(output)

    def _copied(self, *texts: str) -> Verdict:
        for text in _padded(texts):
            if copied := next((copy for copy in self._copies if copy in text), None):
                return drop("copied_seed", copied.strip()[:80])
        return KEEP


class KnownTasks:
    """Seeds and tasks that were written before, beside which a new one must be new."""

    def __init__(self, max_f: float, tasks: Iterable[Written] = ()) -> None:
        self._pool = Novelty(max_f)
        self._outputs: dict[str, str] = {}
        """Instruction and input, normalised -> output, normalised."""
        for task in tasks:
            self.add(task)

    def add(self, task: Written) -> int:
        """Know a task from now on; returns its number for `forget`."""
        self._outputs.setdefault(_asked(task), normalised(task.output))
        return self._pool.add(task.instruction)

    def forget(self, number: int, task: Written) -> None:
        """No longer know a task that `judge` had found new, e.g. because it was dropped for its output."""
        del self._outputs[_asked(task)]
        self._pool.withdraw(number)

    def judge(self, task: Written, *, with_output: bool = True) -> Verdict:
        """Whether the task is new; without its output an equal instruction and input are enough to be a duplicate."""
        known = self._outputs.get(_asked(task))
        if known is not None:
            if with_output and known != normalised(task.output):
                return drop("same_input_other_output", "instruction and input are known with another output")
            return drop("duplicate")
        near = self._pool.too_close(task.instruction)
        return KEEP if near is None else drop("rouge_l", f"ROUGE-L F {near.f:.4f} to {near.text!r}")

    def nearest_f(self, task: Written) -> float:
        """ROUGE-L F of the instruction to the nearest known one: twice the work of `judge`."""
        near = self._pool.nearest(task.instruction)
        return near.f if near else 0.0


def _any_of(phrases: Sequence[str]) -> re.Pattern[str] | None:
    if not phrases:
        return None
    return re.compile(rf"(?<!\w)(?:{'|'.join(map(re.escape, phrases))})(?!\w)", re.IGNORECASE)


def _padded(texts: Iterable[str]) -> list[str]:
    """The texts of some length, normalised, between blanks so that only whole words are found in them."""
    return [f" {text} " for text in dict.fromkeys(map(normalised, texts)) if text.count(" ") >= COPIED_WORDS - 1]


def _asked(task: Written) -> str:
    return f"{normalised(task.instruction)}\n{normalised(task.input)}"


def _repeated(output: str) -> str:
    """What is said over and over: a line, or four words in a row that make up most of the output. Empty: nothing."""
    lines = Counter(line for line in map(normalised, output.splitlines()) if line.count(" ") >= _LINE_WORDS - 1)
    if lines and (most := lines.most_common(1)[0])[1] >= REPEATED_LINE:
        return f"{most[1]} times the line {most[0][:60]!r}"
    found = Counter(runs(words(output), _RUN))
    if not found:
        return ""
    run, count = found.most_common(1)[0]
    # A long text may come back to a phrase; here most of what is said was said before.
    if count >= REPEATED_RUN and len(found) < _MOSTLY * found.total():
        return f"{count} times {' '.join(run)!r}"
    return ""
