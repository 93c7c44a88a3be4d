"""The page on a web server of this machine: ``uvicorn --factory pipelines.operation.page.server:create_app``.

Any other web server will do as well. This one stands behind the check of who asks that MLflow's has; see
:mod:`pipelines.common.guard`.
"""

import logging
from collections.abc import Callable
from pathlib import Path

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import FileResponse, PlainTextResponse, RedirectResponse, Response
from starlette.routing import BaseRoute, Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp

from pipelines.common.errors import UserError
from pipelines.common.guard import behind_login
from pipelines.operation.page.write import INDEX, PARTS, beside, write_index
from pipelines.params.operation import Domain
from pipelines.params.read import read_params

HEALTH = "/health"


def create_app() -> ASGIApp:
    """Return an app with each domain's page under the domain's name, behind the check.

    Nothing is served of the folder that the page is in but the page itself, and the domains' own folders.
    """
    domains = read_params().domains
    routes: list[BaseRoute] = [Route(HEALTH, lambda _: PlainTextResponse("OK"))]
    if domains:
        routes.append(Route("/", lambda _: RedirectResponse(f"/{next(iter(domains))}/")))
    for name, domain in domains.items():
        folder = domain.out.parent
        try:
            domain.out.mkdir(parents=True, exist_ok=True)
            write_index(folder, domains.values())  # so that there is one before the first forecast
        except (UserError, OSError) as error:
            logging.getLogger(__name__).warning("%s", error)
        routes.append(Mount(f"/{name}", routes=_of_page(folder, beside(folder, domains.values()))))
    return behind_login(Starlette(routes=routes), unguarded=HEALTH)


def _of_page(folder: Path, domains: list[Domain]) -> list[BaseRoute]:
    def part(name: str) -> Callable[[Request], Response]:
        return lambda _: FileResponse(folder / name, headers={"Cache-Control": "no-cache"})

    parts = [Route(f"/{path}", part(path or INDEX)) for path in ("", *PARTS)]
    return [*parts, *(Mount(f"/{one.out.name}", StaticFiles(directory=one.out, check_dir=False)) for one in domains)]
