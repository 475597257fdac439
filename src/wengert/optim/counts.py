"""How many steps each parameter has taken.

Parameters that are stepped together are counted together: a compiled step then has one count to
read and to raise, and works out 1 − β₂ᵗ once. A parameter that is not always among the same others
has several counts, and has taken their sum of steps.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from wengert.core import live, methods
from wengert.core.state import state
from wengert.core.tensor import Tensor
from wengert.core.variable import Variable
from wengert.optim.scalars import scalar

_MOST = 16  # sets that are counted; parameters in yet other sets are counted one by one


class Counts:
    """The step counts of an optimizer's parameters."""

    def __init__(self) -> None:
        self.together: dict[frozenset[Tensor], Variable] = {}
        self.of: dict[Tensor, list[Variable]] = {}

    def boxes(self) -> Iterator[Variable]:
        """All counts."""
        return iter(self.together.values())

    def taken(self, p: Tensor) -> int:
        """The number of steps that a parameter has taken."""
        return sum(int(box._values("state_dict")) for box in self.of.get(p, ()))

    def load(self, taken: Mapping[Tensor, int]) -> None:
        """Set the counts of all parameters. A count that is still in use stays the same object."""
        alike: dict[int, list[Tensor]] = {}
        for p, n in taken.items():
            alike.setdefault(n, []).append(p)
        before, self.together, self.of = self.together, {}, {}
        for n, params in alike.items():
            key = frozenset(params)
            box = self._opened(key, before.get(key))
            box.assign(Tensor(np.array(n)))

    def following(self, params: Sequence[Tensor]) -> Following:
        """The counts for a step of some parameters."""
        key = frozenset(params)
        one = key in self.together or len(self.together) < _MOST
        raised = [key] if one else [frozenset((p,)) for p in params]
        boxes = [self.together[k] if k in self.together else self._opened(k) for k in raised]
        return Following(self.of, boxes)

    def _opened(self, key: frozenset[Tensor], box: Variable | None = None) -> Variable:
        self.together[key] = box = Variable(np.array(0)) if box is None else box
        for p in key:
            self.of.setdefault(p, []).append(box)
        live.settings_changed()  # a program that was compiled before adds up fewer counts
        return box


class Following:
    """The counts as they will be after a step; `done` writes them."""

    def __init__(self, of: Mapping[Tensor, Sequence[Variable]], raised: Sequence[Variable]) -> None:
        self.of = of
        self.new = {box: methods._F.add(_value(box), 1) for box in raised}
        self.numbers: dict[tuple[Variable, ...], Any] = {}

    def number(self, p: Tensor) -> Any:
        """The number of a parameter's step, from 1 on: an int, or in a trace a `Scalar`."""
        boxes = tuple(self.of[p])
        found = self.numbers.get(boxes)
        if found is None:
            total: Any = 0
            for box in boxes:
                total = total + self.new.get(box, _value(box))
            found = int(total) if state.trace is None else scalar(total)
            self.numbers[boxes] = found
        return found

    def done(self) -> None:
        """Write the counts."""
        for box, new in self.new.items():
            box.assign(new)


def _value(box: Variable) -> Tensor:
    return Tensor(box._data, box._node)
