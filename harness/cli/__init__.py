"""The command line: `harness VERB`. A file per verb, each imported when it is called, so that help
and argument errors are instant."""

from __future__ import annotations

import importlib
import os
import sys

import click

from harness import __version__
from harness.errors import HarnessError

_VERBS = {
    "eval": "Evaluate a model on a task.",
    "score": "Score saved predictions of any system.",
    "ls": "List tasks, data sets, models, and who can do what.",
    "train": "Train a bundled model on a data set.",
    "data": "Look at a data set's samples, or check its files.",
    "conformance": "Hold our metrics, or any scorer, against known pitfalls.",
    "compare": "Say whether one run is better than another, and where.",
    "report": "Make a leaderboard and pages of samples to look at.",
    "check": "Fail where a run really dropped below its reference, for CI.",
    "reproduce": "Run a run again and say whether its predictions are the same.",
}


class _Verbs(click.Group):
    """Imports a verb's module when the verb is used; help needs none."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(_VERBS)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        if name not in _VERBS:
            return None
        module = importlib.import_module(f"harness.cli.{name}")
        command: click.Command = module.command
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and args[0] not in _VERBS and not args[0].startswith("-"):
            from difflib import get_close_matches

            near = get_close_matches(args[0], _VERBS, n=1)
            hint = f"did you mean {near[0]}?" if near else f"there are: {', '.join(_VERBS)}"
            ctx.fail(f"no such verb {args[0]!r}; {hint}")
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Verbs"):
            formatter.write_dl(list(_VERBS.items()))


@click.group(
    cls=_Verbs,
    invoke_without_command=True,
    context_settings={"help_option_names": ["-h", "--help"]},
)
@click.version_option(__version__, prog_name="harness")
@click.option("--debug", is_flag=True, help="Show the traceback of an error.")
@click.pass_context
def group(context: click.Context, debug: bool) -> None:
    """Evaluate vision-language models with numbers that can be stood behind.

    \b
    harness ls                                 what there is
    harness eval --task vqa --model vlbert     a result with interval and controls
    """
    if context.invoked_subcommand is None:
        click.echo(context.get_help())


def main() -> None:
    """The console script: errors become one line and the exit code that they carry."""
    # Idle OpenMP threads that spin slow a busy machine down tenfold; read when torch is imported.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    debug = "--debug" in sys.argv
    try:
        group(standalone_mode=False)
    except click.ClickException as error:
        _fail(error.format_message(), 2)
    except (click.Abort, KeyboardInterrupt):
        _fail("stopped; what was done is kept and the same command goes on from there", 130)
    except HarnessError as error:
        if debug:
            raise
        _fail(str(error), error.exit_code)
    except BrokenPipeError:  # `harness ls | head`: the reader has what it wanted
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except Exception as error:
        if debug:
            raise
        _fail(f"this is a bug in harness: {error!r}; `harness --debug VERB ...` shows where", 70)


def _fail(message: str, code: int) -> None:
    click.echo(f"harness: {' '.join(message.split())}", err=True)
    sys.exit(code)
