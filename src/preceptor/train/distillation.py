"""The student's divergence from a teacher: over the labels, or over the likeliest tokens at each target position."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from preceptor.config import DistillationSettings
from preceptor.errors import ModelError
from preceptor.models.score import logits_at, pad, stems
from preceptor.models.student import Student
from preceptor.train.batches import Taught, TrainingItem


def label_divergence(logprobs: torch.Tensor, teacher: torch.Tensor, temperature: float) -> torch.Tensor:
    """KL(teacher || student) of each item over the labels alone, times temperature squared: [items].

    Both are [items, labels] log-likelihoods; each is divided by the temperature and normalised over the labels.
    """
    wanted = torch.log_softmax(teacher / temperature, dim=1)
    given = torch.log_softmax(logprobs / temperature, dim=1)
    return temperature**2 * (wanted.exp() * (wanted - given)).sum(1)


def token_divergence(
    logits: torch.Tensor, ids: torch.Tensor, probabilities: torch.Tensor, temperature: float
) -> torch.Tensor:
    """KL(teacher || student) of each position over k tokens and all others as one, times temperature squared.

    `logits` [positions, vocabulary] are the student's, `ids` [positions, k] the tokens, and `probabilities`
    [positions, k + 1] theirs by the teacher at this temperature, last the remainder. Returns [positions].
    """
    logs = torch.log_softmax(logits / temperature, dim=1)
    rest = logs.scatter(1, ids, -torch.inf).logsumexp(1, keepdim=True)
    given = torch.cat([logs.gather(1, ids), rest], dim=1)
    wanted = probabilities / probabilities.sum(1, keepdim=True)  # they were rounded to half precision
    return temperature**2 * (torch.xlogy(wanted, wanted) - wanted * given).sum(1)


def labels_loss(
    student: Student, batch: Sequence[TrainingItem], logits: torch.Tensor, settings: DistillationSettings
) -> torch.Tensor:
    """Sum over the batch of the divergence over the labels, times the weight. `logits` [items, positions, outputs]."""
    taught = np.array([_taught(item).labels for item in batch], dtype=np.float32)
    teacher = torch.from_numpy(taught).to(logits.device)
    found = label_divergence(label_logprobs(student, batch, logits), teacher, settings.temperature)
    return (found * torch.tensor([item.weight for item in batch], device=found.device)).sum()


def tokens_loss(
    items: Sequence[TrainingItem], logits: torch.Tensor, weights: Sequence[float], settings: DistillationSettings
) -> torch.Tensor:
    """Sum over items of the mean divergence of their target's positions, times the weight.

    `logits` [tokens of all targets, vocabulary], item after item.
    """
    ids = np.concatenate([_taught(item).ids for item in items]).astype(np.int64)
    probabilities = np.concatenate([_taught(item).probabilities for item in items]).astype(np.float32)
    place = logits.device
    given, wanted = torch.from_numpy(ids).to(place), torch.from_numpy(probabilities).to(place)
    found = token_divergence(logits, given, wanted, settings.temperature)
    shares = [weight / len(item.target) for item, weight in zip(items, weights, strict=True) for _ in item.target]
    return (found * torch.tensor(shares, device=place)).sum()


def label_logprobs(student: Student, batch: Sequence[TrainingItem], logits: torch.Tensor) -> torch.Tensor:
    """The student's log-likelihood of each label, up to a constant of each item; keeps gradients: [items, labels].

    `logits` [items, positions, outputs] are those that the label's loss needs: an encoder's head, or first the tokens
    after the prompt. Labels of several tokens are read from passes of their own.
    """
    if student.head == "encoder":
        return logits[:, 0]
    if all(len(target) == 1 for target in student.targets):
        return logits[:, 0, [target[0] for target in student.targets]]
    found: dict[int, torch.Tensor] = {}
    for stem, members in stems(student.targets).items():
        rows = [[*item.prompt, *stem] for item in batch]
        padded = pad(rows, student.loaded.tokenizer.pad_token_id, student.loaded.device)
        starts = torch.tensor([[len(item.prompt) - 1 + k for k in range(len(stem) + 1)] for item in batch])
        logs = torch.log_softmax(logits_at(student.model, padded, starts.to(student.loaded.device)), dim=-1)
        for label in members:
            tokens = student.targets[label]
            found[label] = logs[:, range(len(tokens)), tokens].sum(1)
    return torch.stack([found[label] for label in range(len(student.targets))], dim=1)


def _taught(item: TrainingItem) -> Taught:
    if item.taught is None:
        raise ModelError(
            "A training item has no distribution of the teacher.", "Delete the run's folder and run again."
        )
    return item.taught
