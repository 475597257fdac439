"""What was compiled, when, and why again."""

from __future__ import annotations

import html
import sys
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from types import FrameType
from typing import TYPE_CHECKING, Any

from wengert.compiler.signature import ARRAY, LEAF, TRACKED, Signature, describe
from wengert.core import site
from wengert.core.errors import RecompileWarning

if TYPE_CHECKING:
    from wengert.compiler.cached import Cached

_WARN_AT = 3  # recompilations for one and the same reason


@dataclass(frozen=True)
class Reason:
    """Why something was compiled again: what changed, from what to what, and what helps."""

    place: str
    old: str
    new: str
    fix: str

    def __str__(self) -> str:
        change = f": {self.old} → {self.new}" if self.old or self.new else ""
        return f"{self.place}{change}"


@dataclass
class Event:
    """One compilation."""

    number: int
    when: datetime
    seconds: float
    arguments: list[str]
    reasons: list[Reason]
    terms: int
    cached: Any = field(repr=False)

    @property
    def calls(self) -> int:
        """How often the program was called."""
        return int(self.cached.calls)


class History:
    """All compilations of one function."""

    def __init__(self, name: str, f: Callable[..., Any]) -> None:
        self.name, self.f = name, f
        self.events: list[Event] = []
        self.signatures: list[tuple[list[str], Signature]] = []
        self.causes: Counter[str] = Counter()

    def clear(self) -> None:
        """Forget all."""
        self.events.clear()
        self.signatures.clear()
        self.causes.clear()

    def add(
        self,
        signature: Signature,
        cached: Cached,
        before: Sequence[Cached],
        names: list[str],
        seconds: float,
    ) -> None:
        """Note a compilation, and warn where the same thing causes it again and again."""
        reasons = list(self._reasons(signature, names, before)) if self.events else []
        described = [
            f"{name} {describe(entry)}"
            for name, entry in zip(names, signature.entries, strict=True)
        ]
        size = len(cached.program)
        now = datetime.now()
        number = len(self.events) + 1
        self.events.append(Event(number, now, seconds, described, reasons, size, cached))
        self.signatures.append((names, signature.without_values()))
        for reason in reasons:
            self.causes[reason.place] += 1
        often = [reason for reason in reasons if self.causes[reason.place] == _WARN_AT]
        if often:
            self._warn(often)

    def _warn(self, reasons: Sequence[Reason]) -> None:
        frame: FrameType | None = sys._getframe(0)
        level = 1  # the number of the user's frame, as warnings count
        while frame is not None and site.is_internal(frame):
            frame, level = frame.f_back, level + 1
        warnings.warn(
            f"[jit] {self.name} was compiled again for the {_WARN_AT}rd time because of "
            f"{' and '.join(map(str, reasons))}; "
            f"fix: {'; '.join(dict.fromkeys(reason.fix for reason in reasons))}",
            RecompileWarning,
            stacklevel=level,
        )

    def _reasons(
        self, signature: Signature, names: list[str], before: Sequence[Cached]
    ) -> Iterator[Reason]:
        """What differs from the most similar compilation before."""
        if before:
            yield from min((c.changes() for c in reversed(before)), key=len)
            return
        alike = [s for s in self.signatures if len(s[1].entries) == len(signature.entries)]
        if not alike:
            yield Reason(
                "the structure of the arguments",
                f"{len(self.signatures[-1][1].entries)} leaves",
                f"{len(signature.entries)} leaves",
                "pass pytrees of one structure, or pad what varies to one length",
            )
            return
        count = lambda s: sum(a != b for a, b in zip(s[1].entries, signature.entries, strict=True))
        _, old = min(reversed(alike), key=count)
        changed = False
        for name, a, b in zip(names, old.entries, signature.entries, strict=True):
            if a != b:
                changed = True
                yield Reason(name, describe(a), describe(b), _fix(name, a, b))
        if old.treedef != signature.treedef and not changed:
            yield Reason(
                "the structure of the arguments",
                repr(old.treedef),
                repr(signature.treedef),
                "pass pytrees of one structure",
            )
        if old.key[2] != signature.key[2]:
            yield Reason(
                "the mode", _mode(old.key[2]), _mode(signature.key[2]), "call it in one mode"
            )

    def report(self, cache_size: int) -> Explanation:
        """What `explain()` shows."""
        return Explanation(self.name, list(self.events), cache_size)


