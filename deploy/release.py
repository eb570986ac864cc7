#!/usr/bin/env python3
"""The parts of a release that are made without a compiler. .ci/release calls these:

    release.py zip BINARY ZIP                   a zip file for Lambda, whose bytes depend on the binary alone
    release.py check BINARY ARCHITECTURE PATH...    whether Lambda can run it, and whether it names none of these paths
    release.py sbom FILE                        what the functions are made of, as CycloneDX 1.5
    release.py notes VERSION                    the part of CHANGELOG.md about a version
    release.py --self-test                      that the checks find what is wrong

cargo-cyclonedx is not used: it would be compiled for each release, writes one file for each package of the workspace, and lists what tests need, too.
All that it would read is in `cargo tree` and in Cargo.lock.
"""

import json
import os
import pathlib
import re
import subprocess
import sys
import tempfile
import tomllib
import uuid
import zipfile

ROOT = pathlib.Path(__file__).resolve().parents[1]

FUNCTIONS = ("instance-state", "lifecycle", "reconcile")

# The processors by Lambda's names: Rust's target, and the machine in an ELF file's head.
ARCHITECTURES = {"x86_64": ("x86_64-unknown-linux-gnu", 62), "arm64": ("aarch64-unknown-linux-gnu", 183)}

# Amazon Linux 2023 has glibc 2.34, and so has Lambda's provided.al2023. (https://docs.aws.amazon.com/linux/al2023/ug/core-glibc.html)
GLIBC_MAX = 34

# The oldest date that a zip file can have.
DATE = (1980, 1, 1, 0, 0, 0)


def make_zip(binary, target):
    """Writes a zip file with one file, `bootstrap`. Dates, owners and the order of files are fixed; the compression is that of this Python's zlib."""
    entry = zipfile.ZipInfo("bootstrap", DATE)
    entry.create_system = 3
    entry.external_attr = (0o100755) << 16
    entry.compress_type = zipfile.ZIP_DEFLATED
    with zipfile.ZipFile(target, "w") as file:
        file.writestr(entry, pathlib.Path(binary).read_bytes(), compresslevel=9)


def faults_of(binary, architecture, paths):
    """What is wrong with a binary."""
    data = pathlib.Path(binary).read_bytes()
    if data[:4] != b"\x7fELF":
        yield "is no ELF file"
        return
    machine = int.from_bytes(data[18:20], "little")
    if machine != ARCHITECTURES[architecture][1]:
        yield f"is for machine {machine} of the ELF specification, which is not {architecture}"
    needs = max((int(minor) for minor in re.findall(rb"GLIBC_2\.(\d+)", data)), default=0)
    if needs > GLIBC_MAX:
        yield f"needs glibc 2.{needs}, and Lambda has 2.{GLIBC_MAX}"
    for path in paths:
        if len(path) > 1 and path.encode() in data:
            yield f"names a path of the machine that built it: {path}"


def tree():
    """The crates that are linked into the functions: for each its package id, its licence, its source and what it needs."""
    packages = [argument for name in FUNCTIONS for argument in ("--package", name)]
    targets = [argument for target, _ in ARCHITECTURES.values() for argument in ("--target", target)]
    command = ["cargo", "tree", "--locked", "--edges", "normal", "--prefix", "depth", "--format", " {p}|{l}|{r}", *packages, *targets]
    lines = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout.splitlines()
    crates, above = {}, []
    for line in filter(None, lines):
        depth, rest = line.split(" ", 1)
        package, licence, repository = rest.removesuffix(" (*)").split("|")
        name, version = re.match(r"(\S+) v(\S+)", package).groups()
        crate = crates.setdefault((name, version), {"licence": licence, "repository": repository, "needs": set()})
        above = above[: int(depth)]
        if above:
            crates[above[-1]]["needs"].add((name, version))
        above.append((name, version))
        assert crate is crates[above[-1]]
    return crates


def reference(crate):
    return "pkg:cargo/{}@{}".format(*crate)


