#!/usr/bin/env python3
"""The parts of a release that are made without a compiler. .ci/release calls these:

    release.py zip BINARY ZIP [NAME]            a zip file, for Lambda unless it has another name, whose bytes depend on the binary alone
    release.py check BINARY ARCHITECTURE PATH...    whether Lambda can run it, and whether it names none of these paths
    release.py check-static BINARY ARCHITECTURE PATH...    whether any Linux can run it, and whether it names none of these paths
    release.py sbom FILE                        what the functions and the command are made of, as CycloneDX 1.5
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

# The functions, and the operator's command.
PROGRAMS = ("instance-state", "lifecycle", "reconcile", "elb-registrar")

# The processors by Lambda's names: Rust's target, and the machine in an ELF file's head.
ARCHITECTURES = {"x86_64": ("x86_64-unknown-linux-gnu", 62), "arm64": ("aarch64-unknown-linux-gnu", 183)}

# Amazon Linux 2023 has glibc 2.34, and so has Lambda's provided.al2023. (https://docs.aws.amazon.com/linux/al2023/ug/core-glibc.html)
GLIBC_MAX = 34

# The oldest date that a zip file can have.
DATE = (1980, 1, 1, 0, 0, 0)


def make_zip(binary, target, name="bootstrap"):
    """Writes a zip file with one file, which Lambda calls `bootstrap`. Dates, owners and the order of files are fixed; the compression is that of this Python's zlib."""
    entry = zipfile.ZipInfo(name, DATE)
    entry.create_system = 3
    entry.external_attr = (0o100755) << 16
    entry.compress_type = zipfile.ZIP_DEFLATED
    with zipfile.ZipFile(target, "w") as file:
        file.writestr(entry, pathlib.Path(binary).read_bytes(), compresslevel=9)


def faults_of(binary, architecture, paths, is_static=False):
    """What is wrong with a binary."""
    data = pathlib.Path(binary).read_bytes()
    if data[:4] != b"\x7fELF":
        yield "is no ELF file"
        return
    machine = int.from_bytes(data[18:20], "little")
    if machine != ARCHITECTURES[architecture][1]:
        yield f"is for machine {machine} of the ELF specification, which is not {architecture}"
    if is_static and (interpreter := interpreter_of(data)):
        yield f"is not static, and asks for {interpreter}"
    needs = max((int(minor) for minor in re.findall(rb"GLIBC_2\.(\d+)", data)), default=0)
    if needs > GLIBC_MAX:
        yield f"needs glibc 2.{needs}, and Lambda has 2.{GLIBC_MAX}"
    for path in paths:
        if len(path) > 1 and path.encode() in data:
            yield f"names a path of the machine that built it: {path}"


def interpreter_of(data):
    """The dynamic linker that an ELF file of 64 bits asks for (PT_INTERP, 3, in its program headers), or None."""
    offset, size, count = (int.from_bytes(data[at : at + length], "little") for at, length in ((32, 8), (54, 2), (56, 2)))
    for at in range(offset, offset + size * count, size or 1):
        if int.from_bytes(data[at : at + 4], "little") == 3:
            begin, length = (int.from_bytes(data[at + field : at + field + 8], "little") for field in (8, 32))
            return data[begin : begin + length].rstrip(b"\0").decode(errors="replace")
    return None


def tree():
    """The crates that are linked into the functions and the command: for each its package id, its licence, its source and what it needs."""
    packages = [argument for name in PROGRAMS for argument in ("--package", name)]
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
    """The parts of the functions and the command, as a CycloneDX document (https://cyclonedx.org/docs/1.5/json/)."""
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
    dependencies.append({"ref": own, "dependsOn": sorted(reference((name, version)) for name in PROGRAMS)})
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
        interpreter = b"/lib64/ld-linux-x86-64.so.2\0"
        table = (3).to_bytes(4, "little") + bytes(4) + (120).to_bytes(8, "little") + bytes(16) + len(interpreter).to_bytes(8, "little") + bytes(16)
        dynamic = head + bytes(12) + (64).to_bytes(8, "little") + bytes(14) + (56).to_bytes(2, "little") + (1).to_bytes(2, "little") + bytes(6)
        for name, content, wrong in [("a static one", dynamic + bytes(56), 0), ("a dynamic one", dynamic + table + interpreter, 1)]:
            binary.write_bytes(content)
            found = list(faults_of(binary, "x86_64", [], is_static=True))
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
        case ["zip", binary, target, *name]:
            make_zip(binary, target, *name)
        case ["check" | "check-static" as kind, binary, architecture, *paths]:
            if found := list(faults_of(binary, architecture, paths, kind == "check-static")):
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
