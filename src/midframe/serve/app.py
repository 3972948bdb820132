"""The web server of `midframe serve`: who may ask for what, on this machine alone."""

from __future__ import annotations

import asyncio
import hmac
import re
import time
import traceback
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from importlib.resources import files
from typing import TYPE_CHECKING
from urllib.parse import quote

from aiohttp import web

from midframe.serve.child import unexpected
from midframe.serve.connections import is_of_use
from midframe.serve.jobs import FACTORS, Desk
from midframe.serve.records import Job
from midframe.serve.uploads import Kind, Refused, download_name

if TYPE_CHECKING:
    from aiohttp.typedefs import Handler, Middleware

# By which a browser on this machine may call the page. Any port: it may have been forwarded.
_HOSTS = re.compile(r"(127\.0\.0\.1|localhost)(:\d{1,5})?")
PAGE = {
    "": ("index.html", "text/html; charset=utf-8"),
    "style.css": ("style.css", "text/css; charset=utf-8"),
    "page.js": ("page.js", "text/javascript; charset=utf-8"),
    "player.js": ("player.js", "text/javascript; charset=utf-8"),
    "words.js": ("words.js", "text/javascript; charset=utf-8"),
}
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "media-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'"
)
HEADERS = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",  # the address holds the token
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}
_JSON = 1 << 14  # bytes of a request but an upload
_CLEANING = 60.0  # seconds between two looks for what is old
_ID = "{id:[0-9a-f]{16}}"
_SAFE = ("GET", "HEAD")


def build(desk: Desk, token: str) -> web.Application:
    """Return the application.

    Args:
        desk: does the work.
        token: that every address begins with; without it, nothing is told or done.
    """
    app = web.Application(middlewares=[_guard(token)], client_max_size=_JSON)
    pages = Pages(desk)
    top = f"/{token}"
    app.router.add_get(top, _to(f"{top}/"))
    for name in PAGE:
        app.router.add_get(f"{top}/{name}", _page(name))
    app.router.add_get(f"{top}/api/choices", pages.choices)
    app.router.add_post(f"{top}/api/clips", pages.upload)
    app.router.add_get(f"{top}/api/clips/{_ID}/file", pages.original)
    app.router.add_post(f"{top}/api/jobs", pages.start)
    app.router.add_get(f"{top}/api/jobs/{_ID}", pages.job)
    app.router.add_delete(f"{top}/api/jobs/{_ID}", pages.cancel)
    app.router.add_get(f"{top}/api/jobs/{_ID}/before", pages.before)
    app.router.add_get(f"{top}/api/jobs/{_ID}/after", pages.after)
    app.router.add_get(f"{top}/api/jobs/{_ID}/download", pages.download)
    app.on_response_prepare.append(_sign)
    app.cleanup_ctx.append(_working(desk))
    return app


def _working(desk: Desk) -> Callable[[web.Application], AsyncIterator[None]]:
    """Return what removes old clips while the server runs, and ends all processes with it."""

    async def clean() -> None:
        while True:
            await asyncio.sleep(min(_CLEANING, desk.limits.age / 2))
            await desk.remove_old()

    async def context(app: web.Application) -> AsyncIterator[None]:
        task = asyncio.ensure_future(clean())
        yield
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
        await desk.close()

    return context


async def _sign(request: web.Request, response: web.StreamResponse) -> None:
    response.headers.update(HEADERS)
    response.headers.pop("Server", None)


def _guard(token: str) -> Middleware:
    """Return a middleware that lets only the page itself in, and tells errors in sentences."""

    @web.middleware
    async def guard(request: web.Request, handler: Handler) -> web.StreamResponse:
        try:
            _check(request, token)
            is_of_use(request)
            return await handler(request)
        except Refused as error:
            return _refusal(error.status, error.message)
        except (web.RequestPayloadError, ConnectionError):
            return _refusal(400, "The request is broken.")
        except web.HTTPException as error:
            return _refusal(error.status, f"{error.reason}.")
        except Exception:  # the page shows what JSON says, and nothing of aiohttp's own text
            response = _refusal(500, unexpected(traceback.format_exc().splitlines()))
            response.force_close()  # what is left of the request is not read
            return response

    return guard


def _check(request: web.Request, token: str) -> None:
    """Refuse what does not come from the page.

    Raises:
        Refused: for a host that another name leads to (DNS rebinding), for what another site has a
            browser send, and for an address without the token.
    """
    host = request.headers.get("Host", "")
    if not _HOSTS.fullmatch(host):
        raise Refused(403, "This page is for this machine only: open the address as it is printed.")
    given = request.path.removeprefix("/").partition("/")[0]
    if not hmac.compare_digest(given.encode(), token.encode()):
        raise Refused(404, "Open the whole address that `midframe serve` has printed.")
    origin = request.headers.get("Origin")
    if origin is None and request.method not in _SAFE:
        raise Refused(403, "A request without an origin changes nothing here.")
    if origin is not None and origin != f"http://{host}":
        raise Refused(403, "Another site has sent this request.")
    site = request.headers.get("Sec-Fetch-Site", "none")
    if site not in ("same-origin", "none") and request.headers.get("Sec-Fetch-Mode") != "navigate":
        raise Refused(403, "Another site has sent this request.")


