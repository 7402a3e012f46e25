"""Several processes that train one student together, started by `torchrun` or `accelerate launch`.

The first process drives the run as if it were alone; the others wait and take part in its trainings. Each takes its
share of the items of every step, and the losses are divided by what all of them count together, so a step has the
gradient that it has in one process, within rounding. `ddp` gives every process the whole student (torch's
DistributedDataParallel), `fsdp` only a part of each weight (torch's fully_shard), put together layer by layer when it
is needed.

The processes talk in two ways: gradients and weights over the devices' own backend, decisions over gloo. Everything
that decides what happens next (a checkpoint, the end of the time, a loss that is no number) is said by the first.

What goes wrong in one process alone, such as memory that runs out, ends the run: the others wait for its gradients and
cannot hear of it. That process says what happened and ends, and the launcher ends the others.
"""

from __future__ import annotations

import contextlib
import copy
import functools
import math
import os
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any, Concatenate, ParamSpec, TypeVar, cast

import torch
import torch.distributed as dist
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FSDPModule, MixedPrecisionPolicy, fully_shard
from torch.distributed.tensor import DTensor, distribute_tensor
from torch.nn.parallel import DistributedDataParallel

from preceptor.config import TrainSettings
from preceptor.errors import ModelError, PreceptorError
from preceptor.models.student import Trainable
from preceptor.progress import notice
from preceptor.train.batches import TrainingItem, cut
from preceptor.train.memory import LESS_AT_ONCE, is_out_of_memory

PATIENCE = timedelta(days=30)
"""How long a process waits for the first one, which may be asking a teacher meanwhile."""
LAUNCHER_S = 15.0
"""How long a process that another one has left waits for its launcher to end it, before it says so itself."""
GONE = ("closed by peer", "reset by peer", "Broken pipe", "remote process exit")
"""What gloo and NCCL say where another process has ended."""
Batch = Sequence[TrainingItem]
Arguments = ParamSpec("Arguments")
Value = TypeVar("Value")
Error = TypeVar("Error", bound=PreceptorError)


@dataclass
class Team:
    """The processes that train together; this is the one of number `rank`."""

    rank: int = 0
    size: int = 1
    control: Any = None
    """The group for decisions."""
    idle: bool = False
    """Whether this process has no item of the step: it goes through the motions, and nothing that it finds counts."""
    model: Any = None
    """The student's model while it is shared."""
    began: bool = False
    """Whether the training of the moment is past its preparations."""
    broken: bool = False
    """Whether this process is amid a training, or left one that the others may still be in."""

    @property
    def first(self) -> bool:
        """Whether this process drives the run."""
        return self.rank == 0

    @property
    def here(self) -> str:
        """Which process this is, in words that go on with a sentence: none where it is alone."""
        return self.named(self.rank)

    def named(self, rank: int) -> str:
        """The same of any process."""
        return "" if self.size == 1 else f" in process {rank} of {self.size} (the first is 0)"

    def in_order(self, error: Error) -> Error:
        """An error that all processes raise at this place: none is left behind in the training."""
        self.broken = False
        return error

    def divisor(self, count: int) -> float:
        """What this process divides its losses by, where the items of its share count `count`.

        The processes' gradients are averaged later, so this is the mean count of the processes.
        """
        if self.size == 1:
            return count
        mean = self.mean(0 if self.idle else count)
        return math.inf if self.idle else mean

    def mean(self, value: float) -> float:
        """The mean of a figure over the processes."""
        if self.size == 1:
            return value
        tensor = torch.tensor([value], dtype=torch.float64)
        dist.all_reduce(tensor, group=self.control)
        return tensor.item() / self.size

    def anywhere(self, found: Sequence[bool]) -> list[bool]:
        """Of each, whether it is so in any process. All must ask about equally many."""
        if self.size == 1:
            return list(found)
        tensor = torch.tensor(found, dtype=torch.int32)
        dist.all_reduce(tensor, dist.ReduceOp.MAX, group=self.control)
        return [bool(value) for value in tensor.tolist()]

    def sum(self, value: int) -> int:
        """The sum of a count over the processes."""
        return value if self.size == 1 else round(self.mean(value) * self.size)

    def first_says(self, value: Value) -> Value:
        """The first process's value, in all of them."""
        if self.size == 1:
            return value
        told = [value]
        dist.broadcast_object_list(told, src=0, group=self.control)
        return told[0]

    def syncing(self, last: bool) -> AbstractContextManager[None]:
        """Around a forward and backward pass: whole copies exchange their gradients in a step's last one only."""
        if self.size == 1 or last or not isinstance(self.model, _Copies):
            return nullcontext()
        return self.model.no_sync()

    def share(self, batches: Sequence[Batch], settings: TrainSettings) -> list[Batch]:
        """The share of a step's items that is this process's, in as many batches as every other process has.

        Sets `idle` where there are fewer items than processes and none is left for this one.
        """
        if self.size == 1:
            return list(batches)
        shares = shares_of(batches, settings, self.size)
        self.idle = not shares[self.rank]
        return shares[self.rank] or shares[0][:1]


