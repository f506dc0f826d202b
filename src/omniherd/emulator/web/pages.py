"""The emulator's pages: plain HTML that works without scripts."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

from omniherd.emulator.web.http import Answer

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

__all__ = ["STYLE", "page"]

STYLE = """\
:root { color-scheme: light dark; }
body { font: 1.1rem/1.5 system-ui, sans-serif; margin: 0; }
main { max-width: 40rem; margin: 10vh auto; padding: 0 1rem; }
dt { font-weight: 600; }
dd { margin: 0 0 0.75rem; overflow-wrap: anywhere; }
button { font: inherit; padding: 0.5rem 1.25rem; }
"""

_HEADERS = {
    "Content-Type": "text/html; charset=utf-8",
    # A form may lead on to the program that waits for a login on this machine.
    "Content-Security-Policy": "default-src 'none'; style-src 'self'; base-uri 'none'; frame-ancestors 'none'; "
    "form-action 'self' http://localhost:* http://127.0.0.1:*",
    "X-Content-Type-Options": "nosniff",
    # With none at all browsers would not say where a form comes from, and forms from elsewhere are refused.
    "Referrer-Policy": "same-origin",
    "Cache-Control": "no-store",
}


def page(
    title: str,
    text: str,
    *,
    facts: Mapping[str, str] | None = None,
    form: tuple[str, Mapping[str, str], str] | None = None,
    choice: tuple[str, str, Iterable[str]] | None = None,
    inputs: Mapping[str, str] | None = None,
    status: int = 200,
) -> Answer:
    """Return a page.

    Args:
        title: Its heading.
        text: A paragraph below.
        facts: What is listed below, by name.
        form: Where a button sends what is given, and what stands on the button.
        choice: A field of the form: its name, its label, and what can be chosen.
        inputs: Fields of the form to type into: their labels, by name.
        status: The HTTP status.
    """
    parts = [f"<h1>{escape(title)}</h1>", f'<p role="status">{escape(text)}</p>']
    if facts:
        listed = "".join(f"<dt>{escape(name)}</dt><dd>{escape(value)}</dd>" for name, value in facts.items())
        parts.append(f"<dl>{listed}</dl>")
    if form is not None:
        action, hidden, button = form
        fields = "".join(
            f'<input type="hidden" name="{escape(name)}" value="{escape(value)}">' for name, value in hidden.items()
        )
        if choice is not None:
            name, label, options = choice
            listed = "".join(f"<option>{escape(option)}</option>" for option in options)
            fields += _labelled(name, label, f'<select id="{name}" name="{name}">{listed}</select>')
        for name, label in (inputs or {}).items():
            fields += _labelled(name, label, f'<input id="{name}" name="{name}" autocomplete="{name}" required>')
        parts.append(
            f'<form method="post" action="{escape(action)}">{fields}'
            f'<button type="submit" id="confirm">{escape(button)}</button></form>'
        )
    text = (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f'<title>{escape(title)}</title><link rel="stylesheet" href="/style.css"></head>'
        f"<body><main>{''.join(parts)}</main></body></html>\n"
    )
    return Answer(status, _HEADERS, text.encode(), packs=True)


def _labelled(name: str, label: str, field: str) -> str:
    return f'<p><label for="{name}">{escape(label)}</label> {field}</p>'
