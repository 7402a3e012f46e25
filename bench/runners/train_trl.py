"""TRL's SFTTrainer as its documentation shows it: prompt and completion, LoRA on all linear layers, bfloat16.

`settings` may hold arguments of SFTConfig that differ from its defaults.
"""

from __future__ import annotations

import tempfile
from typing import Any

import torch
from datasets import Dataset
from peft import LoraConfig
from runners import train_work as work
from transformers import AutoModelForCausalLM, AutoTokenizer, TrainerCallback
from trl import SFTConfig, SFTTrainer


class Clock(work.Clock, TrainerCallback):
    """The clock as a callback."""


def train(job: work.Job) -> dict[str, Any]:
    """One training; tokens are those of prompts and completions, as TRL's own tokenizer call makes them."""
    tokenizer = AutoTokenizer.from_pretrained(job.model)
    model = AutoModelForCausalLM.from_pretrained(job.model, dtype=getattr(torch, job.dtype))
    data = Dataset.from_list([{"prompt": i["prompt"], "completion": i["completion"]} for i in job.items])
    clock = Clock()
    with tempfile.TemporaryDirectory() as folder:
        config = SFTConfig(
            output_dir=folder,
            per_device_train_batch_size=job.batch_size,
            num_train_epochs=job.epochs,
            learning_rate=job.learning_rate,
            max_length=2048,
            logging_steps=1,
            save_strategy="no",
            report_to="none",
            disable_tqdm=True,
            use_cpu=not torch.cuda.is_available(),
            **(job.settings or {}),
        )
        lora = LoraConfig(r=job.rank, lora_alpha=job.alpha, target_modules="all-linear", task_type="CAUSAL_LM")
        trainer = SFTTrainer(
            model=model,
            args=config,
            train_dataset=data,
            processing_class=tokenizer,
            peft_config=lora,
            callbacks=[clock],
        )
        trainer.train()
    seen = [entry["num_tokens"] for entry in trainer.state.log_history if "num_tokens" in entry]
    return {
        "tokens": int(seen[-1]),
        "seconds": clock.ended - clock.started,
        "steps": trainer.state.global_step,
        "losses": [entry["loss"] for entry in trainer.state.log_history if "loss" in entry],
        "parameters": str({str(p.dtype) for p in model.parameters() if p.requires_grad}),
    }


if __name__ == "__main__":
    work.main(train, ["trl", "transformers", "peft", "torch", "accelerate"])
