"""What must hold after each run of a soak: a product or a reason, right times, each forecast verified once."""

import re
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
LOOKED_AT = 5  # newest frames of a store
KINDS = (
    *("without product or reason", "undisturbed without a whole product", "wrong times", "not verified once"),
    "without an archive",
)
AWAY, FULL = "MLflow away", "full disk"
UNFORESEEN = re.compile(r"no forecast: \w+: ")  # the kind of an error, where a reason names a path or a model


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
    _gaps: set[tuple[str, int, str]] = field(default_factory=set)  # domain, number of the frame, and why
    _fault_before: dict[str, str | None] = field(default_factory=dict)

    def after_forecast(self, domain: Domain, hour: int, fault: str | None, message: str) -> None:
        """Look at what a run of ``forecast`` that ended with ``message`` has left.

        What an hour before has lost is missed among the inputs: only after one without a fault all has to be well.
        """
        where = f"{domain.name}, hour {hour} ({fault}): {message}"
        new = [path for path in domain.out.glob("*Z") if (domain.name, path.name) not in self.issued]
        told = message.startswith("published ")
        reason = "is published already" in message or ("no forecast: " in message and not UNFORESEEN.search(message))
        if told != (len(new) == 1) or not (told or reason):
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

    def after_archive(self, domain: Domain, hour: int, message: str) -> None:
        """Look whether a run of ``archive`` that ended with ``message`` found nothing wrong."""
        if not re.match(r"\d+ new frame\(s\) in ", message):
            self.wrong["without an archive"].append(f"{domain.name}, hour {hour}: {message}")

    def after_verify(self, domain: Domain, hour: int, fault: str | None, message: str) -> None:
        """Look whether the ledger has each cycle once, with its own times and what was observed then."""
        done = "cycle(s) verified" in message and ("isn't in MLflow" not in message or fault == AWAY)
        if not done and fault != FULL:
            self.wrong["not verified once"].append(f"{domain.name}, hour {hour} ({fault}): {message}")
        for path in (domain.out / LEDGER).glob("date=*/*.parquet"):
            key, written = (domain.name, path.stem), path.stat().st_mtime_ns
            if key not in self.verified:
                rows = pd.read_parquet(path)
                right = rows["valid_time"] == rows["reference_time"] + pd.to_timedelta(rows["minutes"], unit="min")
                own = {stamp(np.datetime64(one, "s")) for one in rows["reference_time"].unique()} == {path.stem}
                if not (own and right.all()):
                    self.wrong["wrong times"].append(f"{path}: rows of other times")
                else:
                    self.wrong["wrong times"] += [f"{path}: {words}" for words in self._observed(domain, rows)]
                if rows.duplicated(["forecaster", "minutes", "threshold"]).any() or key not in self.issued:
                    self.wrong["not verified once"].append(f"{path}: rows twice, or of no forecast")
            elif self.verified[key] != written:
                self.wrong["not verified once"].append(f"{path}: written again")
            self.verified[key] = written

    def judge(self, prefix: str) -> None:
        """Print what was found, and a claim of each kind; to be asked when all could be verified."""
        self.wrong["not verified once"] += [f"{one}: never" for one in sorted(self.issued - self.verified.keys())]
        for name, number, gap in sorted(self._gaps):
            if number in self.inboxes.whole[name]:  # perhaps later than the cycle, but in time
                self.wrong["not verified once"].append(f"{name}: with the frame of {time_of(number)}: {gap}")
        for kind, lines in self.wrong.items():
            for line in lines[:TOLD]:
                print(line)
            claim(f"{prefix}cycles {kind}", len(lines), "<=", 0)

    def _times(self, domain: Domain, hour: int, folder: Path) -> list[str]:
        """Whether a new forecast is of the newest frame that came, and for the times after it, as its pixels are."""
        with xr.open_dataset(folder / NETCDF, decode_timedelta=False) as dataset:
            reference = dataset["forecast_reference_time"].to_numpy().astype("datetime64[s]")
            valid = dataset["time"].to_numpy().astype("datetime64[s]").tolist()
            fields, moves = dataset["rainfall_flux"].to_numpy(), dataset.attrs["method"] != "persistence"
            sure = LEADS if dataset.attrs["missing_frames"] in ("none", "[]") else 1  # by a stand-in's motion it blurs
        number = int((reference - time_of(0)) / STEP)
        wanted = [time_of(number + lead).astype("datetime64[s]").item() for lead in range(1, LEADS + 1)]
        words = []
        if stamp(reference) != folder.name or valid != wanted:
            words.append(f"{folder.name} is of {reference}, for {valid}")
        if number != max(one for one in self.inboxes.whole[domain.name] if one <= OF_HOUR * hour):
            words.append(f"{reference} isn't the newest frame's")
        shown = [self._most_like(field, number) for field in fields[:sure]]
        if shown != [lead if moves else 0 for lead in range(1, sure + 1)]:
            words.append(f"{folder.name}: pixels of other times, {shown} steps after it")
        return words

    def _stored(self, domain: Domain) -> list[str]:
        """Whether a live store has the frames that were sent, each once and in order, and the newest as they were."""
        state = LiveStore.of(domain).open()
        times, newest = state["time"].to_numpy().astype("datetime64[s]"), state["rainfall_flux"][-LOOKED_AT:].to_numpy()
        sent = [time_of(one) for one in sorted(self.inboxes.whole[domain.name])]
        words = []
        if times.tolist() != [one.item() for one in sent if times[0] <= one <= times[-1]]:
            words.append("frames stored that nobody sent, out of order, or not stored though sent")
        for time, pixels in zip(times[-LOOKED_AT:], newest, strict=True):
            if self._most_like(pixels, int((time - time_of(0)) / STEP)) != 0:
                words.append(f"the frame of {time} has the pixels of another")
        return words

    def _observed(self, domain: Domain, rows: pd.DataFrame) -> list[str]:
        """Whether nothing is scored with what wasn't sent, and persistence is as wrong as between its times' frames."""
        number = int((rows["reference_time"].iloc[0].to_datetime64() - time_of(0)) / STEP)
        leads = (rows["minutes"] / (STEP / np.timedelta64(60, "s"))).astype(int)
        self._gaps |= {(domain.name, number + lead, gap) for lead, gap in zip(leads, rows["gap"], strict=True) if gap}
        words, errors = list[str](), self._errors(rain(self.inboxes.size, number), number, range(LEADS + 2))
        if ((rows["gap"] == "") & ~(number + leads).isin(self.inboxes.whole[domain.name])).any():
            words.append("no gap where nothing was sent")
        found = rows.assign(lead=leads)[(rows["gap"] == "") & (rows["forecaster"] == "persistence")]
        for row in found.drop_duplicates("lead").itertuples():
            error = row.absolute_error / (row.hits + row.false_alarms + row.misses + row.correct_negatives)
            if min(errors, key=lambda by: abs(errors[by] - error)) != row.lead:
                words.append(f"at +{row.minutes:g} minutes scored with a frame of another time")
        return words

    def _most_like(self, field: NDArray[np.floating], number: int) -> int:
        """By how many steps from frame ``number`` the frame is that a field is most like."""
        errors = self._errors(field, number, range(-1, LEADS + 2))
        return min(errors, key=errors.__getitem__)

    def _errors(self, field: NDArray[np.floating], number: int, steps: range) -> dict[int, float]:
        """Mean absolute differences of a field from the frames that are so many steps from frame ``number``."""
        return {by: float(np.nanmean(np.abs(field - rain(self.inboxes.size, number + by)))) for by in steps}
