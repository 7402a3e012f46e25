"""A task with labels as a folder that lm-evaluation-harness runs (EleutherAI, https://github.com/EleutherAI/lm-evaluation-harness).

    NAME.yaml             the task: multiple choice over the labels, accuracy and macro-F1
    NAME.test.jsonl       the test items, their prompts rendered by the task that trains and scores students
    NAME.fewshot.jsonl    the training items in their order, to draw examples from
    harness_data.py       loads the two files, and averages F1

    lm_eval --model hf --model_args pretrained=MODEL --include_path FOLDER --tasks NAME [--num_fewshot 5]

The harness puts a space before a label and compares sums of log-probabilities, as students here are scored. Prompts
stand at full length. The items are those of the data set: its licence holds for the folder.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path

from preceptor.data.base import Dataset, Task
from preceptor.records import Example
from preceptor.store.stages import write_text

HELPER = "harness_data.py"


def task_name(dataset: Dataset) -> str:
    """The task's name in the harness, e.g. `preceptor_pubmedqa_reasoning_required`."""
    return "_".join(re.sub(r"\W+", "_", part) for part in ("preceptor", dataset.task.name, dataset.task.setting))


def write_harness(folder: Path, dataset: Dataset) -> str:
    """Write the task's files into `folder` and return its name. Raises `StorageError` when they cannot be written."""
    name, task = task_name(dataset), dataset.task
    write_text(folder / f"{name}.test.jsonl", _lines(task, dataset.test))
    write_text(folder / f"{name}.fewshot.jsonl", _lines(task, dataset.train))
    write_text(folder / HELPER, Path(__file__).with_name(HELPER).read_text(encoding="utf-8"))
    write_text(folder / f"{name}.yaml", _yaml(name, dataset))
    return name


def _lines(task: Task, items: Sequence[Example]) -> str:
    rows = ({"id": e.id, "prompt": task.render(e), "gold": task.labels.index(e.label), "label": e.label} for e in items)
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


def _yaml(name: str, dataset: Dataset) -> str:
    """Strings stand as JSON, which is YAML: a bare `yes` or `no` would be read as true or false."""
    task = dataset.task
    separate = all(task.target(label) == f" {label}" for label in task.labels)
    assert separate  # the harness's delimiter is the space of `Task.target`
    about = f"{task.name}, {task.setting}, split {dataset.split}, {len(dataset.test)} test items"
    licence = f"; licence of the items: {dataset.licence}" if dataset.licence else ""
    return f"""# {about}{licence}. Written by preceptor export lm-eval.
task: {json.dumps(name)}
custom_dataset: !function harness_data.load
dataset_kwargs:
  task: {json.dumps(name)}
output_type: multiple_choice
test_split: test
fewshot_split: fewshot
fewshot_config:
  sampler: first_n
doc_to_text: prompt
doc_to_target: gold
doc_to_choice: {json.dumps(list(task.labels), ensure_ascii=False)}
target_delimiter: " "
fewshot_delimiter: "\\n\\n"
metric_list:
  - metric: acc
    aggregation: mean
    higher_is_better: true
  - metric: f1
    aggregation: !function harness_data.macro_f1
    higher_is_better: true
metadata:
  version: 1.0
"""
