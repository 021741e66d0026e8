"""Coordinates, addresses, phones, items and files, each pitfall of public data by a case."""

import codecs
import unicodedata
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pytest

from eco2.location import categories, words
from eco2.location.importing import addresses, coordinates, files, formats
from eco2.location.importing.addresses import Regions
from eco2.location.importing.coordinates import Point
from eco2.location.importing.files import FileRefused, Rows
from eco2.location.importing.loading import ImportRefused, feed_of, order
from eco2.location.importing.normalising import Normaliser, Row, date_of_file
from eco2.location.service import needs_check

REGIONS = Regions.load()
TODAY = date(2026, 11, 30)


@pytest.mark.parametrize(
    ("x", "y", "system", "expected"),
    [
        ("126.9019", "37.5553", None, Point(126.9019, 37.5553, 4326)),
        (" 126.9019 ", "37.5553 ", 4326, Point(126.9019, 37.5553, 4326)),
        ("37.5553", "126.9019", None, Point(126.9019, 37.5553, 4326, swapped=True)),
        ("126°54'6.84\"", "37°33′19.08″", None, Point(126.9019, 37.5553, 4326)),
        ("126-54-6.84", "37-33-19.08", None, Point(126.9019, 37.5553, 4326)),
        ("126도 54분 6.84초", "37도 33분 19.08초", None, Point(126.9019, 37.5553, 4326)),
        ("", "", None, "coordinates_missing"),
        ("0", "0", None, "coordinates_missing"),
        ("0.0000", "0", None, "coordinates_missing"),
        ("없음", "-", None, "coordinates_missing"),
        ("126.9", "", None, "coordinates_broken"),
        ("127.7.23106", "35.1", None, "coordinates_broken"),
        ("126.85?", "35.15", None, "coordinates_broken"),
        ("nan", "37.5", None, "coordinates_broken"),
        ("inf", "37.5", None, "coordinates_broken"),
        ("1e400", "37.5", None, "coordinates_broken"),
        ("126°75'00\"", "37°33'", None, "coordinates_broken"),
        ("126.9", "5.157", None, "coordinates_outside"),  # its first digit is lost: to be looked at, not mended
        ("27.127", "37.5", None, "coordinates_outside"),
        ("139.69", "35.68", None, "coordinates_outside"),
        ("953901.3", "1952032.1", None, Point(953901.3, 1952032.1, 5179)),
        ("1952032.1", "953901.3", 5179, Point(953901.3, 1952032.1, 5179, swapped=True)),
        ("198000", "451000", 5181, Point(198000, 451000, 5181)),
        ("198000", "551000", 5186, Point(198000, 551000, 5186)),
        ("198000", "451000", 2097, Point(198000, 451000, 2097)),
        ("198000", "451000", 5174, Point(198000, 451000, 5174)),
        ("198000", "451000", None, "coordinates_unknown_system"),
        ("495000", "1127500", None, Point(198000, 451000, 5181)),
        ("390000", "-24850", coordinates.WCONGNAMUL, Point(156000, -9940, 5181)),  # Jeju
        ("9999999", "9999999", 5179, "coordinates_outside"),
    ],
)
def test_coordinates(x: str, y: str, system: int | None, expected: Any) -> None:
    found = coordinates.read(x, y, system)
    if isinstance(expected, Point):
        assert isinstance(found, Point)
        assert (found.x, found.y) == pytest.approx((expected.x, expected.y))
        assert (found.srid, found.swapped) == (expected.srid, expected.swapped)
    else:
        assert found == expected


@pytest.mark.parametrize(
    ("title", "system"),
    [
        ("X좌표(EPSG:5179)", 5179),
        ("위도(WGS84)", 4326),
        ("X좌표(UTM-K)", 5179),
        ("GRS80 중부원점 X", 5181),
        ("중부원점TM X", None),
        ("좌표정보(X,5174)", 5174),
        ("X좌표", None),
    ],
)
def test_a_title_names_the_system(title: str, system: int | None) -> None:
    assert coordinates.system_of(title) == system


