"""The flow ``train``: DVC's stages as tasks, side by side where they can be; on a schedule it is the retraining.

What the stages are and in what order is DVC's. ``dvc repro`` by hand and this flow share cache and lock: what one has
done the other doesn't do again. A stage that fails stops what depends on it, and nothing else.
"""

import time
from collections.abc import Mapping
from contextlib import suppress
from functools import partial
from queue import Empty, Queue
from typing import Any

from prefect import flow, get_run_logger, task
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State
from prefect.futures import PrefectFuture
from prefect.states import Completed, Failed

from flows.training.artifact import result_of, show_training
from flows.training.dvc_stages import Processes, Stage, plan, reproduce
from flows.training.slots import Slot, Slots
from pipelines.common.errors import Unavailable, UserError
from pipelines.params.read import read_params

LOOK_S = 5.0  # from one look for a free slot to the next, where another flow has the GPUs


def may_help(_task: Any, _run: Any, state: State) -> bool:
    """Whether another try can help: a server or a disk may be there in a while, a NaN loss stays one."""
    return isinstance(state.result(raise_on_failure=False), Unavailable | OSError)


@task(
    name="stage",
    task_run_name="{stage.name}",
    retries=3,
    retry_delay_seconds=[10, 60, 300],
    retry_condition_fn=may_help,
    cache_policy=NO_CACHE,
)
def run_stage(stage: Stage, environment: dict[str, str], processes: Processes, remote: bool) -> State:
    """Bring one stage up to date; its lines and metrics go to the task's log."""
    log = get_run_logger()
    began = time.monotonic()
    try:
        said = reproduce(stage.name, processes, environment, log.info, remote=remote)
    except Unavailable:
        raise
    except UserError as error:
        log.error("%s", error)
        return Failed(message=str(error))
    if not said.ran:
        return Completed(message="up to date", data=said)
    numbers = ", ".join(f"{key} {value:.4g}" for key, value in stage.read_metrics().items())
    if numbers:
        log.info("metrics of %s: %s", stage.name, numbers)
    took = f"ran in {time.monotonic() - began:.0f} s"
    return Completed(message=f"{took}; {numbers}" if numbers else took, data=said)


@flow(name="train")
def train(targets: list[str] | None = None, slots: int = 1, remote: bool = False) -> State:
    """Bring DVC's stages up to date, side by side as far as slots allow, and show what came of it.

    Parameters
    ----------
    targets : list of str, optional
        Stages, with all that they need; the whole of dvc.yaml by default.
    slots : int
        Stages to run at a time on a machine without GPUs. With GPUs, a slot is ``train.devices`` of them.
    remote : bool
        Whether to pull what is missing from DVC's default remote, and to push to it what was made.
    """
    log = get_run_logger()
    try:
        places = Slots(slots, read_params().train.devices)
        stages = plan(targets or ())
    except UserError as error:
        log.error("%s", error)
        return Failed(message=str(error))
    log.info("%d stages, %d slot(s), GPUs: %s", len(stages), places.count, ", ".join(places.gpus) or "none")
    processes = Processes()
    try:
        outcomes = run_all(stages, places, processes, remote)
    finally:
        processes.stop()  # Ctrl-C, a cancelled flow: nothing goes on without us
    show_training(stages, outcomes)
    failed = [state.message or name for name, state in outcomes.items() if not state.is_completed()]
    if failed:
        left = [stage.name for stage in stages if stage.name not in outcomes]
        return Failed(message="; ".join(failed) + (f"; not run: {', '.join(left)}" if left else ""))
    ran = [name for name, state in outcomes.items() if result_of(state).ran]
    return Completed(message=f"{len(stages)} stages; ran: {', '.join(ran) or 'none'}")


def run_all(stages: list[Stage], slots: Slots, processes: Processes, remote: bool) -> Mapping[str, State]:
    """Run each stage when all that it waits for are done and a slot is free.

    Returns
    -------
    mapping of str to State
        How each ended; without those that wait for one that failed.
    """
    waiting = list(stages)
    running: dict[str, Slot] = {}
    outcomes: dict[str, State] = {}
    ended: Queue[tuple[str, PrefectFuture[Any]]] = Queue()
    while True:
        done = {name for name, state in outcomes.items() if state.is_completed()}
        ready = [stage for stage in waiting if stage.upstream <= done]
        if not ready and not running:
            return outcomes
        for stage in ready:
            slot = slots.take()
            if slot is None:
                break
            waiting.remove(stage)
            running[stage.name] = slot
            future = run_stage.submit(stage, slot.environment, processes, remote)
            future.add_done_callback(partial(_put, ended, stage.name))
        with suppress(Empty):
            name, future = ended.get(timeout=LOOK_S)
            future.wait()
            outcomes[name] = future.state
            slots.give_back(running.pop(name))


def _put(ended: Queue[tuple[str, PrefectFuture[Any]]], name: str, future: PrefectFuture[Any]) -> None:
    ended.put((name, future))
