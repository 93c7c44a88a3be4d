"""The page of forecasts, kept up to date by the flows: what fails there costs no forecast and no verification."""

from collections.abc import Mapping

from prefect import get_run_logger

from pipelines.common.errors import one_line
from pipelines.params.operation import Domain


def show_page(name: str, domains: Mapping[str, Domain], *, scores: bool = False) -> None:
    """Bring the page in line with what became of a domain, as `update_page`; say so in the log if that fails."""
    from pipelines.operation.page.write import update_page  # it draws: later than a cycle reads its frame

    try:
        update_page(domains[name], domains.values(), scores=scores)
    except Exception as error:  # whatever it is
        get_run_logger().warning("%s: the page isn't up to date: %s", name, one_line(error))
