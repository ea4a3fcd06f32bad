"""Which requests are looked at, and by whom they are.

There are no cookies, so no page of a stranger can ask in a visitor's name by what the browser keeps. What reaches
`/api/` must say so by a header that no page of another origin can send without being asked first, which is never
allowed. Names that lead here by a stranger's word (DNS rebinding) are refused by their Host.

Whoever shows the operators' key, or reaches a console that has none, is an operator: the console asks by its own
certificate. Whoever shows a token is asked for by that token (`in_name`): the servers judge what its role may, show
what its scope allows, and write its subject down. What the console itself knows it shows to an operator, and to a token
whose role may make the call that would tell it (`check_may`).
"""

from __future__ import annotations

from typing import Final

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from fasttree.client import Client
from services.console.http.key import OperatorKey
from services.shared.security.guard import Refusal
from services.shared.security.own import own_guard

#: What every page and answer is sent with.
HEADERS: Final = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
        "form-action 'none'; frame-ancestors 'none'; base-uri 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
}
#: Of every request to /api/, with any value.
OWN_HEADER: Final = "X-FastTree-Console"
KEY_HEADER: Final = "X-FastTree-Key"
IS_OPERATOR: Final = web.RequestKey("is_operator", bool)
TOKEN: Final = web.RequestKey("token", str)
_BEARER: Final = "Bearer "
#: What a role may call who sees how the cluster does; operates it; sees held and rejected updates; and of the
#: console's machine the audit logs, and the log files.
SEE_CLUSTER: Final = "/fasttree.v1.CoordinatorService/GetCluster"
OPERATE: Final = "/fasttree.v1.CoordinatorService/Switchover"
SEE_UPDATES: Final = "/fasttree.v1.ReportService/ListHeldUpdates"
SEE_AUDIT: Final = "/audit"
SEE_LOGS: Final = "/logs"
_KEY_NEEDED: Final = (
    "this takes the operators' key: open the address that `fasttree up` printed, or sign in with the key"
)
_TOKEN_LENGTH_MAX: Final = 8_192


async def add_headers(_: web.Request, response: web.StreamResponse) -> None:
    """A signal of aiohttp's, before an answer goes out."""
    for name, value in HEADERS.items():
        response.headers.setdefault(name, value)
    response.headers.setdefault("Cache-Control", "no-store")


def api_check(key: OperatorKey | None) -> Middleware:
    """The middleware; None: whoever gets here is an operator."""

    @web.middleware
    async def check(request: web.Request, handler: Handler) -> web.StreamResponse:
        if request.path.startswith("/api/"):
            _check_origin(request)
            shown = request.headers.get(KEY_HEADER, "")
            request[IS_OPERATOR] = key is None or bool(shown and key.is_shown(shown))
            request[TOKEN] = _token(request)
        return await handler(request)

    return check


def operator(request: web.Request) -> None:
    """Raises HTTPUnauthorized where the request is none of an operator's."""
    if not request[IS_OPERATOR]:
        raise web.HTTPUnauthorized(text=_KEY_NEEDED)


def in_name(request: web.Request, client: Client) -> Client:
    """By whom a cluster is asked for a browser. Raises HTTPUnauthorized."""
    token = request[TOKEN]
    if not token:
        operator(request)
        return client
    if own_guard() is None and not request[IS_OPERATOR]:
        # Servers that judge no tokens would let this one pass as the console's own call.
        raise web.HTTPUnauthorized(text="no tokens are believed here: set [tokens], for the console and the nodes")
    return client.in_name_of(token)


def check_token(request: web.Request) -> None:
    """Raises HTTPUnauthorized where a token is shown that does not count, as far as this process can say."""
    if request[TOKEN] and (guard := own_guard()) is not None:
        found = guard.judge(OPERATE, (), authorization=_BEARER + request[TOKEN])
        if isinstance(found, Refusal) and found.unauthenticated:
            raise web.HTTPUnauthorized(text=found.text)


def acts(request: web.Request) -> bool:
    """Whether who is asked for by `in_name` may do what operators do."""
    guard = own_guard()
    if not request[TOKEN] or guard is None:
        return request[IS_OPERATOR]
    return not isinstance(guard.judge(OPERATE, (), authorization=_BEARER + request[TOKEN]), Refusal)


def may(request: web.Request, path: str) -> bool:
    """Whether `check_may` lets it pass."""
    try:
        check_may(request, path)
    except web.HTTPException:
        return False
    return True


def check_may(request: web.Request, path: str) -> None:
    """Of what the console answers by itself: operators may, and whoever's token is of a role that may call that path.
    Raises HTTPUnauthorized, HTTPForbidden."""
    if request[IS_OPERATOR]:
        return
    guard = own_guard()
    if not request[TOKEN] or guard is None:
        raise web.HTTPUnauthorized(text=_KEY_NEEDED)
    found = guard.judge(path, (), authorization=_BEARER + request[TOKEN])
    if isinstance(found, Refusal):
        raise (web.HTTPUnauthorized if found.unauthenticated else web.HTTPForbidden)(text=found.text)


def _check_origin(request: web.Request) -> None:
    origin, site = request.headers.get("Origin"), request.headers.get("Sec-Fetch-Site", "same-origin")
    own = {f"{scheme}://{request.headers.get('Host', '')}" for scheme in ("http", "https")}
    if OWN_HEADER not in request.headers or site != "same-origin" or (origin is not None and origin not in own):
        raise web.HTTPForbidden(text=f"only the console's own pages may ask; programs say {OWN_HEADER}: 1")


def _token(request: web.Request) -> str:
    text = request.headers.get("Authorization", "")
    if not text:
        return ""
    token = text.removeprefix(_BEARER)
    if token == text or len(token) > _TOKEN_LENGTH_MAX or not token.isascii() or not token.isprintable():
        raise web.HTTPUnauthorized(text="Authorization must be `Bearer TOKEN`")
    return token
