"""Writing text: `write` for teachers, with sampling noise that belongs to a row; `decode` for scoring students.

The noise of `write` depends on a row's own seed, the number of the token and nothing else, so the size of a batch,
the rows beside it and a restart do not change what is drawn (up to the rounding of the model's own arithmetic:
exactly in float32 on one machine as far as tests see, while bfloat16 rounds differently in batches of other shapes).
"""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from transformers import (
    LogitsProcessor,
    LogitsProcessorList,
    StoppingCriteria,
    StoppingCriteriaList,
)

from preceptor.models.load import Loaded
from preceptor.models.score import embeddings_before, encode

CANDIDATES = 64
"""Tokens that get noise of their own at each step; the rest of the vocabulary competes as one (see `KeyedSampling`)."""

SHRINK_AT = 0.5
"""When so large a share of a batch has finished, the others go on without it: one rambling answer of 256 tokens among
fifteen of 30 would otherwise cost 256 steps of the whole batch."""

TOP_K = 50
"""What `generate` of transformers uses unless told otherwise; written down because a checkpoint may tell otherwise."""


@dataclass(frozen=True, slots=True)
class Written:
    """One generated text."""

    text: str
    """Without special tokens and without the prompt."""
    finish: str
    """`stop` when the model ended it, `length` when it was cut off at `max_tokens`."""
    input_tokens: int
    output_tokens: int
    """Tokens written, the end mark included."""


def write(
    loaded: Loaded,
    prompts: Sequence[Sequence[int]],
    *,
    seeds: Sequence[int],
    max_tokens: int,
    temperature: float | None = None,
    top_p: float | None = None,
    repetition_penalty: float | None = None,
) -> list[Written]:
    """Continue `prompts` (token ids) as one batch; one `Written` per prompt, in order.

    `seeds` holds one integer per row. Without a temperature, or at 0, the most probable token is taken and the seeds
    do nothing. The repetition penalty is the one of transformers, which also hits the prompt's own tokens.
    """
    if not prompts:
        return []
    sampling = bool(temperature)
    width = max(len(prompt) for prompt in prompts)
    if embeddings_before(loaded.model) and any(len(prompt) < width for prompt in prompts):
        alike = {"max_tokens": max_tokens, "top_p": top_p, "repetition_penalty": repetition_penalty}
        return _by_width(loaded, prompts, seeds, temperature=temperature, **alike)
    rows = _Rows(loaded, prompts, width)
    ends = torch.tensor(sorted(end_ids(loaded)), device=loaded.device)
    done: dict[int, list[int]] = {}
    while rows.numbers:
        processors = LogitsProcessorList()
        if sampling:
            own = [seeds[number] for number in rows.numbers]
            processors.append(KeyedSampling(own, width, float(temperature or 1.0), top_p, loaded.device))
        with torch.inference_mode(), _positions_left_out():
            output = loaded.model.generate(
                input_ids=rows.ids,
                attention_mask=rows.mask,
                past_key_values=rows.cache,
                max_new_tokens=width + max_tokens - rows.ids.shape[1],
                logits_processor=processors,
                stopping_criteria=StoppingCriteriaList([_EnoughFinished(width, ends)]),
                return_dict_in_generate=True,
                **_settings(loaded, repetition_penalty),
            )
        cache = None if _has_prefix(loaded.model) else output.past_key_values
        done |= rows.advance(output.sequences, cache, ends, width + max_tokens)
    return [_written(loaded, prompts[number], done[number]) for number in range(len(prompts))]


def decode(
    loaded: Loaded,
    prompts: Sequence[str],
    *,
    decoding: str = "greedy",
    beams: int = 5,
    temperature: float = 0.8,
    repetition_penalty: float = 1.0,
    max_tokens: int = 16,
    batch_size: int = 16,
    seed: int = 0,
) -> list[Written]:
    """Let a model, also one wrapped by peft, answer `prompts`; one `Written` per prompt, in order.

    `greedy` and `beam` have no chance in them. `beam-sample` draws the beams' tokens at `temperature`, from a
    generator that `seed` and the batch's number fix and that leaves torch's global one as it was.
    """
    rows = encode(loaded.tokenizer, prompts)
    order = sorted(range(len(rows)), key=lambda number: (len(rows[number]), number))
    extra: dict[str, Any] = {"num_beams": 1 if decoding == "greedy" else beams}
    if decoding == "beam-sample":
        extra |= {"do_sample": True, "temperature": temperature, "top_k": TOP_K, "top_p": 1.0}
    done: dict[int, Written] = {}
    for start, end in _spans([len(rows[number]) for number in order], batch_size, loaded.model):
        numbers = order[start:end]
        part = [rows[number] for number in numbers]
        width = max(len(row) for row in part)
        ids, mask = _pad_left(part, width, loaded.device)
        with torch.inference_mode(), torch.random.fork_rng(), _positions_left_out():
            torch.manual_seed(seed + start)
            output = loaded.model.generate(
                input_ids=ids,
                attention_mask=mask,
                max_new_tokens=max_tokens,
                **(_settings(loaded, repetition_penalty) | extra),
            )
        for number, tokens in zip(numbers, output[:, width:].tolist(), strict=True):
            done[number] = _written(loaded, rows[number], tokens)
    return [done[number] for number in range(len(rows))]


