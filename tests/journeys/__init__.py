"""Every channel, from the first message to the confirmed close, on a live server."""
