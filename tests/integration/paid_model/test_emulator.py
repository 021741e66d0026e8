"""The emulated provider behaves as the real API, and as it is told."""

import time
from pathlib import Path
from typing import Any

import httpx2
import pytest
from openai import AsyncOpenAI, BadRequestError

from eco2.knowledge import grounding
from eco2.local import config
from eco2.local.emulators import llm as llm_emulator
from eco2.local.supervisor import Supervisor
from tests.llm_emulator import Emulator
from tests.redis_server import free_port


async def test_the_emulator_serves_the_official_client_streaming_and_not(emulator: Emulator) -> None:
    async with AsyncOpenAI(api_key="k", base_url=emulator.base_url, max_retries=0) as client:
        messages: Any = [{"role": "user", "content": "안녕"}]
        whole = await client.chat.completions.create(model="m", messages=messages)
        assert whole.choices[0].message.content == llm_emulator.REPLY
        parts = [part async for part in await client.chat.completions.create(model="m", messages=messages, stream=True)]
        assert "".join(part.choices[0].delta.content or "" for part in parts if part.choices) == llm_emulator.REPLY
        assert parts[-1].usage
        parsed = await client.chat.completions.parse(model="m", messages=messages, response_format=grounding.Selection)
        assert parsed.choices[0].message.parsed == grounding.Selection(facts=[])


async def test_the_emulator_refuses_what_the_real_api_refuses(emulator: Emulator) -> None:
    loose: Any = {"type": "json_schema", "json_schema": {"name": "a", "schema": {"type": "object", "properties": {}}}}
    async with AsyncOpenAI(api_key="k", base_url=emulator.base_url, max_retries=0) as client:
        with pytest.raises(BadRequestError, match="additionalProperties"):
            await client.chat.completions.create(
                model="m", messages=[{"role": "user", "content": "?"}], response_format=loose
            )
    response = await emulator.http.post("/_control", json={"vision": {"rates": {"flood": 1}}})
    assert response.status_code == 422


async def test_a_stream_keeps_its_rate_and_tells_when_each_piece_was_sent(emulator: Emulator) -> None:
    told = await emulator.behave(**{"*": {"tokens": ["하나 ", "{ms} ", "셋"], "per_second": 20}})
    assert told["*"]["per_second"] == 20
    began = time.monotonic()
    async with AsyncOpenAI(api_key="k", base_url=emulator.base_url, max_retries=0) as client:
        messages: Any = [{"role": "user", "content": "안녕"}]
        parts = [part async for part in await client.chat.completions.create(model="m", messages=messages, stream=True)]
    ended = time.monotonic()
    said = [part.choices[0].delta.content for part in parts if part.choices and part.choices[0].delta.content]
    assert (said[0], len(said), said[2]) == ("하나 ", 3, "셋")
    assert 1000 * began + 50 <= int(str(said[1])) + 1 <= 1000 * ended + 1
    assert ended - began >= 3 / 20
    assert (await emulator.calls())["streamed"] == 3


async def test_latency_is_log_normal_around_its_median_and_repeats_with_the_seed() -> None:
    behaviour = llm_emulator.REALISTIC["vision"]
    one, other = llm_emulator.Emulator(seed=5), llm_emulator.Emulator(seed=5)
    drawn = sorted(one.latency(behaviour) for _ in range(999))
    assert drawn == sorted(other.latency(behaviour) for _ in range(999))
    assert drawn[499] == pytest.approx(3, rel=0.05)
    assert drawn[949] == pytest.approx(3 * 1.51, rel=0.1)


async def test_it_is_a_unit_of_the_local_stack(tmp_path: Path) -> None:
    at = config.layout(tmp_path, port_base=free_port() - llm_emulator.PORT_OFFSET)
    supervisor = Supervisor([llm_emulator.unit(at, "--realistic")], at.home)
    try:
        await supervisor.start()
        await supervisor.wait_ready(30)
        url = llm_emulator.base_url(at).removesuffix("/v1")
        async with httpx2.AsyncClient(base_url=url) as http:
            assert (await http.post("/_control", json={})).json()["vision"]["median"] == 3
            for strange in ({"Origin": "https://evil.example"}, {"Host": "evil.example"}):
                assert (await http.post("/_control", content="{}", headers=strange)).status_code == 403
                assert (await http.delete("/_calls", headers=strange)).status_code == 403
    finally:
        await supervisor.stop()
