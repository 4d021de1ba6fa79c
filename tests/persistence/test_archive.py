"""Files that are not what they should be."""

from __future__ import annotations

import errno
import json
import os
import zipfile

import numpy as np
import pytest

import autokit
from autokit.persistence import archive
from autokit.preprocessing import TableEncoder

X = np.random.default_rng(0).normal(size=(30, 4))


@pytest.fixture
def path(tmp_path):
    return autokit.save(TableEncoder().fit(X), tmp_path / "encoder.autokit")


def rewrite(path, change, compression=zipfile.ZIP_STORED):
    with zipfile.ZipFile(path) as file:
        contents = {name: file.read(name) for name in file.namelist()}
    change(contents)
    with zipfile.ZipFile(path, "w", compression) as file:
        for name, data in contents.items():
            file.writestr(name, data)


def edit(member, old, new):
    def change(contents):
        assert old in contents[member]
        contents[member] = contents[member].replace(old, new)

    return change


def resealed(change):
    """A change with its hashes made right again."""

    def change_and_seal(contents):
        change(contents)
        import hashlib

        manifest = json.loads(contents[archive.MANIFEST])
        manifest["members"] = {
            name: hashlib.sha256(data).hexdigest()
            for name, data in contents.items()
            if name != archive.MANIFEST
        }
        contents[archive.MANIFEST] = json.dumps(manifest).encode()

    return change_and_seal


def fails(path, message):
    with pytest.raises(ValueError, match=message) as raised:
        autokit.load(path)
    assert "\n" not in str(raised.value)
    assert str(path) in str(raised.value)


def test_whole(path):
    np.testing.assert_array_equal(autokit.load(path).encode(X), TableEncoder().fit(X).encode(X))


def test_not_a_zip(path):
    path.write_bytes(b"\x80\x04\x95 this is a pickle")
    fails(path, "is not a file that autokit.save wrote")


def test_empty(path):
    path.write_bytes(b"")
    fails(path, "is not a file that autokit.save wrote")


def test_truncated_anywhere(path):
    data = path.read_bytes()
    for size in np.linspace(5, len(data) - 1, 20).astype(int):
        path.write_bytes(data[:size])
        fails(path, "is truncated or damaged")


def test_foreign_zip(path):
    rewrite(path, lambda contents: contents.pop(archive.MANIFEST))
    fails(path, "is a zip without manifest.json")
    rewrite(path, lambda contents: contents.update({archive.MANIFEST: b'{"format": "other"}'}))
    fails(path, "is not of the format 'autokit-estimator'")
    rewrite(path, lambda contents: contents.update({archive.MANIFEST: b"[" * 100_000}))
    fails(path, "has an unreadable manifest.json")


def test_member_missing_or_added(path):
    rewrite(path, lambda contents: contents.pop("arrays/0.npy"))
    fails(path, "lacks its member 'arrays/0.npy'")
    rewrite(path, lambda contents: contents.update({"arrays/0.npy": b"", "run.py": b""}))
    fails(path, "member 'arrays/0.npy' whose SHA-256|member 'run.py' that its manifest")


def test_altered_member(path):
    rewrite(path, edit("state.json", b'"standardize": true', b'"standardize":false'))
    fails(path, "member 'state.json' whose SHA-256 is not the one")


def test_newer_format(path):
    rewrite(path, edit(archive.MANIFEST, b'"format_version": 1', b'"format_version": 2'))
    fails(
        path, r"has format 2, written by autokit '.*'; this version reads up to format 1: upgrade"
    )


@pytest.mark.parametrize("version", [b'"1"', b"0", b"null"])
def test_senseless_format(path, version):
    rewrite(path, edit(archive.MANIFEST, b'"format_version": 1', b'"format_version": ' + version))
    fails(path, "has no valid format_version")


