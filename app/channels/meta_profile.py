"""Who writes on Messenger or Instagram: Meta names people by an id, and tells the rest when asked."""

import httpx

from app.channels.base import Profile, Sender, SendError, SendFailure
from app.channels.meta_graph import Graph
from app.channels.text import key, word


async def profile(graph: Graph, http: httpx.AsyncClient, sender: Sender, fields: str) -> Profile:
    """`fields` are those that the platform knows. Raises SendError."""
    person = key(sender.address.get("id"))
    if person is None or not person.isalnum():
        raise SendError(SendFailure.RECIPIENT, "nobody whom Meta could name")
    answer = await graph.get(http, f"{person}?fields={fields}")
    parts = [part for name in ("first_name", "last_name") if (part := word(answer.get(name)))]
    return Profile(
        name=word(answer.get("name")) or " ".join(parts) or word(answer.get("username")),
        language=word(answer.get("locale"), 35),
        avatar_url=word(answer.get("profile_pic"), 2000),
    )
