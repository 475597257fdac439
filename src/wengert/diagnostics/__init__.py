"""Seeing what happens: the training report, and checks of gradients."""

from wengert.diagnostics.gradcheck import GradcheckResult, gradcheck
from wengert.diagnostics.report import write_report

__all__ = ["GradcheckResult", "gradcheck", "write_report"]
