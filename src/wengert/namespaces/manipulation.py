"""manipulation."""

__all__: list[str] = []
