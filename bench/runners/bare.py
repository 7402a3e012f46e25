"""The least that asks at all: an aiohttp loop that posts, parses and keeps the text. No retry, no check, no store."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

import aiohttp
from runners import work


def ask(job: work.Job, prompts: Iterable[str]) -> list[tuple[int, str]]:
    """All requests at once, `job.concurrency` of them in flight."""
    return asyncio.run(_all(job, prompts))


async def _all(job: work.Job, prompts: Iterable[str]) -> list[tuple[int, str]]:
    gate = asyncio.Semaphore(job.concurrency)
    url = f"{job.base_url}/chat/completions"

    async def one(session: aiohttp.ClientSession, index: int, prompt: str) -> tuple[int, str]:
        body = {
            "model": work.MODEL,
            "messages": [{"role": "user", "content": prompt}],
            "max_tokens": work.MAX_TOKENS,
            "temperature": work.TEMPERATURE,
        }
        async with gate, session.post(url, json=body) as response:
            parsed = await response.json()
            return index, parsed["choices"][0]["message"]["content"]

    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=job.concurrency)) as session:
        return await asyncio.gather(*(one(session, index, prompt) for index, prompt in enumerate(prompts)))


if __name__ == "__main__":
    work.main(ask, ["aiohttp"])
