"""The command `wengert`: demo, train, info, cache.

Exit codes: 0 done; 1 the run failed; 2 the command line was wrong; 130 interrupted.
"""

from __future__ import annotations

import argparse
import difflib
import importlib
import os
import re
import runpy
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from wengert import __version__, system
from wengert.core.errors import WengertError, show_framework_frames
from wengert.recipes import RECIPES

FAILED, USAGE, INTERRUPTED = 1, 2, 130


class Parser(argparse.ArgumentParser):
    """argparse with help and errors set by rich."""

    def print_help(self, file: Any = None) -> None:
        console = Console(file=file, highlight=False)
        console.print(f"\n[bold]{escape(self.description or '')}[/]\n")
        usage = self.format_usage().removeprefix("usage: ").strip()
        console.print(f"[bold cyan]Usage[/]  {escape(usage)}\n")
        for group in self._action_groups:
            table = _help_table(self, group._group_actions)
            if table is not None:
                console.print(f"[bold cyan]{(group.title or '').capitalize()}[/]")
                console.print(table)
        if self.epilog:
            console.print(f"{escape(self.epilog)}\n")

    def error(self, message: str) -> NoReturn:
        hint = f"{self.prog} --help shows what there is"
        wrong = re.search(r"invalid choice: '(.*?)' \(choose from (.*)\)", message)
        if wrong is not None:
            choices = re.findall(r"[\w-]+", wrong[2])
            near = difflib.get_close_matches(wrong[1], choices, n=1)
            hint = f"did you mean {near[0]}? {hint}" if near else hint
        fail(message, hint)
        raise SystemExit(USAGE)


def _help_table(parser: Parser, actions: Sequence[argparse.Action]) -> Table | None:
    table = Table.grid(padding=(0, 3))
    formatter = parser._get_formatter()
    for action in actions:
        if action.help is argparse.SUPPRESS:
            continue
        if isinstance(action, argparse._SubParsersAction):
            for choice in action._choices_actions:
                table.add_row(f"  [green]{escape(choice.dest)}[/]", escape(choice.help or ""))
            continue
        name = escape(formatter._format_action_invocation(action))
        table.add_row(f"  [green]{name}[/]", escape(formatter._expand_help(action)))
    return table if table.row_count else None


def fail(message: str, hint: str = "") -> None:
    """Print an error, and what would help."""
    console = Console(stderr=True, highlight=False)
    console.print(f"[bold red]error:[/] {escape(message)}", soft_wrap=True)
    if hint:
        console.print(f"[dim]{escape(hint)}[/]", soft_wrap=True)


def build_parser() -> Parser:
    """The parser of the whole command line."""
    parser = Parser(
        "wengert",
        description="Wengert: backpropagation that you can see through",
        epilog="wengert COMMAND --help tells more about a command.",
    )
    parser.add_argument("--version", action="version", version=f"wengert {__version__}")
    parser.add_argument(
        "--traceback", action="store_true", help="show whole tracebacks where something fails"
    )
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", title="commands")
    # The options of recipes and scripts are theirs, --help included: they are passed on.
    commands.add_parser(
        "demo", add_help=False, help="train a network on handwritten digits, and write a report"
    )
    train = commands.add_parser(
        "train", add_help=False, help="run a script or a recipe: wengert train SCRIPT.py|RECIPE …"
    )
    train.add_argument("target", nargs="?")
    train.add_argument("arguments", nargs=argparse.REMAINDER)
    commands.add_parser(
        "info",
        description="Versions, processor, memory, threads, and which extras are installed",
        help="show versions, processor, threads and extras",
    )
    cache = commands.add_parser(
        "cache",
        description="The code of compiled programs that is kept on disk",
        help="show or clear the code of compiled programs on disk",
    )
    cache.add_argument(
        "action", nargs="?", choices=("info", "clear"), default="info", help="info or clear"
    )
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit code."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    parser = build_parser()
    options, rest = parser.parse_known_args(given)
    if options.traceback:
        show_framework_frames(True)
    if options.command is None:
        parser.print_help()
        return 0
    try:
        return _run(parser, options, given, rest)
    except KeyboardInterrupt:
        fail("interrupted")
        return INTERRUPTED
    except BrokenPipeError:  # the reader of our output has gone, as in `wengert info | head -1`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FAILED
    except Exception as error:
        if options.traceback:
            traceback.print_exc()
        else:
            fail(_short(error), "wengert --traceback … shows where it arose")
        return FAILED


def _run(parser: Parser, options: Any, given: list[str], rest: list[str]) -> int:
    if options.command in ("demo", "train"):
        system.keep_freed_memory()
    if options.command == "demo":
        return _recipe("digits", "wengert demo", rest)
    if options.command == "train":
        return _train(parser, given[given.index("train") + 1 :])
    if rest:
        parser.error(f"unrecognized arguments: {' '.join(rest)}")
    console = Console(highlight=False)
    if options.command == "cache":
        print_cache(console, clear=options.action == "clear")
    else:
        print_info(console)
    return 0


def _short(error: Exception) -> str:
    """An error without its traceback; an own one says where it arose, for others the last line of
    the user's is added."""
    if isinstance(error, WengertError):
        return str(error)
    text = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
    package = str(Path(__file__).parent)
    for frame in reversed(traceback.extract_tb(error.__traceback__)):
        if not frame.filename.startswith((package, "<", sys.base_prefix, sys.prefix)):
            return f"{text}\n  at {frame.filename}:{frame.lineno}: {frame.line}"
    return text