def _mode(mode: Any) -> str:
    recording, dtype = mode
    return f"{'recording' if recording else 'no_grad'}, default dtype {dtype}"


def _fix(name: str, old: Any, new: Any) -> str:
    kinds = (ARRAY, LEAF, TRACKED)
    if old[0] in kinds and new[0] in kinds:
        if old[1] != new[1]:
            return (
                f"keep the shape of {name}: drop or pad the last batch (drop_last=True), or pad to "
                "few sizes"
            )
        if old[2] != new[2]:
            return f"cast {name} to one dtype before the call"
        return f"pass {name} either always tracked or never: x.detach()"
    if new[0] in (float, int, bool):
        return f"pass {name} as an array, wg.asarray({name}): numbers are static"
    if isinstance(new[0], str):
        return f"call it with the same object as {name}, or compile a function for each"
    return f"let {name} take few values: each is compiled anew"


class Explanation:
    """The compilations of a function, for a reader: print it, or show it in a notebook."""

    def __init__(self, name: str, events: list[Event], cache_size: int) -> None:
        self.name, self.events, self.cache_size = name, events, cache_size

    @property
    def recompilations(self) -> int:
        """Compilations after the first."""
        return max(len(self.events) - 1, 0)

    def _head(self) -> str:
        if not self.events:
            return f"{self.name}: not compiled yet"
        seconds = sum(e.seconds for e in self.events)
        times = "once" if len(self.events) == 1 else f"{len(self.events)} times"
        return (
            f"{self.name}: compiled {times} in {seconds:.3g} s, "
            f"{sum(e.calls for e in self.events)} calls; up to {self.cache_size} programs are kept"
        )

    def __str__(self) -> str:
        lines = [self._head()]
        for e in self.events:
            lines.append(
                f"  {e.number}. {e.when:%H:%M:%S}, {e.seconds:.3g} s, {e.terms} terms, "
                f"{e.calls} calls: {', '.join(e.arguments) or 'no arguments'}"
            )
            for reason in e.reasons:
                lines.append(f"     because of {reason}")
                lines.append(f"     fix: {reason.fix}")
        return "\n".join(lines)

    __repr__ = __str__

    def __rich__(self) -> Any:
        """As a table of `rich`."""
        from rich.table import Table

        table = Table(title=self._head(), title_justify="left")
        for column in ("", "when", "seconds", "terms", "calls", "arguments", "compiled because of"):
            table.add_column(column)
        for row in self._rows():
            table.add_row(*row)
        return table

    def _rows(self) -> Iterator[tuple[str, ...]]:
        for e in self.events:
            why = "\n".join(f"{r}\nfix: {r.fix}" for r in e.reasons) or "the first call"
            yield (
                str(e.number),
                f"{e.when:%H:%M:%S}",
                f"{e.seconds:.3g}",
                str(e.terms),
                str(e.calls),
                "\n".join(e.arguments),
                why,
            )

    def _repr_html_(self) -> str:
        rows = [
            "<tr>" + "".join(f"<td>{_lines(cell)}</td>" for cell in row) + "</tr>"
            for row in self._rows()
        ]
        head = "<tr>" + "".join(
            f"<th>{c}</th>" for c in ("", "when", "s", "terms", "calls", "arguments", "because of")
        )
        return f"<p>{html.escape(self._head())}</p><table>{head}</tr>{''.join(rows)}</table>"


def _lines(text: str) -> str:
    return html.escape(text).replace("\n", "<br>")
