"""The `easel` command: one machine's supervisor, single parts for containers, and the doctor."""
