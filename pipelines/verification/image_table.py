"""The comparison of forecasts as echo images: what stands under the table of fields, and in its JSON."""

from pipelines.common.markdown import table_head, table_row
from pipelines.verification.bootstrap import Tables, mean_score
from pipelines.verification.images import MEANS, SCORES, of_lead_times
from pipelines.verification.probability_table import Section

HOW = (
    "Echo images: reflectivity of -10 to 60 dBZ as 0 to 1, by Z = 200 R^1.6, on the mask of above; other pixels are "
    "black. MSE and SSIM (Gaussian window of 1.5 pixels, data range 1) are means over all pixels that count in all "
    "forecasts, PSNR is -10 log10(MSE), dB. Means over lead times, then each lead time. Intervals as above."
)


def image_section(tables: Tables) -> Section:
    """Return the comparison of methods by their sums with `pipelines.verification.images.IMAGE_SUMS`, best MSE first.

    Parameters
    ----------
    tables : mapping of str to DataFrame
        Of the same forecasts, by the method's name.
    """
    means = {name: {score: mean_score(sums, of) for score, of in MEANS.items()} for name, sums in tables.items()}
    scores = {name: of_lead_times(sums) for name, sums in tables.items()}
    ranked = sorted(means, key=lambda name: means[name]["mse"].value)
    digits = {"mse": ".5f", "ssim": ".3f", "psnr": ".2f"}
    lines = ["", "## Echo images", "", *table_head("method", *(f"{score.upper()} [95 %]" for score in SCORES))]
    lines += [table_row(name, *(f"{means[name][score]:{digits[score]}}" for score in SCORES)) for name in ranked]
    minutes = scores[ranked[0]].index
    lines += ["", "MSE · SSIM · PSNR:", "", *table_head("method", *(f"{lead:g} min" for lead in minutes))]
    for name in ranked:
        each = scores[name].loc[minutes].itertuples()
        lines.append(table_row(name, *(f"{at.mse:.5f} · {at.ssim:.3f} · {at.psnr:.2f}" for at in each)))
    content = {
        "how": HOW,
        "methods": [
            {"method": name} | {score: vars(of_method[score]) for score in SCORES} for name, of_method in means.items()
        ],
        "scores": [
            row | {"method": name}
            for name, of in scores.items()
            for row in of.reset_index().rename(columns={"minutes": "lead_minutes"}).to_dict("records")
        ],
    }
    return Section([*lines, "", HOW], content)
