"""The scripts of A1111 that make several generations of one request: from script and job to a result."""

from __future__ import annotations
