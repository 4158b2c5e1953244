"""Clocks that run against conversations: which limits apply, how much is used, and what happens when they are missed."""
