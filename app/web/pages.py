"""The routes of the pages: the receipt, the progress of a matter, forms, the widget's demo, the agents' console."""

from __future__ import annotations

from uuid import UUID

from fastapi import APIRouter, FastAPI, Request, Response

from app.web import file_page, form_page, progress_page, receipt_page
from app.web.answering import SCRIPT_POLICY, PageRoute, asset_response, context_of, page

_READ = ["GET", "HEAD"]

router = APIRouter(route_class=PageRoute, include_in_schema=False)


def mount(app: FastAPI) -> None:
    """The pages take what they need from `app.state.context`."""
    app.include_router(router)


@router.api_route("/f/{token}", methods=_READ)
async def show_receipt(request: Request, token: str) -> Response:
    """Nothing behind a link changes by GET or HEAD: mail scanners and previews follow links."""
    return await receipt_page.show(context_of(request), request, token)


@router.post("/f/{token}")
async def answer_receipt(request: Request, token: str) -> Response:
    return await receipt_page.answer(context_of(request), request, token)


@router.api_route("/c/{token}", methods=_READ)
async def show_progress(request: Request, token: str) -> Response:
    return await progress_page.show(context_of(request), request, token)


@router.post("/c/{token}")
async def write_in(request: Request, token: str) -> Response:
    return await progress_page.write(context_of(request), request, token)


@router.api_route("/forms/{channel_id}", methods=_READ)
async def show_form(request: Request, channel_id: UUID) -> Response:
    return await form_page.show(context_of(request), request, channel_id)


@router.api_route("/forms/{channel_id}/thanks", methods=_READ)
async def thank(request: Request, channel_id: UUID) -> Response:
    return await form_page.thank(context_of(request), request, channel_id)


@router.api_route("/files/{token}", methods=_READ)
async def send_file(request: Request, token: str) -> Response:
    return await file_page.send(context_of(request), token)


@router.api_route("/widget/demo", methods=_READ)
async def widget_demo(request: Request) -> Response:
    """A page with the widget in it, as a customer's site would have it: `?channel_id=...`."""
    channel = request.query_params.get("channel_id", "")
    return page("widget_demo.html", policy=SCRIPT_POLICY, channel_id=channel)


@router.api_route("/console", methods=_READ)
async def console(request: Request) -> Response:
    return page("console.html", policy=SCRIPT_POLICY)


@router.api_route("/static/{name}", methods=_READ)
async def static(request: Request, name: str) -> Response:
    return asset_response(request, name)
