"""The real data loads; every kind of mistake a steward can make is refused with file and key."""

import copy
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from eco2.knowledge import Knowledge, KnowledgeError, default_directory, load
from eco2.knowledge.loading import FILES, build

Edit = Callable[[dict[str, Any]], object]

# name -> the middle class as the client spells it
CHARACTERS = {
    "이코": None,
    "페이피": "종이",
    "팩토리": "종이팩",
    "페티": "무색페트병",
    "비니": "비닐류",
    "글래시": "유리병",
    "코튼": "의류및원단",
    "플리": "플라스틱류",
    "메탈리": "금속류",
    "배리": "전지",
    "라이티": "조명제품",
    "일렉": "전기전자제품",
    "폼이": "발포합성수지",
}


@pytest.fixture(scope="module")
def knowledge() -> Knowledge:
    return load()


def the_stream(book: dict[str, Any], name: str) -> dict[str, Any]:
    return next(stream for stream in book["streams"] if stream["id"] == name)


def the_item(book: dict[str, Any], name: str) -> dict[str, Any]:
    return next(item for group in book["groups"] for item in group["items"] if item["id"] == name)


def the_rule(book: dict[str, Any], name: str) -> dict[str, Any]:
    return next(rule for rule in book["rules"] if rule["stream"] == name)


def the_situation(book: dict[str, Any], name: str) -> dict[str, Any]:
    return next(entry for entry in book["situations"] if entry["id"] == name)


def the_character(book: dict[str, Any], name: str) -> dict[str, Any]:
    return next(character for character in book["characters"] if character["name"] == name)


@pytest.fixture(scope="module")
def documents() -> dict[str, Any]:
    return {name: yaml.load((default_directory() / name).read_bytes(), Loader=yaml.CSafeLoader) for name in FILES}


def edited(documents: dict[str, Any], file: str, edit: Edit) -> dict[str, Any]:
    book = copy.deepcopy(documents[file])
    edit(book)
    return {**documents, file: book}


def problems_after(documents: dict[str, Any], file: str, edit: Edit) -> tuple[str, ...]:
    """The problems reported for the real data with one file edited."""
    with pytest.raises(KnowledgeError) as failure:
        build(edited(documents, file, edit), "edited")
    return failure.value.problems


def test_real_data(knowledge: Knowledge) -> None:
    assert len(knowledge.items) >= 280
    assert len(knowledge.streams) == 31
    assert len(knowledge.characters) == 13
    assert load().version == knowledge.version
    majors = {major.name for major in knowledge.taxonomy.majors}
    assert len(majors) == 7
    assert {item.classification.major_category for item in knowledge.items.values()} == majors
    recyclable = {
        item.classification.middle_category
        for item in knowledge.items.values()
        if item.classification.major_category == "재활용폐기물"
    }
    assert recyclable == set(CHARACTERS.values()) - {None}


def test_version_follows_content(knowledge: Knowledge, tmp_path: Path) -> None:
    shutil.copytree(default_directory(), tmp_path, dirs_exist_ok=True)
    assert load(tmp_path).version == knowledge.version
    path = tmp_path / "characters.yaml"
    path.write_text(path.read_text() + "# edited\n")
    assert load(tmp_path).version != knowledge.version


def test_characters(knowledge: Knowledge) -> None:
    cast = {character.name: character for character in knowledge.characters}
    assert {name: character.match for name, character in cast.items()} == CHARACTERS
    assert cast["이코"].code == "char-eco"
    assert "닫" in cast["페티"].dialog


