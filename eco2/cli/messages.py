"""Refusals in words for a citizen: the server's code → a sentence with what to do."""

BY_CODE = {
    "IMAGE_TYPE_NOT_SUPPORTED": "사진 파일이 아니에요. JPEG, PNG, WebP, HEIC, GIF 사진을 골라 주세요.",
    "IMAGE_TOO_LARGE": "사진이 너무 커요. 15 MB, 6,400만 화소 이하의 사진을 골라 주세요.",
    "IMAGE_UNREADABLE": "사진이 깨져서 열 수 없어요. 다시 찍거나 다른 사진을 골라 주세요.",
    "IMAGE_NOT_FOUND": "올린 사진을 찾을 수 없어요. 다시 올려 주세요.",
    "UNSUPPORTED_MODEL": "쓸 수 없는 모델이에요.",
    "TOO_MANY_JOBS": "지금은 기다리는 사진이 너무 많아요. 잠시 뒤에 다시 해 주세요.",
    "TOO_MANY_PAID_SCANS": "오늘 쓸 수 있는 분석 예산을 다 썼어요. 내일 다시 보내 주세요.",
    "TOO_MANY_OPEN_JOBS": "한 번에 분석할 수 있는 사진 수를 넘었어요. 앞의 사진이 끝나면 다시 보내 주세요.",
    "TOO_MANY_SCANS": "오늘 분석할 수 있는 사진 수를 넘었어요. 내일 다시 보내 주세요.",
    "TOO_MANY_TICKETS": "짧은 시간에 사진을 너무 많이 올렸어요. 잠시 뒤에 다시 올려 주세요.",
    "TOO_MANY_QUESTIONS": "짧은 시간에 질문이 너무 많아요. 잠시 뒤에 다시 물어봐 주세요.",
    "TOO_MANY_REQUESTS": "요청이 너무 많아요. 잠시 뒤에 다시 해 주세요.",
    "SCAN_UNAVAILABLE": "지금은 스캔을 받을 수 없어요. 잠시 뒤에 다시 해 주세요.",
    "STORAGE_UNAVAILABLE": "지금은 사진을 저장할 수 없어요. 잠시 뒤에 다시 해 주세요.",
    "BROKER_UNAVAILABLE": "지금은 스캔을 받을 수 없어요. 잠시 뒤에 다시 해 주세요.",
    "UNAVAILABLE": "잠시 문제가 생겼어요. 잠시 뒤에 다시 해 주세요.",
    "INTERNAL_ERROR": "서버에서 문제가 생겼어요. 잠시 뒤에 다시 해 주세요.",
    "RESULT_NOT_FOUND": "그런 스캔이 없어요. 작업 번호와 사용자를 확인해 주세요.",
    "JOB_NOT_FOUND": "그런 스캔이 없어요. 작업 번호와 사용자를 확인해 주세요.",
    "CHOICE_NOT_NEEDED": "이미 끝난 스캔이라 고를 필요가 없어요.",
    "UNKNOWN_CATEGORY": "그런 이름의 품목이 없어요. 후보 가운데 하나나 다른 이름을 적어 주세요.",
    "CHAT_NOT_FOUND": "그런 대화가 없어요. 대화 번호와 사용자를 확인해 주세요.",
    "CHAT_BUSY": "앞의 질문에 답하고 있어요. 답변이 끝나면 다시 보내 주세요.",
    "TOO_MANY_CHATS": "오늘 만들 수 있는 대화 수를 넘었어요. 앞의 대화에서 이어서 물어봐 주세요.",
    "TOO_MANY_MESSAGES": "오늘 보낼 수 있는 메시지 수를 넘었어요. 내일 다시 보내 주세요.",
    "SCANS_UNAVAILABLE": "지금은 스캔을 확인할 수 없어요. 잠시 뒤에 다시 하거나 스캔 없이 시작해 주세요.",
    "UNAUTHORIZED": "로그인이 필요해요. 토큰이 이 서버의 것인지 확인해 주세요.",
    "MISSING_USER_ID": "로그인이 필요해요. 토큰이 이 서버의 것인지 확인해 주세요.",
}


def sentence(code: str, detail: str) -> str:
    """Ours where there is one, else the server's own words; the code stays for whoever asks for help."""
    return f"{BY_CODE.get(code, detail)} ({code})"
