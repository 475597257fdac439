"""The HTML report: what is in the page, and that it needs nothing from outside."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import wengert as wg
from wengert.diagnostics import write_report
from wengert.errors import ArgumentError


def page_data(path: Path) -> dict[str, Any]:
    found = re.search(
        r'<script type="application/json" id="data">(.*?)</script>', path.read_text(), re.S
    )
    assert found is not None
    return json.loads(found.group(1))


def loss(weight: wg.Tensor, x: wg.Tensor) -> wg.Tensor:
    return wg.sum(wg.tanh(weight * x))


@pytest.fixture
def graph() -> wg.Graph:
    return wg.trace(wg.value_and_grad(loss), wg.ones(3), wg.ones(3))


def test_every_section_reaches_the_page(tmp_path: Path, graph: wg.Graph) -> None:
    page = write_report(
        tmp_path,
        title="A <run>",
        facts={"accuracy": "99 %"},
        history=[{"epoch": 1, "loss": 0.5, "val_loss": float("nan")}],
        steps={"step": [1, 2], "loss": [0.5, 0.4]},
        vitals={"steps": [1], "parameters": {"w": {"gradient_norm": [np.float32(0.5)]}}},
        graph=graph,
        summary=[{"module": "fc", "parameters": 3}],
        confusion=np.eye(2, dtype=int),
        classes=["cat", "dog"],
        mistakes=[{"image": np.zeros((2, 2)), "true": 1, "predicted": 0, "probability": 0.7}],
        config={"seed": 0},
    )
    assert page == tmp_path / "report.html"
    data = page_data(page)
    assert data["title"] == "A <run>"
    assert "<title>A &lt;run&gt;</title>" in page.read_text()
    assert data["history"][0]["val_loss"] == "nan"
    assert data["vitals"]["parameters"]["w"]["gradient_norm"] == [0.5]
    assert data["confusion"] == [[1, 0], [0, 1]]
    assert data["mistakes"][0]["image"] == [[0.0, 0.0], [0.0, 0.0]]


def test_graph_nodes_carry_shape_phase_and_the_users_line(tmp_path: Path, graph: wg.Graph) -> None:
    nodes = page_data(write_report(tmp_path / "r.html", graph=graph))["graph"]["nodes"]
    by_op = {n["op"]: n for n in nodes}
    assert by_op["tanh"]["shape"] == [3]
    assert by_op["tanh"]["file"] == "test_report.py"
    assert by_op["tanh"]["code"] == "return wg.sum(wg.tanh(weight * x))"
    assert {n["phase"] for n in nodes} == {"forward", "backward"}
    assert {n.get("name") for n in nodes if n["op"] == "placeholder"} == {"weight", "x"}
    assert all(p < i for i, n in enumerate(nodes) for p in n["inputs"])
    assert not {"alias", "pick"} & set(by_op)


class Links(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found += [v or "" for k, v in attrs if k in ("src", "href")]


def test_page_loads_nothing_from_outside(tmp_path: Path, graph: wg.Graph) -> None:
    text = write_report(tmp_path, graph=graph, title="t").read_text()
    parser = Links()
    parser.feed(text)
    assert [link for link in parser.found if not link.startswith(("#", "data:"))] == []
    outside = re.findall(r"https?://[^\s\"']+", text)
    assert [u for u in outside if not u.startswith("http://www.w3.org/")] == []
    assert "@import" not in text
    assert "fetch(" not in text


def test_data_cannot_end_the_script(tmp_path: Path) -> None:
    page = write_report(tmp_path, facts={"x": "</script><b>"})
    assert page_data(page)["facts"]["x"] == "</script><b>"


def test_wrong_input_is_named(tmp_path: Path) -> None:
    with pytest.raises(ArgumentError, match="columns of `steps` differ in length"):
        write_report(tmp_path, steps={"step": [1, 2], "loss": [1]})
    with pytest.raises(ArgumentError, match="must be square"):
        write_report(tmp_path, confusion=[[1, 2, 3], [4, 5, 6]])
    with pytest.raises(ArgumentError, match="entry 0 of `mistakes` has no image"):
        write_report(tmp_path, mistakes=[{"true": 1}])
    assert list(tmp_path.iterdir()) == []
