"""Recipes: whole training runs, written as a user would write them, from public functions only.

Each module has `add_arguments(parser)` and `main(arguments, parser)`, which `wengert train NAME …`
calls.
"""

from __future__ import annotations

RECIPES = {"digits": "a small convolutional network on scikit-learn's handwritten digits"}
