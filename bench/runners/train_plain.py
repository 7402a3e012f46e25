"""A plain loop on the batches that Preceptor's loop takes: what the losses are compared with.

`settings` are those of `train_ours`. The model, LoRA (in float32 beside a bfloat16 model, as peft has it) and AdamW are
stock; only the order of the batches is ours.
"""

from __future__ import annotations

from itertools import islice
from typing import Any

import torch
from peft import LoraConfig, TaskType, get_peft_model
from runners import train_ours
from runners import train_work as work
from transformers import AutoModelForCausalLM

from preceptor.config import TrainSettings
from preceptor.train.batches import stream


def train(job: work.Job) -> dict[str, Any]:
    """The losses of each step."""
    base = {"rank": job.rank, "alpha": job.alpha, "learning_rate": job.learning_rate, "dtype": job.dtype}
    limits = {"batch_size": job.batch_size, "epochs": job.epochs, "max_length": 2048}
    settings = TrainSettings.model_validate({**base, **limits, **(job.settings or {})})
    student = train_ours.opened(job, settings)
    items = train_ours.items_of(job, student)
    steps = settings.steps or len(items) // job.batch_size * job.epochs
    torch.manual_seed(1)
    lora = LoraConfig(
        r=job.rank, lora_alpha=job.alpha, target_modules="all-linear", task_type=TaskType.CAUSAL_LM, lora_dropout=0.0
    )
    stock = AutoModelForCausalLM.from_pretrained(job.model, dtype=getattr(torch, job.dtype))
    model = get_peft_model(stock, lora).eval()
    weights = [p for p in model.parameters() if p.requires_grad]
    optimiser = torch.optim.AdamW(weights, lr=job.learning_rate, weight_decay=0.0)
    warm = max(1, round(settings.warmup * steps))
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimiser, lambda step: min((step + 1) / warm, max(0.0, (steps - step) / max(1, steps - warm)))
    )
    losses = []
    for batch in islice(stream(items, settings, 1), steps):
        rows = [[*item.prompt, *item.target] for item in batch]
        longest = max(map(len, rows))
        ids = torch.tensor([row + [0] * (longest - len(row)) for row in rows])
        mask = torch.tensor([[1] * len(row) + [0] * (longest - len(row)) for row in rows])
        logits = model(input_ids=ids, attention_mask=mask).logits[:, :-1]
        wanted = ids[:, 1:].clone()
        for place, item in enumerate(batch):
            wanted[place, : len(item.prompt) - 1] = -100
            wanted[place, len(item.prompt) + len(item.target) - 1 :] = -100
        loss = torch.nn.functional.cross_entropy(
            logits.float().flatten(0, 1), wanted.flatten(), ignore_index=-100, reduction="sum"
        ) / len(batch)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(weights, 1.0)
        optimiser.step()
        schedule.step()
        optimiser.zero_grad()
        losses.append(round(loss.item(), 6))
    return {"losses": losses}


if __name__ == "__main__":
    work.main(train, ["torch", "transformers", "peft"])
