"""The benchmarks' harness on one tiny workload, without any peer; and its arithmetic."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from benchmarks import figures, rows, workload, workloads
from benchmarks.conductor import INTERPRETED, Measured, Outcome
from benchmarks.figures import Ratio
from benchmarks.parts import MEASURES, ORDER
from benchmarks.workload import DEFAULT, Workload
from benchmarks.workloads import PARTS

ROOT = Path(__file__).resolve().parent.parent


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    """The command, in a process of its own."""
    command = [sys.executable, "-m", "benchmarks", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300)


def test_a_tiny_run_writes_table_and_numbers(tmp_path: Path) -> None:
    options = ["--only", "wengert", "--threads", "1", "--rounds", "2", "--seconds", "0.01"]
    found = run("tiny", "--row", "tiny", *options, "--tries", "1", "--out", str(tmp_path))
    assert found.returncode == 0, found.stderr
    data = json.loads((tmp_path / "results.json").read_text())
    row = data["rows"]["1"]["tiny"]
    versions = row["raw"]["versions"]
    assert len(versions[INTERPRETED]["microseconds"]) == 2
    assert versions[INTERPRETED]["microseconds"][0] > 0
    assert row["raw"]["reference"] == f"{INTERPRETED} in float64"
    assert 0 < versions[INTERPRETED]["error"] < 1e-4
    assert versions[INTERPRETED]["wrong"] == {}
    assert versions["wengert"]["failure"] is None
    assert versions["wengert"]["wrong"] == {}
    table = (tmp_path / "RESULTS.md").read_text()
    assert "| tiny MLP 2-16-16-1, batch 16, Adam: one step a call |" in table
    assert "## 1 thread\n" in table


def test_an_unknown_part_is_refused() -> None:
    found = run("tinny")
    assert found.returncode == 2
    assert "no such part: tinny; there are tiny mlp" in found.stderr


def test_every_part_has_rows_with_names_of_their_own() -> None:
    found = [w for part in PARTS for w in workloads.workloads(part)]
    names = [w.name for w in found]
    assert len(names) == len(set(names))
    assert all({"wengert", "jax"} <= set(w.versions) for w in found)
    assert [*PARTS, *MEASURES] == ORDER


def test_all_inputs_are_small_precision_and_repeatable() -> None:
    for part in ("tiny", "pinn", "hessian", "adam"):
        first = workloads.workloads(part)[0].inputs()
        second = workloads.workloads(part)[0].inputs()
        for name, value in first.items():
            np.testing.assert_array_equal(value, second[name])
            assert value.dtype != np.float64


def test_errors_tell_wrong_arrays_from_rounding() -> None:
    exact = {"losses": np.array([1.0, 2.0]), "zero": np.array([1e-12])}
    rounded = {"losses": np.array([1.0, 2.0 + 1e-6]), "zero": np.array([-1e-8])}
    assert figures.wrong(figures.relative_errors(rounded, exact), 1e-4) == {}
    off = figures.relative_errors({**rounded, "losses": np.array([1.0, 2.1])}, exact)
    assert list(figures.wrong(off, 1e-4)) == ["losses"]


@pytest.mark.parametrize(
    "found",
    [{}, {"a": np.array([np.nan])}, {"a": np.zeros(2)}, {"a": np.zeros(1), "b": np.zeros(1)}],
    ids=["missing", "nan", "shape", "more"],
)
def test_what_cannot_be_compared_is_wrong(found: dict[str, np.ndarray]) -> None:
    errors = figures.relative_errors(found, {"a": np.zeros(1)})
    assert figures.wrong(errors, 1e3)


def outcome(**times: list[float]) -> Outcome:
    """An outcome of versions, whose names have _ for blanks."""
    found = {name.replace("_", " "): Measured(t, min(t), 0.1) for name, t in times.items()}
    return Outcome(found, "torch in float64", 0)


def workload_row(found: Outcome, least: float = 1.5) -> rows.Row:
    made = Workload("w", "W", dict, {}, least, 2.0)
    return rows.of_workload("mlp", made, DEFAULT, found)


def test_a_row_is_our_best_against_the_best_peer() -> None:
    row = workload_row(
        outcome(wengert=[1.0, 1.0], torch=[9.0, 8.0], torch_compile=[2.0, 4.0], peak=[0.1, 0.1])
    )
    assert (row.figure, row.least, row.largest) == ("3.00×", "2.00×", "4.00×")
    assert row.against == "torch compile"
    assert row.met is True
    assert row.others == "peak 0.10×, torch 8.50×"
    assert row.target == "≥ 1.50×, aim 2.00×"


def test_a_row_without_compiler_says_so_and_does_not_count() -> None:
    row = workload_row(outcome(wengert_interpreted=[1.0], torch=[9.0]))
    assert row.notes == [rows.NOT_COMPILED]
    assert row.met is False


def test_a_row_with_wrong_numbers_does_not_count() -> None:
    found = outcome(wengert=[1.0], torch=[9.0])
    found.versions["wengert"].wrong = {"losses": 0.5}
    row = workload_row(found)
    assert row.notes == ["WRONG: wengert, losses by 5e-01"]
    assert row.met is False


def test_a_row_of_a_busy_machine_says_so() -> None:
    found = outcome(wengert=[1.0, 1.0], torch=[9.0, 9.0])
    found.disturbed = 1
    assert workload_row(found).notes == ["busy machine: 1 of 4 bursts disturbed"]


def test_ratios_are_of_rounds() -> None:
    assert figures.ratio([2.0, 6.0, 5.0], [1.0, 2.0, 1.0]) == Ratio(3.0, 2.0, 5.0)


def test_parameters_are_told_from_data() -> None:
    inputs = workload.with_parameters({"0.weight": np.ones(2)}, x=np.zeros(3))
    assert list(inputs) == ["param/0.weight", "x"]
    assert list(workload.parameters_of(inputs)) == ["0.weight"]
