"""Bring GraphiQL's files into schema/static/graphiql, exactly as npm published them.

The manifest there says everything: `packages` pins each package by npm's integrity hash, `files` says which file of
which package is shipped under which name. Each tarball is checked against its pin before anything is read from it, so
a second run changes nothing. To move to other versions, edit the manifest, put null where a pin is not known yet, run
this, and review the difference. Needs npm and a package registry; nothing else in runatlas does.

Packages without a file here are those that GraphiQL's bundle is made of. They are pinned for their licence texts.
"""  # noqa: INP001  a script, not a module

import hashlib
import json
import re
import shutil
import subprocess
import sys
import tarfile
from base64 import b64encode
from collections.abc import Iterator, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

STATIC = Path(__file__).resolve().parent.parent / "schema" / "static" / "graphiql"
MANIFEST = STATIC / "manifest.json"
LICENSES = STATIC / "LICENSES.txt"
LICENSE_FILE = re.compile(r"package/(licen[cs]e|copying|notice)[^/]*", re.IGNORECASE)
RULE = "=" * 80


def main() -> None:
    """Fetch, verify, and write the files, the licence texts and the manifest."""
    manifest = json.loads(MANIFEST.read_text())
    with TemporaryDirectory() as folder:
        tarballs = fetched(list(manifest["packages"]), Path(folder))
        for package, pin in manifest["packages"].items():
            manifest["packages"][package] = verified(package, tarballs[package], pin)
        for name, shipped in manifest["files"].items():
            content = member(tarballs[shipped["package"]], f"package/{shipped['path']}")
            (STATIC / name).write_bytes(content)
            shipped["bytes"] = len(content)
            shipped["sha256"] = hashlib.sha256(content).hexdigest()
        LICENSES.write_text(licenses(tarballs))
    MANIFEST.write_text(json.dumps(manifest, indent=2) + "\n")
    print(f"{len(manifest['files'])} files of {len(manifest['packages'])} packages, verified: {STATIC}")  # noqa: T201  its answer


def fetched(packages: list[str], folder: Path) -> dict[str, Path]:
    """Return the tarball of each ``name@version``, downloaded by npm into the folder."""
    npm = shutil.which("npm")
    if npm is None:
        sys.exit("make graphiql needs npm, which comes with Node.js")
    command = [npm, "pack", "--json", "--ignore-scripts", "--pack-destination", str(folder), *packages]
    answer = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)  # noqa: S603  pinned names
    packed = answer if isinstance(answer, list) else list(answer.values())
    return {f"{one['name']}@{one['version']}": folder / Path(one["filename"]).name for one in packed}


def verified(package: str, tarball: Path, pin: str | None) -> str:
    """Return the tarball's integrity hash, having compared it with the pin if there is one."""
    integrity = "sha512-" + b64encode(hashlib.sha512(tarball.read_bytes()).digest()).decode()
    if pin is not None and pin != integrity:
        sys.exit(f"{package} is not the package that was pinned: {pin} was expected, {integrity} came")
    return integrity


def member(tarball: Path, path: str) -> bytes:
    """Return one file of the tarball, read in memory: nothing is unpacked."""
    with tarfile.open(tarball) as archive:
        reader = archive.extractfile(path)
        if reader is None:
            sys.exit(f"{tarball.name} has no file {path}")
        return reader.read()


def licenses(tarballs: Mapping[str, Path]) -> str:
    """Return every licence text once, under the packages that carry it."""
    carriers: dict[str, list[str]] = {}
    for package, tarball in sorted(tarballs.items()):
        for text in texts(tarball):
            carriers.setdefault(text, []).append(package)
    parts = ["The files of this folder that manifest.json lists, and what they are made of.\n"]
    parts += ["\n".join([RULE, *packages, RULE, "", text, ""]) for text, packages in carriers.items()]
    return "\n".join(parts)


def texts(tarball: Path) -> Iterator[str]:
    """Yield the package's licence texts, or what it declares where it was published without one."""
    with tarfile.open(tarball) as archive:
        paths = sorted(path for path in archive.getnames() if LICENSE_FILE.fullmatch(path))
    for path in paths:
        yield "\n".join(line.rstrip() for line in member(tarball, path).decode().splitlines()).strip()
    if not paths:
        declared: dict[str, Any] = json.loads(member(tarball, "package/package.json"))
        yield f"Licence: {declared['license']} (declared in its package.json; published without the text)"


if __name__ == "__main__":
    main()