T, R, S, C = FILES
CASES: list[tuple[str, str, str, Edit]] = [
    ("unknown key", T, "colour", lambda b: the_item(b, "water_pet").update(colour="blue")),
    ("missing field", T, "where_ko", lambda b: the_stream(b, "vinyl").pop("where_ko")),
    ("item twice", T, "water_pet is there twice", lambda b: b["groups"][0]["items"].append(
        {**the_item(b, "water_pet"), "ko": "다른 병", "en": "other", "aliases": []})),
    ("stream twice", T, "vinyl is there twice", lambda b: b["streams"].append(the_stream(b, "vinyl"))),
    ("item in no stream", T, "water_pet: unknown stream moon",
     lambda b: the_item(b, "water_pet").update(stream="moon")),
    ("unknown alternative", T, "unknown stream moon",
     lambda b: the_item(b, "water_pet").update(alt_streams=["moon"])),
    ("item without class", T, "water_pet: resolves to no class",
     lambda b: the_stream(b, "clear_pet").pop("class")),
    ("unknown major", T, "vinyl: unknown major class 비닐",
     lambda b: the_stream(b, "vinyl")["class"].update(major="비닐")),
    ("misspelled middle", T, "clothing_bin: unknown middle class 의류 및 원단",
     lambda b: the_stream(b, "clothing_bin")["class"].update(middle="의류 및 원단")),
    ("shared alias", T, "share 생수병", lambda b: the_item(b, "jar")["aliases"].append("생수 병")),
    ("alias twice", T, "has 물병 twice", lambda b: the_item(b, "water_pet")["aliases"].append("물 병")),
    ("unknown candidate", T, "ambiguous.컵: unknown item goblet",
     lambda b: b["ambiguous"][0]["candidates"].append("goblet")),
    ("skip of nothing", T, "water_pet: unknown step or situation BOIL",
     lambda b: the_item(b, "water_pet").update(skip=["BOIL"])),
    ("no step left", T, "receipt: has 0 steps", lambda b: the_item(b, "receipt").update(skip=["BAG", "TIME"])),
    ("no first step", T, "medicine_box: first_ko is missing", lambda b: the_stream(b, "medicine_box").pop("first_ko")),
    ("first step against its rule", T, "medicine_box: \"변기에 버리세요.\"",
     lambda b: the_stream(b, "medicine_box").update(first_ko="변기에 버리세요.")),
    ("more care than steps", T, "receipt: care is 3", lambda b: the_item(b, "receipt").update(care=3)),
    ("too many steps", T, "receipt: has 12 steps",
     lambda b: the_item(b, "receipt").update(steps_ko=[f"{n}번 하세요." for n in range(10)])),
    ("item against its rule", T, "water_pet: \"뚜껑을 빼고 내세요.\"",
     lambda b: the_item(b, "water_pet").update(steps_ko=["뚜껑을 빼고 내세요."])),
    ("stream without rule", R, "vinyl: has no rule", lambda b: b["rules"].remove(the_rule(b, "vinyl"))),
    ("orphan rule", R, "moon: is a rule for no stream",
     lambda b: b["rules"].append({"stream": "moon", "steps": [{"code": "BAG", "ko": "담으세요."}]})),
    ("rule twice", R, "vinyl is there twice", lambda b: b["rules"].append(the_rule(b, "vinyl"))),
    ("unlabelled step", R, "vinyl: unknown step label FLY",
     lambda b: the_rule(b, "vinyl")["steps"].append({"code": "FLY", "ko": "날리세요."})),
    ("step twice", R, "vinyl: step EMPTY is there twice",
     lambda b: the_rule(b, "vinyl")["steps"].append({"code": "EMPTY", "ko": "터세요."})),
    ("unknown law", R, "vinyl: unknown legal basis moon",
     lambda b: the_rule(b, "vinyl").update(basis=["moon"])),
    ("exception to nowhere", R, "vinyl: unknown stream moon",
     lambda b: the_rule(b, "vinyl")["exceptions"][0].update(then="moon")),
    ("rule against itself", R, "metal_can forbids",
     lambda b: the_rule(b, "metal_can")["steps"].append({"code": "CRUSH", "ko": "구멍을 뚫으세요."})),
    ("unknown target", S, "soil_heavy: unknown target stream moon",
     lambda b: the_situation(b, "soil_heavy").update(target_stream="moon")),
    ("unknown scope", S, "soil_heavy: unknown scope moon",
     lambda b: the_situation(b, "soil_heavy").update(applies_to=["moon"])),
    ("scope of unknown items", S, "scopes.toy: unknown item doll",
     lambda b: b["scopes"]["toy"].update(items=["doll"])),
    ("reroute to nowhere", S, "soil_heavy: reroutes to no target",
     lambda b: the_situation(b, "soil_heavy").pop("target_stream")),
    ("preparing cannot reroute", S, "label_on: a situation of kind prepare",
     lambda b: the_situation(b, "label_on").update(target_stream="vinyl", why_ko="붙었으니")),
    ("reroute without reason", S, "soil_heavy: why_ko",
     lambda b: the_situation(b, "soil_heavy").pop("why_ko")),
    ("kind without rank", S, "unknown kind in precedence safety", lambda b: b["precedence"].remove("safety")),
    ("situation against a rule", S, "label_on: \"뚜껑을 열어 라벨을 떼세요.\"",
     lambda b: the_situation(b, "label_on").update(step_ko="뚜껑을 열어 라벨을 떼세요.")),
    ("unknown match", C, "unknown middle class 페트병",
     lambda b: the_character(b, "페티").update(match="페트병")),
    ("class without character", C, "유리병: has 0 characters",
     lambda b: b["characters"].remove(the_character(b, "글래시"))),
    ("renamed character", C, "페이피: is missing",
     lambda b: the_character(b, "페이피").update(name="종이피")),
    ("new character", C, "char-moon: 달이 is no name that the apps know",
     lambda b: b["characters"].append({**the_character(b, "이코"), "code": "char-moon", "name": "달이"})),
    ("swapped characters", C, "비니: match is 유리병, not 비닐류",
     lambda b: (the_character(b, "비니").update(match="유리병"), the_character(b, "글래시").update(match="비닐류"))),
    ("code twice", C, "char-eco is there twice", lambda b: the_character(b, "페티").update(code="char-eco")),
    ("dialog against a rule", C, "clear_pet forbids (뚜껑 떼)",
     lambda b: the_character(b, "페티").update(dialog="뚜껑은 떼고 눌러 주세요!")),
    ("leader against any rule", C, "metal_can forbids (구멍 뚫)",
     lambda b: the_character(b, "이코").update(dialog="캔은 구멍을 뚫어 주세요!")),
]  # fmt: skip


