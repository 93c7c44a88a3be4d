"""Figures of scores, undefined ones too."""

import warnings
from pathlib import Path

import numpy as np
from matplotlib.image import imread
from sums import counts

from pipelines.params.nowcast import BASELINES
from pipelines.verification.figures import draw_csi, draw_fss, draw_spectra
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
