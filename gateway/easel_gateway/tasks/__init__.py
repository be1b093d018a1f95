"""Our own dialect, ``/easel/v1``: tasks by request id, and the workers."""
