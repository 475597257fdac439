"""The array functions, under the names of the array API standard 2024.12, and what NumPy adds.

Each module of this package lists its public functions in `__all__`; `wengert/__init__.py` imports
them all, so they are `wengert.*`.
"""
