"""Which clips a network learns from, and which it is judged by: splits never part a group."""

import numpy as np
import pandas as pd


def draw_splits(table: pd.DataFrame, *, validation_share: float, test_share: float, seed: int) -> pd.Series:
    """Complete the splits of ``table``: what the lists left open is drawn, group by group, from what is for training.

    Where the lists have clips for training and for one more split, that one is the test, whatever they call it, and
    validation is drawn; where there are no lists, both are.

    Parameters
    ----------
    table : DataFrame
        Columns ``group``, ``label`` and ``split``, the last None where no list says anything.
    validation_share, test_share : float
        Share of the groups of each class.
    seed : int

    Returns
    -------
    Series of str
        train, validation, test or unused.
    """
    split = table["split"].fillna("train")
    if not (split == "test").any():
        split = split.replace("validation", "test")
    # A group with clips in another split too, by a list that parts it, stays where it is.
    known = set(table["group"][split != "train"])
    for name, share in (("test", test_share), ("validation", validation_share)):
        if not (split == name).any():
            open_groups = table[(split == "train") & ~table["group"].isin(known)]
            drawn = _draw(open_groups, share, np.random.default_rng((seed, len(name))))
            split = split.mask(table["group"].isin(drawn), name)
            known |= drawn
    return split


def _draw(table: pd.DataFrame, share: float, rng: np.random.Generator) -> set[str]:
    """Draw a share of the groups of each class, one at least where two or more are left for training.

    A group counts for the class that it has most clips of.
    """
    label_of = table.groupby("group")["label"].agg(lambda labels: labels.mode().iloc[0])
    drawn: set[str] = set()
    for _, groups in label_of.groupby(label_of):
        wanted = min(max(1, round(share * len(groups))), len(groups) - 2)
        drawn |= set(rng.permutation(groups.index.to_numpy())[: max(wanted, 0)])
    return drawn


def parted_groups(table: pd.DataFrame) -> list[str]:
    """Give the groups with clips in more than one of train, validation and test: only official lists can do that."""
    used = table[table["split"] != "unused"]
    splits = used.groupby("group")["split"].nunique()
    return list(splits.index[splits > 1])
