"""What pai-python-sdk's asynchronous predictor requires."""

from __future__ import annotations

import io
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from .pai_client import AsyncPredictor, PredictionError
from .service import TOKEN, Service

TURN = "/acceptance/turn"


def array_file() -> bytes:
    """An array as NumPy saves it, which is what the SDK's serializer sends."""
    file = io.BytesIO()
    np.save(file, np.linspace(-1, 1, 1000, dtype=np.float32).reshape(10, 100))
    return file.getvalue()


@pytest.mark.parametrize("payload", [array_file(), bytes(range(256)), b"\0", "大きさ".encode()])
def test_binary_payloads_survive_both_ways(easel: Service, payload: bytes) -> None:
    assert AsyncPredictor(easel, TURN).predict(payload) == payload[::-1]


def test_a_second_call_has_the_result_of_the_first(easel: Service) -> None:
    predictor = AsyncPredictor(easel, TURN)
    assert predictor.predict(array_file()) == predictor.predict(array_file())


def test_calls_at_the_same_time_get_their_own_results(easel: Service) -> None:
    predictor = AsyncPredictor(easel, TURN)
    bodies = [f"body {number}".encode() for number in range(24)]
    with ThreadPoolExecutor(8) as threads:
        assert list(threads.map(predictor.predict, bodies)) == [body[::-1] for body in bodies]
    assert easel.length() == 0, "what was read by its id is removed"


def test_while_there_is_no_result_the_answer_is_204_at_once(store: Service) -> None:
    predictor = AsyncPredictor(store)
    request_id = predictor.put(b"nobody works here")
    assert [predictor.look(request_id) for _ in range(3)] == [None] * 3


def test_a_failure_carries_its_status_in_last_code(easel: Service) -> None:
    with pytest.raises(PredictionError) as failed:
        AsyncPredictor(easel, "/easel/v1/echo").predict(b'{"sleep_s": -1}')
    assert failed.value.code == 422
    assert b"sleep_s" in failed.value.content
    with pytest.raises(PredictionError) as missing:
        AsyncPredictor(easel, "/no/such/path").predict(b"x")
    assert missing.value.code == 404


def test_a_bearer_token_opens_the_synchronous_address(easel: Service) -> None:
    """The SDK makes an OpenAI client of the service, which sends the token so."""
    path, body = f"{easel.path()}.sync/sdapi/v1/txt2img", {"prompt": "x"}
    right = easel.http.post(path, json=body, headers={"Authorization": f"Bearer {TOKEN}"})
    assert (right.status_code, right.json()[0]["output"]) == (200, "seen")
    wrong = easel.http.post(path, json=body, headers={"Authorization": "Bearer wrong-token"})
    assert wrong.status_code == 401
