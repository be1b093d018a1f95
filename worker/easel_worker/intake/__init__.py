"""Pictures that come in: decoded with limits, or fetched by URL from public addresses only.

    text ── is_url ──► fetch.py ──► bytes ──► decode.py ──► PIL picture, RGB or RGBA
         └─ base64 ──────────────────┘
              fetch.py: addresses.py (names to checked addresses), connection.py (to exactly these)

Runs in the prefetch stage, never on the torch thread. Everything that is wrong with a picture is a
`ContractError` that names its field.
"""

from __future__ import annotations

from easel_worker.intake.intake import Intake

__all__ = ["Intake"]
