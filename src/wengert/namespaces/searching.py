"""searching."""

__all__: list[str] = []
