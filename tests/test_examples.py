"""The examples run as a user runs them, and show what they say they show."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pytest

import wengert as wg
from wengert import data

ROOT = Path(__file__).parent.parent
FOLDER = ROOT / "examples"


def run(name: str, *arguments: object, fails: bool = False) -> str:
    """What an example prints (as an error, if it should fail). Warnings are errors."""
    source = Path(wg.__file__).parents[1]  # the library under test, installed or not
    command = [sys.executable, "-W", "error", str(FOLDER / f"{name}.py"), *map(str, arguments)]
    environment = {**os.environ, "PYTHONPATH": str(source), "PYTHONIOENCODING": "utf-8"}
    done = subprocess.run(
        command, capture_output=True, encoding="utf-8", env=environment, timeout=300
    )
    assert (done.returncode != 0) == fails, done.stderr
    return done.stderr if fails else done.stdout


def numbers(line: str) -> list[float]:
    """All numbers in a line of a table, without thousands separators."""
    return [float(n) for n in re.findall(r"-?\d+(?:\.\d+)?(?:e-?\d+)?", line.replace(",", ""))]


def row(text: str, name: str) -> list[float]:
    """The numbers in the first line that begins with a name."""
    line = next(line for line in text.splitlines() if line.strip().startswith(name))
    return numbers(line.strip().removeprefix(name))


@pytest.mark.parametrize("page", ["examples/README.md", "docs/examples.md"])
def test_each_example_is_listed_and_tested(page):
    names = {path.stem for path in FOLDER.glob("*.py")}
    assert names == {"fashion_mnist", "reverse_vs_forward", "transfer_learning", "xor_by_hand"}
    listed = (ROOT / page).read_text(encoding="utf-8")
    assert all(f"{name}.py" in listed for name in names)


def test_xor_by_hand():
    out = run("xor_by_hand")
    assert row(out, "Final loss:")[0] < 0.01
    assert row(out, "Largest difference")[0] < 1e-12
    table = [numbers(line) for line in out.splitlines() if re.match(r" +[01] +[01] +[01] ", line)]
    assert [r[:3] for r in table] == [[0, 0, 0], [0, 1, 1], [1, 0, 1], [1, 1, 0]]
    assert all(round(p) == round(q) == wanted for _, _, wanted, p, q in table)


def test_transfer_learning():
    out = run("transfer_learning", "--repeats", 1)
    assert row(out, "digits 0-4, all examples:")[0] > 97
    learned = row(out, "new head, learned body frozen")[0]
    assert learned > 85
    assert learned > row(out, "new head, untrained body frozen")[0]
    assert row(out, "then unfrozen, all trained")[0] > 85
    assert "did not change by a bit" in out  # asserted inside


OPERATIONS = {  # of f, counted by hand
    # A @ x takes 2n² - n or 2n²; the element-wise parts are a few n
    "Helmholtz energy": (2 * 2500**2, 2 * 2500**2 + 10 * 2500),
    # a product of 32 × 48 and 48 × 50, one of 32 × 50 and 50, and some 100 a sample
    "network": (2 * 32 * 51 * 49, 2 * 32 * 51 * 50),
    # 51² squares, each with some 16 operations
    "minimal surface": (14 * 51**2, 20 * 51**2),
}


def test_reverse_vs_forward():
    out = run("reverse_vs_forward", "--sample", 10)
    counts, times = out.split("Times:")
    for name, (least, most) in OPERATIONS.items():
        f, reverse, reverse_cost, jvp, jvp_cost, by_jvp, by_linearize = row(counts, name)
        assert least <= f <= most
        # Griewank and Walther: at most 5/2 and 4 times the function.
        assert 1 < reverse / f < 4
        assert 1 < jvp / f <= 2.5
        assert (reverse_cost, jvp_cost) == (round(reverse / f, 2), round(jvp / f, 2))
        assert by_jvp == round(2500 * jvp / reverse)
        assert by_linearize == round((f + 2500 * (jvp - f)) / reverse)
        assert len(row(times, name)) == 7
    assert row(out, "All gradients agree: largest relative difference")[0] < 1e-10


# -- Fashion-MNIST ------------------------------------------------------------------------------

KEPT = ROOT / ".cache" / "fashion-mnist"


@pytest.fixture
def patterns(tmp_path: Path) -> Path:
    """A folder with files in the format of the real ones: a pattern for each class, and noise."""
    rng = np.random.default_rng(0)
    shapes = rng.integers(0, 256, (10, 28, 28))
    for kind, n in (("train", 3000), ("t10k", 1000)):
        labels = np.arange(n) % 10
        images = np.clip(0.5 * shapes[labels] + rng.normal(60, 40, (n, 28, 28)), 0, 255)
        data.write_idx(tmp_path / f"{kind}-images-idx3-ubyte.gz", images.astype(np.uint8))
        data.write_idx(tmp_path / f"{kind}-labels-idx1-ubyte.gz", labels.astype(np.uint8))
    return tmp_path


@pytest.fixture
def fashion(patterns: Path) -> Path:
    """The folder with the real files, fetched once from Debian; where that fails, patterns."""
    return KEPT if KEPT.is_dir() or fetch() else patterns


def fetch() -> bool:
    """Unpack Debian's package into the cache, all at once or not at all."""
    if not (shutil.which("apt-get") and shutil.which("dpkg")):
        return False
    KEPT.parent.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=KEPT.parent) as folder:
        patience = ["-o", "Acquire::Retries=0", "-o", "Acquire::http::Timeout=15"]
        download = ["apt-get", *patience, "download", "dataset-fashion-mnist"]
        try:
            subprocess.run(download, cwd=folder, check=True, capture_output=True, timeout=120)
            package = next(Path(folder).glob("*.deb"))
            unpack = ["dpkg", "-x", package.name, "files"]
            subprocess.run(unpack, cwd=folder, check=True, capture_output=True, timeout=60)
            next(Path(folder).glob("files/**/fashion-mnist")).rename(KEPT)
        except (subprocess.SubprocessError, OSError, StopIteration):
            pass
    return KEPT.is_dir()  # another process may have been faster


