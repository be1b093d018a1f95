"""``/agent-scheduler/v1``: the API of A1111's task scheduler, spoken over our queue."""
