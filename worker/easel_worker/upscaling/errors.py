"""What can be wrong with a network's file or with this installation.

WeightsError      a file cannot be used: broken, of an unknown kind, or a pickle that is not allowed.
"""

from __future__ import annotations


class WeightsError(Exception):
    """A network cannot be loaded; the message names the file and says what would be right."""
