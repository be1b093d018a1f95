"""The ControlNet extension's addresses."""
