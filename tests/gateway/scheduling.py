"""A client of the scheduler's API."""

from __future__ import annotations

from typing import Any

from .conftest import RunningGateway

ROOT = "/agent-scheduler/v1"
NOT_FOUND = {"success": False, "message": "Task not found"}


async def call(gateway: RunningGateway, method: str, path: str, user: str = "", **how: Any) -> Any:
    """One call's JSON; every one of them is answered with 200."""
    headers = {"Authorization": f"secret-{user}"} if user else {}
    response = await gateway.client.request(method, ROOT + path, headers=headers, **how)
    assert response.status_code == 200, response.text
    return response.json()


async def submit(gateway: RunningGateway, user: str = "", **body: Any) -> str:
    answer = await call(gateway, "POST", "/queue/txt2img", user, json={"prompt": "a cat", **body})
    return str(answer["task_id"])


async def pending(gateway: RunningGateway, user: str = "") -> list[str]:
    page = await call(gateway, "GET", "/queue", user)
    assert page["total_pending_tasks"] == len(page["pending_tasks"])
    return [task["id"] for task in page["pending_tasks"]]
