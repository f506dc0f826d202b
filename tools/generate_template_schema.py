"""Write docs/template.schema.json, the schema of cluster templates, or with --check compare it."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from omniherd.template.schema import json_schema

TARGET = Path(__file__).resolve().parent.parent / "docs" / "template.schema.json"


def render() -> str:
    """Return the schema's text."""
    return json.dumps(json_schema(), indent=2, ensure_ascii=False) + "\n"


def main() -> int:
    """Write the file, or with --check compare it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 when the file would change")
    text = render()
    if not parser.parse_args().check:
        TARGET.write_text(text, encoding="utf-8")
        return 0
    if TARGET.exists() and TARGET.read_text(encoding="utf-8") == text:
        return 0
    print("docs/template.schema.json is not as generated: run tools/generate_template_schema.py")
    return 1


if __name__ == "__main__":
    raise SystemExit(main())
