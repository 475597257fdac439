"""The demo: one epoch in the quick suite; the promised accuracy, for several seeds, in the slow."""

from __future__ import annotations

import io
import json
import re

import pytest
from rich.console import Console

from wengert import cli, train
from wengert.recipes import RECIPES, digits


def report_data(path):
    text = path.read_text()
    assert not re.search(r"(src|href)=[\"']?(https?:)?//", text), "the page loads nothing"
    found = re.search(r'<script[^>]*id="data"[^>]*>(.*?)</script>', text, re.DOTALL)
    return json.loads(found.group(1).replace("<\\/", "</"))


def test_one_epoch_from_end_to_end(tmp_path):
    stream = io.StringIO()
    console = Console(file=stream, width=100)
    result = digits.run(tmp_path / "run", epochs=1, console=console)
    out = stream.getvalue()
    assert "1222 to train on, 216 to validate, 359 held out" in out
    assert "epoch 1/1  loss" in out
    assert "true ╲ predicted" in out
    assert f"Report: {result.report}" in out
    assert f"({result.errors} of 359 wrong)" in out
    assert result.accuracy == 1 - result.errors / 359
    assert 0.2 < result.accuracy < 0.99
    stored = train.latest_checkpoint(tmp_path / "run" / "checkpoints")
    assert stored.name == "step-00000039"

    data = report_data(result.report)
    assert len(data["history"]) == 1
    assert len(data["steps"]["loss"]) == 39
    assert next(iter(data["vitals"]["parameters"])) == "conv1.weight"
    assert len(data["vitals"]["steps"]) == 20
    assert len(data["mistakes"]) == result.errors
    assert len(data["mistakes"][0]["image"]) == 8
    assert sum(map(sum, data["confusion"])) == 359
    nodes = data["graph"]["nodes"]
    assert {n["phase"] for n in nodes} >= {"forward", "backward"}
    convolutions = [n for n in nodes if n["op"] == "conv" and n["phase"] == "forward"]
    assert len({n["line"] for n in convolutions}) == 3, "each layer has its own source line"
    assert {n["file"] for n in convolutions} == {"digits.py"}
    assert any("self.conv1(x)" in n["code"] for n in convolutions)


def test_the_command(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    seen = {}
    monkeypatch.setattr(digits, "run", lambda **options: seen.update(options))
    assert cli.main(["demo", "--out", str(tmp_path), "--epochs", "2", "--seed", "5"]) == 0
    assert seen == {"out": tmp_path, "epochs": 2, "batch_size": 32, "lr": 0.01, "seed": 5}
    assert cli.main(["train", "digits", "--lr", "0.1"]) == 0
    assert seen["lr"] == 0.1
    assert "digits" in RECIPES


def test_the_demo_can_be_repeated_in_the_same_place(tmp_path):
    console = Console(file=io.StringIO())
    first = digits.run(tmp_path, epochs=1, console=console)
    second = digits.run(tmp_path, epochs=1, console=console)
    assert first.accuracy == second.accuracy
    losses = [r.history.steps["loss"] for r in (first, second)]
    assert losses[0] == losses[1]


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 1, 2, 3])
def test_the_promised_accuracy(tmp_path, seed):
    result = digits.run(tmp_path, seed=seed, console=Console(file=io.StringIO()))
    assert result.accuracy >= 0.985
    assert result.seconds < 120
