"""How a training goes, and went: what validation said, a moment of it, and what it did in all."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Check:
    """What validation said at one point of training."""

    step: int
    loss: float
    """Mean negative log-likelihood of the true label; of a token of the answers where there are no labels."""
    accuracy: float | None = None
    macro_f1: float | None = None


@dataclass(frozen=True, slots=True)
class Moment:
    """A training after one of its steps, for those who watch it."""

    step: int
    steps: int
    loss: float
    learning_rate: float
    tokens_per_s: float
    """Real tokens, no padding, since this process took the training up."""
    seconds_left: float | None
    """At the rate so far; None where nothing is known yet."""
    check: Check | None
    """What validation said last."""

    @property
    def words(self) -> str:
        """For people."""
        said = f"step {self.step}/{self.steps} loss {self.loss:.3f}, {self.tokens_per_s:,.0f} tokens/s"
        if self.check is None:
            return said
        score = "" if self.check.accuracy is None else f", accuracy {self.check.accuracy:.3f}"
        return f"{said}, validation {self.check.loss:.3f}{score}"


@dataclass
class Fitted:
    """What training did."""

    steps: int
    selected: int
    """The step whose weights were kept."""
    losses: list[float] = field(default_factory=list)
    """Training loss at each step."""
    checks: list[Check] = field(default_factory=list)
    seconds: float = 0.0
    tokens: int = 0
    """Real tokens (no padding) that went through the model."""
    trainable: int = 0
    """Number of trained weights."""
    micro_batch: int | None = None
    """Items in one forward pass since memory ran out; None where it did not."""
    processes: int = 1
    """Processes that shared the training."""
