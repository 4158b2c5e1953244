"""Out: what waits to be sent, every attempt at it, and states that never claim more than we know."""
