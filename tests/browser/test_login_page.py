"""People's logins in a real browser, on the emulator's pages."""

from __future__ import annotations

import http.server
import threading
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import parse_qs, urlencode, urlsplit

import chromium
import pytest

from login_page import PAGE, config_of
from omniherd import Login, Omni
from omniherd.credentials import resolve
from omniherd.emulator import Emulator
from unit.command_shell import Shell

ME = "browser@example.com"


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    path = chromium.program()
    if path is None:
        pytest.skip("Chromium is not on this machine")
    opened = chromium.Chromium(path, tmp_path_factory.mktemp("browser"))
    yield opened
    opened.close()


@pytest.fixture(autouse=True)
def content(browser):
    """No page may break its own rules, ask for what is not there, or log an error."""
    browser.troubles.clear()
    browser.call("Emulation.setScriptExecutionDisabled", value=False)
    yield
    # Browsers look for an icon in their own time, which may be after the end of its server.
    assert [text for text in browser.troubles if not text.endswith("/favicon.ico")] == []


@pytest.fixture(scope="module", params=[False, True], ids=["own port", "one port"])
def emulator(request):
    with Emulator(single_port=request.param) as running, running.connect() as omni:
        omni.management.create_user(ME, "Reader")
        yield running


@pytest.fixture
def context(emulator, tmp_path):
    config = tmp_path / "config"
    config.write_text(config_of(emulator.endpoint, ME))
    return {"omniconfig": config, "keys_dir": tmp_path / "keys", "environ": {"HOME": str(tmp_path)}}


def heading(browser):
    return [node["name"] for node in browser.tree() if node["role"] == "heading"]


@pytest.mark.parametrize("scripts", [True, False], ids=["with scripts", "without scripts"])
def test_a_person_confirms_a_key(browser, context, scripts):
    with Login(resolve(**context)) as login, ThreadPoolExecutor(1) as pool:
        url = login.start()
        waiting = pool.submit(login.wait, 30)
        browser.call("Emulation.setScriptExecutionDisabled", value=not scripts)
        browser.go(url)
        assert heading(browser) == ["Confirm your key"]
        assert ME in browser.text()
        assert login.key.fingerprint in browser.text()
        assert not waiting.done()
        browser.click("Confirm")
        assert heading(browser) == ["Key confirmed"]
        assert f"{ME} is logged in" in browser.text()
        ready = waiting.result(timeout=60)
    with Omni.connect(connection=ready) as omni:
        assert omni.get("currentusers", "current").spec.identity == ME


def test_the_keyboard_is_enough(browser, context):
    with Login(resolve(**context)) as login:
        browser.go(login.start())
        browser.press("Tab", "Enter")
        assert login.wait(60).signer is not None


def test_what_assistive_programs_find(browser, context):
    with Login(resolve(**context)) as login:
        browser.go(login.start())
        tree = browser.tree()
        roles = [node["role"] for node in tree]
        assert tree[0] == {"role": "RootWebArea", "name": "Confirm your key", "id": tree[0]["id"]}
        assert {"main", "heading", "status", "button"} <= set(roles)
        assert [node["name"] for node in tree if node["role"] == "button"] == ["Confirm"]


def test_a_command_waits_for_the_browser(browser, emulator, context, tmp_path):
    shell = Shell(tmp_path, {"OMNICONFIG": "config", "SIDEROV1_KEYS_DIR": str(tmp_path / "keys"), "BROWSER": "echo"})
    process = shell.start("get", "currentuser", "-o", "jsonpath={.spec.identity}")
    assert process.stderr.readline().startswith("Could not authenticate: open ")
    browser.go(process.stderr.readline().removeprefix(PAGE).strip())
    browser.click("Confirm")
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out) == (0, f"{ME}\n")
    assert f"is now registered for user {ME}" in err


def test_a_kubernetes_client_gets_its_code(browser, emulator):
    """The page may lead on to a client on this machine, though it may load nothing from there."""
    codes = []

    class Client(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            codes.append(parse_qs(urlsplit(self.path).query))
            self.send_response(200)
            self.send_header("Content-Type", "text/html")
            self.end_headers()
            self.wfile.write(b"<title>back</title>")

        def log_message(self, *_):
            pass

    with http.server.HTTPServer(("127.0.0.1", 0), Client) as client:
        thread = threading.Thread(target=client.serve_forever, args=(0.05,))
        thread.start()
        asked = {
            "client_id": "native",
            "response_type": "code",
            "scope": "openid cluster:prod",
            "redirect_uri": f"http://localhost:{client.server_port}",
            "state": "mine",
        }
        browser.go(f"{emulator.web_endpoint}/oidc/authorize?{urlencode(asked)}")
        assert heading(browser) == ["Log in to Kubernetes"]
        browser.choose(ME)
        browser.click("Log in")
        client.shutdown()
        thread.join()
    assert codes[0]["state"] == ["mine"]
    assert codes[0]["code"]
