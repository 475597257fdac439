"""Searching."""

__all__: list[str] = []
