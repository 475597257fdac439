"""One compiled program with its buffers, as a call runs it.

All that can be known before a call is prepared: the addresses of boxes and spare results are in the
program's table already, and stay valid as long as nobody assigned a variable (one number tells) and
nobody else holds the arrays (their reference counts tell). A variable's array that somebody else
holds is not written into: the program then writes to a new array, and the variable gets that.
"""

from __future__ import annotations

import weakref
from collections.abc import Sequence
from typing import Any

from wengert.compiler import buffers, forks
from wengert.compiler.buffers import Array, address, getrefcount
from wengert.compiler.executable import Executable
from wengert.compiler.wiring import Wiring
from wengert.core import live
from wengert.core.live import clock
from wengert.core.tensor import Tensor
from wengert.core.variable import Follower

_new_tensor = Tensor.__new__

# Which entry holds the array of a box for writing in place.
_holding: weakref.WeakValueDictionary[int, Entry] = weakref.WeakValueDictionary()


class Entry:
    """A program in the cache of a compiled function.

    Attributes
    ----------
    plan : what goes where
    count : how many arrays a call passes
    shapes, dtypes : of those arrays
    lock : held while the program runs; one for all that have state
    given : the arguments whose addresses are in the table, where a binding has put them there
    """

    def __init__(self, plan: Wiring, executable: Executable) -> None:
        self.plan, self.executable = plan, executable
        self.table = memoryview(executable.table)  # type: ignore[arg-type]
        self.inputs, self.outputs = executable.inputs, executable.outputs
        first = len(self.inputs)
        self.results = plan.results
        self.write_slots = [first + w.output for w in plan.writes]
        spare = [*range(plan.results), *(g.output for g in plan.grads if g.output is not None)]
        self.spare_slots = [first + out for out in spare]
        self.spare_specs = [self.outputs[out] for out in spare]
        self.spare_count = buffers.SPARE * len(spare)  # of references, if nobody else holds one
        stateful = bool(plan.reads or plan.writes or plan.grads)
        self.lock: Any = live.tracing.lock if stateful else forks.lock_of(self)
        self.followers = [w.box for w in plan.writes if isinstance(w.box, Follower)]
        self.writes = -1  # the clock, when the addresses of boxes were read
        self.held: list[Array] = []
        self.count = 0  # of all references to them, if nobody else holds one
        self.copies: list[Array] = []  # of boxes that cannot be read where they are
        self.spares: list[list[Array]] = [[], []]
        self.places: list[list[tuple[int, int]]] = [[], []]  # their slots and addresses
        self.turn = 0
        self.given: Any = None
        self.requests: list[Any] = [None, None]  # to run again on what is held, for each turn
        self.calls = 0

    # -- before a run ------------------------------------------------------------------------

    def give(self, slot: int, a: Array) -> Array:
        """Pass an array as an input; returns what must be kept alive until the run is over."""
        a = buffers.readable(a)
        self.table[slot] = address(a)
        return a

    def _prepare(self) -> list[Array]:
        """Read the addresses of all boxes; returns new arrays for what cannot be updated in
        place, one a write (the box's own array where it can)."""
        self.copies = []
        for box, slot in self.plan.reads:
            a = box._data
            if not buffers.usable(a):
                a = buffers.readable(a)
                self.copies.append(a)
            self.table[slot] = address(a)
        targets = []
        for write, slot in zip(self.plan.writes, self.write_slots, strict=True):
            box = write.box
            if not buffers.own(box):
                targets.append(buffers.fresh(self.outputs[write.output]))
            else:
                targets.append(box._data)
            self.table[slot] = address(targets[-1])
        return targets

    def _line_up(self) -> None:
        """Move arrays that are to be updated in place to where vectors do not straddle lines."""
        moved = False
        self.let_go()
        for write in self.plan.writes:
            other = _holding.get(id(write.box))
            if other is not None:
                other.let_go()
            moved |= buffers.line_up(write.box)
        if moved:
            live.written()

    def let_go(self) -> None:
        """Forget the arrays of boxes."""
        self.held, self.count, self.writes = [], 0, -1
        self.requests = [None, None]

    def _hold(self, targets: list[Array], now: int) -> None:
        """After a run: let the boxes have the arrays that it wrote, and hold them for the next.
        `now` is when the boxes were read."""
        changed = False
        for write, target in zip(self.plan.writes, targets, strict=True):
            box = write.box
            if box._data is not target:
                box._data = target
                changed = True
            if write.input is not None:
                self.table[write.input] = address(target)
            _holding[id(box)] = self
        if changed:
            live.written()
            now = clock.writes
        self.writes = now
        self.held, self.count = targets, buffers.HELD * len(targets)

    def _spare(self) -> list[Array]:
        """Arrays for the results: those of the run before the last, where nobody holds them."""
        turn = self.turn = 1 - self.turn
        if sum(map(getrefcount, self.spares[turn])) != self.spare_count:
            self._renew(turn)
        table = self.table
        for slot, place in self.places[turn]:
            table[slot] = place
        return self.spares[turn]

    def _renew(self, turn: int) -> None:
        """New arrays in place of those that somebody holds."""
        have = self.spares[turn]
        free = [n == buffers.SPARE for n in buffers.counts(have)] or [False] * len(self.spare_specs)
        arrays = [
            have[i] if free[i] else buffers.fresh(spec) for i, spec in enumerate(self.spare_specs)
        ]
        self.spares[turn] = arrays
        self.requests[turn] = None
        self.places[turn] = [
            (slot, address(a)) for slot, a in zip(self.spare_slots, arrays, strict=True)
        ]

    # -- a run -----------------------------------------------------------------------------------

    def run(self) -> list[Array]:
        """Run the program on the arguments whose addresses are in the table; returns the results'
        arrays, and then those of gradients. The caller holds the lock."""
        turn = 1 - self.turn
        request = self.requests[turn]
        if request is not None and clock.writes == self.writes:
            table = self.table
            for slot, place in self.places[turn]:
                table[slot] = place
            if self.executable.run_alone(request):
                self.turn = turn
                self.calls += 1
                for follower in self.followers:
                    follower.publish()
                return self.spares[turn]
            self.requests[turn] = None
        return self._run()

    def _run(self) -> list[Array]:
        """A run of which it is not known that everything is as it was after the one before."""
        targets, now = None, -1
        if clock.writes != self.writes or sum(map(getrefcount, self.held)) != self.count:
            self._line_up()
            now = clock.writes
            targets = self._prepare()  # until the run has succeeded, nothing counts as prepared
        for gradient in self.plan.grads:
            if gradient.input is not None:
                self._give_gradient(gradient)
        before = self.spares[1 - self.turn]
        arrays = self._spare()
        self.executable()
        self.calls += 1
        if targets is not None:
            self._hold(targets, now)
        if self.plan.grads:
            self._set_gradients(arrays)
        elif targets is None and arrays is before and buffers.COUNTS_ARE_KNOWN:
            self._request()
        for follower in self.followers:
            follower.publish()
        return arrays

    def _request(self) -> None:
        """Prepare the next run on the same arrays: native code then looks whether they are free."""
        places = buffers.count_places([*self.held, *self.spares[self.turn]])
        total = 2 * len(self.held) + len(self.spares[self.turn])
        self.requests[self.turn] = self.executable.request(places, total)

    def _give_gradient(self, gradient: Any) -> None:
        node = gradient.box._node
        a = node.grad._data
        if not buffers.usable(a):
            a = buffers.readable(a)
            self.copies.append(a)
        self.table[gradient.input] = address(a)

    def _set_gradients(self, arrays: Sequence[Array]) -> None:
        i = self.results
        for gradient in self.plan.grads:
            if not gradient.changed:
                continue
            if gradient.output is None:
                gradient.box._node.grad = None
            else:
                gradient.box._node.grad = Tensor(arrays[i])
                i += 1

    def wrapped(self, arrays: Sequence[Array]) -> list[Tensor]:
        """The results as tensors."""
        found = []
        for i in range(self.results):
            t = _new_tensor(Tensor)
            t._data, t._node = arrays[i], None
            found.append(t)
        return found
