"""Methods by stock peft: names in describe.py, what is put on a model in attach.py, tokens in prompts in tokens.py."""

from preceptor.train.methods.attach import attach
from preceptor.train.methods.describe import describe, reserved
from preceptor.train.methods.tokens import with_tokens

__all__ = ["attach", "describe", "reserved", "with_tokens"]