@pytest.mark.parametrize(("file", "message", "edit"), [case[1:] for case in CASES], ids=[c[0] for c in CASES])
def test_mistake_is_refused(documents: dict[str, Any], file: str, message: str, edit: Edit) -> None:
    problems = problems_after(documents, file, edit)
    assert any(message in problem for problem in problems), problems


def test_all_problems_at_once(documents: dict[str, Any]) -> None:
    def edit(book: dict[str, Any]) -> None:
        the_item(book, "water_pet").update(stream="moon")
        the_item(book, "jar").update(alt_streams=["sun"])

    problems = problems_after(documents, T, edit)
    assert "taxonomy.yaml: water_pet: unknown stream moon" in problems
    assert "taxonomy.yaml: jar: unknown stream sun" in problems


def test_negated_dialog_is_no_contradiction(documents: dict[str, Any]) -> None:
    def edit(book: dict[str, Any]) -> None:
        the_character(book, "페티").update(dialog="뚜껑은 떼지 말고 꼭 닫아 주세요!")

    assert build(edited(documents, C, edit), "edited").version == "edited"


def test_unreadable_files(tmp_path: Path) -> None:
    (tmp_path / T).write_text("streams: [")
    with pytest.raises(KnowledgeError) as failure:
        load(tmp_path)
    assert [problem.split(":")[0] for problem in failure.value.problems] == list(FILES)
    assert "not valid YAML" in failure.value.problems[0]
    assert "missing" in failure.value.problems[1]


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"", "characters.yaml: file: is empty"),
        (b"# only a remark\n", "characters.yaml: file: is empty"),
        (b"- code: char-eco\n", "characters.yaml: file: has no keys at its top"),
        (b"characters:\n  - code: a\n   name: b\n", "characters.yaml:3:4: not valid YAML"),
        (b"characters:\n  - name: \xff\n", "characters.yaml:2:11: not valid YAML"),
    ],
    ids=["empty", "remark", "list", "indented", "bytes"],
)
def test_a_file_that_cannot_be_read_names_the_place(tmp_path: Path, content: bytes, problem: str) -> None:
    for name in FILES:
        shutil.copy(default_directory() / name, tmp_path / name)
    (tmp_path / C).write_bytes(content)
    with pytest.raises(KnowledgeError) as failure:
        load(tmp_path)
    assert len(failure.value.problems) == 1
    assert failure.value.problems[0].startswith(problem)


def test_problems_name_file_and_key(documents: dict[str, Any]) -> None:
    problems = problems_after(documents, T, lambda b: the_stream(b, "vinyl").update(kind="burn"))
    assert len(problems) == 1
    assert problems[0].startswith("taxonomy.yaml: streams.vinyl.kind: ")


def test_an_entry_without_id_is_named_by_its_place(documents: dict[str, Any]) -> None:
    problems = problems_after(documents, C, lambda b: b["characters"][1].update(code=None, name=7))
    assert "characters.yaml: characters.None.code: " in " ".join(problems)
    problems = problems_after(documents, T, lambda b: b["groups"][0]["items"].insert(0, "stray"))
    assert problems[0].startswith(f"taxonomy.yaml: groups.{documents[T]['groups'][0]['id']}.items.0: ")
