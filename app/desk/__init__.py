"""The agents' side: their socket, the HTTP API, who may see what."""
