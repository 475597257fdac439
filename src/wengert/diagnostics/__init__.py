"""Seeing what happens: the training report, and checks of gradients."""

from wengert.diagnostics.report import write_report

__all__ = ["write_report"]