@pytest.mark.parametrize(
    ("written", "named", "phone", "expected"),
    [
        (["서울특별시 마포구 월드컵로 1"], "", "", "서울특별시 마포구"),
        (["서울 마포구 월드컵로 1"], "", "", "서울특별시 마포구"),
        (["서울시 마포구 월드컵로 1"], "", "", "서울특별시 마포구"),
        (["강원도 춘천시 시청길 1"], "", "", "강원특별자치도 춘천시"),
        (["전라북도 전주시 완산구 1"], "", "", "전북특별자치도 전주시"),
        (["경상북도 군위군 군위읍 1"], "", "", "대구광역시 군위군"),
        (["인천광역시 중구 영종대로 1 (운서동)"], "", "", "인천광역시 영종구"),
        (["인천광역시 중구 신포로 1"], "", "", "인천광역시 제물포구"),
        (["인천광역시 동구 금곡로 1"], "", "", "인천광역시 제물포구"),
        (["인천광역시 서구 마전동 1"], "", "", "인천광역시 검단구"),
        (["인천광역시 서구 석남동 1"], "", "", "인천광역시 서구"),
        (["경기도 광주시 초월읍 1"], "", "", "경기도 광주시"),
        (["광주시 북구 우치로 1"], "", "", "광주광역시 북구"),
        (["필문대로205번길 17"], "동구", "062-608-2114", "광주광역시 동구"),
        (["필문대로205번길 17", "광주 동구 계림동 1"], "", "", "광주광역시 동구"),
        (["마포구 월드컵로 1"], "", "", "서울특별시 마포구"),
        (["중구 세종대로 1"], "", "", "중구"),
        (["충남 천안시 동남구 1"], "", "", "충청남도 천안시"),
        ([], "", "", ""),
    ],
)
def test_region_by_its_name_of_today(written: list[str], named: str, phone: str, expected: str) -> None:
    assert REGIONS.of(tuple(written), named, phone).name == expected


def test_former_names_find_it_too() -> None:
    assert {"강원도", "강원특별자치도", "춘천시"} <= set(REGIONS.of(("강원도 춘천시 1",)).tags)
    assert {"경상북도 군위군", "대구광역시", "군위군"} <= set(REGIONS.of(("경상북도 군위군 1",)).tags)
    assert {"중구", "인천광역시 중구", "영종구"} <= set(REGIONS.of(("인천광역시 중구 운서동 1",)).tags)


@pytest.mark.parametrize(
    ("text", "province", "expected"),
    [
        ("02-3153-6610", "", "02-3153-6610"),
        ("850-6921(자원순환과)", "전라남도", "061-850-6921"),
        ("850-6921", "", ""),
        ("031-8075-2706~2708", "", "031-8075-2706"),
        ("031-8075-\n2706", "", "031-8075-2706"),
        ("(032)440-3114", "", "032-440-3114"),
        ("0324403114", "", "032-440-3114"),
        ("1599-0903", "", "1599-0903"),
        ("010-1234-5678", "서울특별시", ""),
        ("010-1234-5678\n02-123-4567", "", "02-123-4567"),
        ("없음", "서울특별시", ""),
        ("", "", ""),
    ],
)
def test_phone(text: str, province: str, expected: str) -> None:
    assert addresses.phone(text, province) == expected


@pytest.mark.parametrize(
    ("items", "pickups"),
    [
        ("투명페트병", {"clear_pet"}),
        ("투명패트병", {"clear_pet"}),
        ("투명페트명", {"clear_pet"}),
        ("투명pet", {"clear_pet"}),
        ("무색페트병", {"clear_pet"}),
        ("PET(투명)", {"clear_pet"}),
        ("유색페트병", {"colored_pet"}),
        ("투명,유색페트병", {"clear_pet", "colored_pet"}),
        ("투명 및 유색 페트병", {"clear_pet", "colored_pet"}),
        ("페트병(투명·유색)", {"clear_pet", "colored_pet"}),
        ("페트병", {"clear_pet", "colored_pet"}),
        ("플리스틱류", {"plastic"}),
        ("PE, PP", {"plastic"}),
        ("알루미늄캔, 종이팩, 유리병", {"can", "paper", "glass"}),
        ("헌옷", {"textile"}),
        ("소형가전", {"electronics"}),
        ("아이스팩", set()),
        ("", set()),
    ],
)
def test_items_are_read_with_their_typing_errors(items: str, pickups: set[str]) -> None:
    assert set(categories.pickups(items)) == pickups


def test_streams_of_items() -> None:
    assert set(categories.streams("폐건전지, 형광등")) == {"battery_bin", "lamp_bin"}
    assert "clear_pet" in categories.streams("투명패트병")
    assert categories.streams("") == ()


