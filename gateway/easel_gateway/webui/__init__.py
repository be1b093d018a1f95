"""The page at ``/``: plain HTML, no external request."""
