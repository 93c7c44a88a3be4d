"""What must hold after each run of a soak: a product or a reason, right times, each forecast verified once."""

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd
import xarray as xr
from claims import claim
from numpy.typing import NDArray
from soak_inbox import OF_HOUR, STEP, Inboxes, rain, time_of

from pipelines.operation.ledger import LEDGER
from pipelines.operation.live_store import LiveStore
from pipelines.operation.products.names import NETCDF, stamp
from pipelines.params.operation import Domain

LEADS = OF_HOUR  # an hour's
TOLD = 10  # lines of a kind
KINDS = ("without product or reason", "undisturbed without a whole product", "wrong times", "not verified once")


@dataclass
class Checks:
    """Judges what flows leave behind.

    Attributes
    ----------
    wrong : dict of str to list of str
        For each of `KINDS`, what was found, a line each.
    issued : set of (domain, name)
        Forecasts that were published, also those that are removed by now.
    verified : dict of (domain, name) to int
        Files of the ledger, and when each was written.
    """

    inboxes: Inboxes
    wrong: dict[str, list[str]] = field(default_factory=lambda: {kind: [] for kind in KINDS})
    issued: set[tuple[str, str]] = field(default_factory=set)
    verified: dict[tuple[str, str], int] = field(default_factory=dict)
    _fault_before: dict[str, str | None] = field(default_factory=dict)

    def after_forecast(self, domain: Domain, hour: int, fault: str | None, message: str) -> None:
        """Look at what a run of ``forecast`` that ended with ``message`` has left.

        What an hour before has lost is missed among the inputs: only after one without a fault all has to be well.
        """
        where = f"{domain.name}, hour {hour} ({fault}): {message}"
        new = [path for path in domain.out.glob("*Z") if (domain.name, path.name) not in self.issued]
        told = message.startswith("published ")
        if told != (len(new) == 1) or not (told or "is published already" in message or "no forecast: " in message):
            self.wrong["without product or reason"].append(where)
        whole = [stamp(time_of(OF_HOUR * hour))] == [path.name for path in new]
        undisturbed = fault is None and self._fault_before.get(domain.name) is None
        self._fault_before[domain.name] = fault
        if undisturbed and hour > 1 and (not whole or "fallback" in message or "in its place" in message):
            self.wrong["undisturbed without a whole product"].append(where)
        for path in new:
            self.issued.add((domain.name, path.name))
            self.wrong["wrong times"] += [f"{where}: {words}" for words in self._times(domain, hour, path)]
        self.wrong["wrong times"] += [f"{where}: {words}" for words in self._stored(domain)]

    def after_verify(self, domain: Domain) -> None:
        """Look whether the ledger has each cycle once, with its own times."""
        for path in (domain.out / LEDGER).glob("date=*/*.parquet"):
            key, written = (domain.name, path.stem), path.stat().st_mtime_ns
            if key not in self.verified:
                rows = pd.read_parquet(path)
                right = rows["valid_time"] == rows["reference_time"] + pd.to_timedelta(rows["minutes"], unit="min")
                own = {stamp(np.datetime64(one, "s")) for one in rows["reference_time"].unique()} == {path.stem}
                if not (own and right.all()):
                    self.wrong["wrong times"].append(f"{path}: rows of other times")
                if rows.duplicated(["forecaster", "minutes", "threshold"]).any() or key not in self.issued:
                    self.wrong["not verified once"].append(f"{path}: rows twice, or of no forecast")
            elif self.verified[key] != written:
                self.wrong["not verified once"].append(f"{path}: written again")
            self.verified[key] = written

    def judge(self, prefix: str) -> None:
        """Print what was found, and a claim of each kind; to be asked when all could be verified."""
        self.wrong["not verified once"] += [f"{one}: never" for one in sorted(self.issued - self.verified.keys())]
        for kind, lines in self.wrong.items():
            for line in lines[:TOLD]:
                print(line)
            claim(f"{prefix}cycles {kind}", len(lines), "<=", 0)

    def _times(self, domain: Domain, hour: int, folder: Path) -> list[str]:
        """Whether a new forecast is of the newest frame that came, and for the times after it, as its pixels are."""
        with xr.open_dataset(folder / NETCDF, decode_timedelta=False) as dataset:
            reference = dataset["forecast_reference_time"].to_numpy().astype("datetime64[s]")
            valid = dataset["time"].to_numpy().astype("datetime64[s]").tolist()
            first = dataset["rainfall_flux"][0].to_numpy()
        number = int((reference - time_of(0)) / STEP)
        wanted = [time_of(number + lead).astype("datetime64[s]").item() for lead in range(1, LEADS + 1)]
        words = []
        if stamp(reference) != folder.name or valid != wanted:
            words.append(f"{folder.name} is of {reference}, for {valid}")
        if number != max(one for one in self.inboxes.whole[domain.name] if one <= OF_HOUR * hour):
            words.append(f"{reference} isn't the newest frame's")
        if self._most_like(first, number) not in (0, 1):  # 0: persistence
            words.append(f"{folder.name}: pixels of another time")
        return words

    def _stored(self, domain: Domain) -> list[str]:
        """Whether a live store has frames that were sent, each once and in order, and the newest is what it was."""
        state = LiveStore.of(domain).open()
        times, newest = state["time"].to_numpy().astype("datetime64[s]"), state["rainfall_flux"][-1].to_numpy()
        sent = {time_of(one) for one in self.inboxes.whole[domain.name]}
        words = []
        if not (set(times) <= sent and (np.diff(times) > np.timedelta64(0, "s")).all()):
            words.append("frames stored that nobody sent, or out of order")
        if self._most_like(newest, int((times[-1] - time_of(0)) / STEP)) != 0:
            words.append(f"the frame of {times[-1]} has the pixels of another")
        return words

    def _most_like(self, field: NDArray[np.floating], number: int) -> int:
        """By how many steps from frame ``number`` the frame is that a field is most like."""
        errors = {by: np.nanmean(np.abs(field - rain(self.inboxes.size, number + by))) for by in range(-1, 4)}
        return min(errors, key=errors.__getitem__)
