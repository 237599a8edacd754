"""Split lists as all kinds of programs write them."""

import pytest
from data_cases import write
from hypothesis import given
from hypothesis import strategies as st

from minisegnet.data import DataError
from minisegnet.data.lists import locate, natural, read_list


@pytest.mark.parametrize(
    "data",
    [
        b"a\nb c\nd\n",
        b"a\r\nb c\r\nd\r\n",
        b"a\rb c\rd",
        b"\xef\xbb\xbfa\nb c\nd",
        b"  a  \n\n\tb c \t\n   \nd\n\n\n",
        "a\r\nb c\r\nd\r\n".encode("utf-16"),
    ],
    ids=["plain", "CRLF", "CR", "BOM", "spaces and blanks", "UTF-16"],
)
def test_line_ends_marks_and_blanks_do_not_matter(tmp_path, data):
    lines, notes = read_list(write(tmp_path / "list.txt", data))
    assert [line.text for line in lines] == ["a", "b c", "d"]
    assert notes == []


def test_line_numbers_count_blank_lines(tmp_path):
    lines, _ = read_list(write(tmp_path / "list.txt", "\na\n\nb\n"))
    assert [line.number for line in lines] == [2, 4]


def test_a_repeated_line_counts_once_and_is_noted(tmp_path):
    path = write(tmp_path / "list.txt", "a\nb\na \n")
    lines, notes = read_list(path)
    assert [line.text for line in lines] == ["a", "b"]
    assert notes == [f"{path}: line 3 repeats line 1 (a); it counts once"]


def test_what_is_no_text_is_an_error(tmp_path):
    with pytest.raises(DataError, match=r"list.txt: isn't UTF-8 text: .* 0xe9"):
        read_list(write(tmp_path / "list.txt", "é".encode("latin-1")))
    with pytest.raises(DataError, match=r"list.txt: isn't a text file: it contains zero bytes"):
        read_list(write(tmp_path / "list.txt", b"a\0b"))


def test_entries_are_found_below_the_folder(tmp_path):
    write(tmp_path / "train" / "1.png", b"")
    assert locate(tmp_path, "train/1.png") == tmp_path / "train" / "1.png"
    assert locate(tmp_path, "./train//1.png") == tmp_path / "train" / "1.png"
    assert locate(tmp_path, "train\\1.png") == tmp_path / "train" / "1.png"
    assert locate(tmp_path, "train/2.png") == tmp_path / "train" / "2.png"


@pytest.mark.parametrize("entry", ["/SegNet/CamVid/train/1.png", "C:\\data\\train\\1.png", "/train/1.png"])
def test_of_an_absolute_path_the_tail_that_exists_counts(tmp_path, entry):
    write(tmp_path / "train" / "1.png", b"")
    assert locate(tmp_path, entry) == tmp_path / "train" / "1.png"
    missing = entry.replace("1.png", "2.png")
    assert locate(tmp_path, missing) == tmp_path / "train" / "2.png"  # none exists: this one will be called missing


@pytest.mark.parametrize("entry", ["../secret.png", "train/../../secret.png", "..\\secret.png", "/a/../b.png"])
def test_a_list_cannot_lead_out_of_the_folder(tmp_path, entry):
    write(tmp_path / "secret.png", b"")
    with pytest.raises(ValueError, match=r"which leads out of .*; '\.\.' isn't allowed in a list"):
        locate(tmp_path / "data", entry)


NAMES = st.lists(st.text(alphabet="a1B20._", max_size=6))


@given(NAMES.flatmap(lambda names: st.tuples(st.just(names), st.permutations(names))))
def test_names_have_one_order_whatever_order_the_system_gives(lists):
    names, shuffled = lists
    assert sorted(names, key=natural) == sorted(shuffled, key=natural)


def test_numbers_sort_as_numbers():
    assert sorted(["b10", "b9", "b1x", "10", "9"], key=natural) == ["9", "10", "b1x", "b9", "b10"]
