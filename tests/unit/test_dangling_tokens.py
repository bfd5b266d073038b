from pathlib import Path

import pytest

from clickhouse.dangling_tokens import PartRange, mend


@pytest.fixture
def table(tmp_path: Path) -> Path:
    """A table's directory as the engine leaves it on disk, with two parts and their tokens."""
    folder = tmp_path / "store" / "abc" / "abc-uuid"
    for part in ("202610_1_1_0", "202611_2_2_0"):
        (folder / part).mkdir(parents=True)
    write(folder, 1, "1\t202610_1_1_0\ttoken-1\n1\t202611_2_2_0\ttoken-2\n")
    return folder


def write(table: Path, number: int, text: str) -> None:
    log(table, number).parent.mkdir(exist_ok=True)
    log(table, number).write_text(text)


def log(table: Path, number: int) -> Path:
    return table / "deduplication_logs" / f"deduplication_log_{number}.txt"


def data(table: Path) -> Path:
    return table.parents[2]


def test_tokens_whose_parts_are_there_stay(table: Path) -> None:
    before = log(table, 1).read_text()
    assert mend(data(table)) == []
    assert log(table, 1).read_text() == before


def test_a_token_without_its_part_is_taken_out(table: Path) -> None:
    (table / "202611_2_2_0").rename(table / "tmp_insert_202611_2_2_0")
    assert mend(data(table)) == ["abc-uuid: 202611_2_2_0"]
    assert log(table, 1).read_text() == "1\t202610_1_1_0\ttoken-1\n"


def test_a_part_that_was_merged_into_another_is_there(table: Path) -> None:
    (table / "202611_2_2_0").rename(table / "202611_2_9_1")
    assert mend(data(table)) == []


def test_a_part_of_another_month_covers_nothing(table: Path) -> None:
    (table / "202611_2_2_0").rename(table / "202612_2_2_0")
    assert mend(data(table)) == ["abc-uuid: 202611_2_2_0"]


def test_a_token_that_the_engine_dropped_itself_is_left_to_it(table: Path) -> None:
    (table / "202611_2_2_0").rmdir()
    write(table, 1, log(table, 1).read_text() + "2\t202611_2_2_0\ttoken-2\n")
    assert mend(data(table)) == []


def test_a_record_cut_short_is_taken_out_before_another_is_written_behind_it(table: Path) -> None:
    whole = log(table, 1).read_text()
    write(table, 1, whole + "1\t202611_3_3_0\ttok")
    assert mend(data(table)) == []
    assert log(table, 1).read_text() == whole


def test_the_log_before_a_fresh_one_is_looked_at_too(table: Path) -> None:
    (table / "202611_2_2_0").rmdir()
    write(table, 2, "")
    assert mend(data(table)) == ["abc-uuid: 202611_2_2_0"]


def test_what_a_crash_in_the_mending_left_is_removed(table: Path) -> None:
    unfinished = log(table, 1).with_suffix(".mended")
    unfinished.write_text("1\t2026")
    assert mend(data(table)) == []
    assert not unfinished.exists()


def test_a_new_database_has_nothing_to_mend(tmp_path: Path) -> None:
    assert mend(tmp_path) == []


@pytest.mark.parametrize(
    "name", ["detached", "tmp_insert_202611_2_2_0", "deduplication_logs", "202611_2_x_0", "format"]
)
def test_other_folders_are_no_parts(name: str) -> None:
    assert PartRange.of(name) is None
