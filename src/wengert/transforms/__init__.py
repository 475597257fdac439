"""Walks that derive new computations from recorded ones.

Read `reverse` first: the walk that is called backpropagation; then `forward`. What users call
around these two walks is in `gradient`, `backward` and `jacobian`; functions that bring their own
rules, or are run again, are in `custom_reverse`, `custom_forward` and `remat`; `trace` and `batch`
make and run graphs of shapes.

Each module lists its public functions in `__all__`; `wengert/__init__.py` imports them all, so they
are `wengert.*`.
"""
