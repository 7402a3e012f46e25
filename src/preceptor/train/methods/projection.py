"""A projected prefix: trained through a small network, used and saved as the values that the network makes."""

from __future__ import annotations

from typing import Any

import torch
from peft import PrefixEncoder


def fold_projection(model: Any) -> None:
    """Put the values of a projected prefix in the place of the network that made them, as they are saved.

    The network's products are rounded by how many rows go through at once, and a bfloat16 model makes much of one
    rounding: without this, weights that are read again answer otherwise than the student did in memory. Other models
    are left alone.
    """
    config = getattr(model, "active_peft_config", None)
    if config is None or not getattr(config, "prefix_projection", False):
        return
    name = model.active_adapter
    values = model.get_prompt_embedding_to_save(name).detach()
    config.prefix_projection = False
    encoder = PrefixEncoder(config).to(values.device, values.dtype)
    with torch.no_grad():
        encoder.embedding.weight.copy_(values)
    model.prompt_encoder[name] = encoder