def check_fashion(out: str, least: float) -> None:
    assert row(out, "Accuracy on 1000 test pictures:")[0] > least
    for name in ("T-shirt/top", "Trouser", "Shirt", "Ankle boot"):
        assert 0 <= row(out, name)[0] <= 100


def test_fashion_mnist(fashion):
    check_fashion(run("fashion_mnist", "--data", fashion, "--samples", 2000, "--tests", 1000), 70)


def test_fashion_mnist_on_patterns_in_its_format(patterns):
    out = run("fashion_mnist", "--data", patterns, "--model", "mlp", "--epochs", 3)
    check_fashion(out, 95)


def test_fashion_mnist_says_how_to_get_the_data(tmp_path):
    message = run("fashion_mnist", "--data", tmp_path / "nowhere", fails=True)
    assert "there is no such folder" in message
    assert "dataset-fashion-mnist" in message


# -- as they come: what the docstrings promise ----------------------------------------------------


@pytest.mark.slow
def test_transfer_learning_as_it_comes():
    out = run("transfer_learning")
    learned = row(out, "new head, learned body frozen")[0]
    assert learned > row(out, "new head, untrained body frozen")[0] + 3
    assert row(out, "then unfrozen, all trained")[0] > learned


@pytest.mark.slow
def test_reverse_vs_forward_as_it_comes():
    assert "all 2500 forward passes" in run("reverse_vs_forward")


@pytest.mark.slow
def test_fashion_mnist_as_it_comes(fashion):
    accuracy = row(run("fashion_mnist", "--data", fashion), "Accuracy on")
    assert accuracy[1] > 86
