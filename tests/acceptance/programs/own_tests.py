"""The tests that ship inside the SDK, as they are: alphabetical, with one pair of clients for all."""

from __future__ import annotations

import os
import sys
import unittest

from eas_prediction import test_queue_client as shipped
from session import main, row


@row
def every_test() -> dict[str, int]:
    """Run them against the service under test; only the address and the token are set."""
    service = os.environ["SERVICE"]
    shipped.QueueEndpoint = os.environ["ENDPOINT"]
    shipped.QueueName, shipped.SinkQueueName = service, f"{service}/sink"
    shipped.QueueToken = os.environ["TOKEN"]
    suite = unittest.defaultTestLoader.loadTestsFromModule(shipped)
    result = unittest.TextTestRunner(stream=sys.stderr, verbosity=2).run(suite)
    assert result.wasSuccessful()
    return {"run": result.testsRun, "skipped": len(result.skipped)}


if __name__ == "__main__":
    main()