def shares_of(batches: Sequence[Batch], settings: TrainSettings, size: int) -> list[list[Batch]]:
    """A step's items dealt out to `size` processes, each share in the same number of batches (or empty).

    The number is the least that keeps every share within the settings' limits, where the smallest share has so many
    items; sharded weights are put together by all processes at once, so none may have a pass more than another.
    """
    items = sorted((item for batch in batches for item in batch), key=lambda item: item.length)
    dealt = [items[number::size] for number in range(size)]
    if len(items) < size:
        return [[own] if own else [] for own in dealt]
    wanted = max(len(list(cut(own, settings))) for own in dealt)
    count = min(wanted, *map(len, dealt))
    return [[own[len(own) * k // count : len(own) * (k + 1) // count] for k in range(count)] for own in dealt]


_team = Team()


def team() -> Team:
    """The processes of this run; this one alone, unless `join` found others."""
    return _team


def join() -> Team:
    """Meet the other processes that were started, as the launcher's environment variables describe them."""
    global _team
    size = int(os.environ.get("WORLD_SIZE", "1"))
    if size == 1 or _team.size > 1:
        return _team
    if torch.cuda.is_available():
        torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")))
    backend = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo"
    dist.init_process_group(backend, timeout=PATIENCE)
    _team = Team(dist.get_rank(), dist.get_world_size(), dist.new_group(backend="gloo", timeout=PATIENCE))
    return _team


def leave() -> None:
    """Part from the other processes."""
    global _team
    if _team.size > 1:
        dist.destroy_process_group()
        _team = Team()


# --- one student in several processes -----------------------------------------------------------------------------


class _Copies(DistributedDataParallel):
    """Whole copies. What is asked of the model itself, such as its parts, the model answers."""

    def get_base_model(self) -> Any:
        return self.module.get_base_model() if hasattr(self.module, "get_base_model") else self.module

    def __getattr__(self, name: str) -> Any:
        try:
            return super().__getattr__(name)
        except AttributeError:
            return getattr(super().__getattr__("module"), name)


@contextlib.contextmanager
def shared(student: Trainable, settings: TrainSettings) -> Iterator[Team]:
    """Train the student in all processes of the team: inside, its model is a copy or a part of it; after, itself.

    Raises `ModelError` where another process could not begin.
    """
    group = team()
    if group.size == 1:
        yield group
        return
    group.began = True
    if group.sum(1) < group.size:
        raise ModelError("Another process could not begin the training.", "What it said stands beside this.")
    group.broken = True
    whole = student.model
    student.model = group.model = _in_parts(whole) if settings.processes == "fsdp" else _copies(whole, settings)
    try:
        yield group
        _gather(group.model, whole)
        group.broken = False
    finally:
        student.model, group.model, group.idle = whole, None, False
        if not group.broken:  # else the run is over, and there may be no room
            whole.to(student.loaded.device)


def _copies(model: Any, settings: TrainSettings) -> Any:
    # A model that is trained whole may hold weights that its answers do not pass, such as an encoder's own pooler.
    # Buffers are the same everywhere, and to send them out would have processes wait for one that is out of memory.
    return _Copies(model, find_unused_parameters=settings.method == "full", broadcast_buffers=False)


def _in_parts(model: Any) -> Any:
    """A copy of the model of which this process holds a part of every weight; the model itself waits in memory."""
    kind = next(model.parameters()).device.type
    mesh = init_device_mesh(kind, (team().size,))
    model.to("cpu")
    sharded = copy.deepcopy(model)
    base = sharded.get_base_model() if hasattr(sharded, "get_base_model") else sharded
    layers = set(getattr(base, "_no_split_modules", None) or ())
    policy = MixedPrecisionPolicy(reduce_dtype=torch.float32)
    for module in list(sharded.modules()):
        if type(module).__name__ in layers:
            fully_shard(module, mesh=mesh, mp_policy=policy)
    fully_shard(sharded, mesh=mesh, mp_policy=policy)
    return sharded


def _gather(shared_model: Any, whole: Any) -> None:
    """Put trained weights that lie in parts together in the model itself."""
    if not isinstance(shared_model, FSDPModule):
        return
    for module in shared_model.modules():  # type: ignore[attr-defined]
        if isinstance(module, FSDPModule):
            module.reshard()  # a look at validation leaves some weights put together, as they were then
    own = dict(whole.named_parameters())
    with torch.no_grad():
        for name, weight in shared_model.named_parameters():  # type: ignore[attr-defined]
            if weight.requires_grad:
                own[name].copy_(entire(weight))


def entire(tensor: torch.Tensor) -> torch.Tensor:
    """The whole tensor, put together where processes hold parts of it. All of them must ask."""
    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor


def like(tensor: torch.Tensor, pattern: torch.Tensor) -> torch.Tensor:
    """A whole tensor in parts as those of `pattern`, and on its device."""
    if isinstance(pattern, DTensor):
        return distribute_tensor(tensor.to(pattern.device), pattern.device_mesh, pattern.placements)
    return tensor.to(pattern.device)


# --- who drives ---------------------------------------------------------------------------------------------------


def together(
    work: Callable[Concatenate[Path, Arguments], None],
) -> Callable[Concatenate[Path, Arguments], None]:
    """A function that trains into a folder, done by all processes: what the first is asked, the others do too.

    They do it in a folder that is thrown away. `on_step`, `on_start` and `upkeep` are for the first process alone.
    """

    @functools.wraps(work)
    def done(folder: Path, *given: Arguments.args, **named: Arguments.kwargs) -> None:
        group = team()
        if group.size == 1:
            work(folder, *given, **named)
            return
        group.began = False
        try:
            if group.first:
                plain = {name: value for name, value in named.items() if name not in ("on_step", "on_start", "upkeep")}
                group.first_says((done, given, plain))
            work(folder, *given, **named)
        except BaseException as error:
            _account(group, error)
            raise

    return cast("Callable[Concatenate[Path, Arguments], None]", done)


def _account(group: Team, error: BaseException) -> None:
    """Let the others know where they listen what ended this process's part in a training. Raises `ModelError` in the
    place of an error that says that memory ran out.
    """
    if isinstance(error, PreceptorError):
        # Before the first step the others ask whether all could begin. Where they could, this is nobody else's error.
        if not group.began and group.sum(0) and not group.first:
            notice(f"Error{group.here}: {error}")
        return
    group.broken = True
    if is_out_of_memory(error):
        raise ModelError(
            f"Memory ran out{group.here}.",
            LESS_AT_ONCE,
        ) from error


def take_part() -> None:
    """Take part in whatever the first process trains, until it has done its run."""
    group = join()
    with _while_all_live(group):
        while (call := group.first_says(None)) is not None:
            work, given, named = call
            with tempfile.TemporaryDirectory() as folder:
                try:
                    work(Path(folder), *given, **named)
                except PreceptorError:
                    if group.broken:
                        raise
                    # Otherwise the first one has met it too, and says it.
        leave()


@contextlib.contextmanager
def driving() -> Iterator[None]:
    """Around the first process's run: meet the others, and let them go at the end."""
    group = join()
    with _while_all_live(group):
        try:
            yield
        finally:
            if group.size > 1 and not group.broken:
                group.first_says(None)
                leave()
            # Otherwise they wait inside a training for what will not come; their launcher ends them.


@contextlib.contextmanager
def _while_all_live(group: Team) -> Iterator[None]:
    """Around what is done together: that another process is gone becomes a sentence, unless a launcher ends this one.

    The one that is gone has said why, if it could.
    """
    try:
        yield
    except RuntimeError as error:
        if not any(words in str(error) for words in GONE):
            raise
        group.broken = True
        time.sleep(LAUNCHER_S)
        raise ModelError(
            "Another process of this run has ended, and none goes on alone.",
            "What it said is above; if it said nothing, it may have been killed for want of memory.",
        ) from None
