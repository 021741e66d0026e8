"""The part that each noun plays in a Korean sentence, told from its particle and the verb that follows.

A noun before a verb with an adnominal ending belongs to the noun after it ("식초 담긴 병" is about the bottle); what is
bought, used, put into or excluded is not asked about either; nouns side by side or joined by "랑" are a list."""

import re
from dataclasses import dataclass
from typing import Literal

from eco2.knowledge.words.clauses import (
    ANAPHORS,
    AND,
    AT,
    BODIES,
    BY,
    CLEARED,
    EMPTIES,
    FROM,
    GOODS,
    INSIDE,
    KEPT,
    NUMBERS,
    ONLY,
    PAST,
    SIDES,
    TRACES,
    WENT,
    WHILE,
    WRAPPED,
    Clause,
    Walk,
)
from eco2.knowledge.words.text import Span

Part = Literal["main", "beside", "option", "content", "container", "part", "from", "tool", "bought", "into", "not"]
"""Of a noun. `container`: something is in or on it, and that is asked about."""

LEFT = frozenset(("남", "남기"))
MIX = frozenset(("섞", "섞이", "혼합하", "붙", "분리하", "구분하"))
SAME = frozenset(("같이", "함께"))
FILMS = frozenset(("비닐", "film"))
"""Materials that wrap a thing rather than make it: the 비닐 of "꽃다발 비닐" is asked about."""
COLD, CLOSETS = frozenset(("냉장고", "냉동고", "냉동실", "김치냉장고")), frozenset(("옷장", "장롱", "서랍장", "신발장"))
STORED = frozenset(("물먹는하마", "제습제", "습기제거제", "방충제", "좀약", "나프탈렌", "탈취제"))
"""Stored in closets: the closet of "옷장 물먹는하마" is not asked about."""
EITHER = ("아니면", "아님", "혹은", "vs")
AS_KIND = re.compile(
    r"(?:류)?(?:인가요?|인감|인지요?|일까요?|이?예요|이?에요|이?에여|이야|야|이?지요?|이?죠|이?냐|임|이?래유|이?래요|이?여|유|이?니|"
    r"입니까|로|으로)"
)
"""After a noun that is asked or told as the kind of another one: "비닐인가요 은박인가요"."""


