"""What a person does on the emulator's login page, without a browser."""

import re
from html import unescape
from urllib.error import HTTPError
from urllib.parse import urlencode, urljoin
from urllib.request import Request, urlopen


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