class KeyedSampling(LogitsProcessor):
    """Draws a token per row with noise that depends on (seed of the row, step, token) alone.

    The draw is exact: Gumbel noise is added to log-probabilities and the largest sum wins. Computing noise for a whole
    vocabulary at every step would cost as much as a small model itself, so the most probable tokens get noise each and
    the rest gets it once, for its total probability; in the rare step in which the rest wins, its tokens draw among
    themselves. Afterwards the drawn token is the only possible one, for `generate(do_sample=False)`.
    """

    def __init__(
        self,
        seeds: Sequence[int],
        prompt_width: int,
        temperature: float,
        top_p: float | None,
        device: torch.device,
    ) -> None:
        self._seeds = torch.tensor([_signed(seed) for seed in seeds], device=device)
        self._prompt_width = prompt_width
        self._temperature = temperature
        self._top_p = top_p if top_p is not None and top_p < 1 else None

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        """`scores` [rows, vocabulary] -> the same shape, 0 at the drawn tokens and -inf elsewhere."""
        keys = _mixed(self._seeds + _signed(GOLDEN * (input_ids.shape[1] - self._prompt_width + 1)))
        drawn = self._draw(torch.log_softmax(scores.float() / self._temperature, dim=-1), keys)
        return torch.full_like(scores, -torch.inf).scatter_(1, drawn[:, None], 0.0)

    def _draw(self, logs: torch.Tensor, keys: torch.Tensor) -> torch.Tensor:
        """`logs` [rows, vocabulary] log-probabilities, `keys` [rows] -> token ids [rows]."""
        count = min(CANDIDATES, logs.shape[1])
        values, tokens = logs.topk(count, dim=-1)
        if self._top_p is not None:
            if bool((values.exp().sum(dim=-1) < self._top_p).any()):
                values, tokens = logs.sort(dim=-1, descending=True)
            before = values.exp().cumsum(dim=-1) - values.exp()
            values = values.masked_fill(before >= self._top_p, -torch.inf)
            return _pick(values, tokens, keys)
        rest = logs.scatter(1, tokens, -torch.inf)
        together = rest.logsumexp(dim=-1, keepdim=True)
        # One column more stands for the rest; -1 is no token's id, so its noise is no token's noise.
        marks = torch.cat([tokens, torch.full_like(tokens[:, :1], -1)], dim=1)
        drawn = _pick(torch.cat([values, together], dim=1), marks, keys)
        others = (drawn == -1).nonzero()[:, 0]
        if len(others):
            every = torch.arange(logs.shape[1], device=logs.device).expand(len(others), -1)
            drawn[others] = _pick(rest[others], every, keys[others])
        return drawn


GOLDEN = 0x9E3779B97F4A7C15
"""Step of SplitMix64 (Steele, Lea and Flood 2014, doi:10.1145/2660193.2660195)."""


def _pick(logs: torch.Tensor, tokens: torch.Tensor, keys: torch.Tensor) -> torch.Tensor:
    """The token with the largest log-probability plus noise: [rows, n], [rows, n], [rows] -> [rows]."""
    bits = _mixed(keys[:, None] + tokens * _signed(GOLDEN))
    uniform = (((bits >> 11) & (2**53 - 1)).double() + 0.5) * 2.0**-53
    noise = -torch.log(-torch.log(uniform))
    best = (logs.double() + noise).argmax(dim=-1, keepdim=True)
    return tokens.gather(1, best)[:, 0]


def _mixed(values: torch.Tensor) -> torch.Tensor:
    """SplitMix64's finaliser on int64 tensors, which wrap around as uint64 would."""
    values = (values ^ _shifted(values, 30)) * _signed(0xBF58476D1CE4E5B9)
    values = (values ^ _shifted(values, 27)) * _signed(0x94D049BB133111EB)
    return values ^ _shifted(values, 31)


def _shifted(values: torch.Tensor, bits: int) -> torch.Tensor:
    # torch shifts signed numbers only; the mask clears the copies of the sign.
    return (values >> bits) & (2 ** (64 - bits) - 1)


def _signed(value: int) -> int:
    """The int64 with the lowest 64 bits of `value`."""
    value &= 2**64 - 1
    return value - 2**64 if value >= 2**63 else value


class _EnoughFinished(StoppingCriteria):
    """Ends a call of `generate` for all rows as soon as a good share of them has written an end mark."""

    def __init__(self, prompt_width: int, ends: torch.Tensor) -> None:
        self._prompt_width = prompt_width
        self._ends = ends

    def __call__(self, input_ids: torch.Tensor, _scores: Any, **_kwargs: Any) -> torch.Tensor:
        finished = torch.isin(input_ids[:, self._prompt_width :], self._ends).any(dim=-1)
        return finished | (finished.float().mean() >= SHRINK_AT)


