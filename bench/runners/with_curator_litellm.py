"""curator with its backend `litellm`, which its guide shows for a vLLM server. The rest is as in `with_curator`."""

from __future__ import annotations

from collections.abc import Iterable

from runners import work
from runners.with_curator import PACKAGES, ask_through


def ask(job: work.Job, prompts: Iterable[str]) -> list[tuple[int, str]]:
    """One call over all prompts."""
    return ask_through("litellm", f"hosted_vllm/{work.MODEL}", job, prompts)


if __name__ == "__main__":
    work.main(ask, PACKAGES)
