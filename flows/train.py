"""The flow ``train``: DVC's stages as tasks, side by side where they can be; on a schedule it is the retraining.

What the stages are and in what order is DVC's. ``dvc repro`` by hand and this flow share cache and lock: what one has
done the other doesn't do again. A stage that fails stops what depends on it, and nothing else.
"""

import time

from prefect import flow, get_run_logger, task
from prefect.client.schemas.objects import State
from prefect.futures import PrefectFuture, wait
from prefect.states import Completed, Failed

from flows.retries import RETRY
from flows.training.artifact import result_of, show_training
from flows.training.dvc_stages import Processes, Stage, plan, reproduce
from flows.training.slots import Slots
from pipelines.common.errors import Unavailable, UserError
from pipelines.params.read import read_params


@task(name="stage", task_run_name="{stage.name}", **{**RETRY, "retry_delay_seconds": [10, 60, 300]})
def run_stage(stage: Stage, slots: Slots, processes: Processes, remote: bool) -> State:
    """Bring one stage up to date as soon as a slot is free; its lines and metrics go to the task's log."""
    log = get_run_logger()
    try:
        with slots.take(processes.stopping) as environment:
            began = time.monotonic()
            result = reproduce(stage.name, processes, environment, log.info, remote=remote)
    except Unavailable:
        raise
    except UserError as error:
        log.error("%s", error)
        return Failed(message=str(error))
    if not result.ran:
        return Completed(message="up to date", data=result)
    numbers = ", ".join(f"{key} {value:.4g}" for key, value in stage.read_metrics().items())
    if numbers:
        log.info("metrics of %s: %s", stage.name, numbers)
    took = f"ran in {time.monotonic() - began:.0f} s"
    return Completed(message=f"{took}; {numbers}" if numbers else took, data=result)


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
    processes, futures = Processes(), dict[str, PrefectFuture[State]]()
    try:
        for stage in stages:  # a stage of DVC's order comes after those that it waits for
            upstream = [futures[name] for name in stage.upstream if name in futures]
            futures[stage.name] = run_stage.submit(
                stage, places, processes, remote, wait_for=upstream, return_state=False
            )
        wait(list(futures.values()))
    finally:
        processes.stop()  # Ctrl-C, a cancelled flow: nothing goes on without us
    # One that waits for a stage that failed is never begun: it stays pending.
    outcomes = {name: future.state for name, future in futures.items() if future.state.is_final()}
    show_training(stages, outcomes)
    failed = [state.message or name for name, state in outcomes.items() if not state.is_completed()]
    if failed:
        left = [stage.name for stage in stages if stage.name not in outcomes]
        return Failed(message="; ".join(failed) + (f"; not run: {', '.join(left)}" if left else ""))
    ran = [name for name, state in outcomes.items() if result_of(state).ran]
    return Completed(message=f"{len(stages)} stages; ran: {', '.join(ran) or 'none'}")
