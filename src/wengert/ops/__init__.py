"""The vocabulary: each op declared once, with all its rules, in the file of its family."""

from wengert.ops import elementwise, movement, random, reduce, structure

__all__ = ["elementwise", "movement", "random", "reduce", "structure"]
