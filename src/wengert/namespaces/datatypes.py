"""datatypes."""

__all__: list[str] = []
