"""The examples run, and show what they say they show."""

from __future__ import annotations

import importlib.util
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pytest

from wengert import data
from wengert.data import locate

FOLDER = Path(__file__).parent.parent / "examples"
FILES = sorted(FOLDER.glob("*.py"))


def load(name):
    spec = importlib.util.spec_from_file_location(f"example_{name}", FOLDER / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_each_example_is_tested_and_listed():
    names = [path.stem for path in FILES]
    assert names == ["fashion_mnist", "reverse_vs_forward", "transfer_learning", "xor_by_hand"]
    listed = (FOLDER / "README.md").read_text()
    assert all(f"{name}.py" in listed for name in names)


def test_xor_by_hand(capsys):
    assert load("xor_by_hand").main() < 1e-12
    lines = capsys.readouterr().out.splitlines()
    table = [line.split() for line in lines if " xor " in line]
    assert [row[3] for row in table] == ["0", "1", "1", "0"]
    assert all(abs(float(row[3]) - float(row[4])) < 0.05 for row in table)


def test_reverse_against_forward(capsys):
    found = load("reverse_vs_forward").main([])
    # Each forward pass costs less than two evaluations more than the function, the reverse pass
    # less than four: so the ratio is near n.
    assert 2500 / 4 < found["operations_ratio"] < 2500 * 2
    assert found["reverse_cost"] < 4
    assert found["difference"] < 1e-12
    assert "in operations" in capsys.readouterr().out


def test_transfer_learning(capsys):
    pytest.importorskip("sklearn")
    found = load("transfer_learning").main(["--first-epochs", "8"])
    assert found["body_unchanged"]
    assert found["transferred"] > found["untrained"]
    assert found["tuned"] > 0.9


# -- Fashion-MNIST ------------------------------------------------------------------------------


def patterns(folder):
    """Pictures in the files' format, with a pattern of its own for each class, and noise."""
    rng = np.random.default_rng(0)
    shapes = rng.integers(0, 256, (10, 28, 28))
    for kind, n in (("train", 1000), ("t10k", 200)):
        labels = np.arange(n) % 10
        noisy = 0.5 * shapes[labels] + rng.normal(60, 40, (n, 28, 28))
        images = np.clip(noisy, 0, 255).astype(np.uint8)
        data.write_idx(folder / f"{kind}-images-idx3-ubyte.gz", images)
        data.write_idx(folder / f"{kind}-labels-idx1-ubyte.gz", labels.astype(np.uint8))


def test_fashion_mnist_on_patterns_in_its_format(tmp_path, capsys):
    patterns(tmp_path)
    arguments = ["--data", str(tmp_path), "--limit", "600", "--epochs", "3"]
    assert load("fashion_mnist").main(arguments) > 0.9
    out = capsys.readouterr().out
    assert "600 pictures to train on, 120 to test" in out
    assert "most often confused" in out


@pytest.fixture(scope="module")
def fashion():
    """The folder with the real files: where they are, or fetched from Debian's package."""
    folder = locate.cache_folder() / "fashion-mnist"
    for place in (folder, Path("/usr/share/datasets/fashion-mnist")):
        if (place / "train-images-idx3-ubyte.gz").is_file():
            return place
    if not (shutil.which("apt-get") and shutil.which("dpkg")):
        pytest.skip("the data are not on this machine, and there is no apt to fetch them with")
    folder.parent.mkdir(parents=True, exist_ok=True)
    fetched = Path(tempfile.mkdtemp(prefix="fetching-", dir=folder.parent))
    try:
        commands = [["apt-get", "download", "dataset-fashion-mnist"], ["dpkg", "-x", "", "files"]]
        for command in commands:
            packages = sorted(p.name for p in fetched.glob("*.deb"))
            filled = [word or packages[0] for word in command]
            subprocess.run(filled, cwd=fetched, check=True, capture_output=True, timeout=300)
        source = next(fetched.glob("files/**/train-images-idx3-ubyte.gz")).parent
        if not folder.exists():  # another process may have been faster
            source.rename(folder)
    except (subprocess.SubprocessError, OSError, IndexError, StopIteration) as problem:
        pytest.skip(f"the data are not on this machine, and apt cannot fetch them: {problem}")
    finally:
        shutil.rmtree(fetched, ignore_errors=True)
    return folder


def test_fashion_mnist_on_the_real_data(fashion, capsys):
    arguments = ["--data", str(fashion), "--limit", "2000", "--epochs", "2"]
    assert load("fashion_mnist").main(arguments) > 0.7


@pytest.mark.slow
def test_fashion_mnist_as_it_comes(fashion, capsys):
    assert load("fashion_mnist").main(["--data", str(fashion)]) > 0.85


@pytest.mark.slow
@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_as_programs_in_less_than_a_minute(path, fashion):
    arguments = ["--data", str(fashion)] if path.stem == "fashion_mnist" else []
    done = subprocess.run(
        [sys.executable, str(path), *arguments], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout
