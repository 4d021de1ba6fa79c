"""`autokit tff`."""

from __future__ import annotations

import pytest

from autokit.cli import main


def test_check_without_an_environment_names_the_command(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("AUTOKIT_TFF_ENV", str(tmp_path))
    assert main(["tff", "check"]) == 1
    assert "run 'autokit tff install' (2.5 GB" in capsys.readouterr().err


def test_install_refuses_a_folder_with_other_files(tmp_path, capsys):
    (tmp_path / "thesis.txt").touch()
    assert main(["tff", "install", "--where", str(tmp_path)]) == 1
    assert "holds other files" in capsys.readouterr().err
    assert (tmp_path / "thesis.txt").exists()


def test_install_tells_how_to_name_another_folder(tmp_path, monkeypatch, capsys):
    from autokit.federated.engines.tff import environment

    monkeypatch.setattr(environment, "install", lambda where, python, say: tmp_path / "bin/python")
    assert main(["tff", "install", "--where", str(tmp_path)]) == 0
    assert f"export AUTOKIT_TFF_ENV={tmp_path}" in capsys.readouterr().out


def test_an_action_is_needed(capsys):
    with pytest.raises(SystemExit) as exit_info:
        main(["tff"])
    assert exit_info.value.code == 2
    assert "ACTION" in capsys.readouterr().err
