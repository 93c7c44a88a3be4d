"""How often it rains so much: what skill is measured against."""

import json
from pathlib import Path

from pydantic import ValidationError, model_validator

from pipelines.common.errors import UserError, in_short
from pipelines.common.files import write_text
from pipelines.params.base import Section, Share, reason_of
from pipelines.params.nowcast import Rates

FILE = "climatology.json"  # beside the windows


class Climatology(Section):
    """Shares of the pixels of the train events' frames at or above each of ``rates``, mm/h."""

    rates: Rates
    exceedance: list[Share]

    @model_validator(mode="after")
    def _a_share_for_each_rate(self) -> "Climatology":
        if len(self.exceedance) != len(self.rates):
            raise ValueError("exceedance: a share for each of rates")
        return self

    @classmethod
    def read(cls, file: Path) -> "Climatology":
        """Return what the stage ``index`` wrote; raises UserError if it isn't there, or no climatology."""
        try:
            return cls.model_validate(json.loads(file.read_text(encoding="utf-8")))
        except ValidationError as error:
            raise UserError(f"{file}: {reason_of(error)}") from None
        except (OSError, ValueError) as error:
            raise UserError(f"{file}: no climatology, which the stage index writes: {in_short(error)}") from None

    def write(self, file: Path) -> None:
        """Write it as :meth:`read` reads it."""
        write_text(file, json.dumps(self.model_dump(), indent=1))
