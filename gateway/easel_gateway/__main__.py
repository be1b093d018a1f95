"""``python -m easel_gateway``: run the gateway alone, configured by EASEL_* variables."""

from __future__ import annotations

from easel_gateway.server import main

if __name__ == "__main__":
    main()
