"""The HTTP surface of the desk, on the real database."""
