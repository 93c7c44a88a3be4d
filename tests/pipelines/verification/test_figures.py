"""Figures of scores, undefined ones too."""

import warnings
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.image import imread
from sums import counts

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
from pipelines.verification.spatial import power_columns


def test_undefined_scores_are_drawn_too(tmp_path: Path) -> None:
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


def test_probabilities_are_drawn_of_one_block_and_of_many(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    p = rng.random((2, 2, 40, 50)).astype(np.float32)
    p[:, 1] *= p[:, 0]
    came = rng.random((2, 40, 50))
    observed = np.where(came < p[:, 1], 5, np.where(came < p[:, 0], 1, 0)).astype(np.float32)
    mask = np.ones(observed.shape, bool)
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
