"""The root of the command line: its table of commands, lazy loading, and how an error ends the process.

Importing this module imports click alone: `chainnode --help` must answer within 150 ms. What a command needs is
imported when it is called.
"""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import click

from chainnode.cli.context import Settings, global_options

if TYPE_CHECKING:
    from primitives.errors import ChainError

# name: (module of chainnode.cli, attribute, one line of help, section of the help page)
COMMANDS: dict[str, tuple[str, str, str, str]] = {
    "localnet": ("localnet", "localnet", "A real network of processes on this machine.", "Network"),
    "init": ("init", "init", "Make a node's home: keys, settings, its entry for genesis.", "Node"),
    "start": ("node", "start", "Run the node in the foreground.", "Node"),
    "status": ("node", "status", "Where a node stands.", "Node"),
    "config": ("node", "config", "Show and check settings.", "Node"),
    "fsck": ("node", "fsck", "Verify a stopped node's store, block by block.", "Node"),
    "archive": ("archive", "archive", "Bodies of old batches beside the store: move, list, verify.", "Node"),
    "snapshot": ("snapshot", "snapshot", "Make, verify and restore snapshots, from which nodes join.", "Node"),
    "genesis": ("genesis", "genesis", "Make, show and hash the consortium's genesis.", "Consortium"),
    "member": ("member", "member", "Members, their sources and officers: list, propose, vote.", "Consortium"),
    "validator": ("validator", "validator", "Validators: list, propose changes, vote.", "Consortium"),
    "rules": ("validator", "rules", "The rules that blocks follow, and others from a height on.", "Consortium"),
    "keys": ("keys", "keys", "Make and show key files.", "Consortium"),
    "audit-log": ("audit_log", "audit_log", "Who did what through this node.", "Node"),
    "token": ("token", "token", "Tokens with roles, by which others may ask this node.", "Consortium"),
    "submit": ("submit", "submit", "Submit events from files: payments, certificates.", "Events"),
    "cert": ("cert", "cert", "Certificates of fintech products.", "Events"),
    "payment": ("payment", "payment", "Payments and their audit trail.", "Events"),
    "wallet": ("wallet", "wallet", "Wallets that pay without a connection.", "Events"),
    "voucher": ("voucher", "voucher", "Vouchers of such wallets: redeem, prove double spending.", "Events"),
    "generate": ("generate", "generate", "Traffic to try a consortium with: a day's files of some banks.", "Events"),
    "get": ("read", "get", "Show an event.", "Reading"),
    "block": ("read", "block", "Show a block.", "Reading"),
    "watch": ("watch", "watch", "Follow new blocks.", "Reading"),
    "prove": ("proofs", "prove", "Fetch an event's receipt.", "Proofs"),
    "verify": ("proofs", "verify", "Verify a receipt offline against a policy.", "Proofs"),
    "policy": ("proofs", "policy", "Export what verifying needs to know.", "Proofs"),
    "audit": ("audit", "audit", "Complete answers, mirrors of the log, forks.", "Proofs"),
    "witness": ("witness", "witness", "Cosign a log's checkpoints without running a node.", "Proofs"),
    "evidence": ("evidence", "evidence", "Statements that contradict each other.", "Proofs"),
    "version": ("other", "version", "Show the version.", "Other"),
    "completion": ("other", "completion", "Print a shell's completion script.", "Other"),
    "demo": ("other", "demo", "", ""),
}
PROGRAM = "chainnode"
STDOUT = 1
CLOSED = 141  # Exit.CLOSED, whose module is too heavy for --help


class Group(click.Group):
    """A group whose commands also take the global options, hidden in their help."""

    def add_command(self, cmd: click.Command, name: str | None = None) -> None:
        """Register a command and give it the global options."""
        with_globals(cmd)
        super().add_command(cmd, name)