# -- train --------------------------------------------------------------------------------------


def _train(parser: Parser, arguments: list[str]) -> int:
    """`wengert train TARGET …`: a file is run as a script, a name is a recipe's."""
    if not arguments or arguments[0] in ("-h", "--help"):
        _print_train_help()
        return 0 if arguments else USAGE
    target, rest = arguments[0], arguments[1:]
    if target in RECIPES:
        return _recipe(target, f"wengert train {target}", rest)
    path = Path(target)
    if path.is_file():
        return _script(path, rest)
    if path.suffix == ".py" or path.parent != Path():
        parent = path.parent if path.parent.is_dir() else Path()
        near = difflib.get_close_matches(path.name, [p.name for p in parent.glob("*.py")], n=1)
        fail(f"there is no file {target}", f"did you mean {parent / near[0]}?" if near else "")
        return USAGE
    near = difflib.get_close_matches(target, RECIPES, n=1, cutoff=0.5)
    known = ", ".join(RECIPES)
    hint = f"did you mean {near[0]}? " if near else ""
    fail(f"there is no recipe {target!r}", f"{hint}The recipes are: {known}")
    return USAGE


def _print_train_help() -> None:
    console = Console(highlight=False)
    console.print("\n[bold]Run a script or a recipe[/]\n")
    console.print("[bold cyan]Usage[/]  wengert train SCRIPT.py|RECIPE \\[arguments …]\n")
    console.print("[bold cyan]Recipes[/]")
    table = Table.grid(padding=(0, 3))
    for name, text in RECIPES.items():
        table.add_row(f"  [green]{name}[/]", text)
    console.print(table)
    console.print(
        "\nThe arguments go to the script or recipe; wengert train RECIPE --help lists a recipe's."
    )


def _recipe(name: str, program: str, arguments: list[str]) -> int:
    module = importlib.import_module(f"wengert.recipes.{name}")
    parser = Parser(program, description=RECIPES[name][0].upper() + RECIPES[name][1:])
    module.add_arguments(parser)
    return int(module.main(arguments, parser))


def _script(path: Path, arguments: list[str]) -> int:
    """Run a file as `python FILE …` would."""
    before_argv, before_path = sys.argv, list(sys.path)
    sys.argv = [str(path), *arguments]
    sys.path.insert(0, str(path.resolve().parent))
    try:
        runpy.run_path(str(path), run_name="__main__")
    except SystemExit as end:
        if isinstance(end.code, str):
            fail(end.code)
            return FAILED
        return int(end.code or 0)
    finally:
        sys.argv, sys.path[:] = before_argv, before_path
    return 0


# -- info ---------------------------------------------------------------------------------------


def print_info(console: Console) -> None:
    """Versions, machine and extras as tables."""
    table = Table.grid(padding=(0, 3))
    for name, version in system.versions().items():
        table.add_row(f"  {name}", version)
    table.add_row("  executable", system.executable())
    console.print("[bold cyan]Versions[/]")
    console.print(table)
    console.print("[bold cyan]Machine[/]")
    console.print(_machine_table())
    console.print("[bold cyan]Extras[/]")
    console.print(_extras_table())


def _machine_table() -> Table:
    cores, memory = system.cores(), system.memory()
    table = Table.grid(padding=(0, 3))
    table.add_row("  processor", escape(system.cpu_model()))
    text = f"{cores['logical']} logical"
    if cores["allowed"] != cores["logical"]:
        text += f", {cores['allowed']} allowed to this process"
    if cores["quota"] is not None:
        text += f", container grants the time of {cores['quota']:g}"
    table.add_row("  cores", text)
    table.add_row("  threads", f"{cores['usable']} make sense")
    sizes = [f"{_gib(memory['total'])} in all"]
    if memory["limit"] is not None:
        sizes.append(f"container grants {_gib(memory['limit'])}")
    table.add_row("  memory", ", ".join(sizes))
    table.add_row("  BLAS", escape(system.blas()))
    settings = system.thread_settings()
    shown = ", ".join(f"{name}={value}" for name, value in settings.items()) or "not set"
    table.add_row("  thread settings", escape(shown))
    return table


def print_cache(console: Console, clear: bool = False) -> None:
    """Where compiled code is kept and how much there is, after it was cleared if so wanted."""
    from wengert.compiler.llvm import cache

    if clear:
        console.print(f"{cache.clear()} entries deleted")
    found = cache.info()
    if found.folder is None:
        console.print("there is no cache: it is switched off, or has no place")
        return
    table = Table.grid(padding=(0, 3))
    table.add_row("  folder", escape(str(found.folder)))
    table.add_row("  entries", str(found.entries))
    used, most = found.nbytes / 2**20, found.limit / 2**20
    table.add_row("  size", f"{used:.1f} MiB of at most {most:.0f} MiB")
    console.print("[bold cyan]Compiled code[/]")
    console.print(table)


def _gib(size: int | None) -> str:
    return "unknown" if size is None else f"{size / 2**30:.1f} GiB"


def _extras_table() -> Table:
    table = Table.grid(padding=(0, 3))
    for extra, packages in system.extras().items():
        found = [
            f"{name} {version}" if version else f"[red]{name} is missing[/]"
            for name, version in packages.items()
        ]
        missing = any(version is None for version in packages.values())
        hint = f"[dim]pip install 'wengert\\[{extra}]'[/]" if missing else ""
        table.add_row(f"  {extra}", ", ".join(found), hint)
    return table
