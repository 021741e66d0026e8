"""Fixed sentences of the agent, in Korean and English."""

from eco2.knowledge.answer import Lang

TEXTS: dict[str, dict[Lang, str]] = {
    "greeting": {
        "ko": "안녕하세요, 이코예요! 버릴 물건의 이름을 말해 주시면 버리는 방법과 가까운 수거 장소를 알려 드릴게요.",
        "en": "Hello, I am Eco! Name a thing and I tell you how to throw it away and where it is taken nearby.",
    },
    "thanks": {
        "ko": "도움이 됐다니 기뻐요. 또 궁금한 물건이 있으면 말해 주세요!",
        "en": "Glad to help. Tell me if there is another thing!",
    },
    "bye": {"ko": "안녕히 가세요. 오늘도 분리배출 고마워요!", "en": "Goodbye, and thank you for sorting!"},
    "able": {
        "ko": "저는 이런 것을 도와드려요.\n· 물건을 버리는 방법과 우리 동네 기준\n"
        "· 가까운 수거 장소와 제로웨이스트 가게(위치를 알려 주시면)\n· 캐릭터를 얻는 방법",
        "en": "I can help with:\n· how to throw a thing away, and the rules of your district\n"
        "· places nearby that take it, and zero-waste shops (with your location)\n· how to earn characters",
    },
    "account": {
        "ko": "계정은 ‘내 정보’에서 볼 수 있어요. 버릴 물건의 이름을 말해 주시면 버리는 방법을 알려 드릴게요.",
        "en": "Your profile shows your account. Name a thing and I tell you how to throw it away.",
    },
    "nothing": {
        "ko": "저는 분리배출을 도와드려요. 버릴 물건의 이름을 알려 주시겠어요?",
        "en": "I help with sorting waste. Which thing do you want to throw away?",
    },
    "meant": {
        "ko": "‘{name}’ 기준으로 안내해요. 다른 물건이면 이름을 알려 주세요.",
        "en": "I take it that you mean: {name}. If it is another thing, tell me its name.",
    },
    "photo_away": {
        "ko": "지금은 사진을 볼 수 없어요. 물건의 이름을 적어 주시거나 잠시 뒤에 다시 보내 주세요.",
        "en": "I cannot look at the photo at the moment. Tell me the name of the thing, or send it again in a while.",
    },
    "photo_no_waste": {
        "ko": "사진에서 버릴 물건을 찾지 못했어요. 물건이 잘 보이게 다시 찍거나 이름을 적어 주세요.",
        "en": "I see nothing to throw away in the photo. Take it again closer, or tell me the name of the thing.",
    },
    "photo_unsure": {
        "ko": "사진만으로는 무엇인지 알 수 없어요. 물건의 이름이나 재질을 적어 주시겠어요?",
        "en": "I cannot tell from the photo what it is. What is it called, or what is it made of?",
    },
    "photo_item": {
        "ko": "사진의 물건: {name} (맞지 않으면 이름을 알려 주세요).",
        "en": "In the photo: {name} (tell me its name if that is wrong).",
    },
    "photo_which": {
        "ko": "사진의 물건이 이 가운데 어느 것인가요? {names}",
        "en": "Which of these is the thing in the photo? {names}",
    },
    "photo_others": {"ko": "사진에 보이는 다른 물건: {names}.", "en": "Also in the photo: {names}."},
    "where": {
        "ko": "지금 계신 위치를 알려 주시면 가까운 곳을 찾아 드릴게요. 앱에서 위치를 허용하고 다시 물어봐 주세요.",
        "en": "Share your location and I will look for places nearby: allow it in the app and ask again.",
    },
    "places": {"ko": "가까운 곳이에요 ({what}).", "en": "The nearest {what}:"},
    "taken": {"ko": "{thing} – 이런 곳에서 모아요.", "en": "{thing}: taken at"},
    "no_places": {
        "ko": "주변 {km} km 안에서는 찾지 못했어요 ({what}). 주민센터나 지역번호+120에 물어보세요.",
        "en": "I found no {what} within {km} km. Ask your community centre or 120.",
    },
    "place_any": {"ko": "수거 장소", "en": "collection points"},
    "place_thing": {"ko": "{thing} 수거 장소", "en": "places that take it ({thing})"},
    "place_shop": {"ko": "제로웨이스트 가게", "en": "zero-waste shops"},
    "place_centre": {"ko": "재활용센터", "en": "reuse centres"},
    "open": {"ko": "지금 열려 있어요", "en": "open now"},
    "closed": {"ko": "지금은 닫혀 있어요", "en": "closed now"},
    "not_taken": {
        "ko": "{thing} – 따로 모으는 장소는 없어요. 사는 곳의 배출 방법대로 버려 주세요.",
        "en": "{thing} is not taken at special places: put it out where you live, as described.",
    },
    "points": {
        "ko": "포인트와 순위는 ‘내 정보’에서 볼 수 있어요. 재활용품을 비우고 헹궈 스캔하면 쌓여요.",
        "en": "Your profile shows your points and your rank. Empty and rinse recyclables and scan them to earn more.",
    },
    "character_of": {
        "ko": "‘{name}’ – 제대로 준비한 물건({type})을 스캔하면 만날 수 있는 캐릭터예요. “{dialog}”",
        "en": "You meet “{name}” when you scan {type} that is well prepared. “{dialog}”",
    },
    "character_first": {
        "ko": "‘{name}’ – 누구나 처음부터 함께하는 캐릭터예요. “{dialog}”",
        "en": "“{name}” is with everybody from the start. “{dialog}”",
    },
    "characters": {
        "ko": "재활용품을 비우고 헹궈 스캔하면 그 재질의 캐릭터를 얻어요: {names}. "
        "모은 캐릭터는 ‘내 정보’에서 볼 수 있어요.",
        "en": "Empty and rinse recyclables, scan them, and you earn the character of their material: {names}. "
        "Yours are shown in your profile.",
    },
    "weather": {
        "ko": "날씨는 여기서 알려 드릴 수 없어요. 기상청 날씨누리(weather.go.kr)를 확인해 주세요.",
        "en": "I cannot tell the weather here; see weather.go.kr.",
    },
    "weather_where": {
        "ko": "어느 곳의 날씨인가요? 도시 이름을 말해 주시거나 앱에서 위치를 허용해 주세요.",
        "en": "Which place do you mean? Name a city, or share your location in the app.",
    },
    "weather_abroad": {
        "ko": "한국의 날씨만 알려 드릴 수 있어요.",
        "en": "I can only tell the weather in Korea.",
    },
    "weather_unknown": {
        "ko": "그날의 예보는 아직 없어요. 오늘부터 {days}일 뒤까지 알려 드릴 수 있어요.",
        "en": "There is no forecast of that day yet: I know those of the next {days} days.",
    },
    "weather_dust": {
        "ko": "미세먼지는 여기서 알려 드릴 수 없어요. 에어코리아(airkorea.or.kr)를 확인해 주세요.",
        "en": "I cannot tell the air quality here; see airkorea.or.kr.",
    },
    "weather_of": {"ko": "{day} {place} 날씨: {told}.", "en": "Weather {day}, {place}: {told}."},
    "weather_degrees": {"ko": "기온 {low}~{high}도", "en": "{low} to {high} °C"},
    "weather_sky_1": {"ko": "대체로 맑음", "en": "mostly clear"},
    "weather_sky_3": {"ko": "구름 많음", "en": "cloudy"},
    "weather_sky_4": {"ko": "흐림", "en": "overcast"},
    "weather_falls_1": {"ko": "{hour}시쯤부터 비(확률 최고 {chance}%)", "en": "rain from {hour}:00 (up to {chance} %)"},
    "weather_falls_2": {
        "ko": "{hour}시쯤부터 비나 눈(확률 최고 {chance}%)",
        "en": "rain or snow from {hour}:00 (up to {chance} %)",
    },
    "weather_falls_3": {"ko": "{hour}시쯤부터 눈(확률 최고 {chance}%)", "en": "snow from {hour}:00 (up to {chance} %)"},
    "weather_falls_4": {
        "ko": "{hour}시쯤부터 소나기(확률 최고 {chance}%)",
        "en": "showers from {hour}:00 (up to {chance} %)",
    },
    "weather_maybe": {"ko": "비나 눈이 올 수 있음(확률 {chance}%)", "en": "rain or snow possible ({chance} %)"},
    "weather_dry": {"ko": "비 소식 없음(강수 확률 최고 {chance}%)", "en": "no rain expected (up to {chance} %)"},
    "weather_source": {"ko": "출처: {source}", "en": "Source: {source}"},
    "bulk_waste": {
        "ko": "수수료는 구마다 달라서 여기에는 자료가 없어요. 구청 홈페이지나 지역번호+120에 품목과 크기로 확인하세요.",
        "en": "Fees differ by district and I have no data on them: check your district's site or call 120.",
    },
    "fee_which_thing": {
        "ko": "어떤 물건의 수수료가 궁금하세요? 물건의 이름과 크기를 알려 주세요.",
        "en": "Which thing is it? Tell me its name and size.",
    },
    "fee_which_district": {
        "ko": "{name}: 수수료는 지역마다 달라요. 어느 시·군·구에 사세요?",
        "en": "{name}: fees differ by district. Which one do you live in?",
    },
    "fee_unknown": {
        "ko": "{district}의 {name} 수수료는 자료에 없어요. 구청 홈페이지나 지역번호+120에 품목과 크기로 확인하세요.",
        "en": "I have no fee for {name} in {district}: check your district's site or call 120.",
    },
    "fees": {"ko": "{district} 대형폐기물 수수료예요.", "en": "Fees for bulky waste in {district}:"},
    "fee_apply": {
        "ko": "신청은 구청 홈페이지나 주민센터에서 하고, 신고필증을 붙여 정한 날에 내놓으세요.",
        "en": "Apply on the site of your district or at the community centre; put it out with the sticker that day.",
    },
    "prices": {"ko": "재활용품 시세예요.", "en": "Prices of recyclables:"},
    "price_unknown": {
        "ko": "물어보신 것의 시세는 자료에 없어요. 아는 것은 이만큼이에요.",
        "en": "I have no price of that. This is what I know.",
    },
    "price_varies": {
        "ko": "고물상마다, 날마다 달라요.",
        "en": "It differs from one dealer to the next, and from day to day.",
    },
    "list_source": {"ko": "출처: {sources} ({date} 기준)", "en": "Source: {sources}, as of {date}"},
    "list_sample": {
        "ko": "※ 시험용으로 지어낸 견본 값이에요. 실제 값이 아니에요.",
        "en": "Note: these are made-up sample values for trying the app, not real ones.",
    },
    "recyclable_price": {
        "ko": "재활용품 시세는 여기서 알려 드릴 수 없어요. 순환자원정보센터(re.or.kr)에서 볼 수 있어요.",
        "en": "I cannot tell prices of recyclables here; see re.or.kr.",
    },
    "web_search": {
        "ko": "인터넷 검색은 여기서 할 수 없어요. 분리배출이 궁금하면 물건의 이름을 말해 주세요.",
        "en": "I cannot search the web here. For sorting, name the thing.",
    },
    "web_pages": {"ko": "찾은 곳이에요.", "en": "What I found:"},
    "web_nothing": {
        "ko": "인터넷에서 알려 드릴 만한 것을 찾지 못했어요. 분리배출이 궁금하면 물건의 이름을 말해 주세요.",
        "en": "I found nothing on the web that I can pass on. For sorting, name the thing.",
    },
    "image_generation": {
        "ko": "그림은 여기서 만들 수 없어요. 분리배출이 궁금하면 물건의 이름을 말해 주세요.",
        "en": "I cannot make pictures here. For sorting, name the thing.",
    },
    "picture": {
        "ko": "말씀하신 대로 AI가 만든 그림이에요. 사진이나 안내가 아니니, 배출 방법은 그림 말고 안내를 따라 주세요.",
        "en": "A picture made by AI from your words. It is no photo and no guidance: for sorting follow the rules.",
    },
    "picture_refused": {
        "ko": "이 그림은 만들어 드릴 수 없어요. 분리배출이나 캐릭터에 관한 다른 그림을 말해 주세요.",
        "en": "I cannot make this picture. Ask for another one, about sorting or the characters.",
    },
    "picture_spent": {
        "ko": "오늘 만들 수 있는 그림을 다 만들었어요. 내일 다시 부탁해 주세요.",
        "en": "That is all I can draw today; please ask again tomorrow.",
    },
    "picture_away": {
        "ko": "지금은 그림을 만들지 못했어요. 잠시 뒤에 다시 부탁해 주세요.",
        "en": "I could not make the picture now; please ask again in a while.",
    },
    "away": {
        "ko": "지금은 이 부분을 알아볼 수 없어요. 잠시 뒤에 다시 물어봐 주세요.",
        "en": "I cannot find that out at the moment; please ask again in a while.",
    },
}


def say(key: str, lang: Lang, **values: object) -> str:
    return TEXTS[key][lang].format(**values)