@dataclass(frozen=True, eq=False)
class Sentence(Walk):
    """A sentence whose nouns are told their parts. `edible`: those that are food or drink."""

    edible: frozenset[Span] = frozenset()
    materials: frozenset[str] = frozenset()

    def parts(self) -> list[Part]:
        found: list[Part] = ["main"] * len(self.things)
        for n in reversed(range(len(self.things))):
            found[n] = self._part(n, found)
        return self._with_options(self._only(found))

    def _only(self, found: list[Part]) -> list[Part]:
        """Without what is told before the thing that alone is left: "맥주병은 줬고 병뚜껑만 남았어요"."""
        only = [n for n, part in enumerate(found) if n and part in ("main", "part", "beside") and self._left_alone(n)]
        if not only or not any(part in ("main", "part") for part in found[: only[0]]):
            return found
        n = only[0]
        if self.things[n].term in BODIES:
            found[n] = "part"
            for m in range(n):
                found[m] = "not" if self._given_away(self.clause(self.tail(m)[1])) else found[m]
            return found
        while n and self.tail(n - 1)[0] in AND and found[n - 1] == "main":
            n -= 1
        for m in range(n):
            if found[m] in ("main", "part") and self.things[m] not in self.dangerous:
                found[m] = "bought"
        found[only[0]] = "main"
        return found

    def _left_alone(self, n: int) -> bool:
        particles, k = self.tail(n)
        clause = self.clause(k) if particles == ONLY else None
        return clause is not None and clause.stems[0] in ("남", "남기", "버리", "있", "처리하", "내놓")

    # --- the part of one thing ---

    def _part(self, n: int, found: list[Part]) -> Part:
        particles, k = self.tail(n)
        thing = self.things[n]
        if self._excluded(k) or self._excluded(self._edges[n][1]):
            return "not"
        if n and self._counts(n):
            return "content"
        if self.example(n) or (
            particles in AND and n + 1 < len(found) and found[n + 1] == "content" and self.example(n + 1)
        ):
            return "content"
        if n and self.squashed.aside(thing):
            return "beside" if thing in self.dangerous else "content"
        if self.inside(n) and not particles and self._later(n, found):
            return "from"
        if particles in AND or particles.startswith(("이랑", "랑", "하고")):
            stuck = n and thing.term in self.words.parts and self.tail(n - 1)[0].startswith(AT)
            if stuck and n + 1 < len(found) and self.things[n + 1].term in self.words.parts:
                return "part"  # "상자에 테이프랑 송장 붙어있는데"
            return self._joined(n, k)
        if n and self._boxed(n):
            return "into"
        if n and self._holds_danger(n):
            return "content"
        if n and thing.term in self.classes and not particles and self._answers(n):
            return "into"
        if n and self._again(n):
            return "content"
        if n and thing.term in EMPTIES and self._adjacent(n - 1) and self.things[n - 1] not in self.edible:
            return "part"  # "가글 빈병"
        if n and thing.term in self.classes and (self._asked_to_be(k) or particles.startswith((*AT, *BY))):
            return "into"
        if self._of_a_quality(n) and (n or self._later(n, found)):
            return "content"
        if self._of_what(n):
            return "content"
        if self.squashed.text.startswith("째", thing.end):  # with what is in it: "유리병째로"
            spoiled = any(word in self.squashed.text for word in self.words.spoiled)
            return "main" if spoiled or not n else "into"
        following = n + 1
        if not particles and self._adjacent(n):
            if self._written_as_one(n) or self._packs(n):
                return "content"
            if self._stands_in(n):
                return "from"
            if self._modifies(n, following):
                kind = found[following] in ("part", "into") or self._asked_as_kind(following)
                return "main" if kind else "content"
            told = (
                found[following] in ("content", "container", "from", "bought", "tool") and thing not in self.dangerous
            )
            if self._entry_of_two(n):
                return "content"
            if told and self._later(following, found) and not thing.term.endswith(tuple(self.words.containers)):
                return found[following] if not self._in_list(n) else "main"
            return "main"
        if thing.term in self.materials and thing.term in self.classes and self._of_later(n, particles, found):
            return "content"
        kept = thing in self.dangerous or particles in AND or not self._later(n, found)
        if not kept and self._given_away(self.clause(k)):
            return "not"
        last = k == len(self.tokens) - 1
        if not particles and k < len(self.tokens) and self._event(k) and (self._later(n, found) or (n and last)):
            return "bought"
        clause = self.clause(k)
        if clause and clause.ending == "ETM" and self._parted(k) and not particles:
            clause = None  # told of the next entry of a list
        if clause is None:
            return self._without_verb(n, particles, found)
        if particles.startswith(("은", "는", "도")) and not particles.startswith("는데"):
            return self._topic(n, particles, clause)
        if clause.ending == "ETM":
            return self._in_clause(n, particles, clause, found)
        return self._before_verb(n, particles, clause, found)

    def _excluded(self, k: int) -> bool:
        text = self.squashed.text
        place = self.tokens[k].start if k < len(self.tokens) else len(text)
        return any(text.startswith(word, place) for word in self.words.excluded) or any(
            text.startswith(particle + word, place)
            for particle in ("이", "가", "은", "는")
            for word in self.words.excluded
        )

    def _event(self, k: int) -> bool:
        return not self._parted(k) and any(
            self.squashed.text.startswith(word, self.tokens[k].start) for word in self.words.events
        )

    def _counts(self, n: int) -> bool:
        """True when a container only counts: "고추장 한 통", "반병"."""
        first = self._edges[n][0]
        before = self.tokens[first - 1] if first else None
        counted = self.things[n].term in self.words.containers or self.tokens[first].has("NNBC")
        number = before is not None and not before.has("ETM") and (before.has("NR", "SN") or before.surface in NUMBERS)
        return counted and number and not self._parted(first) and first > self._edges[n - 1][1]

    def _holds_danger(self, n: int) -> bool:
        """True when a container of no name of its own follows what is dangerous in it: "신나 통"."""
        generic = self.things[n].term in self.words.containers | self.words.parts
        dangerous = self.things[n - 1] in self.dangerous and self.things[n] not in self.dangerous
        return generic and dangerous and self._adjacent(n - 1)

    def _again(self, n: int) -> bool:
        """True when a general word points back at a thing before it: "등유가 남았어요 이 기름만 …"."""
        first = self._edges[n][0]
        before = self.tokens[first - 1] if first else None
        pointed = before is not None and before.tags[0] == "MM" and before.surface in ANAPHORS
        return pointed and bool(self.tail(n)[0]) and self.things[n].term in self.words.soils | self.words.containers

    def _answers(self, n: int) -> bool:
        """True when a class is all that is told of the topic before it: "닭뼈는 종량제, 튀김옷은 음쓰"."""
        particles, k = self.tail(n - 1)
        return particles in ("은", "는") and k == self._edges[n][0]

    def _asked_to_be(self, k: int) -> bool:
        """True when a token asks if something may count as the noun before: "음식물 되나요"."""
        return (
            k < len(self.tokens)
            and (
                self.tokens[k].stem in ("되", "돼", "맞", "가능", "아니")
                or self.tokens[k].surface.startswith(("맞", "ㄱㄴ", "ㄱㄱ", "직행"))
            )
            and not self._parted(k)
        )

    def _written_as_one(self, n: int) -> bool:
        """True when a thing only begins a written word that names the next one: the 쿠션 of "쿠션퍼프"."""
        one, other = self.things[n], self.things[n + 1]
        starts = sorted(self.squashed.starts)
        begins = max((place for place in starts if place <= one.start), default=0)
        ends = min((place for place in starts if place > one.start), default=len(self.squashed.text))
        inside = sum(begins <= thing.start < ends for thing in self.things)
        return (
            inside == 2
            and other.start < ends
            and len(starts) > 2
            and one not in self.dangerous
            and other not in self.dangerous
        )

    def _entry_of_two(self, n: int) -> bool:
        """True when a place or material only tells of the next thing in a list with signs: "A, 점토 화분, B"."""
        one, other = self.things[n], self.things[n + 1]
        if len(self.squashed.breaks) < 2 or {one, other} & self.dangerous or one.term in self.words.parts:
            return False
        if one.end != other.start or one.term not in self.words.places | self.materials | GOODS:
            return False
        before = n == 0 or any(self.things[n - 1].end <= sign <= one.start for sign in self._signs)
        after = n + 2 == len(self.things) or any(other.end <= sign <= self.things[n + 2].start for sign in self._signs)
        return before and after and self.things[n].start in self.squashed.starts and other.term not in self.classes

    def _packs(self, n: int) -> bool:
        """True when food only tells what the next thing packs, in a list with signs: "요거트 은박뚜껑, 빵끈"."""
        food, other = self.things[n], self.things[n + 1]
        if not self.squashed.breaks or food.end != other.start or {food, other} & self.dangerous:
            return False
        containers = tuple(self.words.containers)
        packing = (*containers, *(part for part in self.words.parts if len(part) > 1), "백")
        eaten = food in self.edible and not food.term.endswith(containers)
        return eaten and other not in self.edible and other.term.endswith(packing)

    def _stands_in(self, n: int) -> bool:
        """True when a thing is stored in the one before: "냉장고 김치". A bed and a pillow are two."""
        if len(self.things) != 2 or n:
            return False
        place, stored = self.things[0].term, self.things[1]
        return (place in COLD and stored in self.edible) or (place in CLOSETS and stored.term in STORED)

    def _of_what(self, n: int) -> bool:
        """True when a material beside a thing only tells what that is made of: "도자기 화병", "젖병 유리"."""
        if self.things[n].term not in self.materials or len(self.things) > 2:
            return False
        before = n > 0 and self._adjacent(n - 1) and not self.tail(n)[0] and self.things[n].term not in FILMS
        beside = ([n - 1] if before else []) + ([n + 1] if self._adjacent(n) else [])
        return any(self.things[m].term not in self.materials for m in beside)

    def _of_later(self, n: int, particles: str, found: list[Part]) -> bool:
        """True for materials that only tell what a later thing is of: "겉은 종이 안은 은박인데 … 보냉봉투"."""
        first = self._edges[n][0]
        side = first > 1 and self.tokens[first - 1].surface in ("은", "는") and self.tokens[first - 2].surface in SIDES
        return side and particles not in AND and self._later(n, found)

    def _of_a_quality(self, n: int) -> bool:
        """True when a thing only tells of which smell, stain or fee: "김치 냄새"."""
        k = self._edges[n][1]
        following = self.tokens[k].surface if k < len(self.tokens) and not self._parted(k) else ""
        return k not in self._starts and following in self.words.qualities

    def _joined(self, n: int, k: int) -> Part:
        """A thing with "랑": one of a list, or what something is thrown away, mixed or delivered with."""
        mixed = self.clause(k) if n and k not in self._starts else None
        if mixed and mixed.stems[0] in MIX:
            return "content"
        if k < len(self.tokens) and self.tokens[k].surface in SAME and k not in self._starts:
            clause = self.clause(k)
            if n and clause and self._is(clause, "sort"):
                return "into"
            if clause and clause.ending == "ETM" and isinstance(self.head(clause.end), int):
                return "content"
        return "main"

    def _modifies(self, n: int, following: int) -> bool:
        """ "노트북 배터리", "신발 상자": the second one is asked about. "귤껍질 양파껍질" are two."""
        one, other = self.things[n], self.things[following]
        listed, filling = self._in_list(n), one in self.edible or one.term in self.words.soils
        of_one = other.term in self.words.parts and not listed
        part = (other.term in self.words.containers and (filling or not listed)) or of_one
        alike = one.term in self.words.parts or (one.term.endswith(tuple(self.words.containers)) and not of_one)
        if one.term in self.words.soils and other.term.endswith(tuple(self.words.containers)):
            return one not in self.dangerous
        if one in self.edible and other not in self.edible and not alike and not listed:
            return other.term.endswith((*self.words.containers, "기름"))
        if not part or alike or one in self.dangerous:
            return False
        return not (listed and other in self.dangerous)

    def _later(self, n: int, found: list[Part]) -> bool:
        return any(part in ("main", "beside") for part in found[n + 1 :])

    def _others(self, n: int, found: list[Part]) -> bool:
        """True when another thing may be what is asked about."""
        return self._later(n, found) or any(m != n for m in range(n))

    def _is(self, clause: Clause, *kinds: str) -> bool:
        lists = [getattr(self.words.verbs, kind) for kind in kinds]
        return any(stem in words for stem in clause.stems for words in lists)

    def _topic(self, n: int, particles: str, clause: Clause) -> Part:
        if (
            particles.startswith("도")
            and n
            and clause.stems[0] in ("있", "나오", "남", "같이", "생기", "필요없", "없", "버리")
        ):
            return "beside"
        if not n and self.things[n].term in self.words.parts and clause.ending == "ETM":
            return "part" if isinstance(self.head(clause.end), int) else "main"  # "뚜껑도 안 연 참치캔"
        if self._is(clause, "dispose") or not n:
            return "main"
        return self._of_the_one_before(n) or "main"

    def _of_the_one_before(self, n: int) -> Part | None:
        """A part of the thing before, or what is in or on it, of which a state is told."""
        term = self.things[n].term
        if not n:
            return None
        particles, k = self.tail(n - 1)
        if particles in AND or (self._parted(self._edges[n][0]) and self._edges[n][0] == k and not particles):
            return None
        if term in self.words.parts:
            return "part"
        return "content" if term in self.words.soils else None

    def _in_clause(self, n: int, particles: str, clause: Clause, found: list[Part]) -> Part:
        """A thing before a verb with an adnominal ending: told of the noun after it."""
        head = self.head(clause.end)
        if head == "time":
            told = self._is(clause, "buy", "consume", "contain") or not self._is(clause, "dispose")
            return "bought" if self._later(n, found) and told and self.things[n] not in self.dangerous else "main"
        if not isinstance(head, int):
            if particles.startswith(AT) and self._is(clause, "contain") and self._later(n, found):
                return "container"
            if particles.startswith(FROM) and self._others(n, found):
                return "from"
            if particles.startswith(FROM) and head == "dummy" and self.things[n].term in self.words.places:
                return "not"  # "옷장에서 나온 거" may be anything
            if particles.startswith(("이", "가")) and n and head == "dummy":
                return self._of_the_one_before(n) or "main"
            if (
                head == "dummy"
                and not particles
                and self._is(clause, "contain")
                and self._later(n, found) is False
                and n
            ):
                return self._of_the_one_before(n) or "main"
            return "main"
        if self.things[n] in self.dangerous and self.things[head].term in self.words.containers:
            if clause.stems[0] in TRACES:
                return "content"  # "페인트 튄 상자"
            found[head] = "content"
            return "main"
        if particles.startswith(FROM):
            return "from"
        if particles.startswith(BY):
            return "tool"
        if particles.startswith(AT):
            return "container" if self.things[n].term not in self.words.places else "from"
        if particles.startswith(("이", "가", "을", "를")):
            return "bought" if self._is(clause, "buy") else "content"
        if self.things[n].term in self.words.soils and self.things[n] not in self.dangerous and clause.stems[0] == "닦":
            return "content"  # the 기름 of "기름 닦은 걸레"
        if self._is(clause, "contain", "emerge") and not (
            self.things[n] in self.dangerous and clause.stems[0] in (*LEFT, "쓰")
        ):
            return "content" if clause.stems[0] not in LEFT or self.things[n].term in self.words.soils else "main"
        if clause.stems[0].endswith("먹") or clause.stems[0] in self.words.verbs.consume - {"쓰", "사용하"}:
            return "content"
        battery = self.things[n].term in self.words.parts and self.things[n] in self.dangerous
        return "content" if battery else "main"  # "배터리 부푼 노트북"

    def _before_verb(self, n: int, particles: str, clause: Clause, found: list[Part]) -> Part:
        """A thing before the verb of its own clause."""
        term, later = self.things[n].term, self._later(n, found)
        if clause.copula:
            described = term in self.materials and any(
                thing.term.endswith(tuple(self.words.containers)) for thing in self.things[n + 1 :]
            )
            return "content" if described else "main"  # "스티로폼인데 … 접시"
        if particles.startswith(FROM):
            return "from" if self._others(n, found) else "main"
        if particles.startswith(AT):
            if n and (self._is(clause, "put") or clause.stems[0] in WRAPPED):
                return "into"
            if later and (term in self.words.places or self._is(clause, "put", "emerge")):
                return "from"
            return "from" if term in self.words.places and self._others(n, found) else "main"
        if particles.startswith(BY):
            if self._is(clause, "sort", "put"):
                return "into" if n else "main"
            return "tool" if self._others(n, found) else "main"
        if later and self._is(clause, "buy") and clause.ending in ("EC", "ETN") and not self._is(clause, "dispose"):
            return "bought"
        if later and self._is(clause, "buy", "practise") and clause.ending == "EF" and self._ends_here(clause):
            return "bought"  # "유화 그립니다. 쓰고 남은 …"
        cleared = not particles and clause.stems[0] in CLEARED and clause.form.endswith(WHILE)
        if later and cleared and self.things[n] not in self.dangerous:
            return "bought"  # a place that is cleared out: "장독대 치우는데 …"
        if later and clause.stems[0] == "맞" and clause.ending == "EC":
            return "bought"  # an injection that somebody gets
        if (
            later
            and self._is(clause, "consume")
            and clause.ending == "EC"
            and clause.form.endswith(("고", "서", "는데", "더니"))
        ):
            return "bought" if self.things[n] not in self.dangerous else "main"
        if n and term in self.classes and clause.stems[0] in ("맞", "되", "가능", "가능하"):
            return "into"
        if n and particles.startswith(("이", "가", "도")) and self._is(clause, "contain") and self._held(n):
            return "content"
        told_of_another = later and term in self.words.parts and particles.startswith(("이", "가"))
        if told_of_another and clause.ending == "EC" and clause.form.endswith(("서", "고", "아", "어")):
            return "part"
        if n and not self._is(clause, "dispose") and particles.startswith(("이", "가", "을", "를", "")):
            return self._of_the_one_before(n) or "main"
        return "main"

    def _given_away(self, clause: Clause | None) -> bool:
        """True for a clause that tells what has become of a thing: "…은 마트에 줬고"."""
        if clause is None or not self._is(clause, "dispose", "give") or clause.stems[0] in KEPT:
            return False
        end = self.tokens[clause.end - 1].end
        match = WENT.search(self.squashed.text, max(0, end - 6), end)
        return match is not None and (ord(match[1]) - ord("가")) % 28 == PAST

    def _ends_here(self, clause: Clause) -> bool:
        return clause.end < len(self.tokens) and self.tokens[clause.end].start in self.squashed.stops

    def _held(self, n: int) -> bool:
        """True when the thing before is what this one is in: "유리병 안에 왁스가 굳어 있어요"."""
        particles, k = self.tail(n - 1)
        at = particles.startswith(AT) or (k < len(self.tokens) and self.tokens[k].surface in INSIDE)
        return at and self.things[n - 1].term not in self.words.places

    def _without_verb(self, n: int, particles: str, found: list[Part]) -> Part:
        if particles.startswith(FROM) and self._others(n, found):
            return "from"
        if n and particles.startswith(("이", "가", "을", "를")):
            return self._of_the_one_before(n) or "main"
        if particles.startswith(BY):
            return "into" if n else ("tool" if self._later(n, found) else "main")
        if particles.startswith(AT) and self._later(n, found):
            return "from" if self.things[n].term in self.words.places else "container"
        return "main"

    # --- A or B ---

    def _with_options(self, found: list[Part]) -> list[Part]:
        """Things that are only asked as kinds of another: "이 봉투는 비닐인가요 은박인가요"."""
        asked = [n for n in range(len(self.things)) if self._asked_as_kind(n)]
        if not asked:
            return found
        others = [n for n, part in enumerate(found) if n not in asked and part in ("main", "content", "container")]
        if any(n < asked[0] for n in others):
            for n in asked:
                if n and self.tail(n - 1)[0] not in AND and (self.things[n].term in self.classes or len(asked) > 1):
                    found[n] = "option"
        elif len(asked) > 1:
            for n in asked:
                found[n] = "option"
        return found

    def _asked_as_kind(self, n: int) -> bool:
        thing, text = self.things[n], self.squashed.text
        if text.endswith(EITHER, 0, thing.start) or text.startswith(EITHER, thing.end):
            return True
        if thing.end >= len(text) or thing.end in self._signs:
            return False
        rest = text[thing.end : self.squashed.word_end(thing.end + 1)]
        return AS_KIND.fullmatch(rest) is not None
