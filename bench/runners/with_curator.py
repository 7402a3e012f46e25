"""curator with its backend `openai`, which its README names for endpoints that speak OpenAI's interface.

Its limits of requests and tokens a minute are raised out of the way, so that only the number in flight counts. Its
cache is on, in an empty folder, as the ledger is with us.
"""

from __future__ import annotations

from collections.abc import Iterable

import litellm.litellm_core_utils.default_encoding  # noqa: F401 - points to token tables in its wheel
from bespokelabs import curator
from runners import work

NO_LIMIT = 10**9


class Asker(curator.LLM):  # type: ignore[misc]
    """Sends the row's prompt and keeps the row's number beside the answer."""

    def prompt(self, row: dict[str, object]) -> object:
        """The text to send."""
        return row["prompt"]

    def parse(self, row: dict[str, object], response: str) -> dict[str, object]:
        """What is kept of an answer."""
        return {"index": row["index"], "text": response}


def ask(job: work.Job, prompts: Iterable[str]) -> list[tuple[int, str]]:
    """One call over all prompts."""
    return ask_through("openai", work.MODEL, job, prompts)


def ask_through(backend: str, model: str, job: work.Job, prompts: Iterable[str]) -> list[tuple[int, str]]:
    """The same for any backend."""
    asker = Asker(
        model_name=model,
        backend=backend,
        generation_params={"max_tokens": work.MAX_TOKENS, "temperature": work.TEMPERATURE},
        backend_params={
            "base_url": job.base_url,
            "api_key": "none",
            "max_concurrent_requests": job.concurrency,
            "max_requests_per_minute": NO_LIMIT,
            "max_tokens_per_minute": NO_LIMIT,
        },
    )
    rows = [{"index": index, "prompt": prompt} for index, prompt in enumerate(prompts)]
    found = asker(rows, working_dir=str(job.scratch))
    return [(row["index"], row["text"]) for row in found.dataset]


PACKAGES = ("bespokelabs-curator", "aiohttp", "litellm", "datasets")

if __name__ == "__main__":
    work.main(ask, PACKAGES)
