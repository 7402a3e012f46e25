"""distilabel as its documentation shows it: a pipeline that loads rows and runs `TextGeneration` on them.

A step asks for one batch at a time and waits for all of it, so the batch's size is the number of requests in flight.
The cache is on, in an empty folder, as the ledger is with us.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable

from distilabel.models import OpenAILLM
from distilabel.pipeline import Pipeline
from distilabel.steps import LoadDataFromDicts
from distilabel.steps.tasks import TextGeneration
from runners import work

# distilabel silences the lines that the openai client logs for each request, but knows only that logger's older name.
logging.getLogger("httpx2").setLevel(logging.WARNING)


def ask(job: work.Job, prompts: Iterable[str]) -> list[tuple[int, str]]:
    """One pipeline over all prompts."""
    rows = [{"index": index, "instruction": prompt} for index, prompt in enumerate(prompts)]
    llm = OpenAILLM(
        model=work.MODEL,
        base_url=job.base_url,
        api_key="none",
        generation_kwargs={"max_new_tokens": work.MAX_TOKENS, "temperature": work.TEMPERATURE},
    )
    with Pipeline(name="bench") as pipeline:
        load = LoadDataFromDicts(data=rows, batch_size=job.concurrency)
        generate = TextGeneration(llm=llm, input_batch_size=job.concurrency)
        load >> generate
    found = pipeline.run()
    return [(row["index"], row["generation"]) for row in found["default"]["train"]]


if __name__ == "__main__":
    work.main(ask, ["distilabel", "openai", "httpx", "httpx2", "datasets"])