@pytest.mark.parametrize(
    ("name", "store"),
    [
        ("알맹상점", "refill_zero"),
        ("비건 식당 풀", "vegan_dining"),
        ("숲 카페", "cafe_bakery"),
        ("동네책방", "book_workshop"),
        ("되살림 가게", "upcycle_recycle"),
        ("한살림 마포", "market_mart"),
        ("산새 게스트하우스", "lodging"),
        ("주민센터", "public_dropbox"),
        ("그냥", "general"),
    ],
)
def test_shops_by_their_names(name: str, store: str) -> None:
    assert categories.store_of(name) == store
    assert store in categories.STORE_CATEGORIES


def test_words_are_found_by_letters_and_first_consonants() -> None:
    assert words.letters("마트") == "ㅁㅏㅌㅡ"
    assert words.letters("페트벼") in words.letters("페트병")
    assert words.initials("알맹상점") == "ㅇㅁㅅㅈ"
    assert words.is_initials("ㅇㅁ")
    assert not words.is_initials("ㅇ마")
    assert words.key("망원 1동 (주민센터)") == "망원1동주민센터"
    assert words.key(unicodedata.normalize("NFD", "망원 1동")) == "망원1동"


# --- files ------------------------------------------------------------------------------------------------------------

TABLE = "이름,도로명주소,위도,경도\n가게,서울 마포구 독막로 1,37.55,126.93\n"


def write(folder: Path, content: bytes, name: str = "places.csv") -> Path:
    path = folder / name
    path.write_bytes(content)
    return path


@pytest.mark.parametrize(
    ("content", "encoding"),
    [
        (TABLE.encode(), "UTF-8"),
        (codecs.BOM_UTF8 + TABLE.encode(), "UTF-8 with BOM"),
        (TABLE.encode("cp949"), "CP949"),
        # 믜 and 뷁 are in CP949 and not in EUC-KR.
        (TABLE.replace("가게", "믜뷁").encode("cp949"), "CP949"),
        (TABLE.encode() + "나게,서울,1,1\n".encode("cp949"), "mixed: 2 lines UTF-8, 1 lines CP949"),
        (b"name,address,lat,lon\na,b,1,2\n", "UTF-8"),
    ],
)
def test_encodings_are_detected_and_said(tmp_path: Path, content: bytes, encoding: str) -> None:
    rows = Rows(write(tmp_path, content))
    assert all(files.BROKEN_LETTER not in cell for record in rows for cell in record.cells)
    assert str(rows.encoding) == encoding
    if "이름" in rows.header:
        assert rows.header == ["이름", "도로명주소", "위도", "경도"]


def test_line_breaks_quotes_and_crlf_within_cells(tmp_path: Path) -> None:
    text = '이름,시간,위도\r\n"가 ""나""","09:00~12:00,\r\n14:00~17:00",1\r\n\r\n다,,2\r\n'
    rows = Rows(write(tmp_path, text.encode()))
    found = list(rows)
    assert [record.cells for record in found] == [['가 "나"', "09:00~12:00,\r\n14:00~17:00", "1"], ["다", "", "2"]]
    assert [record.line for record in found] == [2, 5]


def test_titles_are_tidied_and_delimiters_found(tmp_path: Path) -> None:
    assert Rows(write(tmp_path, " 이름 \t주소（도로명）\t위도\t\n".encode())).header == ["이름", "주소(도로명)", "위도"]
    assert Rows(write(tmp_path, "이름;주소\n".encode())).header == ["이름", "주소"]


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"", "is empty"),
        (b"PK\x03\x04rest", "an Excel or ZIP file"),
        (b"\xd0\xcf\x11\xe0rest", "an old Excel file"),
        (b"%PDF-1.7", "a PDF file"),
        ("이름".encode("utf-16"), "a UTF-16 file"),
        (b"<!doctype html><html>", "an HTML or XML page"),
        (b'{"data": []}', "a JSON file"),
        (b"a\0b,c", "a binary file"),
    ],
)
def test_what_is_no_csv_file_is_refused(tmp_path: Path, content: bytes, why: str) -> None:
    with pytest.raises(FileRefused, match=why):
        Rows(write(tmp_path, content))


