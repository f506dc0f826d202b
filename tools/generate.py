"""Make what is generated from proto/, tools/data/api.json, _async/ and the command line's table.

Run as `make generate`; CI runs it with `--check`, which writes nothing and fails when a file would change.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

import generate_parity
import generate_resources
import generate_sync
import generate_wire

ROOT = Path(__file__).resolve().parent.parent


def compile_protos() -> bytes:
    """Compile every file below proto/ and return the descriptor set, comments included."""
    sources = sorted(str(path.relative_to(ROOT / "proto")) for path in (ROOT / "proto").rglob("*.proto"))
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder) / "all.binpb"
        command = [sys.executable, "-m", "grpc_tools.protoc", f"-I{ROOT / 'proto'}", "--include_imports"]
        command += ["--include_source_info", f"--descriptor_set_out={target}", *sources]
        subprocess.run(command, check=True)
        return target.read_bytes()


def main() -> int:
    """Write the generated files, or with --check compare them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 when a file would change")
    check = parser.parse_args().check
    outputs: dict[Path, bytes] = {}
    package = ROOT / "src" / "omniherd"
    outputs |= {package / "wire" / name: data for name, data in generate_wire.render(compile_protos()).items()}
    outputs |= {package / name: data for name, data in generate_resources.render(ROOT).items()}
    outputs |= {ROOT / name: data for name, data in generate_sync.render(ROOT).items()}
    outputs |= {ROOT / name: data for name, data in generate_parity.render().items()}

    generated_folders = [package / "wire", package / "_sync"]
    stale = [
        path
        for folder in generated_folders
        for path in folder.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts and path not in outputs
    ]
    changed = [path for path, data in outputs.items() if not path.exists() or path.read_bytes() != data]
    if check:
        for path in [*changed, *stale]:
            print(f"not as generated: {path.relative_to(ROOT)}")
        if changed or stale:
            print("run `make generate` and commit the result")
            return 1
        print(f"{len(outputs)} generated files are up to date")
        return 0
    for path in stale:
        path.unlink()
    for path in changed:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(outputs[path])
    print(f"{len(changed)} of {len(outputs)} generated files changed, {len(stale)} removed")
    return 0


if __name__ == "__main__":
    sys.exit(main())
