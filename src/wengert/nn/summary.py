"""`summary`: a table of a model's modules with shapes, parameters, operations and memory.

The model runs on symbolic tensors, so nothing is computed; all numbers are read off the graph.
"""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np

from wengert.core.dtypes import as_dtype, default_float, is_float
from wengert.core.errors import ArgumentError, TraceError
from wengert.core.graph import Graph, Trace
from wengert.core.node import Node
from wengert.core.spec import Spec
from wengert.core.tensor import Tensor, as_tensor
from wengert.core.tree import tree_leaves
from wengert.nn.module import Module
from wengert.transforms.trace import trace

__all__ = ["Summary", "summary"]


@dataclass(frozen=True)
class Row:
    """One module. Parameters and operations are those of the module and all below it."""

    path: str
    kind: str
    depth: int
    outputs: tuple[tuple[int, ...], ...]  # shapes of the results of its last call; () if not run
    calls: int
    parameters: int
    trainable: int
    flops: int


@dataclass(frozen=True)
class Summary:
    """What `summary` returns; printing it shows the table.

    Attributes
    ----------
    rows : one `Row` for each module, parents first
    parameters, trainable : numbers of values in parameters, tied ones counted once
    flops : floating-point operations of one forward pass: a multiply-add counts as two, an
        element-wise function and an addition of a sum as one, moving data as none
    uncounted : names of ops that nobody said how to count, and how often they ran
    parameter_bytes : memory of parameters and buffers
    activation_bytes : memory that the forward pass keeps for the backward pass to the trained
        parameters, inputs not included
    """

    rows: tuple[Row, ...]
    parameters: int
    trainable: int
    flops: int
    uncounted: dict[str, int]
    parameter_bytes: int
    activation_bytes: int

    def __str__(self) -> str:
        from rich.console import Console

        text = io.StringIO()
        Console(file=text, width=120).print(self.__rich__())
        return "\n".join(line.rstrip() for line in text.getvalue().splitlines())

    __repr__ = __str__

    def __rich__(self) -> Any:
        from rich.console import Group
        from rich.table import Table

        table = Table()
        table.add_column("Module")
        table.add_column("Type")
        table.add_column("Output")
        for name in ("Parameters", "Trainable", "FLOPs"):
            table.add_column(name, justify="right")
        for row in self.rows:
            name = "  " * row.depth + (row.path.rpartition(".")[2] or "(model)")
            calls = f" ×{row.calls}" if row.calls > 1 else ""
            shapes = ", ".join(map(str, row.outputs)) if row.calls else "not run"
            numbers = (f"{row.parameters:,}", f"{row.trainable:,}", _si(row.flops))
            table.add_row(name, row.kind, shapes + calls, *numbers)
        return Group(table, *self._footer())

    def _footer(self) -> Iterator[str]:
        frozen = self.parameters - self.trainable
        yield f"Parameters: {self.parameters:,} ({self.trainable:,} trainable, {frozen:,} frozen)"
        yield f"FLOPs of one forward pass: {_si(self.flops)} (a multiply-add counts as 2)"
        if self.uncounted:
            names = ", ".join(f"{name} ×{n}" for name, n in sorted(self.uncounted.items()))
            yield f"Not counted: {names}"
        yield f"Memory of parameters and buffers: {_si(self.parameter_bytes)}B"
        yield f"Memory of activations kept for backward: {_si(self.activation_bytes)}B"


def _si(n: int) -> str:
    """A count with a decimal prefix: 1.50 M."""
    value = float(n)
    for prefix in ("", "k", "M", "G", "T"):
        if value < 1000 or prefix == "T":
            break
        value /= 1000
    return f"{n} " if prefix == "" else f"{value:.2f} {prefix}"


def summary(
    model: Module,
    *inputs: Any,
    input_size: Any = None,
    dtype: Any = None,
    depth: int | None = None,
    **kwargs: Any,
) -> Summary:
    """A table of a model's modules: output shapes, parameters, FLOPs, memory.

    `inputs` are example arrays, `wg.Spec`s, or shapes (with the batch axis, of `dtype`); or pass
    `input_size`, a shape or a list of shapes. The model runs as it is, in training or evaluation
    mode, on symbolic tensors: nothing is computed, and no state changes. A model whose Python code
    looks at values is run on the example arrays (zeros for shapes) instead.

    `depth` limits the rows to modules so many levels deep. FLOPs are counted on the graph, each
    under the module that was running; see `Summary` for how.

    >>> import wengert as wg
    >>> model = wg.nn.Sequential(wg.nn.Linear(4, 8), wg.nn.ReLU(), wg.nn.Linear(8, 2))
    >>> table = wg.nn.summary(model, (16, 4))
    >>> table.parameters, table.rows[-1].outputs, table.flops
    (58, ((16, 2),), 1824)
    """
    if not isinstance(model, Module):
        raise ArgumentError(
            "summary", "takes a module", met=type(model).__name__, fix="pass an nn.Module"
        )
    if input_size is not None:
        shapes = [input_size] if _is_shape(input_size) else list(input_size)
        inputs = (*inputs, *shapes)
    if not inputs and not kwargs:
        raise ArgumentError(
            "summary",
            "needs to know the input",
            fix="pass example arrays or shapes: nn.summary(model, (1, 3, 32, 32))",
        )
    wanted = default_float() if dtype is None else as_dtype(dtype)
    specs = [Spec(tuple(x), wanted) if _is_shape(x) else x for x in inputs]
    calls: dict[int, list[Any]] = {}
    with _watching(model, calls):
        graph = _graph(model, specs, kwargs, calls)
    paths = {id(module): path for path, module in model.named_modules()}
    return _read(model, graph, paths, calls, depth)


