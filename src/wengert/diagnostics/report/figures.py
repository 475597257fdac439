"""Turning arrays, tensors and graphs into the plain data that the page draws."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from typing import Any

import numpy as np

from wengert.core.graph import Graph
from wengert.core.node import Node
from wengert.core.spec import Spec
from wengert.core.tensor import Tensor


def plain(value: Any) -> Any:
    """`value` as JSON can hold it. Infinities and NaN become the strings "inf", "-inf", "nan", so
    that the page can say so rather than leave a gap."""
    if isinstance(value, Mapping):
        return {str(k): plain(v) for k, v in value.items()}
    if isinstance(value, Tensor):
        return plain(value.numpy())
    if isinstance(value, np.ndarray):
        return plain(value.tolist())
    if isinstance(value, (list, tuple)):
        return [plain(v) for v in value]
    if isinstance(value, np.generic):
        return plain(value.item())
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    if value is None or isinstance(value, (bool, int, str)):
        return value
    return str(value)


def graph_data(graph: Graph) -> dict[str, Any]:
    """Nodes and edges of a graph, by number, with what the page shows of each node. Identities
    (the `alias` nodes that a derivative starts from) are left out: edges pass through them."""
    shown = [node for node in graph.nodes if node.op.name not in _PASSED_THROUGH]
    number = {node: i for i, node in enumerate(shown)}
    for node in graph.nodes:
        if node.op.name in _PASSED_THROUGH and node.parents[0] in number:
            number[node] = number[node.parents[0]]
    outputs = {number.get(t.node) for t in graph.outputs if t.node is not None}
    nodes = []
    for i, node in enumerate(shown):
        entry = node_data(node)
        entry["inputs"] = [number[p] for p in node.parents if p in number]
        if i in outputs:
            entry["output"] = True
        if node.id in graph.names:
            entry["name"] = graph.names[node.id]
        nodes.append(entry)
    return {"nodes": nodes}


_PASSED_THROUGH = ("alias", "pick")


def node_data(node: Node) -> dict[str, Any]:
    """What the page shows of one node."""
    site = node.site
    spec = Spec(node.shape, node.dtype)
    entry: dict[str, Any] = {
        "op": node.op.name,
        "shape": list(node.shape),
        "dtype": str(node.dtype),
        "bytes": spec.nbytes,
        "cost": node.op.cost,
        "module": site.module,
        "phase": site.phase or "forward",
        "file": os.path.basename(site.file),
        "line": site.line,
        "code": site.text,
        "function": site.function,
    }
    flops = node.op.flops(node) if hasattr(node.op, "flops") else None
    if flops is not None:
        entry["flops"] = int(flops)
    params = {k: _short(v) for k, v in node.params.items()}
    if params:
        entry["params"] = params
    return entry


def _short(value: Any) -> str:
    text = str(value)
    return text if len(text) <= 80 else text[:77] + "…"