def sbom():
    """The parts of the functions, as a CycloneDX document (https://cyclonedx.org/docs/1.5/json/)."""
    version = tomllib.loads((ROOT / "Cargo.toml").read_text())["workspace"]["package"]["version"]
    locked = {(it["name"], it["version"]): it.get("checksum") for it in tomllib.loads((ROOT / "Cargo.lock").read_text())["package"]}
    crates = tree()
    components, dependencies = [], []
    for crate, it in sorted(crates.items()):
        component = {"type": "library", "bom-ref": reference(crate), "name": crate[0], "version": crate[1], "scope": "required", "purl": reference(crate)}
        if it["licence"]:
            # The older spelling of two licences of which either may be chosen.
            component["licenses"] = [{"expression": it["licence"].replace("/", " OR ")}]
        if locked[crate]:
            component["hashes"] = [{"alg": "SHA-256", "content": locked[crate]}]
        if it["repository"]:
            component["externalReferences"] = [{"type": "vcs", "url": it["repository"]}]
        components.append(component)
        dependencies.append({"ref": reference(crate), "dependsOn": sorted(map(reference, it["needs"]))})
    compiler = re.search(r"release: (\S+)", subprocess.run(["rustc", "-vV"], check=True, capture_output=True, text=True).stdout)[1]
    own = f"pkg:generic/elb-registrar@{version}"
    dependencies.append({"ref": own, "dependsOn": sorted(reference((name, version)) for name in FUNCTIONS)})
    document = {
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "version": 1,
        "metadata": {
            "component": {"type": "application", "bom-ref": own, "name": "elb-registrar", "version": version, "purl": own},
            "properties": [{"name": "rustc", "value": compiler}],
        },
        "components": components,
        "dependencies": dependencies,
    }
    # The same parts give the same number, so that two builds have one document.
    number = uuid.uuid5(uuid.NAMESPACE_URL, json.dumps(document, sort_keys=True))
    return {"$schema": "http://cyclonedx.org/schema/bom-1.5.schema.json", "serialNumber": f"urn:uuid:{number}"} | document


def notes(version):
    """The section of the changelog about a version, without its heading."""
    text = (ROOT / "CHANGELOG.md").read_text()
    found = re.search(rf"^## \[?{re.escape(version)}\]? - \d{{4}}-\d\d-\d\d\n(.*?)(?=^## |^\[[^\]]+\]: |\Z)", text, re.M | re.S)
    if not found or not found[1].strip():
        sys.exit(f"CHANGELOG.md says nothing of {version}, under a heading such as `## [{version}] - 2026-12-31`")
    return found[1].strip()


def self_test():
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder)
        head = b"\x7fELF" + bytes(14) + (62).to_bytes(2, "little")
        binary = path / "binary"
        for name, content, wrong in [
            ("a good one", head + b"GLIBC_2.34\0", 0),
            ("a text", b"#!/bin/sh\n", 1),
            ("one for another processor", head[:18] + (183).to_bytes(2, "little"), 1),
            ("one for a newer system", head + b"GLIBC_2.34\0GLIBC_2.38\0", 1),
            ("one with a path", head + b"/home/me/work/src/lib.rs", 1),
        ]:
            binary.write_bytes(content)
            found = list(faults_of(binary, "x86_64", ["/home/me"]))
            if len(found) != wrong:
                sys.exit(f"the check finds {found} in {name}")
        made = []
        for number, date in enumerate((0, 1_700_000_000)):
            os.utime(binary, (date, date))
            binary.chmod(0o600 if number else 0o755)
            make_zip(binary, path / f"{number}.zip")
            made.append((path / f"{number}.zip").read_bytes())
        if made[0] != made[1]:
            sys.exit("two zip files of one binary differ")
        with zipfile.ZipFile(path / "0.zip") as file:
            (entry,) = file.infolist()
            if entry.filename != "bootstrap" or entry.external_attr >> 16 != 0o100755:
                sys.exit("Lambda could not run what is in the zip file")
    print("release: the checks find each fault, and two zip files of one binary are the same")


def main(arguments):
    match arguments:
        case ["zip", binary, target]:
            make_zip(binary, target)
        case ["check", binary, architecture, *paths]:
            if found := list(faults_of(binary, architecture, paths)):
                sys.exit("\n".join(f"{binary} {fault}" for fault in found))
        case ["sbom", target]:
            pathlib.Path(target).write_text(json.dumps(sbom(), indent=1) + "\n")
        case ["notes", version]:
            print(notes(version))
        case ["--self-test"]:
            self_test()
        case _:
            sys.exit(__doc__)


if __name__ == "__main__":
    main(sys.argv[1:])