@pytest.mark.parametrize(
    "ending",
    ['나,"서울 마포구', "나,서울 마포구", '나,"서울\n다,부산,1,2\n라,대구,3,4\n'],
    ids=["quote", "columns", "early"],
)
def test_a_file_that_is_cut_is_refused(tmp_path: Path, ending: str) -> None:
    rows = Rows(write(tmp_path, (TABLE + ending).encode()))
    with pytest.raises(FileRefused, match="damaged or cut: the record at line 3"):
        list(rows)


def test_a_quotation_mark_that_is_never_closed_does_not_eat_the_file(tmp_path: Path) -> None:
    rows = Rows(write(tmp_path, (TABLE + '나,"' + "x,y,1,2\n" * 200_000).encode()))
    with pytest.raises(FileRefused, match="line 3"):
        list(rows)


# --- formats ----------------------------------------------------------------------------------------------------------


def row_of(header: str, cells: list[str], kind: str = "generic", **other: Any) -> tuple[Row | None, list[str]]:
    titles = header.split(",")
    found = formats.FORMATS[kind]
    reader = Normaliser(found, formats.columns_of(found, titles), REGIONS, len(titles), TODAY, **other)
    row = reader(2, cells)
    return row, [f"{one.outcome}.{one.reason}" for one in reader.findings]


@pytest.mark.parametrize(
    ("y", "x"),
    [
        ("위도", "경도"),
        ("lat", "lon"),
        ("Y", "X"),
        ("Y좌표", "X좌표"),
        ("posy", "posx"),
        ("WGS84위도", "WGS84경도"),
        ("위도(WGS84)", "경도(WGS84)"),
        ("latitude", "longitude"),
        ("좌표(Y)", "좌표(X)"),
    ],
)
def test_titles_of_coordinates(y: str, x: str) -> None:
    row, findings = row_of(f"이름,주소,{y},{x}", ["가", "서울 마포구 독막로 1", "37.55", "126.93"])
    assert row is not None
    assert (row.y, row.x, findings) == (37.55, 126.93, [])


@pytest.mark.parametrize(
    ("title", "field"),
    [("위치(주소)", "road_address"), ("소재지 도로명 주소", "road_address"), ("지번주소", "lot_address")],
)
def test_titles_of_addresses(title: str, field: str) -> None:
    row, _ = row_of(f"이름,{title}", ["가", "서울 마포구 독막로 1"])
    assert row is not None
    assert getattr(row, field) == "서울 마포구 독막로 1"


def test_a_lot_in_a_general_address_column_is_no_road() -> None:
    row, _ = row_of("이름,주소", ["가", "서울 마포구 망원동 436-14"])
    assert row is not None
    assert (row.road_address, row.lot_address) == (None, "서울 마포구 망원동 436-14")


def test_nothing_is_written_as_nothing() -> None:
    row, _ = row_of("이름,도로명주소,지번주소", ["가", "없음", "서울 마포구 망원동 1"])
    assert row is not None
    assert row.road_address is None


def test_what_no_field_takes_is_kept_and_what_is_private_dropped() -> None:
    header = "이름,주소,특이사항,대표자명,담당자 휴대전화"
    row, _ = row_of(header, ["가", "서울 마포구 독막로 1", "계단 있음", "홍길동", "010-1234-5678"])
    assert row is not None
    assert row.extra == '{"특이사항":"계단 있음"}'
    assert "홍길동" not in repr(row)
    assert "1234" not in repr(row)


@pytest.mark.parametrize(
    ("cells", "finding"),
    [
        (["가", "서울 마포구 독막로 1", "37.55"], "rejected.columns"),
        (["가", "서울", "37.5", "126.9", "x", "y"], "rejected.columns"),
        (["가\ufffd", "서울", "37.5", "126.9", ""], "rejected.unreadable"),
        (["", "서울 마포구 독막로 1", "37.5", "126.9", ""], "rejected.name_missing"),
        (["가", "", "", "", ""], "rejected.no_place"),
        (["가" * 201, "서울", "37.5", "126.9", ""], "rejected.name_too_long"),
        (["가", "서울", "", "", ""], "review.coordinates_missing"),
        (["가", "서울", "37.5?", "126.9", ""], "review.coordinates_broken"),
        (["가", "서울", "5.157", "126.9", ""], "review.coordinates_outside"),
        (["가", "서울", "126.9", "37.5", ""], "review.coordinates_swapped"),
    ],
)
def test_what_is_wrong_with_a_row_has_a_code(cells: list[str], finding: str) -> None:
    row, findings = row_of("이름,주소,위도,경도,비고", cells)
    assert finding in findings
    assert (row is None) == finding.startswith("rejected")


