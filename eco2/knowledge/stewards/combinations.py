"""Questions generated from the catalogue, whose right answers are known by construction.

`python -m eco2.knowledge.stewards.combinations` prints, by language and kind, the share of wrong answers among them.
`--many N` makes N questions a kind, `--seed N` others, `--kind NAME` shows each wrong one of a kind.
"""

import random
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

from eco2.knowledge.answer import decide
from eco2.knowledge.asking import ask
from eco2.knowledge.knowledge import Knowledge
from eco2.knowledge.loading import load
from eco2.knowledge.models import Item
from eco2.knowledge.words.text import normalize
from eco2.knowledge.words.vocabulary import words_of

MANY = 100
"""Questions a kind."""
SIZES = (2, 3, 4, 5, 6, 7, 8)
LangOf = Literal["ko", "en"]

KO_ENDS = (
    "",
    " 어디에 버려요?",
    " 버리는 법 알려주세요",
    "는 어떻게 버리나요",
    " 어떻게 버려야 하나요?",
    " 어디다 버림",
)
KO_SIGNS = (", ", ",", " / ", "\n", " + ", "·", " , ")
KO_STATES = ("오래된 ", "안 쓰는 ", "쓰던 ", "낡은 ", "이제 필요없는 ", "집에 있던 ", "다 쓴 ")
KO_HEADS = (
    "이사하면서 나온 것들이에요: ",
    "오늘 대청소했는데 ",
    "냉장고 정리하다가 나온 ",
    "방 치웠더니 ",
    "캠핑 다녀와서 ",
    "자취방 빼는데 ",
)
KO_BRACKETS = ("(2개)", "(오래된 거)", "(새것)", "(작은 거)", "(안 쓰는 거)")
KO_PLACES = (
    "서랍에서 나온 ",
    "옷장 속 ",
    "신발장에 있던 ",
    "책상 위에 있던 ",
    "냉장고에 있던 ",
    "차 트렁크에 있던 ",
    "가방 안 ",
)
KO_CONTENTS = ("커피", "우유", "김치", "밥", "국", "라면", "된장", "고추장", "간장", "참기름", "주스", "잼")
KO_HELD = (" 남은 ", " 담긴 ", " 담았던 ", "이 들어있던 ", " 먹다 남은 ", " 묻은 ", " 먹고 난 ")
KO_VESSELS = ("텀블러", "밀폐용기", "프라이팬", "냄비", "도시락통", "머그컵", "반찬통", "양은냄비", "보온병", "뚝배기")
EN_ENDS = ("", " - where do they go?", " how do I throw these away?", ", how to dispose?", " please")
EN_SIGNS = (", ", ",", " / ", "\n", " + ", "; ")
EN_STATES = ("old ", "used ", "my old ", "some ", "an unused ", "leftover ")
EN_HEADS = (
    "cleaning my desk: ",
    "moving out next week, I have ",
    "spring cleaning haul: ",
    "What do I do with these after a party: ",
    "Found in my closet: ",
    "Emptying the garage. There's ",
)
EN_BRACKETS = (" (2 of them)", " (old one)", " (small)", " (new)")
EN_PLACES = ("in my drawer", "from the closet", "under the bed", "in the car", "behind the sofa", "on the desk")
EN_CONTENTS = ("coffee", "milk", "kimchi", "rice", "soup", "juice", "jam", "sauce")
EN_VESSELS = ("tumbler", "frying pan", "mug", "lunch box", "pot", "thermos")
NONSENSE = ("뚜르벨라", "코그니톨", "빠깡이", "넬로피드", "샤르망코라", "쿠오레틴")
EN_NONSENSE = ("florbix", "quandrel", "zimbuloo", "grobnatz", "vextoria")


@dataclass(frozen=True)
class Made:
    """A question, and the streams that its answer must tell, each by a section of its own."""

    kind: str
    lang: LangOf
    text: str
    streams: tuple[str, ...]
    unread: str = ""


