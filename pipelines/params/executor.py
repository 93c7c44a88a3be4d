"""Section of where a stage's shards are worked on: here, or on a Dask cluster."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from pipelines.params.base import Positive, Section


class Executor(Section):
    """Where ingestion, index and evaluation work; the results are the same, so that no stage runs anew by it."""

    kind: Literal["local", "dask"] = Field(
        default="local", description="processes of this machine; or the workers of a Dask cluster"
    )
    address: Annotated[str, Field(pattern=r"^(tcp|tls|ws|wss)://\S+$")] | None = Field(
        default=None, description="of Dask's scheduler, tcp://HOST:PORT; null: a cluster of this machine, for the run"
    )
    workers: Positive | None = Field(
        default=None, description="processes; at an address, how many workers are waited for; null: one a core, or any"
    )
    threads: Positive | None = Field(
        default=None, description="shards that a worker of a cluster for the run works on at once; null: 1"
    )

    @model_validator(mode="after")
    def _say_what_counts(self) -> Self:
        if self.kind == "local" and (self.address, self.threads) != (None, None):
            raise ValueError("address and threads are of kind dask")
        if self.address and self.threads:
            raise ValueError("threads: the workers at an address have those that they were started with")
        return self
