"""The command line: help, errors and exit codes, scripts, recipes, facts about the machine."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from threadpoolctl import threadpool_info

import wengert
from wengert import cli, system

ROOT = Path(__file__).parent.parent


@pytest.fixture
def run(capsys, monkeypatch):
    """Calls the command; gives the exit code, what it printed, and what it complained."""
    monkeypatch.setenv("COLUMNS", "200")

    def call(*arguments):
        try:
            code = cli.main(arguments)
        except SystemExit as end:
            code = end.code
        printed = capsys.readouterr()
        return code, printed.out, printed.err

    yield call
    wengert.errors.show_framework_frames(False)


def test_help_and_version(run):
    code, out, _ = run("--help")
    assert code == 0
    for word in ("demo", "train", "info", "--version", "--traceback", "COMMAND --help"):
        assert word in out
    assert run()[:2] == (0, out), "without arguments, the help is shown"
    assert run("--version")[:2] == (0, f"wengert {wengert.__version__}\n")
    assert "--epochs N" in run("demo", "--help")[1]
    assert "digits" in run("train", "--help")[1]
    assert run("train")[0] == cli.USAGE
    assert "Versions" not in run("info", "--help")[1].splitlines()[0]


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        (["trian"], r"invalid choice: 'trian'.*\n.*did you mean train\?"),
        (["info", "--x"], "unrecognized arguments: --x"),
        (["demo", "--epochs", "many"], r"argument --epochs: invalid int value: 'many'"),
        (["demo", "--epoch", "-x"], r"expected one argument\n.*wengert demo --help"),
        (["train", "digit"], r"no recipe 'digit'\n.*did you mean digits\? The recipes are: digits"),
        (["train", "xyz"], r"no recipe 'xyz'\nThe recipes are: digits"),
        (["train", "no/file.py"], r"there is no file no/file\.py"),
    ],
)
def test_wrong_command_lines(run, arguments, match):
    code, out, err = run(*arguments)
    assert code == cli.USAGE
    assert out == ""
    assert re.search("error: .*" + match, err), err


def script(tmp_path, text, name="job.py"):
    path = tmp_path / name
    path.write_text(text)
    return str(path)


def test_scripts_run_as_python_would_run_them(run, tmp_path):
    (tmp_path / "helper.py").write_text("WORD = 'helped'")
    path = script(tmp_path, "import sys, helper\nprint(__name__, sys.argv[1:], helper.WORD)")
    before = sys.argv, list(sys.path)
    assert run("train", path, "--lr", "1", "--help")[:2] == (
        0,
        "__main__ ['--lr', '1', '--help'] helped\n",
    )
    assert (sys.argv, sys.path) == before
    assert run("train", script(tmp_path, "raise SystemExit(3)"))[0] == 3
    assert run("train", script(tmp_path, "raise SystemExit"))[0] == 0
    code, _, err = run("train", script(tmp_path, "raise SystemExit('no data')"))
    assert (code, err) == (1, "error: no data\n")
    assert run("train", script(tmp_path, "raise KeyboardInterrupt"))[0] == cli.INTERRUPTED


def test_a_misspelt_script_is_guessed(run, tmp_path):
    script(tmp_path, "", "training.py")
    code, _, err = run("train", str(tmp_path / "trainig.py"))
    assert code == cli.USAGE
    assert f"did you mean {tmp_path / 'training.py'}?" in err


def test_failing_scripts_show_the_line_and_no_traceback(run, tmp_path):
    path = script(tmp_path, "def f():\n    return 1 / 0\nf()\n")
    code, _, err = run("train", path)
    assert code == cli.FAILED
    assert err.startswith(f"error: ZeroDivisionError: division by zero\n  at {path}:2: return 1 /")
    assert "Traceback" not in err
    code, _, err = run("--traceback", "train", path)
    assert code == cli.FAILED
    assert "Traceback" in err
    assert "in f\n" in err
    own = script(tmp_path, "import wengert as wg\nwg.ones(2) + wg.ones(3)\n", "own.py")
    code, _, err = run("train", own)
    assert code == cli.FAILED
    assert re.match(r"error: \[add\] the shapes cannot.*\n  at .*own\.py:2: wg\.ones", err), err
    assert "namespaces" not in err
    assert "namespaces" in run("--traceback", "train", own)[2]


def test_a_missing_package_is_named(run, monkeypatch, tmp_path):
    for name in ("sklearn", "sklearn.datasets"):
        monkeypatch.setitem(sys.modules, name, None)
    code, _, err = run("demo", "--out", str(tmp_path))
    assert code == cli.FAILED
    assert "needs the package scikit-learn, which is not installed" in err
    assert "pip install 'wengert[demo]'" in err


def test_as_a_program():
    environment = {**os.environ, "COLUMNS": "80"}
    command = [sys.executable, "-m", "wengert"]
    done = subprocess.run(
        [*command, "--version"], capture_output=True, text=True, env=environment, timeout=60
    )
    assert (done.returncode, done.stdout) == (0, f"wengert {wengert.__version__}\n")
    done = subprocess.run([*command, "nothing"], capture_output=True, env=environment, timeout=60)
    assert done.returncode == cli.USAGE


# -- info ---------------------------------------------------------------------------------------


def test_info(run, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    installed = {"scikit-learn": "1.5", "safetensors": None}
    monkeypatch.setattr(system, "package_version", lambda name: installed.get(name, "9.9"))
    code, out, _ = run("info")
    assert code == 0
    for word in ("Versions", "numpy", "processor", "cores", "memory", "BLAS", "OMP_NUM_THREADS=3"):
        assert word in out
    assert re.search(
        r"demo +scikit-learn 1.5, safetensors is missing +pip install 'wengert\[demo", out
    )
    assert re.search(r"data +pooch 9.9 *\n", out)


def test_extras_are_those_of_the_project():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    for extra, packages in system.EXTRAS.items():
        wanted = project["optional-dependencies"][extra]
        assert [re.split("[<>=]", w)[0] for w in wanted] == list(packages)


def test_limits_of_containers(tmp_path, monkeypatch):
    def groups(**files):
        root = tmp_path / str(len(list(tmp_path.iterdir())))
        for name, text in files.items():
            file = root / name.replace("__", "/").replace("_dot_", ".")
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text)
        return root

    assert system.cpu_quota(groups(cpu_dot_max="150000 100000\n")) == 1.5
    assert system.cpu_quota(groups(cpu_dot_max="max 100000\n")) is None
    old = groups(cpu__cpu_dot_cfs_quota_us="200000", cpu__cpu_dot_cfs_period_us="100000")
    assert system.cpu_quota(old) == 2.0
    unlimited = groups(cpu__cpu_dot_cfs_quota_us="-1", cpu__cpu_dot_cfs_period_us="100000")
    assert system.cpu_quota(unlimited) is None
    assert system.cpu_quota(groups(cpu_dot_max="nonsense")) is None
    assert system.cpu_quota(tmp_path / "none") is None
    assert system.memory_limit(groups(memory_dot_max="1073741824")) == 2**30
    assert system.memory_limit(groups(memory_dot_max="max")) is None
    assert (
        system.memory_limit(groups(memory__memory_dot_limit_in_bytes="9223372036854771712")) is None
    )
    monkeypatch.setattr(system, "cpu_quota", lambda: 1.4)
    assert system.cores()["usable"] == 1


def test_blas_threads_are_put_back():
    def threads():
        return [p["num_threads"] for p in threadpool_info() if p["user_api"] == "blas"]

    before = threads()
    with system.blas_threads(1):
        assert set(threads()) <= {1}
    assert threads() == before
