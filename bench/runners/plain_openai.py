"""OpenAI's own asynchronous client in a plain loop, for information."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

from openai import AsyncOpenAI
from runners import work


def ask(job: work.Job, prompts: Iterable[str]) -> list[tuple[int, str]]:
    """All requests at once, `job.concurrency` of them in flight. The client's own pool takes 1,000 connections."""
    return asyncio.run(_all(job, prompts))


async def _all(job: work.Job, prompts: Iterable[str]) -> list[tuple[int, str]]:
    gate = asyncio.Semaphore(job.concurrency)
    async with AsyncOpenAI(api_key="none", base_url=job.base_url) as client:

        async def one(index: int, prompt: str) -> tuple[int, str]:
            async with gate:
                reply = await client.chat.completions.create(
                    model=work.MODEL,
                    messages=[{"role": "user", "content": prompt}],
                    max_tokens=work.MAX_TOKENS,
                    temperature=work.TEMPERATURE,
                )
            return index, reply.choices[0].message.content or ""

        return await asyncio.gather(*(one(index, prompt) for index, prompt in enumerate(prompts)))


if __name__ == "__main__":
    work.main(ask, ["openai", "httpx", "httpx2"])
