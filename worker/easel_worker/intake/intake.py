"""The one door for pictures of requests."""

from __future__ import annotations

from PIL import Image

from easel_contract.images import ImageRules, base64_part, decode_base64, is_url, too_large
from easel_worker.intake.decode import decode_image
from easel_worker.intake.fetch import Fetcher


class Intake:
    """Opens pictures under the operator's rules. One per worker; threads may share it.

    Args:
        rules: What is accepted.
        fetcher: Fetches URLs; by default from public addresses, as `rules` say.
    """

    def __init__(self, rules: ImageRules, fetcher: Fetcher | None = None) -> None:
        self.rules = rules
        self._fetcher = fetcher or Fetcher(rules)

    def open(self, text: str, *, field: str) -> Image.Image:
        """A picture given as raw base64, data URI or http(s) URL.

        Args:
            text: As the client sent it.
            field: Dotted path of its field, for errors: ``init_images.0``.

        Returns:
            RGB, or RGBA when it has transparency; texts of the file in ``.info``.

        Raises:
            ContractError: 422, naming `field`.
        """
        data = self.read(text, field=field)
        return decode_image(data, field=field, max_pixels=self.rules.max_pixels)

    def read(self, text: str, *, field: str) -> bytes:
        """The picture's file as it came, not decoded.

        Raises:
            ContractError: as `open`.
        """
        if is_url(text):
            return self._fetcher.fetch(text, field=field)
        data = decode_base64(base64_part(text, field=field, max_bytes=self.rules.max_bytes), field=field)
        if len(data) > self.rules.max_bytes:
            raise too_large(field, self.rules.max_bytes)
        return data