def test_compressed_members_are_refused(path):
    bomb = resealed(lambda contents: contents.update({"arrays/0.npy": bytes(10_000_000)}))
    rewrite(path, bomb, zipfile.ZIP_DEFLATED)
    assert path.stat().st_size < 100_000
    fails(path, "has the compressed or encrypted member")


def test_declared_size_beyond_the_file(path):
    data = bytearray(path.read_bytes())
    entry = data.index(b"PK\x01\x02")
    data[entry + 24 : entry + 28] = (2**31).to_bytes(4, "little")
    path.write_bytes(data)
    fails(path, "declares members larger than the file")


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_a_member_twice(path):
    with zipfile.ZipFile(path, "a") as file:
        file.writestr("state.json", b"{}")
    fails(path, "names a member twice")


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (b"autokit.preprocessing.table:TableEncoder", b"os:system", "not that of the class in its"),
        (b'"!": "array"', b'"!": "pickle"', "a value of unknown type 'pickle'"),
        (b'"id": 0', b'"idx": 0', "it lacks 'id'"),
        (b'"member": "arrays/0.npy"', b'"member": "../secret"', "it lacks '../secret'"),
    ],
)
def test_state_that_is_not_ours(path, old, new, message):
    rewrite(path, resealed(edit("state.json", old, new)))
    fails(path, message)


def test_class_that_is_not_ours(path):
    def change(contents):
        for member in ("state.json", archive.MANIFEST):
            edit(member, b"autokit.preprocessing.table:TableEncoder", b"os:system")(contents)

    rewrite(path, resealed(change))
    fails(path, "the class 'os:system' is not one of autokit's")


def test_deeply_nested_state(path):
    def change(contents):
        contents["state.json"] = b"[" * 100_000 + b"]" * 100_000

    rewrite(path, resealed(change))
    fails(path, "cannot be loaded")


def test_flipped_bytes(path):
    """Any byte, flipped: an error, or (in fields that zip ignores) the same estimator."""
    data = path.read_bytes()
    expected = autokit.load(path).encode(X)
    rng = np.random.default_rng(0)
    refused = 0
    for position in rng.choice(len(data), 300, replace=False):
        damaged = bytearray(data)
        damaged[position] ^= int(rng.integers(1, 256))
        path.write_bytes(damaged)
        try:
            estimator = autokit.load(path)
        except ValueError:
            refused += 1
        else:
            np.testing.assert_array_equal(estimator.encode(X), expected)
    assert refused > 200


def test_equal_estimators_give_equal_files(path, tmp_path):
    again = autokit.save(TableEncoder().fit(X), tmp_path / "again")
    assert again.read_bytes() == path.read_bytes()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["again", "encoder.autokit"]


def test_no_such_file(tmp_path):
    with pytest.raises(FileNotFoundError, match="nothing.autokit"):
        autokit.load(tmp_path / "nothing.autokit")


def test_no_such_folder(tmp_path):
    with pytest.raises(FileNotFoundError, match="cannot write the estimator.*choose a folder"):
        autokit.save(TableEncoder(), tmp_path / "missing" / "encoder.autokit")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_unwritable_folder(tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(PermissionError, match="cannot write the estimator"):
        autokit.save(TableEncoder(), tmp_path / "encoder.autokit")


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EACCES, errno.EROFS])
def test_full_disk_or_no_permission(path, monkeypatch, code):
    def fail(descriptor):
        raise OSError(code, os.strerror(code))

    before = path.read_bytes()
    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match=f"cannot write.*{os.strerror(code)}; choose a folder"):
        autokit.save(TableEncoder().fit(X * 2), path)
    assert path.read_bytes() == before
    assert [p.name for p in path.parent.iterdir()] == [path.name]


@pytest.mark.parametrize("thing", [3, print, np.eye(2), zipfile.ZipFile])
def test_save_takes_estimators_only(thing, tmp_path):
    with pytest.raises(TypeError, match="estimator must be an estimator of autokit, got"):
        autokit.save(thing, tmp_path / "x")
    assert not list(tmp_path.iterdir())
