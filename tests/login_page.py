"""What a person has before a login and does on the emulator's page, without a browser."""

import re
from html import unescape
from urllib.error import HTTPError
from urllib.parse import urlencode, urljoin
from urllib.request import Request, urlopen

PAGE = "Please visit this page to authenticate: "


def config_of(endpoint, person):
    """Return the text of a configuration with a person's context, which is called lab; more contexts may follow."""
    return (
        f"context: lab\ncontexts:\n    lab:\n        url: {endpoint}\n        auth:\n            siderov1:\n"
        f"                identity: {person}\n"
    )


def fetch(url, fields=None, **headers):
    """Return status and text of a page."""
    data = None if fields is None else urlencode(fields).encode()
    try:
        with urlopen(Request(url, data, headers), timeout=10) as answer:
            return answer.status, answer.read().decode()
    except HTTPError as error:
        with error:
            return error.code, error.read().decode()


def form_of(url, text):
    """Return where a page's form goes, and what its button sends."""
    action = re.search(r'<form method="post" action="([^"]+)"', text)[1]
    fields = re.findall(r'<input type="hidden" name="([^"]+)" value="([^"]*)"', text)
    return urljoin(url, unescape(action)), [(name, unescape(value)) for name, value in fields]


def press(url):
    """Open the page of a login, and press its button."""
    status, text = fetch(url)
    assert status == 200, text
    status, text = fetch(*form_of(url, text))
    assert (status, "is logged in" in text) == (200, True), text


def log_in(process):
    """Read standard error to the page's address, confirm the key there; return exit code, output and all errors."""
    told = ""
    for line in process.stderr:
        told += line
        if line.startswith(PAGE):
            press(line.removeprefix(PAGE).strip())
            break
    out, err = process.communicate(timeout=60)
    return process.returncode, out, told + err
