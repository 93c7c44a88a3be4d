"""What a network learns from, and what it is judged by: splits never part a group of clips or of images."""

import numpy as np
import pandas as pd

SPLITS = {  # what folders and lists call them
    "train": "train",
    "training": "train",
    "val": "validation",
    "valid": "validation",
    "validate": "validation",
    "validation": "validation",
    "test": "test",
    "testing": "test",
}


def draw_splits(table: pd.DataFrame, *, validation_share: float, test_share: float, seed: int) -> pd.Series:
    """Complete the splits of ``table``: what the lists left open is drawn, group by group, from what is for training.

    Where the lists have something for training and for one more split, that one is the test, whatever they call it, and
    validation is drawn; where there are no lists, both are.

    Parameters
    ----------
    table : DataFrame
        Columns ``group``, ``label`` and ``split``, the last None where no list says anything.
    validation_share, test_share : float
        Share of the groups of each class.

    Returns
    -------
    Series of str
        train, validation, test or unused.
    """
    split = table["split"].fillna("train")
    if not (split == "test").any():
        split = split.replace("validation", "test")
    # A group with clips in another split too, by a list that parts it, stays where it is.
    stay = set(table["group"][split != "train"])
    label_of = table[~table["group"].isin(stay)].groupby("group")["label"].agg(lambda labels: labels.mode().iloc[0])
    for name, share in (("test", test_share), ("validation", validation_share)):
        if not (split == name).any():
            drawn = _draw(
                label_of, set(table["group"][split == "train"]), share, np.random.default_rng((seed, len(name)))
            )
            split = split.mask(table["group"].isin(drawn), name)
    return split


def _draw(label_of: pd.Series, left: set[str], share: float, rng: np.random.Generator) -> set[str]:
    """Draw from the groups that are ``left`` a share of those of each class: one at least, and never the last.

    A group counts for the class that it has most clips of.
    """
    drawn: set[str] = set()
    for _, groups in label_of.groupby(label_of):
        open_groups = [group for group in groups.index if group in left]
        wanted = min(max(1, round(share * len(groups))), len(open_groups) - 1)
        drawn |= set(rng.permutation(open_groups)[: max(wanted, 0)].tolist())
    return drawn


def parted_groups(table: pd.DataFrame) -> list[str]:
    """Return the groups with clips in more than one of train, validation and test: only official lists can do that."""
    used = table[table["split"] != "unused"]
    splits = used.groupby("group")["split"].nunique()
    return list(splits.index[splits > 1])