def _refusal(status: int, message: str) -> web.Response:
    return web.json_response({"error": message}, status=status)


def _to(address: str) -> Handler:
    async def lead(request: web.Request) -> web.StreamResponse:
        return web.Response(status=302, headers={"Location": address})

    return lead


def _page(name: str) -> Handler:
    file, kind = PAGE[name]
    content = (files("midframe.serve") / "page" / file).read_bytes()

    async def send(request: web.Request) -> web.StreamResponse:
        return web.Response(body=content, headers={"Content-Type": kind})

    return send


class Pages:
    """What the addresses below the token do.

    Args:
        desk: does the work.
    """

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    async def choices(self, request: web.Request) -> web.StreamResponse:
        """Tell what there is to choose."""
        desk, limits = self._desk, self._desk.limits
        models = [{"key": k, "title": c.title, "note": c.note} for k, c in desk.choices.items()]
        return web.json_response(
            {
                "models": models,
                "factors": FACTORS,
                "limits": {"bytes": limits.bytes, "seconds": limits.seconds, "job": limits.job},
            }
        )

    async def upload(self, request: web.Request) -> web.StreamResponse:
        """Take a clip: its content as it is, its name in the query."""
        try:
            name = request.query.get("name", "")
            chunks = request.content.iter_chunked(1 << 18)
            clip = await self._desk.take(name, chunks, request.content_length)
        except Refused as error:
            response = _refusal(error.status, error.message)
            response.force_close()  # the rest of it is not read
            return response
        return web.json_response(clip.told(), status=201)

    async def original(self, request: web.Request) -> web.StreamResponse:
        """Send a clip as it was received."""
        clip = self._desk.clips.get(request.match_info["id"])
        if clip is None:
            raise _gone()
        clip.touched = time.monotonic()
        return _file(clip.path, clip.kind)

    async def start(self, request: web.Request) -> web.StreamResponse:
        """Make something of a clip."""
        try:
            asked = await asyncio.wait_for(request.json(), self._desk.limits.patience)
        except asyncio.TimeoutError as error:
            raise Refused(408, "The request did not come to its end.") from error
        except (ValueError, RecursionError):  # no JSON, or lists in lists in lists
            asked = None
        if not isinstance(asked, dict):
            raise Refused(400, "The request is no JSON object.")
        clip = self._desk.clips.get(str(asked.get("clip")))
        if clip is None:
            raise _gone()
        factor = asked.get("factor")
        if not isinstance(factor, int) or isinstance(factor, bool):
            raise Refused(422, "The factor is a whole number.")
        slow, preview = asked.get("slow") is True, asked.get("preview") is True
        job = self._desk.start(clip, str(asked.get("model")), factor, slow, preview)
        return web.json_response(self._told(job), status=201)

    async def job(self, request: web.Request) -> web.StreamResponse:
        """Tell how far a job is."""
        return web.json_response(self._told(self._find(request)))

    async def cancel(self, request: web.Request) -> web.StreamResponse:
        """End a job and delete what it has made."""
        await self._desk.drop(self._find(request))
        return web.Response(status=204)

    async def before(self, request: web.Request) -> web.StreamResponse:
        """Send a clip as browsers play it."""
        return _file(*self._done(request).before)

    async def after(self, request: web.Request) -> web.StreamResponse:
        """Send what was made."""
        job = self._done(request)
        return _file(job.after, job.clip.form[0])

    async def download(self, request: web.Request) -> web.StreamResponse:
        """Send what was made, to be kept."""
        job = self._done(request)
        kind = job.clip.form[0]
        added = f"{job.factor}x-slower" if job.slow else f"{job.factor}x"
        name = download_name(job.clip.name, added, kind.suffix)
        response = _file(job.after, kind)
        plain = re.sub(r"[^\x20-\x7e]", "_", name)
        response.headers["Content-Disposition"] = (
            f"attachment; filename=\"{plain}\"; filename*=UTF-8''{quote(name)}"
        )
        return response

    def _find(self, request: web.Request) -> Job:
        job = self._desk.jobs.get(request.match_info["id"])
        if job is None:
            raise _gone()
        job.clip.touched = time.monotonic()
        return job

    def _done(self, request: web.Request) -> Job:
        job = self._find(request)
        if job.state != "done":
            raise Refused(409, "This is not done yet.")
        return job

    def _told(self, job: Job) -> dict[str, object]:
        return {**job.told(), "before": self._desk.before(job)}


def _gone() -> Refused:
    return Refused(404, "This clip is no longer here: clips are removed after a while.")


def _file(path: object, kind: Kind) -> web.FileResponse:
    """Send a file, or the range of it that is asked for."""
    return web.FileResponse(str(path), headers={"Content-Type": kind.type})
