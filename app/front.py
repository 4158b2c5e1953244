"""The way in from the street: webhook calls and sockets go straight to their handler, everything else to FastAPI.

Routing, dependencies and exception layers cost a webhook call more than storing it (measured in docs/decisions/0007).
The handler and its answers are the same; the route in `intake/webhooks.py` stays in the OpenAPI and in tests. A socket
keeps what it came through for as long as it is open: the layers would be a third of an idle one's memory.
"""

from __future__ import annotations

import re
from uuid import UUID

from fastapi import FastAPI, Request
from starlette.requests import ClientDisconnect
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send
from starlette.websockets import WebSocket

from app import problems
from app.context import Context
from app.desk import live
from app.edge import Correlation
from app.errors import Problem
from app.intake import webhooks, widget

_WEBHOOK = re.compile(r"/channels/([0-9a-fA-F-]{36})/webhook")
_ROUTE = "/channels/{channel_id}/webhook"
_SOCKETS = {"/desk/live": live.desk_live, "/widget/live": widget.widget_live}


class _Named:
    """Stands for the route in the metrics."""

    path_format = _ROUTE


class Front:
    """ASGI."""

    def __init__(self, app: FastAPI) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket" and (serve := _SOCKETS.get(scope["path"])):
            scope["app"] = self._app
            await serve(WebSocket(scope, receive, send))
            return
        channel_id = _channel_of(scope)
        if channel_id is None:
            await self._app(scope, receive, send)
            return
        scope["app"], scope["route"] = self._app, _Named
        request = Request(scope, receive, send)
        context: Context = self._app.state.context
        await (await _answer(context, request, channel_id))(scope, receive, send)


def _channel_of(scope: Scope) -> UUID | None:
    if scope["type"] != "http" or scope["method"] != "POST":
        return None
    found = _WEBHOOK.fullmatch(scope["path"])
    try:
        return UUID(found.group(1)) if found else None
    except ValueError:
        return None


async def _answer(context: Context, request: Request, channel_id: UUID) -> Response:
    try:
        return await webhooks.take(context, request, channel_id)
    except Problem as problem:
        return problems.render(problem)
    except ClientDisconnect:
        return Response(status_code=499)
    except Exception as error:
        return problems.unexpected(request, error)


def wrap(app: FastAPI) -> ASGIApp:
    """The application as it is served: named and counted calls, the short way for webhooks."""
    return Correlation(Front(app))