@dataclass(frozen=True)
class Maker:
    knowledge: Knowledge
    dice: random.Random

    @cached_property
    def korean(self) -> dict[str, list[str]]:
        return self._names("ko")

    @cached_property
    def english(self) -> dict[str, list[str]]:
        return self._names("en")

    def _names(self, lang: LangOf) -> dict[str, list[str]]:
        """Names that mean one item only: of each that is a thing by itself."""
        classes = {normalize(word) for word in self.knowledge.classes}
        asked = {word for entry in self.knowledge.taxonomy.ambiguous for word in words_of(entry)}
        found: dict[str, list[str]] = {}
        for item in self.knowledge.items.values():
            given = (item.ko, *item.aliases) if lang == "ko" else (item.en, *item.aliases_en)
            kept = []
            for name in given:
                word = normalize(name)
                plain = not set(name) & set("·,()/&+-'") and " or " not in name and len(word) > 1
                whole = self.knowledge.terms.get(word) == (item.id,) and word not in classes | asked
                same = (lang == "ko") != name.isascii()
                if plain and whole and same and not self.knowledge.situations_in(name):
                    kept.append(name)
            if kept:
                found[item.id] = kept
        return found

    def some(self, lang: LangOf, many: int) -> list[tuple[Item, str]]:
        named = self.korean if lang == "ko" else self.english
        ids = self.dice.sample(sorted(named), many)
        return [(self.knowledge.item(one), self.dice.choice(named[one])) for one in ids]

    def made(self, kind: str, lang: LangOf) -> Made:
        make: Callable[[], Made] = getattr(self, f"_{lang}_{kind}")
        return make()

    def _list(self, lang: LangOf, kind: str, join: Callable[[Sequence[str]], str], most: int = 8) -> Made:
        things = self.some(lang, self.dice.choice([n for n in SIZES if n <= most]))
        return Made(kind, lang, join([name for _, name in things]), _streams(self.knowledge, [i for i, _ in things]))

    def _signed(self, names: Sequence[str], lang: LangOf) -> str:
        sign = self.dice.choice(KO_SIGNS if lang == "ko" else EN_SIGNS)
        if lang == "en" and self.dice.random() < 0.5 and len(names) > 1:
            return ", ".join(names[:-1]) + self.dice.choice((" and ", ", and ")) + names[-1]
        return sign.join(names)

    def _end(self, lang: LangOf) -> str:
        return self.dice.choice(KO_ENDS if lang == "ko" else EN_ENDS)

    # --- Korean ---

    def _ko_signs(self) -> Made:
        return self._list("ko", "signs", lambda names: self._signed(names, "ko") + self._end("ko"))

    def _ko_blanks(self) -> Made:
        return self._list("ko", "blanks", lambda names: " ".join(names) + self._end("ko"))

    def _ko_particles(self) -> Made:
        def join(names: Sequence[str]) -> str:
            tied = [name + self.dice.choice((_rang(name), "하고", " 그리고", _wa(name))) for name in names[:-1]]
            return " ".join([*tied, names[-1]]) + self._end("ko")

        return self._list("ko", "particles", join)

    def _ko_written_as_one(self) -> Made:
        return self._list("ko", "written_as_one", lambda names: "".join(n.replace(" ", "") for n in names), most=4)

    def _ko_states(self) -> Made:
        def join(names: Sequence[str]) -> str:
            return self._signed([self.dice.choice(("", *KO_STATES)) + name for name in names], "ko") + self._end("ko")

        return self._list("ko", "states", join, most=6)

    def _ko_headed(self) -> Made:
        return self._list(
            "ko", "headed", lambda names: self.dice.choice(KO_HEADS) + self._signed(names, "ko") + self._end("ko")
        )

    def _ko_brackets(self) -> Made:
        def join(names: Sequence[str]) -> str:
            return self._signed([name + self.dice.choice(("", *KO_BRACKETS)) for name in names], "ko") + self._end("ko")

        return self._list("ko", "brackets", join, most=6)

    def _ko_placed(self) -> Made:
        def join(names: Sequence[str]) -> str:
            return self.dice.choice(KO_PLACES) + self._signed(names, "ko") + self._end("ko")

        return self._list("ko", "placed", join, most=4)

    def _ko_held(self) -> Made:
        vessel = self.dice.choice(sorted(v for v in KO_VESSELS if len(self.knowledge.terms.get(normalize(v), ())) == 1))
        item = self.knowledge.named(normalize(vessel))[0]
        said = self.dice.choice(KO_CONTENTS) + self.dice.choice(KO_HELD).replace("이 들어", " 들어") + vessel
        others = self.some("ko", self.dice.choice((0, 1, 2)))
        things = [(item, said), *((i, n) for i, n in others if i != item)]
        self.dice.shuffle(things)
        text = self._signed([name for _, name in things], "ko") + self._end("ko")
        return Made("held", "ko", text, _streams(self.knowledge, [i for i, _ in things]))

    def _ko_unknown(self) -> Made:
        things = self.some("ko", self.dice.choice((2, 3, 4)))
        word = self.dice.choice(NONSENSE)
        names = [name for _, name in things]
        names.insert(self.dice.randint(0, len(names)), word)
        text = self._signed(names, "ko") + self._end("ko")
        return Made("unknown", "ko", text, _streams(self.knowledge, [i for i, _ in things]), word)

    # --- English ---

    def _en_signs(self) -> Made:
        return self._list("en", "signs", lambda names: self._signed(names, "en") + self._end("en"))

    def _en_blanks(self) -> Made:
        return self._list("en", "blanks", " ".join)

    def _en_particles(self) -> Made:
        return self._list("en", "particles", lambda names: self.dice.choice((" and ", " plus ")).join(names), most=5)

    def _en_states(self) -> Made:
        def join(names: Sequence[str]) -> str:
            return self._signed([self.dice.choice(("", *EN_STATES)) + name for name in names], "en") + self._end("en")

        return self._list("en", "states", join, most=6)

    def _en_headed(self) -> Made:
        return self._list(
            "en", "headed", lambda names: self.dice.choice(EN_HEADS) + self._signed(names, "en") + self._end("en")
        )

    def _en_brackets(self) -> Made:
        def join(names: Sequence[str]) -> str:
            return self._signed([name + self.dice.choice(("", *EN_BRACKETS)) for name in names], "en") + self._end("en")

        return self._list("en", "brackets", join, most=6)

    def _en_placed(self) -> Made:
        def join(names: Sequence[str]) -> str:
            return f"{self._signed(names, 'en')} {self.dice.choice(EN_PLACES)}, how do I throw them away?"

        return self._list("en", "placed", join, most=4)

    def _en_held(self) -> Made:
        vessel = self.dice.choice([v for v in EN_VESSELS if len(self.knowledge.terms.get(normalize(v), ())) == 1])
        item = self.knowledge.named(normalize(vessel))[0]
        said = f"{vessel} {self.dice.choice(('with', 'with leftover', 'with some'))} {self.dice.choice(EN_CONTENTS)}"
        others = self.some("en", self.dice.choice((0, 1, 2)))
        things = [(item, said), *((i, n) for i, n in others if i != item)]
        self.dice.shuffle(things)
        text = self._signed([name for _, name in things], "en") + self._end("en")
        return Made("held", "en", text, _streams(self.knowledge, [i for i, _ in things]))

    def _en_unknown(self) -> Made:
        things = self.some("en", self.dice.choice((2, 3, 4)))
        word = self.dice.choice(EN_NONSENSE)
        names = [name for _, name in things]
        names.insert(self.dice.randint(0, len(names)), word)
        text = self._signed(names, "en") + self._end("en")
        return Made("unknown", "en", text, _streams(self.knowledge, [i for i, _ in things]), word)


