"""The customer pages, in HTTP and in a real browser."""
