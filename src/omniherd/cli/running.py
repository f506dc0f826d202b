"""Run one command: load its module, parse its words, and say in one line what went wrong."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from omniherd.cli.table import Entry

__all__ = ["run_command", "say"]


def run_command(found: Entry, path: str, words: list[str]) -> int:
    """Run a command.

    Args:
        found: Its row in the table.
        path: Its name with those of its groups.
        words: What stands behind it, flags and words.

    Returns:
        The exit code.
    """
    from omniherd.errors import OmniError

    # Python turns SIGINT into KeyboardInterrupt; SIGTERM ends a command the same way, so that streams are closed.
    signal.signal(signal.SIGTERM, _terminate)
    try:
        command: click.Command = found.load()
        with command.make_context(path, words) as context:
            command.invoke(context)
            sys.stdout.flush()
    except click.exceptions.Exit as done:
        return done.exit_code
    except click.UsageError as error:
        return say(
            f"{error.format_message()} (see '{path} --help')" if _needs_pointer(error) else error.format_message()
        )
    except click.ClickException as error:
        return say(error.format_message())
    except OmniError as error:
        from omniherd.cli.failures import describe

        return say(describe(error))
    except (KeyboardInterrupt, click.Abort):
        return 130
    except BrokenPipeError:
        # The reader has seen enough (`| head`); whatever else would be written goes nowhere.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as error:
        from omniherd.cli.failures import os_text

        return say(os_text(error))
    except RecursionError:
        return say("the input is nested too deeply")
    return 0


def _terminate(_number: int, _frame: object) -> None:
    raise KeyboardInterrupt


def _needs_pointer(error: click.UsageError) -> bool:
    return error.message.startswith(("unknown command", "unknown flag", "unknown shorthand"))


def say(text: str) -> int:
    """Say what went wrong, as far as there is somebody to hear it.

    Args:
        text: What went wrong.

    Returns:
        The exit code.
    """
    from omniherd.cli.output.terminal import harmless

    # A stream that takes nothing any more (a full disk, a closed one) must not hide the reason.
    with contextlib.suppress(OSError):
        sys.stdout.flush()
    with contextlib.suppress(OSError):
        # Errors repeat what servers and files say.
        sys.stderr.write(f"Error: {harmless(text)}\n")
    return 1
