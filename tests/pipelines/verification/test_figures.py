"""Figures of scores, undefined ones too."""

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.image import imread
from sums import LEADS, counts

from pipelines.params.nowcast import BASELINES
from pipelines.verification.figures import (
    draw_brier_skill,
    draw_crps,
    draw_csi,
    draw_fss,
    draw_reliability,
    draw_spectra,
)
from pipelines.verification.probabilities import probability_scores, score_probabilities
from pipelines.verification.scoring import FSS_SUMS, pooled
from pipelines.verification.spatial import WAVELENGTHS_KM, power_columns


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[Figure]:
    """Figures that were saved, as they are in the files."""
    figures: list[Figure] = []
    save = Figure.savefig

    def keep(figure: Figure, *arguments: Any, **named: Any) -> None:
        figures.append(figure)
        save(figure, *arguments, **named)

    monkeypatch.setattr(Figure, "savefig", keep)
    return figures


def lines(ax: Axes) -> dict[str, np.ndarray]:
    """What is plotted by name, (2, points)."""
    return {str(line.get_label()): np.array(line.get_data(), float) for line in ax.lines}


def test_undefined_scores_are_drawn_too(tmp_path: Path, drawn: list[Figure]) -> None:
    dry = counts(1, 0, 0)
    undefined = dry.assign(**dict.fromkeys(FSS_SUMS, 0.0), **dict.fromkeys(power_columns(), np.nan))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for name, draw in {"csi": draw_csi, "fss": draw_fss, "spectra": draw_spectra}.items():
            for wet in (True, False):
                tables = {"scs": undefined} | ({"persistence": counts(1, 30, 10)} if wet else {})
                if name != "spectra":
                    tables = {method: pooled(sums) for method, sums in tables.items()}
                draw(tables, tmp_path / f"{name}.png", BASELINES)
                assert imread(tmp_path / f"{name}.png").std() > 0.01
    leads = 5.0 * np.arange(1, LEADS + 1)
    csi, _, fss, _, spectra, empty = drawn
    at_half, at_two = map(lines, csi.axes)
    np.testing.assert_array_equal(at_half["persistence"], [leads, np.full(LEADS, 0.75)])  # 30 hits, 10 errors
    assert np.isnan(at_half["scs"][1]).all() and np.isnan(at_two["persistence"][1]).all()
    assert [line.get_linestyle() for line in csi.axes[0].lines] == ["-", "--"], "baselines are dashed"
    assert [ax.get_title() for ax in csi.axes] == ["at least 0.5 mm/h", "at least 2 mm/h"]
    for ax in fss.axes:
        np.testing.assert_array_equal(lines(ax)["persistence"], [leads, np.full(LEADS, 0.75)])
    for ax in spectra.axes:
        assert set(lines(ax)) == {"persistence"}, "what has no spectrum has no line"
        np.testing.assert_array_equal(lines(ax)["persistence"], [WAVELENGTHS_KM, np.full(len(WAVELENGTHS_KM), 2.0)])
    assert [len(ax.lines) for ax in empty.axes] == [0, 0]


def test_probabilities_are_drawn_of_one_block_and_of_many(tmp_path: Path, drawn: list[Figure]) -> None:
    p = np.empty((2, 2, 40, 50), np.float32)
    p[:, 0, :20], p[:, 0, 20:], p[:, 1] = 0.8, 0.2, 0.1
    came = np.tile(np.arange(50) / 50, (2, 40, 1))  # of the upper half 0.6 and of the lower 0.2 have 1, and 0.1 have 5
    observed = np.where(came < 0.1, 5, np.where(came < np.where(np.arange(40) < 20, 0.6, 0.2)[:, None], 1, 0))
    observed, mask = observed.astype(np.float32), np.ones((2, 40, 50), bool)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for blocks in (1, 3):
            tables = {}
            for name, said in {"network": p, "extrapolation": np.round(p)}.items():
                sums = score_probabilities(said, observed, mask, [0.5, 2], minutes=[30, 60])
                tables[name] = pd.concat(sums.assign(event=k, time=pd.Timestamp(2024, 6, k + 1)) for k in range(blocks))
            scores = {name: probability_scores(sums, tables["extrapolation"]) for name, sums in tables.items()}
            draw_crps(scores, tmp_path / "crps.png", BASELINES)
            draw_brier_skill(scores, tmp_path / "skill.png", BASELINES)
            draw_reliability(tables, tmp_path / "reliability.png", BASELINES)
    for name in ("crps", "skill", "reliability"):
        assert imread(tmp_path / f"{name}.png").std() > 0.01
    # Brier scores by hand: half of the pixels each, of which a share came; and of the 0 and 1 that extrapolation says.
    low = {"network": 0.5 * (0.6 * 0.04 + 0.4 * 0.64) + 0.5 * (0.2 * 0.64 + 0.8 * 0.04)}
    low["extrapolation"] = 0.5 * 0.4 + 0.5 * 0.2
    high = {"network": 0.1 * 0.81 + 0.9 * 0.01, "extrapolation": 0.1}
    for crps, skill, reliability in (drawn[:3], drawn[3:]):
        for name in low:
            of = lines(crps.axes[0])[name]
            np.testing.assert_allclose(of, [[30, 60], np.full(2, 1.5 * (low[name] + high[name]) / 2)], rtol=1e-5)
        for ax, brier in zip(skill.axes, (low, high), strict=True):
            gain = 1 - brier["network"] / brier["extrapolation"]
            np.testing.assert_allclose(lines(ax)["network"], [[30, 60], [gain, gain]], rtol=1e-5)
        above, rare, shares, _ = reliability.axes
        (bars,) = above.containers
        assert bars.get_label() == "network", "extrapolation says 0 and 1 alone"
        np.testing.assert_allclose(np.array(bars.lines[0].get_data(), float), [[0.2, 0.8], [0.2, 0.6]], rtol=1e-5)
        np.testing.assert_allclose(np.array(rare.containers[0].lines[0].get_data(), float), [[0.1], [0.1]], rtol=1e-5)
        np.testing.assert_allclose(np.nanmax(np.array(shares.lines[0].get_ydata(), float)), 0.5)