def test_a_bin_without_a_name_is_called_by_its_kind() -> None:
    row, _ = row_of("소재지도로명주소,위도,경도", ["서울 마포구 독막로 1", "37.5", "126.9"], "clothing-bins")
    assert row is not None
    assert (row.name, row.pickup_categories, row.streams) == ("의류수거함", '{"textile"}', '{"clothing_bin"}')


@pytest.mark.parametrize("detail", ["공동주택 내", "아파트 단지 내 분리수거장", "입주민만"])
def test_places_for_residents_are_marked(detail: str) -> None:
    row, _ = row_of("이름,주소,상세위치", ["가", "서울 마포구 독막로 1", detail])
    assert row is not None
    assert row.residents_only


def test_hours_of_a_recycling_centre_come_in_columns() -> None:
    header = "재활용센터명,소재지도로명주소,평일운영시작시각,평일운영종료시각,"
    header += "공휴일운영시작시각,공휴일운영종료시각,휴무일정보"
    cells = ["센터", "서울 마포구 독막로 1", "09:00", "18:00", "00:00", "00:00", "토+일"]
    row, _ = row_of(header, cells, "recycling-centres")
    assert row is not None
    assert row.hours is not None
    assert '"mon":[["09:00","18:00"]]' in row.hours
    assert '"sun":[]' in row.hours


COMPENSATION = (
    "positnSn,positnNm,positnRgnNm,positnLotnoAddr,positnRdnmAddr,positnPstnAddExpln,positnPstnLat,positnPstnLot,"
    "monSalsHrExplnCn,bscTelnoCn,clctItemCn"
)


def test_a_centre_s_lot_is_its_longitude_and_its_items_stay_as_they_were_written() -> None:
    lot, road = "광주광역시 동구 계림동 1", "필문대로205번길 17"
    cells = ["7", "계림 거점", "동구", lot, road, "", "35.15", "126.92", "09:00~18:00", "", "투명패트병"]
    row, findings = row_of(COMPENSATION, cells, "compensation")
    assert row is not None
    assert (row.x, row.y, row.lot_address, findings) == (126.92, 35.15, lot, [])
    assert (row.region, row.collection_items, row.pickup_categories) == (
        "광주광역시 동구",
        "투명패트병",
        '{"clear_pet"}',
    )


def test_items_that_nobody_named_are_not_guessed_from_the_introduction() -> None:
    header = f"{COMPENSATION},positnIntdcCn"
    cells = [
        "7",
        "계림 거점",
        "광주광역시",
        "",
        "광주 동구 필문대로 17",
        "",
        "35.15",
        "126.92",
        "",
        "",
        "",
        "캔을 모읍니다",
    ]
    row, _ = row_of(header, cells, "compensation")
    assert row is not None
    assert (row.pickup_categories, row.collection_items) == ("{}", None)


def test_data_of_more_than_a_year_or_of_no_day_is_to_be_checked() -> None:
    now = datetime(2026, 11, 30, 15, 30, tzinfo=UTC)  # the first of December in Korea
    days = (date(2025, 12, 1), date(2025, 11, 30), None)
    assert [needs_check(day, now) for day in days] == [False, True, True]


KAKAO = "folderId,seq,favoriteType,color,memo,display1,display2,x,y,lon,lat,key,createdAt,updatedAt"


def test_favourites_of_type_address_are_named_by_their_memo() -> None:
    place = ["1", "1", "PLACE", "3", "", "리필 가게", "서울 마포구 독막로 1", "", "", "126.93", "37.55", "123", "", ""]
    row, _ = row_of(KAKAO, place, "kakao-favourites")
    assert row is not None
    assert (row.name, row.road_address, row.kakao_place_id) == ("리필 가게", "서울 마포구 독막로 1", "123")
    address = [
        "1",
        "2",
        "ADDRESS",
        "3",
        "골목 가게",
        "서울 마포구 독막로 2",
        "",
        "495000",
        "1127500",
        "",
        "",
        "x",
        "2024-09-11 8:54:39",
        "",
    ]
    row, findings = row_of(KAKAO, address, "kakao-favourites")
    assert row is not None
    assert (row.name, row.road_address, row.kakao_place_id) == ("골목 가게", "서울 마포구 독막로 2", None)
    assert (row.x, row.y, row.srid, findings) == (198000, 451000, 5181, [])
    assert row.source == "zerowaste"


