"""Clients and small provider servers that tests drive the product with."""
