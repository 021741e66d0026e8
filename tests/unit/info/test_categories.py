"""Categories of news by their words, on titles written for this test."""

import pytest

from eco2.info.categories import Categories

TITLES = """
environment|투명페트병 별도 배출 단독주택으로 확대
environment|아파트 분리배출장, 이렇게 바뀐다
environment|커피 찌꺼기 재활용해 비료로 만든다
environment|시, 다회용컵 보증금제 카페 100곳 참여
environment|미세플라스틱, 수돗물에서도 나왔다
environment|수도권매립지 직매립 금지 유예 논란
environment|기후위기 시대의 여름, 폭염 일수 두 배
environment|환경부, 온실가스 감축 목표 다시 짠다
environment|낙동강 녹조 경보, 수질 관리 비상
environment|멸종위기 저어새 둥지 늘었다
environment|종량제 봉투 값 내년부터 오른다
environment|제주 해양쓰레기 줍는 사람들
environment|제로웨이스트 가게가 문을 닫는 까닭
environment|음식물쓰레기 줄이면 포인트 준다
environment|폐플라스틱에서 기름 뽑는 공장
environment|탄소중립 선언한 대학 캠퍼스
environment|소각장 새로 짓는 문제로 주민 갈등
environment|헌 옷 수거함, 어디로 갔나
environment|City expands recycling of film plastics
environment|Climate change doubles flood risk, study says
environment|Single-use cups banned at festivals
environment|우리 동네 습지를 지키는 아이들, 생태 체험
environment|기업 ESG 보고서, 무엇이 달라지나
environment|초미세먼지 많은 겨울, 대기질 예보 강화
energy|해상풍력 특별법 국회 통과
energy|태양광 패널 지붕에 올린 마을
energy|전기요금 올겨울 동결
energy|전력망 부족에 발전소 멈춘다
energy|전고체 배터리 양산 앞당긴다
energy|원전 수명 연장 심사 시작
energy|수소 충전소 전국 300곳으로
energy|한전 적자 5년 만에 줄었다
energy|RE100 산단 후보지 세 곳
energy|국제유가 하락에 정유사 울상
energy|소형모듈원자로 SMR 수출 길 열려
energy|ESS 화재 원인 조사 결과
energy|전기차 보조금 내년 줄어든다
energy|LNG 가격 급등, 난방 걱정
energy|송전선로 갈등 해법은
energy|Offshore wind auction draws record bids
energy|Power grid strained by heat wave demand for electricity
energy|New solar farm to supply 20,000 homes
energy|이차전지 소재 국산화 성공
energy|재생에너지 비중 처음으로 15% 넘어
ai|생성형 AI 쓰는 직장인 절반 넘어
ai|오픈AI 새 모델 공개
ai|인공지능 기본법 시행령 나왔다
ai|챗GPT로 숙제하는 아이들
ai|엔비디아 GPU 없어서 못 판다
ai|거대언어모델 국산화 경쟁
ai|AI 에이전트가 대신 예약한다
ai|휴머노이드 로봇 공장에 간다
ai|자율주행 택시 심야 운행
ai|딥러닝으로 암 찾는 병원
ai|AI 반도체 스타트업 상장
ai|챗봇 상담사가 늘어난다
ai|OpenAI and rivals race on large language models
ai|Generative AI startups raise billions
ai|Machine learning finds new antibiotics
ai|파운데이션 모델 5개 팀 선정
none|프로야구 한국시리즈 7차전 간다
none|주말 전국에 비, 기온 뚝
none|아이돌 그룹 새 앨범 발표
none|코스피 사흘 만에 올라
none|서울 아파트 값 상승폭 줄어
none|대통령 아세안 순방길
none|He said the team will train again
none|맛집 골목 축제 열린다
none|수능 성적표 나왔다
none|새 드라마 첫 방송 시청률 10%
"""
ROWS = [line.split("|", 1) for line in TITLES.strip().splitlines()]
LINE = 0.95


@pytest.fixture(scope="module")
def categories() -> Categories:
    return Categories.load(None)


def test_titles_are_told_apart(categories: Categories) -> None:
    told = [(want, categories.of(title, "") or "none", title) for want, title in ROWS]
    wrong = [row for row in told if row[0] != row[1]]
    assert len(wrong) <= len(ROWS) * (1 - LINE), wrong


def test_a_word_in_the_title_counts_twice(categories: Categories) -> None:
    assert categories.of("인공지능 시대", "재활용") == "ai"
    assert categories.of("시대가 바뀐다", "재활용, 분리배출과 인공지능") == "environment"


def test_latin_words_stand_alone(categories: Categories) -> None:
    assert categories.of("They said it again", "") is None
    assert categories.of("AI가 온다", "") == "ai"


def test_without_a_word_the_search_decides(categories: Categories) -> None:
    assert categories.of("새 소식", "", "energy") == "energy"
    assert categories.of("재활용 새 소식", "", "energy") == "environment"