def test_keys_last_when_other_columns_change() -> None:
    header = "연번,이름,주소,전화번호"
    one, _ = row_of(header, ["1", "가", "서울 마포구 독막로 1", "02-123-4567"])
    other, _ = row_of(header, ["7", "가", "서울 마포구 독막로 1 (신수동)", "02-765-4321"])
    assert one is not None
    assert other is not None
    assert one.source_key == other.source_key
    assert one.content != other.content
    numbered, _ = row_of("관리번호,이름,주소", ["A-1", "가", "서울 마포구 독막로 1"])
    assert numbered is not None
    assert numbered.source_key == "#A-1"


@pytest.mark.parametrize(
    ("cell", "day"),
    [
        ("2025-06-30", date(2025, 6, 30)),
        ("2025.6.30", date(2025, 6, 30)),
        ("20250630", date(2025, 6, 30)),
        ("2025년 6월 30일", date(2025, 6, 30)),
        ("2027-01-01", None),
        ("2025-02-30", None),
        ("어제", None),
    ],
)
def test_day_of_the_data(cell: str, day: date | None) -> None:
    row, _ = row_of("이름,주소,데이터기준일자", ["가", "서울 마포구 독막로 1", cell])
    assert row is not None
    assert row.data_date == day


def test_file_names_tell_day_and_feed() -> None:
    assert date_of_file("인천광역시_폐의약품수거함_20250630", TODAY) == date(2025, 6, 30)
    assert date_of_file("수거함", TODAY) is None
    assert feed_of(Path("인천광역시_폐의약품수거함_20250630.csv")) == "인천광역시_폐의약품수거함"
    assert feed_of(Path("20250630.csv")) == "20250630"


def test_another_format_is_said() -> None:
    with pytest.raises(FileRefused, match=r"no column .* It looks like --format kakao-favourites"):
        formats.columns_of(formats.FORMATS["compensation"], KAKAO.split(","))
    with pytest.raises(FileRefused, match="no table at all"):
        formats.columns_of(formats.FORMATS["generic"], ["안녕하세요"])


def test_a_map_file_names_columns_and_is_checked(tmp_path: Path) -> None:
    path = tmp_path / "map.yaml"
    path.write_text("dataset: icepack_box\ncrs: '5179'\ncolumns: {name: 장소, road: 어디, x: 가로, y: 세로}\n")
    found = formats.mapped(formats.FORMATS["generic"], path)
    columns = formats.columns_of(found, ["장소", "어디", "가로", "세로"])
    assert (found.dataset, columns.system, dict(columns.places)) == (
        "icepack_box",
        5179,
        {"name": 0, "road": 1, "x": 2, "y": 3},
    )
    for wrong in ("columns: {nmae: 장소}", "dataset: bins", "crs: '1'", "what: 1", "- a", "a: [", "columns: {name: 1"):
        path.write_text(wrong)
        with pytest.raises(FileRefused):
            formats.mapped(formats.FORMATS["generic"], path)


@pytest.mark.parametrize("licence", ["kogl-2", "kogl-3", "kogl-4", "", "mit"])
def test_licences_that_do_not_allow_it_are_refused(tmp_path: Path, licence: str) -> None:
    path = write(tmp_path, TABLE.encode())
    with pytest.raises(ImportRefused):
        order(path, "generic", licence=licence)
    assert order(path, "generic", licence="kogl-1", publisher="마포구").feed.licence == "kogl-1"
    with pytest.raises(ImportRefused, match="--publisher"):
        order(path, "generic", licence="kogl-1", publisher=" ")


def test_people_and_their_mobile_numbers_are_not_kept() -> None:
    header = "이름,주소,담당자전화번호,관리자명,비고,기타"
    row, _ = row_of(
        header, ["가", "서울 마포구 독막로 1", "010-1111-2222", "홍길동", "문의 010-1234-5678", "01012345678"]
    )
    assert row is not None
    assert (row.introduction, row.extra) == ("문의", None)
