"""The reader of the national household-waste data set: what districts write, and what is left out."""

from datetime import date
from pathlib import Path

import pytest

from eco2.knowledge.districts import Districts
from eco2.recycling import household
from eco2.recycling.household import Read

SAMPLE = Path(__file__).with_name("household_waste_sample.csv")
TODAY = date(2026, 11, 30)


@pytest.fixture(scope="module")
def districts() -> Districts:
    return Districts.load(None)


@pytest.fixture(scope="module")
def sample(districts: Districts) -> Read:
    return household.read(SAMPLE, districts, TODAY)


@pytest.mark.parametrize(("encoding", "told"), [("utf-8", "UTF-8"), ("utf-8-sig", "UTF-8"), ("cp949", "CP949")])
@pytest.mark.parametrize("newline", ["\n", "\r\n"])
def test_every_encoding_reads_the_same(
    tmp_path: Path, districts: Districts, sample: Read, encoding: str, told: str, newline: str
) -> None:
    path = tmp_path / "file.csv"
    path.write_bytes(SAMPLE.read_text(encoding="utf-8").replace("\n", newline).encode(encoding))
    read = household.read(path, districts, TODAY)
    assert (read.found, read.encoding) == (sample.found, told)
    assert len(read.rejected) == len(sample.rejected)


def test_areas_are_those_of_todays_districts(sample: Read) -> None:
    assert [(one.district, one.area.name) for one in sample.found] == [
        ("서울특별시 마포구", "1구역"),
        ("서울특별시 마포구", "2구역"),
        ("강원특별자치도 춘천시", "전역"),
        ("경기도 수원시", "영통구"),
        ("대구광역시 군위군", "읍내"),
    ]


def test_what_is_left_out_is_told_with_its_line(sample: Read) -> None:
    """A cell with a line break counts as the lines that it takes."""
    assert [(one.line, one.reason) for one in sample.rejected] == [
        (8, "there is no such district"),
        (9, "no day could be read"),
        (10, "has a date of the data in the future (2099-01-01)"),
        (11, "has no date of the data (지난달)"),
        (12, "names no district"),
        (13, "area '2구역' was told before, with other days"),
    ]


def test_an_area_has_days_times_and_words(sample: Read) -> None:
    first, second, whole, part, _ = (one.area for one in sample.found)
    assert [(p.collection, p.days) for p in first.pickups] == [
        ("general", ("tue", "thu", "sun")),
        ("food", ("tue", "thu", "sun")),
        ("recycle", ("wed", "sun")),
        ("vinyl", ("thu",)),
    ]
    assert (first.pickups[0].from_time, first.pickups[0].until_time, first.no_pickup) == ("18:00", "24:00", "토요일")
    film = second.pickup("vinyl")
    assert film is not None
    assert (film.collection, film.days) == ("recycle", ("mon", "thu"))
    assert len(whole.pickups[0].days) == 7
    assert [(p.collection, p.days, p.method_ko) for p in part.pickups][1] == ("recycle", (), "매주 둘째 화요일")


@pytest.mark.parametrize(
    ("text", "days"),
    [
        ("월+수+금", ["mon", "wed", "fri"]),
        ("일요일, 화요일", ["tue", "sun"]),
        ("금~일", ["fri", "sat", "sun"]),
        ("일~화", ["sun", "mon", "tue"]),
        ("매주 수요일", ["wed"]),
        ("매일", ["mon", "tue", "wed", "thu", "fri", "sat", "sun"]),
        ("매일(토 제외)", []),
        ("격주 수요일", []),
        ("구청에 문의", []),
        ("", []),
    ],
)
def test_days_are_read(text: str, days: list[str]) -> None:
    assert household.days_of(text) == days


@pytest.mark.parametrize(
    ("text", "vinyl", "clear_pet"),
    [
        ("비닐류는 목요일", ("thu",), None),
        ("품목별로 담기. 투명페트병과 비닐류는 매주 금요일", ("fri",), ("fri",)),
        ("목요일은 투명 페트병·비닐, 그 외는 월요일", ("thu",), ("thu",)),
        ("월요일 캔, 유리, 비닐은 화,목요일", ("tue", "thu"), None),
        ("비닐봉투에 담아 수거함에 넣어요", None, None),
        ("일반쓰레기와 따로 내놓기", None, None),
    ],
)
def test_a_day_of_film_and_bottles_stands_in_words(
    text: str, vinyl: tuple[str, ...] | None, clear_pet: tuple[str, ...] | None
) -> None:
    row = {"재활용품배출요일": "월", "재활용품배출방법": text}
    found = [household._separate(name, row) for name in ("vinyl", "clear_pet")]
    assert [pickup and pickup.days for pickup in found] == [vinyl, clear_pet]


@pytest.mark.parametrize(
    ("text", "time"),
    [("18:00", "18:00"), ("1800", "18:00"), ("9:05", "09:05"), ("24:00", "24:00"), ("24:30", ""), ("저녁", "")],
)
def test_times_are_read(text: str, time: str) -> None:
    assert household.time_of(text) == time


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("이름,주소\n가,나\n".encode("cp949"), "시도명"),
        (b"", "시도명"),
        (b"\xff\xfe\x00\x81\xff", "neither UTF-8 nor CP949"),
        (b"\x89PNG\r\n\x1a\n", "시도명"),
    ],
)
def test_another_file_is_refused(tmp_path: Path, districts: Districts, content: bytes, said: str) -> None:
    path = tmp_path / "other.csv"
    path.write_bytes(content)
    with pytest.raises(household.NotTheDataSet, match=said):
        household.read(path, districts, TODAY)


def test_a_huge_file_is_refused_unread(tmp_path: Path, districts: Districts) -> None:
    path = tmp_path / "huge.csv"
    with path.open("wb") as file:
        file.truncate(household.LARGEST + 1)
    with pytest.raises(household.NotTheDataSet, match="larger than"):
        household.read(path, districts, TODAY)


@pytest.mark.parametrize("kept", ["춘천시", "춘천시,"])
def test_a_file_cut_in_the_middle_is_refused(tmp_path: Path, districts: Districts, kept: str) -> None:
    """Its whole lines would take the place of all areas of the district in which it was cut."""
    whole = SAMPLE.read_bytes()
    path = tmp_path / "cut.csv"
    path.write_bytes(whole[: whole.index("춘천시".encode()) + len(kept.encode())])
    with pytest.raises(household.NotTheDataSet, match="is cut"):
        household.read(path, districts, TODAY)
