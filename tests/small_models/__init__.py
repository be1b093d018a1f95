"""Small files of every kind that users bring, made by deterministic helpers in seconds."""
