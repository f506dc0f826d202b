"""The synchronous client follows from the asynchronous one."""

from __future__ import annotations

import inspect
import sys
from pathlib import Path

import pytest

from omniherd import AsyncOmni, AsyncWatch, Omni, Watch

ROOT = Path(__file__).parent.parent.parent
sys.path.insert(0, str(ROOT / "tools"))

import generate_sync  # noqa: E402


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("async def f(x):\n    return await g(x)\n", "def f(x):\n    return g(x)\n"),
        ("async with a as b:\n    async for c in b: pass\n", "with a as b:\n    for c in b: pass\n"),
        ("x = [y async for y in z]\n", "x = [y for y in z]\n"),
        ("def f() -> Awaitable[list[int]]: ...\n", "def f() -> list[int]: ...\n"),
        ("x: Callable[[], Awaitable[T]] | Awaitable[U]\n", "x: Callable[[], T] | U\n"),
        ("class AsyncThing(AsyncOther): ...\n", "class Thing(Other): ...\n"),
        ("raise StopAsyncIteration\n", "raise StopIteration\n"),
        ("def __aenter__(self): ...\n", "def __enter__(self): ...\n"),
        ("from omniherd._async.x import y\n", "from omniherd._sync.x import y\n"),
        ("from omniherd._backend import aio as backend\n", "from omniherd._backend import sync as backend\n"),
        ('"""Call `await omni.get(x)`."""\n', '"""Call `omni.get(x)`."""\n'),
        ("# AsyncOmni, async with care\nx = 1  # kept\n", "# Omni, with care\nx = 1  # kept\n"),
        ("awaited = asynchronous = 1\n", "awaited = asynchronous = 1\n"),
    ],
)
def test_rewriting(text, expected):
    assert generate_sync.rewrite(text) == expected


def test_the_committed_files_are_what_the_generator_makes():
    made = generate_sync.render(ROOT)
    present = {str(path.relative_to(ROOT)) for path in (ROOT / "src" / "omniherd" / "_sync").glob("*.py")}
    assert present == set(made)
    for name, data in made.items():
        assert (ROOT / name).read_bytes() == data, f"{name}: run `make generate`"


@pytest.mark.parametrize(("theirs", "ours"), [(AsyncOmni, Omni), (AsyncWatch, Watch)])
def test_both_sides_have_the_same_verbs_with_the_same_arguments(theirs, ours):
    def verbs(cls):
        return {name: member for name, member in vars(cls).items() if not name.startswith("_") and callable(member)}

    assert verbs(theirs).keys() == verbs(ours).keys()
    for name, verb in verbs(theirs).items():
        assert list(inspect.signature(verb).parameters) == list(inspect.signature(verbs(ours)[name]).parameters)
        assert not inspect.iscoroutinefunction(verbs(ours)[name])