class LazyRoot(click.Group):
    """The root: commands by name from COMMANDS, imported when they are called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names that are shown."""
        del ctx
        return [name for name, row in COMMANDS.items() if row[2]]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import and return a command; None where there is none of that name."""
        del ctx
        row = COMMANDS.get(cmd_name)
        if row is None:
            return None
        command = getattr(importlib.import_module(f"chainnode.cli.{row[0]}"), row[1])
        assert isinstance(command, click.Command)
        return with_globals(command)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command; an unknown name is told with its nearest neighbours."""
        if args and args[0] not in COMMANDS:
            import difflib

            near = difflib.get_close_matches(args[0], self.list_commands(ctx), n=3)
            hint = f"; did you mean {' or '.join(near)}?" if near else f"; `{PROGRAM} --help` lists the commands"
            raise click.UsageError(f"no such command: {args[0]}{hint}", ctx)
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the commands by section from the table, importing none."""
        del ctx
        sections: dict[str, list[tuple[str, str]]] = {}
        for name, (_, _, text, section) in COMMANDS.items():
            if text:
                sections.setdefault(section, []).append((name, text))
        for section, rows in sections.items():
            with formatter.section(section):
                formatter.write_dl(rows)


def with_globals(command: click.Command) -> click.Command:
    """Return the command, taking the global options too; doing it twice changes nothing."""
    taken = {name for parameter in command.params for name in parameter.opts}
    command.params += [option for option in global_options(hidden=True) if not taken & set(option.opts)]
    return command


def _version(context: click.Context, parameter: click.Parameter, value: bool) -> None:
    del parameter
    if value and not context.resilient_parsing:
        from chainnode.version import VERSION

        click.echo(f"{PROGRAM} {VERSION}")
        context.exit()


root = LazyRoot(
    name=PROGRAM,
    help="Banks, a certification body, laboratories and auditors keep one record that none of them can alter.",
    epilog="Start with `chainnode localnet up --detach`, or see `chainnode COMMAND --help`.",
    params=[
        *global_options(hidden=False),
        click.Option(
            ["--version"], is_flag=True, is_eager=True, expose_value=False, callback=_version, help="Version."
        ),
    ],
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
)


def run(arguments: Sequence[str]) -> int:
    """Run the command line and return its exit status; writes to stdout and stderr, never raises."""
    options = Settings(color=not os.environ.get("NO_COLOR"))
    try:
        return _run(arguments, options)
    except KeyboardInterrupt:  # also while an error was about to be told
        return _tell(options, "interrupted", "interrupted", 130)


def _run(arguments: Sequence[str], options: Settings) -> int:
    stdout = sys.stdout
    try:
        result = root.main(list(arguments), PROGRAM, standalone_mode=False, obj=options)
        if sys.stdout is not None:
            sys.stdout.flush()  # here, where a closed pipe is still ours to tell
    except click.exceptions.Exit as stop:
        return stop.exit_code
    except SystemExit as stop:
        # click's answer to a closed pipe is to wrap the streams and end with status 1.
        return _closed() if sys.stdout is not stdout else int(stop.code or 0)
    except click.UsageError as error:
        page = f" (see `{error.ctx.command_path} --help`)" if error.ctx is not None else ""
        return _tell(options, "usage", f"{error.format_message().rstrip('.')}{page}", 2)
    except click.ClickException as error:
        return _tell(options, "error", error.format_message(), 1)
    except click.Abort:
        return _tell(options, "interrupted", "interrupted", 130)
    except BrokenPipeError:
        return _closed()
    except Exception as error:  # noqa: BLE001  the process ends here: every error becomes one line and a status
        return _failed(options, error)
    return result if isinstance(result, int) and not isinstance(result, bool) else 0


def _closed() -> int:
    """Return the status for output that nobody reads any more (`| head`): the one of a process that SIGPIPE ends."""
    # Keeps the interpreter from complaining at its end of what it could not flush.
    os.dup2(os.open(os.devnull, os.O_WRONLY), STDOUT)
    return CLOSED


def _failed(options: Settings, error: Exception) -> int:
    from chainnode.cli.exits import exit_of
    from primitives.errors import ChainError

    if options.verbose >= 2:
        import traceback

        traceback.print_exception(error, file=sys.stderr)
    if isinstance(error, ChainError):
        return _tell(options, error.reason, str(error), int(exit_of(error)), error)
    if isinstance(error, OSError):
        place = f"{error.filename}: " if error.filename else ""
        return _tell(options, "os_error", f"{place}{error.strerror or error}", 1)
    what = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
    return _tell(options, "internal_error", f"a fault of this program: {what}; -v -v shows where", 1)


def _tell(options: Settings, reason: str, message: str, status: int, error: ChainError | None = None) -> int:
    """Write an error for a person or, with -o json, for a program; return the status."""
    if options.machine:
        import json

        row: dict[str, Any] = {"reason": reason, "message": message, "exit": status}
        if error is not None:
            details: dict[str, Any] = {
                name: getattr(error, name, None) for name in ("where", "expected", "got", "hint")
            }
            details |= {name: getattr(error, name, None) for name in ("code", "slug", "retryable", "trace_id")}
            row |= {name: value for name, value in details.items() if value not in (None, "")}
        click.echo(json.dumps({"error": row}, ensure_ascii=False), err=True)
    else:
        colour = options.color and sys.stderr.isatty()
        click.echo(f"{click.style('error:', fg='red', bold=True) if colour else 'error:'} {message}", err=True)
    return status


def main(runner: Callable[[Sequence[str]], int] = run) -> None:
    """Run the process's arguments and end the process."""
    sys.exit(runner(sys.argv[1:]))


if __name__ == "__main__":
    main()
