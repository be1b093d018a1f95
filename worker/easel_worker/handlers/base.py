"""The seam between the worker's stages and what a task asks for."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Generic, TypeVar

from easel_contract.events import Progress
from easel_contract.results import Outcome
from easel_worker.failure import Failure, failure_of

if TYPE_CHECKING:
    from easel_queue import Task
    from easel_worker.job import Job
    from easel_worker.previews import PreviewImage
    from easel_worker.settings import WorkerSettings
    from easel_worker.stats import Stats

P = TypeVar("P")
"""What `prepare` makes for `run`."""
O = TypeVar("O")  # noqa: E741 - the output's type variable; never confused with a zero here
"""What `run` makes for `publish`."""


def _no_preview(job: Job, image: PreviewImage) -> None:
    """For contexts that show none."""


@dataclass(frozen=True)
class RunContext:
    """What a running handler may do besides its work. Lives on the torch thread."""

    job: Job
    on_progress: Callable[[Job, Progress], None]
    on_preview: Callable[[Job, PreviewImage], None] = _no_preview

    @property
    def request_id(self) -> str:
        return self.job.request_id

    def report(self, progress: Progress) -> None:
        """Tell how far the task is. Cheap: the newest report is sent by another thread."""
        self.on_progress(self.job, progress)

    def check_cancelled(self) -> None:
        """Raise `JobStoppedError` when the task was cancelled, its lease lost, or the worker must leave."""
        self.job.check()

    @property
    def interrupted(self) -> bool:
        """The client wants the task to end at this step: its result is the batches that are done and the
        current one, decoded as far as it got. Status 200, unlike a cancel. Cheap: asked at every step."""
        return self.job.interrupted

    @property
    def skip_wanted(self) -> bool:
        """The client wants the current batch to end at this step and the next one to begin."""
        return self.job.skip_wanted

    def take_skip(self) -> bool:
        """`skip_wanted`, and forget it. Call it once more when a batch begins: a wish that came too late for
        the last batch is not meant for the next."""
        return self.job.take_skip()

    def preview(self, image: PreviewImage) -> None:
        """Show how the picture looks so far. Cheap: another thread encodes and sends it, the newest only."""
        self.on_preview(self.job, image)

    def wait(self, seconds: float) -> None:
        """Sleep, but stop as soon as `check_cancelled` would raise, and return at an interrupt or a skip."""
        self.job.wait(seconds)


class Handler(ABC, Generic[P, O]):
    """Serves the tasks of `paths`. One object per worker.

    The three stages run on three threads, for different tasks at the same time, so what they share
    must be safe to share. `prepare` and `publish` raise `ContractError` for what is the client's fault
    (told once, never retried); anything else they raise is retried up to `max_delivery`.
    """

    paths: ClassVar[tuple[str, ...]] = ()

    def __init__(self, settings: WorkerSettings, stats: Stats) -> None:
        self.settings = settings
        self.stats = stats

    def setup(self) -> None:
        """Called once on the torch thread before any task is taken. An exception ends the worker."""

    @abstractmethod
    def prepare(self, task: Task) -> P:
        """CPU work of the prefetch stage: decode and validate the body."""

    @abstractmethod
    def run(self, prepared: P, ctx: RunContext) -> O:
        """The work itself, on the torch thread. Calls `ctx.check_cancelled` at every step."""

    def run_together(self, prepared: Sequence[P], contexts: Sequence[RunContext]) -> Sequence[O | None]:
        """The work of several tasks in one batch, in their order; only for those that the queue says are
        alike (`easel_contract.needs`). None stands for a task that is to `run` by itself: because this
        handler knows no batches, because it was stopped, or because another one ended early and took it
        along. An exception means all of them."""
        return [None] * len(prepared)

    @abstractmethod
    def publish(self, task: Task, output: O) -> Outcome:
        """Encode and store, on the publish thread. May run twice when the process died in between."""

    def id_task(self, prepared: P) -> str | None:
        """The caller's own id of the task, echoed also in a failure."""
        return None

    def explain(self, error: Exception) -> Failure:
        """What the client is told about an exception of `run`."""
        return failure_of(error)

    def free_memory(self) -> None:
        """Called on the torch thread after a `Failure` with `out_of_memory`, when its traceback is gone."""

    def unload(self) -> None:
        """Drop everything that is loaded. Called on the torch thread between two tasks; the next task loads
        what it needs."""

    def reload(self, checkpoint: str) -> None:
        """Load a checkpoint, the default one if "". Called on the torch thread between two tasks."""

    def at_hand(self) -> Sequence[str]:
        """The needs (see `easel_contract.needs`) met by what is loaded, best first. Any thread may ask."""
        return ()

    def describe(self) -> Mapping[str, object]:
        """Facts for the heartbeat, such as the loaded checkpoint. Called from any thread."""
        return {}