def _is_shape(x: Any) -> bool:
    return isinstance(x, (tuple, list)) and all(isinstance(n, int) for n in x)


@contextmanager
def _watching(model: Module, calls: dict[int, list[Any]]) -> Iterator[None]:
    """Note the results of every module while the model runs."""

    def note(module: Module, args: Any, out: Any) -> None:
        calls.setdefault(id(module), []).append(out)

    handles = [module.register_forward_hook(note) for module in model.modules()]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _graph(
    model: Module, inputs: Sequence[Any], kwargs: dict[str, Any], calls: dict[int, list[Any]]
) -> Graph:
    try:
        return trace(model, *inputs, **kwargs)
    except TraceError:
        calls.clear()
        arrays = [_example(x) for x in inputs]
        with Trace():  # puts back what the model writes
            outputs = model(*arrays, **kwargs)
        return Graph.of(*[t for t in tree_leaves(outputs) if isinstance(t, Tensor)])


def _example(x: Any) -> Any:
    """A real input; floating ones are tracked, so that the whole forward pass is recorded."""
    if isinstance(x, Spec):
        x = np.zeros(x.shape, x.dtype)
    if not hasattr(x, "dtype"):
        return x
    tensor = as_tensor(x).detach()
    return tensor.requires_grad_() if is_float(tensor.dtype) else tensor


# -- reading the graph -------------------------------------------------------------------------


def _read(
    model: Module,
    graph: Graph,
    paths: dict[int, str],
    calls: dict[int, list[Any]],
    depth: int | None,
) -> Summary:
    own_flops: Counter[str] = Counter()
    uncounted: Counter[str] = Counter()
    for node in graph:
        flops = node.op.flops(node)
        if flops is None:
            uncounted[node.op.name] += 1
        own_flops[node.origin[2]] += flops or 0
    rows = []
    for path, module in model.named_modules():
        level = path.count(".") + 1 if path else 0
        if depth is not None and level > depth:
            continue
        results = calls.get(id(module), [])
        flops = sum(n for p, n in own_flops.items() if _below(p, path))
        rows.append(
            Row(
                path,
                type(module).__name__,
                level,
                tuple(t.shape for t in tree_leaves(results[-1:]) if isinstance(t, Tensor)),
                len(results),
                module.num_parameters(),
                module.num_parameters(trainable_only=True),
                flops,
            )
        )
    boxes = {id(box): box.nbytes for box in (*model.parameters(), *model.buffers())}
    return Summary(
        tuple(rows),
        model.num_parameters(),
        model.num_parameters(trainable_only=True),
        sum(own_flops.values()),
        dict(uncounted),
        sum(boxes.values()),
        _kept_bytes(model, graph),
    )


def _below(path: str, top: str) -> bool:
    return not top or path == top or path.startswith(top + ".")


def _kept_bytes(model: Module, graph: Graph) -> int:
    """Memory of all values that derivative rules ask for on the way back to trained parameters,
    each counted once; not inputs and parameters, which are there anyway."""
    parameters = {id(box._data) for box in (*model.parameters(), *model.buffers())}
    kept: dict[Any, int] = {}
    recorded: set[Node] = set()
    for node in graph:
        op = node.op
        leads_back = any(p in recorded or _is_leaf(p) for p in node.parents)
        if not op.differentiable or not leads_back:
            continue
        recorded.add(node)
        flags = (True,) * len(node.parents) if op.keep_all else op.keep_inputs
        for i, parent in enumerate(node.parents[: len(flags)]):
            if not flags[i]:
                continue
            data = None if node.saved is None else node.saved[i]
            if parent is not None:
                _add(kept, parent)
            elif isinstance(data, np.ndarray) and data.ndim and id(data) not in parameters:
                kept[id(data)] = data.nbytes
        if op.keep_output:
            outs = node.out if isinstance(node.out, tuple) else (Spec(node.shape, node.dtype),)
            kept |= {(node, i): _nbytes(out) for i, out in enumerate(outs)}
    return sum(kept.values())


def _is_leaf(node: Node | None) -> bool:
    return node is not None and node.op.name == "leaf"


def _add(kept: dict[Any, int], node: Node) -> None:
    """Count the buffer that a node's value lives in; views have none of their own."""
    while node.op.cost == "view" and node.op.name != "pick" and node.parents[0] is not None:
        node = node.parents[0]
    if node.op.name in ("leaf", "placeholder"):  # parameters and inputs
        return
    if node.op.name == "pick" and node.parents[0] is not None:
        kept[node.parents[0], node.params["index"]] = _nbytes(node)
    else:
        kept[node, 0] = _nbytes(node)


def _nbytes(x: Any) -> int:
    return Spec.of(x).nbytes
