"""``/internal``: the calls by which the A1111 page follows one task."""
