"""Which frames a forecast is made from, as a domain's policy says, and what stands in for one that is missing."""

import logging
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from pipelines.common.errors import UnreadableFile, UserError
from pipelines.common.rights import Rights
from pipelines.nowcast.methods import lagrangian
from pipelines.params.operation import Policy
from pipelines.radar.clock import usual_step
from pipelines.radar.frame import Frame, Rain
from pipelines.radar.store import difference

log = logging.getLogger(__name__)

NO_FRAME = "no frame of this time"
STEP_FRAMES = 12  # newest frames whose usual distance is the step: an old gap, or an old step, is of no matter


class StaleInput(UserError):  # noqa: N818 - a condition of the data, not of the program
    """The newest frame is older than the policy allows."""


class Source:
    """Frames at hand, each read when it is asked for, and once.

    Parameters
    ----------
    name : str
        Where they are, for messages.
    times : ndarray of datetime64
        Theirs, in any order.
    read : callable
        Gives the frame of a time; raises `UnreadableFile` where it turns out that there is none. Such a time is told
        of in the log and taken out of ``times``.
    rights : Rights
        Of the frames.
    """

    def __init__(
        self,
        name: str,
        times: NDArray[np.datetime64],
        read: Callable[[np.datetime64], Frame],
        rights: Rights = Rights(),  # noqa: B008 - immutable
    ) -> None:
        self.rights = rights
        self.name, self.times = name, np.unique(times.astype("datetime64[s]"))
        self._read, self._frames = read, dict[np.datetime64, Frame]()

    def frame(self, time: np.datetime64) -> Frame | None:
        """Return the frame of a time, or None where there is none."""
        if time not in self.times:
            return None
        if time not in self._frames:
            try:
                self._frames[time] = self._read(time)
            except UnreadableFile as error:
                log.warning("%s", error)
                self.times = self.times[self.times != time]
                return None
        return self._frames[time]

    def hold(self, frame: Frame) -> Frame:
        """Return a frame that is had from now on in place of the same one read."""
        self._frames[frame.time] = frame
        return frame

    def newest(self, policy: Policy) -> Frame:
        """Return the newest frame, from which the forecast starts.

        Raises
        ------
        UserError
            If there is none, or it knows too little of the grid.
        """
        newest = None
        while self.times.size and newest is None:
            newest = self.frame(self.times[-1])
        if newest is None:
            raise UserError(f"{self.name}: no frame that can be read")
        if words := knows_too_little(newest, policy):
            raise UserError(f"{self.name}: {newest.source}: the newest frame, of {newest.time} UTC, {words}")
        return newest

    def step_s(self) -> int:
        """Seconds from one frame to the next, of the newest ones; raises UserError if there are fewer than two."""
        if self.times.size < 2:
            raise UserError(f"{self.name}: {self.times.size} frame(s), and two at least are needed")
        return usual_step(self.times[-STEP_FRAMES:])


@dataclass(frozen=True)
class Inputs:
    """What a method is given.

    Parameters
    ----------
    rain_rate : ndarray of shape (T_in, H, W), mm/h
        Oldest first, with stand-ins.
    observed : list of Frame
        The frames that are observed, oldest first; the newest is the last of both.
    gap_fills : dict of numpy.datetime64 to (str, str)
        For each input that is missing: why, and what stands in for it.
    """

    rain_rate: Rain
    observed: list[Frame]
    gap_fills: dict[np.datetime64, tuple[str, str]]


def check_age(time: np.datetime64, now: np.datetime64, allowed_minutes: int | None, name: object) -> None:
    """Refuse, by StaleInput, a newest frame that is too old; None allows any age."""
    age = (now - time) // np.timedelta64(60, "s")
    if allowed_minutes is not None and age > allowed_minutes:
        raise StaleInput(
            f"{name}: the newest frame is of {time} UTC, {age} minutes ago, and {allowed_minutes} are allowed"
        )


def knows_too_little(frame: Frame, policy: Policy) -> str | None:
    """Return in words that a frame knows too little of its grid for ``policy``, or nothing; None if it knows enough."""
    share = float(np.isfinite(frame.rain_rate).mean())
    if share > 0 and share >= policy.min_valid_share:
        return None
    return f"knows {share:.2%} of the grid, and {policy.min_valid_share:.2%} are wanted"


def choose_inputs(source: Source, count: int, policy: Policy, method: str) -> Inputs:
    """Choose the frames that a method needs, up to the newest, with stand-ins for those that are missing.

    Parameters
    ----------
    count : int
        Inputs of the method (T_in).
    method : str
        Its name, for messages.

    Raises
    ------
    UserError
        As :meth:`Source.newest` and :meth:`Source.step_s`; and if more are missing than may be, nothing can stand in
        for one, or they are not all of one grid and kind.
    """
    newest, step = source.newest(policy), np.timedelta64(source.step_s(), "s")
    why: dict[np.datetime64, str] = {}

    def usable(time: np.datetime64) -> Frame | None:
        frame = source.frame(time)
        if frame is None:
            why[time] = NO_FRAME
        elif words := difference(newest, frame):
            raise UserError(f"{frame.source}: not as {newest.source}: {words}")
        elif words := knows_too_little(frame, policy):
            why[time] = f"its frame {words}"
            return None
        return frame

    times = newest.time - np.arange(count)[::-1] * step
    given = {time: usable(time) for time in times}
    missing = [time for time, frame in given.items() if frame is None]
    needs = f"{method} needs the {count} up to {newest.time}, of which {policy.max_missing} may be missing"
    if len(missing) > policy.max_missing:
        raise UserError(f"{source.name}: no good frame of {', '.join(map(str, missing))} UTC, and {needs}")
    rain_rate, gap_fills = {time: frame.rain_rate for time, frame in given.items() if frame is not None}, {}
    for time in missing:
        before = next(filter(None, (usable(time - k * step) for k in range(1, policy.max_missing + 1))), None)
        if before is None:
            raise UserError(f"{source.name}: nothing can stand in for the frame of {time} UTC, and {needs}")
        after = next(frame for later, frame in given.items() if later > time and frame is not None)
        rain_rate[time] = _gap_fill(before, after, time, step) if policy.stand_in == "advected" else before.rain_rate
        gap_fills[time] = why[time], f"{before.source} of {before.time}, {policy.stand_in}"
    together = np.stack([rain_rate[time] for time in times])
    for number, (time, one) in enumerate(given.items()):
        if one is not None:  # their pixels are in memory once: those of a continent's four frames have 0.4 GB
            given[time] = source.hold(replace(one, rain_rate=together[number]))
    return Inputs(together, [frame for frame in given.values() if frame is not None], gap_fills)


def _gap_fill(before: Frame, after: Frame, time: np.datetime64, step: np.timedelta64) -> Rain:
    """Move the frame before a gap on to ``time``, along the motion from it to the frame after the gap."""
    steps, wanted = int((after.time - before.time) / step), int((time - before.time) / step)
    motion = lagrangian.motion(np.stack([before.rain_rate, after.rain_rate])) / np.float32(steps)
    return lagrangian.advect(np.repeat(before.rain_rate[None], wanted, axis=0), motion)[-1]