class _Rows:
    """The rows of a batch that are still being written, with their cache."""

    def __init__(self, loaded: Loaded, prompts: Sequence[Sequence[int]], width: int) -> None:
        self.numbers = list(range(len(prompts)))
        self.ids, self.mask = _pad_left(prompts, width, loaded.device)
        self.cache: Any = None
        self._width = width

    def advance(self, sequences: torch.Tensor, cache: Any, ends: torch.Tensor, longest: int) -> dict[int, list[int]]:
        """Take over what `generate` wrote; drop and return the rows that are finished: number -> tokens written."""
        written = sequences[:, self._width :]
        finished = torch.isin(written, ends).any(dim=-1)
        if sequences.shape[1] >= longest:
            finished = torch.ones_like(finished)
        done = {self.numbers[i]: written[i].tolist() for i in finished.nonzero()[:, 0].tolist()}
        kept = (~finished).nonzero()[:, 0]
        self.numbers = [self.numbers[i] for i in kept.tolist()]
        added = sequences.shape[1] - self.mask.shape[1]
        self.mask = torch.cat([self.mask, torch.ones_like(self.mask[:, :1]).expand(-1, added)], dim=1)[kept]
        self.ids = sequences[kept]
        self.cache = cache
        if self.numbers and cache is not None:  # without one (state-space models) the rows are simply read again
            cache.batch_select_indices(kept)
        return done


def _has_prefix(model: Any) -> bool:
    """Whether virtual tokens stand before the text. peft puts them into an empty cache and cannot go on with one."""
    return bool(getattr(getattr(model, "active_peft_config", None), "is_prompt_learning", False))


def _by_width(loaded: Loaded, prompts: Sequence[Sequence[int]], seeds: Sequence[int], **settings: Any) -> list[Written]:
    """`write`, rows of each length by themselves: see `_spans`."""
    done: dict[int, Written] = {}
    for width in {len(prompt) for prompt in prompts}:
        numbers = [number for number, prompt in enumerate(prompts) if len(prompt) == width]
        own = [seeds[number] for number in numbers]
        done |= zip(numbers, write(loaded, [prompts[n] for n in numbers], seeds=own, **settings), strict=True)
    return [done[number] for number in range(len(prompts))]


def _spans(lengths: Sequence[int], batch_size: int, model: Any) -> Iterator[tuple[int, int]]:
    """First and last (exclusive) of the rows of each batch, of rows that are sorted by length.

    Where peft puts embeddings before the text, only rows of one length go together: it puts them before the padding
    too and gives no positions, so that the model would see a gap between them and the text.
    """
    start, apart = 0, embeddings_before(model) > 0
    while start < len(lengths):
        end = min(start + batch_size, len(lengths))
        if apart:
            end = next((k for k in range(start, end) if lengths[k] != lengths[start]), end)
        yield start, end
        start = end


@contextlib.contextmanager
def _positions_left_out() -> Iterator[None]:
    """Without peft's note that it leaves out positions, which is right where there is no padding (see `_spans`)."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Position ids are not supported", category=UserWarning)
        yield


def _pad_left(rows: Sequence[Sequence[int]], width: int, device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
    """Token ids and mask, both [rows, width]. The padding repeats the row's first token.

    A repetition penalty that does not look at the mask, as in older transformers, then finds no new token in it; the
    pad token is often the end mark, and shorter prompts alone would be kept from ending.
    """
    ids = torch.tensor([[row[0]] * (width - len(row)) + list(row) for row in rows])
    mask = torch.tensor([[0] * (width - len(row)) + [1] * len(row) for row in rows])
    return ids.to(device), mask.to(device)


def _settings(loaded: Loaded, repetition_penalty: float | None) -> dict[str, Any]:
    """Greedy `generate`, whatever the checkpoint's own generation settings say."""
    return {
        "do_sample": False,
        "num_beams": 1,
        "temperature": 1.0,
        "top_p": 1.0,
        "top_k": TOP_K,
        "repetition_penalty": repetition_penalty or 1.0,
        "use_cache": True,
        "eos_token_id": sorted(end_ids(loaded)),
        "pad_token_id": loaded.tokenizer.pad_token_id,
    }


def end_ids(loaded: Loaded) -> set[int]:
    """Tokens that end an answer: the checkpoint's own list (chat models have several) and the tokenizer's end mark."""
    configured = loaded.model.generation_config.eos_token_id
    ids = set(configured) if isinstance(configured, list) else {configured}
    return {int(i) for i in ids | {loaded.tokenizer.eos_token_id} if i is not None}


def _written(loaded: Loaded, prompt: Sequence[int], tokens: list[int]) -> Written:
    ends = end_ids(loaded)
    length = next((i + 1 for i, token in enumerate(tokens) if token in ends), None)
    own = tokens[: length or len(tokens)]
    return Written(
        text=loaded.tokenizer.decode(own, skip_special_tokens=True),
        finish="length" if length is None else "stop",
        input_tokens=len(prompt),
        output_tokens=len(own),
    )
