"""transformers' Trainer on an encoder: as its documentation shows it, or with our dtype, dropout and batches.

`settings`: {"dtype": ..., "dropout": bool, "batches": [[item numbers], ...] or null}.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from typing import Any

import torch
from datasets import Dataset
from runners import train_work as work
from transformers import (
    AutoModelForSequenceClassification,
    AutoTokenizer,
    DataCollatorWithPadding,
    Trainer,
    TrainerCallback,
    TrainingArguments,
)


class Clock(work.Clock, TrainerCallback):
    """The clock as a callback."""


class Fixed(torch.utils.data.Sampler[list[int]]):
    """Batches that somebody else made."""

    def __init__(self, batches: list[list[int]]) -> None:
        self.batches = batches
        self.batch_size = max(map(len, batches))
        self.drop_last = False

    def __iter__(self) -> Iterator[list[int]]:
        return iter(self.batches)

    def __len__(self) -> int:
        return len(self.batches)


class OnBatches(Trainer):
    """A Trainer that takes its batches as they are given."""

    batches: list[list[int]]

    def get_train_dataloader(self) -> Any:
        """The given batches, in their order."""
        data = self._remove_unused_columns(self.train_dataset, description="training")
        return torch.utils.data.DataLoader(
            data, batch_sampler=Fixed(self.batches), collate_fn=self.data_collator, num_workers=0
        )


def train(job: work.Job) -> dict[str, Any]:
    """One training of all weights."""
    settings = job.settings or {}
    tokenizer = AutoTokenizer.from_pretrained(job.model)
    dropout = {} if settings["dropout"] else {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
    model = AutoModelForSequenceClassification.from_pretrained(
        job.model, num_labels=len(job.labels), dtype=getattr(torch, settings["dtype"]), **dropout
    )
    texts = [item["prompt"] for item in job.items]
    encoded = dict(tokenizer(texts, truncation=True, max_length=512))
    data = Dataset.from_dict({**encoded, "label": [item["label"] for item in job.items]})
    clock = Clock()
    with tempfile.TemporaryDirectory() as folder:
        config = TrainingArguments(
            output_dir=folder,
            per_device_train_batch_size=job.batch_size,
            num_train_epochs=job.epochs,
            learning_rate=job.learning_rate,
            save_strategy="no",
            report_to="none",
            disable_tqdm=True,
            use_cpu=not torch.cuda.is_available(),
        )
        kind = Trainer if settings["batches"] is None else OnBatches
        trainer = kind(
            model=model,
            args=config,
            train_dataset=data,
            data_collator=DataCollatorWithPadding(tokenizer),
            callbacks=[clock],
        )
        if settings["batches"] is not None:
            trainer.batches = settings["batches"]
        trainer.train()
    tokens = sum(map(len, encoded["input_ids"])) * job.epochs
    return {"tokens": tokens, "seconds": clock.ended - clock.started, "steps": trainer.state.global_step}


if __name__ == "__main__":
    work.main(train, ["transformers", "torch", "accelerate"])
