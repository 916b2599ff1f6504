"""A file is written whole or not at all."""

import os

import pytest

from nn.files import write_whole


def test_whole(tmp_path):
    path = tmp_path / "a.txt"
    assert write_whole(path, lambda file: file.write(b"one")) == path
    write_whole(path, lambda file: file.write(b"two"))
    assert path.read_bytes() == b"two"
    assert os.listdir(tmp_path) == ["a.txt"]


def test_not_at_all(tmp_path):
    path = tmp_path / "a.txt"
    path.write_bytes(b"old")

    def half(file):
        file.write(b"half")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_whole(path, half)
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["a.txt"]


def test_others_may_read_it_as_any_other_file(tmp_path):
    (tmp_path / "plain").write_text("")
    write_whole(tmp_path / "whole", lambda file: None)
    assert (tmp_path / "whole").stat().st_mode == (tmp_path / "plain").stat().st_mode
