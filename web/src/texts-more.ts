// Texts of the pages besides scan and guide.
export const MORE_TEXTS = {
  "rules.title": ["분리배출 찾아보기", "Look up an item"],
  "rules.lead": ["물건 이름을 적어 보세요. 첫소리만 적어도 돼요.", "Type the name of a thing."],
  "rules.search": ["물건 이름", "Name of the thing"],
  "rules.none": ["‘{0}’ 이름은 아직 목록에 없어요.", "“{0}” is not in the list yet."],
  "rules.found": ["{0}개를 찾았어요", "{0} found"],
  "rules.all": ["전체 목록", "All items"],
  "rules.ask": ["물어보기", "Ask"],
  "rules.scan": ["사진으로 알아보기", "Scan a photo"],

  "missing.title": ["여기에는 아무것도 없어요", "There is nothing here"],
  "missing.lead": ["주소가 바뀌었거나 잘못 적혔어요.", "The address is wrong or has changed."],
} as const satisfies Record<string, readonly [string, string]>;
