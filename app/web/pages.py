"""The routes of the pages: the receipt, the progress of a matter, the widget's demo, the agents' console."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response

from app.web import progress_page, receipt_page
from app.web.answering import SCRIPT_POLICY, Context, PageRoute, asset_response, page

_READ = ["GET", "HEAD"]


def router(context: Context) -> APIRouter:
    """Nothing behind a link changes by GET or HEAD: mail scanners and previews follow links."""
    pages = APIRouter(route_class=PageRoute, include_in_schema=False)

    @pages.api_route("/f/{token}", methods=_READ)
    async def show_receipt(request: Request, token: str) -> Response:
        return await receipt_page.show(context, request, token)

    @pages.post("/f/{token}")
    async def answer_receipt(request: Request, token: str) -> Response:
        return await receipt_page.answer(context, request, token)

    @pages.api_route("/c/{token}", methods=_READ)
    async def show_progress(request: Request, token: str) -> Response:
        return await progress_page.show(context, request, token)

    @pages.api_route("/widget/demo", methods=_READ)
    async def widget_demo(request: Request) -> Response:
        channel = request.query_params.get("channel_id", "")
        return page("widget_demo.html", policy=SCRIPT_POLICY, channel_id=channel)

    @pages.api_route("/console", methods=_READ)
    async def console(request: Request) -> Response:
        return page("console.html", policy=SCRIPT_POLICY)

    @pages.api_route("/static/{name}", methods=_READ)
    async def static(request: Request, name: str) -> Response:
        return asset_response(request, name)

    return pages
