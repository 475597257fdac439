"""What simplification did to a program: for `wg.compiler.dump`, and for the curious."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from wengert.compiler.ir import Program


@dataclass
class Report:
    """Terms after each pass, how many times each rule was applied, and how many terms the rules
    looked at. One that is `silent` does not count the terms.

    >>> report = Report()
    >>> report.passes
    []
    """

    passes: list[tuple[str, int]] = field(default_factory=list)
    fired: Counter[str] = field(default_factory=Counter)
    visits: int = 0
    silent: bool = False

    def add(self, name: str, program: Program) -> None:
        """Note how many terms a program has after a pass."""
        if not self.silent:
            self.passes.append((name, len(program)))

    def __str__(self) -> str:
        steps = [f"{name}: {count} terms" for name, count in self.passes]
        rules = [
            f"  {count:5} × {name.replace('_', ' ')}" for name, count in self.fired.most_common()
        ]
        return "\n".join([*steps, "rules applied:", *rules])
