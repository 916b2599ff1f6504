"""A file is written completely or not at all."""

import os

import pytest

from nn.files import write_atomically


def test_a_file_is_created_and_replaced(tmp_path):
    path = tmp_path / "a.txt"
    assert write_atomically(path, lambda file: file.write(b"one")) == path
    write_atomically(path, lambda file: file.write(b"two"))
    assert path.read_bytes() == b"two"
    assert os.listdir(tmp_path) == ["a.txt"]


def test_an_interrupt_does_not_change_the_file(tmp_path):
    path = tmp_path / "a.txt"
    path.write_bytes(b"old")

    def write_half(file):
        file.write(b"half")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_atomically(path, write_half)
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["a.txt"]


def test_the_permissions_are_those_of_any_other_file(tmp_path):
    (tmp_path / "plain").write_text("")
    write_atomically(tmp_path / "atomic", lambda file: None)
    assert (tmp_path / "atomic").stat().st_mode == (tmp_path / "plain").stat().st_mode