KINDS: dict[LangOf, tuple[str, ...]] = {
    lang: tuple(name.removeprefix(f"_{lang}_") for name in vars(Maker) if name.startswith(f"_{lang}_"))
    for lang in ("ko", "en")
}


def _streams(knowledge: Knowledge, items: Sequence[Item]) -> tuple[str, ...]:
    return tuple(decide(knowledge, item, (), None).stream for item in items)


def _closed(word: str) -> bool:
    return "가" <= word[-1] <= "힣" and (ord(word[-1]) - ord("가")) % 28 > 0


def _rang(word: str) -> str:
    return "이랑" if _closed(word) else "랑"


def _wa(word: str) -> str:
    return "과" if _closed(word) else "와"


def fault(knowledge: Knowledge, made: Made) -> str:
    """Lost, unasked or unread: the first that the answer has, "" if it is right."""
    body = ask(knowledge, made.text)
    streams = [entry["stream"] for entry in body["items"]]
    lost = Counter(made.streams) - Counter(streams)
    if lost:
        return "lost"
    if Counter(streams) - Counter(made.streams):
        return "unasked"
    return "unread" if made.unread and made.unread[:-1] not in body["answer"] else ""


def questions(knowledge: Knowledge, many: int, seed: int, wanted: str = "") -> Iterator[Made]:
    for lang in KINDS:
        for kind in KINDS[lang]:
            if wanted in (kind, f"{lang}_{kind}", ""):
                maker = Maker(knowledge, random.Random(f"{seed} {lang} {kind}"))  # noqa: S311 - no secret
                yield from (maker.made(kind, lang) for _ in range(many))


def main(arguments: Sequence[str]) -> int:
    def option(name: str, default: str) -> str:
        return arguments[arguments.index(name) + 1] if name in arguments[:-1] else default

    knowledge = load()
    wanted = option("--kind", "")
    made: Counter[str] = Counter()
    wrong: Counter[str] = Counter()
    for one in questions(knowledge, int(option("--many", str(MANY))), int(option("--seed", "1")), wanted):
        name = f"{one.lang}_{one.kind}"
        made[name] += 1
        if found := fault(knowledge, one):
            wrong[name] += 1
            wrong[f"{name}.{found}"] += 1
            if wanted:
                got = [f"{entry['item']}:{entry['stream']}" for entry in ask(knowledge, one.text)["items"]]
                print(f"{found}: {one.text!r}\n    got {got}\n    wanted {list(one.streams)}")  # noqa: T201
    for name, total in made.items():
        parts = ", ".join(f"{f} {wrong[f'{name}.{f}']}" for f in ("lost", "unasked", "unread") if wrong[f"{name}.{f}"])
        print(f"{name:<20} {total:>5} {100 * wrong[name] / total:>5.1f} % wrong   {parts}")  # noqa: T201
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
