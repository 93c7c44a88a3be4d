"""Whether and when a task is tried again."""

from typing import Any

from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State

from pipelines.common.errors import Unavailable


def may_help(_task: Any, _run: Any, state: State) -> bool:
    """Return whether another try can help: a lock or a disk may be there in a while, a bad frame stays bad."""
    error = state.result(raise_on_failure=False)
    return isinstance(error, Unavailable | OSError) or isinstance(getattr(error, "__cause__", None), OSError)


RETRY: dict[str, Any] = {
    "retries": 3,
    "retry_delay_seconds": [2, 20, 60],
    "retry_condition_fn": may_help,
    "cache_policy": NO_CACHE,
}
