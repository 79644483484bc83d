"""Packages from an archive that the test makes, by this machine's apt."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest
from debian_support import Deb, DebianArchive
from needs_support import needs

from dcss.config.sources import DebianSource
from dcss.errors import ImageError
from dcss.image.build import plan_image
from dcss.image.sources.debian.apt_sources import AptFiles, sources_text
from dcss.image.sources.debian.packages import fetch_packages

pytestmark = needs("apt-get")


@pytest.fixture
def archive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> DebianArchive:
    made = DebianArchive(tmp_path, monkeypatch)
    made.publish(
        Deb("bash", {"/bin/bash": b"bash"}, "libtinfo6", fields={"Pre-Depends": "libc6 | other", "Recommends": "doc"}),
        Deb("libc6", {"/lib/libc.so.6": b"libc"}),
        Deb("libtinfo6", {"/lib/libtinfo.so.6": b"tinfo"}, "libc6"),
        Deb("doc", {"/usr/share/doc": b"doc"}),
    )
    return made


def _names(source: DebianSource) -> list[str]:
    return [path.name.partition("_")[0] for path in fetch_packages(source).files]


def test_what_packages_depend_on_is_added_and_what_they_recommend_is_not(archive: DebianArchive) -> None:
    assert _names(DebianSource(("bash",), "stable")) == ["bash", "libc6", "libtinfo6"]
    assert _names(DebianSource(("bash=1.0-1", "doc"), "stable")) == ["bash", "doc", "libc6", "libtinfo6"]


def test_the_same_packages_make_the_same_image(archive: DebianArchive, tmp_path: Path) -> None:
    images = []
    for number in range(2):
        shutil.rmtree(tmp_path / "cache/dcss", ignore_errors=True)
        with open(tmp_path / f"{number}.img", "w+b") as file:
            plan_image(DebianSource(("bash",), "stable")).write(file.fileno())
        images.append((tmp_path / f"{number}.img").read_bytes())
    assert images[0] == images[1]
    assert b"tinfo" in images[0]


def test_another_architecture_has_packages_of_its_own(archive: DebianArchive) -> None:
    archive.publish(Deb("hello", {"/bin/hello": b"h"}, arch="amd64"), arch="amd64")
    assert _names(DebianSource(("hello",), "stable", "amd64")) == ["hello"]


def test_a_mirror_that_is_given_is_used_in_place_of_the_machines_sources(archive: DebianArchive) -> None:
    archive.source("")
    with pytest.raises(ImageError, match=r"found no source for stable in .*sources.list .*give mirror:"):
        fetch_packages(DebianSource(("bash",), "stable"))
    with pytest.raises(ImageError, match="not signed"):
        fetch_packages(DebianSource(("bash",), "stable", mirror=f"file:{archive.root}"))


def test_an_archive_without_a_signature_is_refused(archive: DebianArchive) -> None:
    archive.source("arch=s390x")
    with pytest.raises(ImageError, match=r"packages of stable for s390x: apt-get says: .*not signed"):
        fetch_packages(DebianSource(("bash",), "stable"))


@needs("gpg")
def test_a_signature_is_checked_by_the_keyring_given(archive: DebianArchive, tmp_path: Path) -> None:
    archive.source("arch=s390x")
    keys: dict[str, Path] = {}
    for name in ("right", "wrong"):
        home = tmp_path / name
        home.mkdir(mode=0o700)
        gpg = ["gpg", "--homedir", str(home), "--batch", "--passphrase", "", "--quiet"]
        subprocess.run([*gpg, "--quick-gen-key", f"{name}@test", "ed25519", "sign", "never"], check=True)
        keys[name] = tmp_path / f"{name}.gpg"
        subprocess.run([*gpg, "--output", str(keys[name]), "--export"], check=True)
        if name == "right":
            release = archive.root / "dists/stable/Release"
            subprocess.run(
                [*gpg, "--output", str(release.with_name("InRelease")), "--clearsign", str(release)], check=True
            )
        subprocess.run(["gpgconf", "--homedir", str(home), "--kill", "all"], check=False)
    assert _names(DebianSource(("libc6",), "stable", keyring=keys["right"])) == ["libc6"]
    with pytest.raises(ImageError, match=r"apt-get says: .*(NO_PUBKEY|not signed|verif)"):
        fetch_packages(DebianSource(("libc6",), "stable", keyring=keys["wrong"]))


def test_what_the_archive_does_not_have_is_named(archive: DebianArchive) -> None:
    with pytest.raises(ImageError, match=r"Unable to locate package nosuch \(is it in stable, and for s390x\?\)"):
        fetch_packages(DebianSource(("nosuch",), "stable"))
    archive.publish(Deb("broken", {}, "missing"))
    shutil.rmtree(archive.home / "cache/dcss")
    with pytest.raises(ImageError, match=r"broken : Depends: missing"):
        fetch_packages(DebianSource(("broken",), "stable"))


def test_a_package_with_another_content_than_listed_is_refused(archive: DebianArchive) -> None:
    (path,) = (archive.root / "pool").glob("libc6_*")
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with pytest.raises(ImageError, match=r"libc6.*(another content|Hash Sum mismatch)"):
        fetch_packages(DebianSource(("libc6",), "stable"))


def test_lists_are_fetched_once_a_day_and_older_ones_serve_without_the_archive(archive: DebianArchive) -> None:
    archive.source("trusted=yes", "copy")
    source = DebianSource(("libc6",), "stable")
    assert fetch_packages(source).notes == ()
    (archive.root / "dists").rename(archive.root / "gone")
    assert fetch_packages(source).notes == ()
    (stamp,) = (archive.home / "cache/dcss/debian").glob("*/fetched")
    os.utime(stamp, (stamp.stat().st_mtime - 3 * 86400,) * 2)
    (note,) = fetch_packages(source).notes
    assert "lists of 3 days ago were used" in note
    assert _names(source) == ["libc6"]


def test_a_package_that_the_archive_has_replaced_meanwhile_is_looked_up_again(archive: DebianArchive) -> None:
    archive.source("trusted=yes", "copy")
    assert _names(DebianSource(("doc",), "stable")) == ["doc"]
    for path in (archive.root / "pool").glob("libc6_*"):
        path.unlink()
    archive.publish(Deb("libc6", {"/lib/libc.so.6": b"newer"}, version="2.0-1"))
    (path,) = fetch_packages(DebianSource(("libc6",), "stable")).files
    assert path.name == "libc6_2.0-1_s390x.deb"


def test_without_lists_and_archive_the_message_says_what_is_needed(archive: DebianArchive) -> None:
    shutil.rmtree(archive.root)
    with pytest.raises(ImageError, match=r"apt-get says: .*needs the network"):
        fetch_packages(DebianSource(("libc6",), "stable"))


def test_another_suite_comes_from_the_archive_of_the_machines_own(tmp_path: Path) -> None:
    (tmp_path / "list").write_text(
        "deb [signed-by=/k.gpg] http://one/debian bookworm main\ndeb http://two/debian bookworm-updates main\n"
    )
    files = AptFiles(tmp_path / "list", tmp_path / "none")
    text = sources_text(DebianSource(("x",)), "trixie", files, "bookworm")
    assert text == (
        "architectures: s390x\ncomponents: main\nsigned-by: /k.gpg\nsuites: trixie\ntypes: deb\nuris: http://one/debian\n"
    )
    with pytest.raises(ImageError, match="found no source for trixie"):
        sources_text(DebianSource(("x",)), "trixie", files, None)


def test_a_machine_that_is_not_debian_needs_a_suite(archive: DebianArchive, monkeypatch: pytest.MonkeyPatch) -> None:
    (archive.home / "os-release").write_text('ID=fedora\nVERSION_CODENAME=""\n')
    monkeypatch.setattr("dcss.image.sources.debian.packages._OS_RELEASE", archive.home / "os-release")
    with pytest.raises(ImageError, match="this machine is not Debian: give suite:"):
        fetch_packages(DebianSource(("libc6",)))
    (archive.home / "os-release").write_text('ID=debian\nVERSION_CODENAME="stable"\n')
    assert _names(DebianSource(("libc6",))) == ["libc6"]


def test_without_apt_the_message_says_so(archive: DebianArchive, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(archive.home))
    with pytest.raises(ImageError, match=r"apt-config cannot be run .*wanted apt"):
        fetch_packages(DebianSource(("libc6",), "stable"))


def test_sources_of_both_forms_are_taken_for_the_suite_and_architecture(tmp_path: Path) -> None:
    parts = tmp_path / "parts"
    parts.mkdir()
    (tmp_path / "list").write_text(
        "# a comment\ndeb [arch=amd64 signed-by=/k.gpg] http://one/debian bookworm main contrib # end\n"
        "deb-src http://one/debian bookworm main\ndeb http://other/x bookworm stable\ndeb http://two/debian sid main\n"
    )
    (parts / "a.sources").write_text(
        "Types: deb deb-src\nURIs: http://three/debian\nSuites: bookworm bookworm-updates sid\nComponents: main\n"
        "Signed-By:\n -----BEGIN\n .\n xyz\n\nTypes: deb\nEnabled: no\nURIs: http://off\n"
        "Suites: bookworm\nComponents: main\n"
    )
    (parts / "b.list.save").write_text("deb http://saved bookworm main\n")
    text = sources_text(DebianSource(("x",)), "bookworm", AptFiles(tmp_path / "list", parts))
    assert text == (
        "architectures: s390x\ncomponents: main contrib\nsigned-by: /k.gpg\nsuites: bookworm\ntypes: deb\n"
        "uris: http://one/debian\n\n"
        "architectures: s390x\ncomponents: main\nsigned-by: \n -----BEGIN\n .\n xyz\n"
        "suites: bookworm bookworm-updates\ntypes: deb\nuris: http://three/debian\n"
    )
    keyed = sources_text(DebianSource(("x",), keyring=Path("/mine")), "sid", AptFiles(tmp_path / "list", parts))
    assert keyed.count("signed-by: /mine\n") == 2
