"""Echo images against formulas by hand: Z = 200·R^1.6, and the SSIM of Wang et al. 2004."""

import numpy as np
import pandas as pd
import pytest
from scipy.ndimage import gaussian_filter

from pipelines.common.errors import UserError
from pipelines.verification.image_table import image_section
from pipelines.verification.images import MEANS, image_sums, of_lead_times
from pipelines.verification.scoring import COUNTS


def image(rain: np.ndarray) -> np.ndarray:
    with np.errstate(divide="ignore"):
        return np.clip((10 * np.log10(200 * rain**1.6) + 10) / 70, 0, 1)


def ssim(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """By its formula, with scipy's Gaussian of the same 11 pixels, reflected at the border."""

    def mean(x: np.ndarray) -> np.ndarray:
        return gaussian_filter(x, 1.5, radius=5, mode="mirror")

    C1, C2, m_a, m_b = 0.01**2, 0.03**2, mean(a), mean(b)
    v_a, v_b, v_ab = mean(a * a) - m_a**2, mean(b * b) - m_b**2, mean(a * b) - m_a * m_b
    return (2 * m_a * m_b + C1) * (2 * v_ab + C2) / ((m_a**2 + m_b**2 + C1) * (v_a + v_b + C2))


def fields(seed: int, leads: int = 2) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    forecast, observed = rng.gamma(0.5, 4.0, (2, leads, 24, 30)).astype(np.float32)
    mask = rng.random((leads, 24, 30)) < 0.9
    observed[~mask] = np.nan
    return forecast, observed, mask


def with_counts(sums: pd.DataFrame, mask: np.ndarray, **about: object) -> pd.DataFrame:
    """As a table of fields has it: with pixels told by some count, in the row of each threshold."""
    counts = dict.fromkeys(COUNTS, 0) | {"hits": mask.sum((1, 2))}
    return pd.concat([sums.assign(threshold=at, **counts, **about) for at in (0.5, 2.0)])


def test_sums_are_of_the_pixels_that_count_others_being_black() -> None:
    forecast, observed, mask = fields(1)
    sums = image_sums(forecast, observed, mask, [10, 20])
    for lead in range(2):
        a, b = (image(np.where(mask[lead], rain[lead], 0.0).astype(float)) for rain in (forecast, observed))
        assert sums["minutes"][lead] == 10 * (lead + 1)
        assert sums["image_squared_error"][lead] == pytest.approx(np.square(a - b)[mask[lead]].sum(), rel=1e-5)
        assert sums["image_ssim"][lead] == pytest.approx(ssim(a, b)[mask[lead]].sum(), rel=1e-4)


def test_scores_are_pooled() -> None:
    parts, squares, pixels = [], np.zeros(2), np.zeros(2)
    for seed in (1, 2, 3):
        forecast, observed, mask = fields(seed)
        parts.append(with_counts(image_sums(forecast, observed, mask, [10, 20]), mask))
        a, b = (image(np.where(mask, rain, 0.0).astype(float)) for rain in (forecast, observed))
        squares, pixels = squares + np.square(a - b).sum((1, 2)), pixels + mask.sum((1, 2))
    scores = of_lead_times(pd.concat(parts))
    np.testing.assert_allclose(scores["mse"], squares / pixels, rtol=1e-5)
    np.testing.assert_allclose(scores["psnr"], 10 * np.log10(1 / (squares / pixels)), rtol=1e-5)


def test_a_perfect_forecast_and_one_of_nothing_that_counts() -> None:
    forecast, _, mask = fields(1)
    mask[1] = False
    scores = of_lead_times(with_counts(image_sums(forecast, forecast, mask, [10, 20]), mask))
    assert scores.loc[10, "mse"] == 0
    assert scores.loc[10, "ssim"] == pytest.approx(1, abs=1e-5)
    assert np.isnan(scores.loc[10, "psnr"])  # infinite
    assert scores.loc[20].isna().all()


def test_a_grid_below_the_window_of_ssim_is_refused() -> None:
    rain = np.ones((1, 10, 40), np.float32)
    with pytest.raises(UserError, match=r"evaluate\.images: SSIM wants 11 rows and columns or more, .* 10×40"):
        image_sums(rain, rain, np.isfinite(rain), [5])


def test_the_section_has_means_over_lead_times_and_each() -> None:
    tables = {}
    for name, off in (("worse", 2.0), ("better", 1.1)):
        parts = []
        for seed in (1, 2, 3, 4):
            _, observed, mask = fields(seed)
            sums = image_sums(np.nan_to_num(observed) * np.float32(off), observed, mask, [10, 20])
            time = pd.Timestamp("2024-06-01") + pd.Timedelta(hours=2 * seed)
            parts.append(with_counts(sums, mask, event=seed, time=time))
        tables[name] = pd.concat(parts)
    section = image_section(tables)
    # Where rain is off by a factor, its image is by 16·log10(factor) / 70.
    better = next(of for of in section.content["methods"] if of["method"] == "better")
    wet = np.mean([np.where(mask, np.nan_to_num(observed), 0)[mask] > 0.01 for _, observed, mask in [fields(1)]])
    assert better["mse"]["value"] == pytest.approx(wet * (16 * np.log10(1.1) / 70) ** 2, rel=0.05)
    assert better["mse"]["low"] <= better["mse"]["value"] <= better["mse"]["high"]
    both = of_lead_times(tables["better"])
    assert better["psnr"]["value"] == pytest.approx(both["psnr"].mean())
    assert MEANS["ssim"].by == ["minutes"]
    rows = [line for line in section.lines if line.startswith("| ")]
    assert [row.split("|")[1].strip() for row in rows] == ["method", "better", "worse"] * 2
    assert f"{both.loc[20, 'mse']:.5f} · {both.loc[20, 'ssim']:.3f}" in rows[4]
