"""The HTTP and WebSocket edge of Easel: two client dialects in front of one queue, no torch."""
