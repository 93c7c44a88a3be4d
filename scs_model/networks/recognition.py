"""The stand-alone network of action recognition: frames of a clip in, what action it shows out."""

from torch import Tensor
from torch.nn.functional import log_softmax

from scs_model.networks.regression import Regressor


class Recognizer(Regressor):
    """A network whose numbers are log-probabilities of K classes, the main stream's and T¹'s.

    Parameters
    ----------
    cell, depth, width, subtasks
        See `scs_model.networks.regression.Regressor`.
    classes : int
        K.

    Raises
    ------
    ValueError
        If no network can be built from these.
    """

    def __init__(self, cell: str, depth: int, width: int, classes: int, subtasks: bool = False) -> None:
        if classes < 2:
            raise ValueError(f"there are two classes or more to tell apart; got {classes}")
        super().__init__(cell, depth, width, classes, subtasks)

    def _answer(self, features: Tensor) -> Tensor:
        return log_softmax(super()._answer(features), dim=-1)
