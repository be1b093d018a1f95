"""The Prometheus metrics of one gateway process."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.platform_collector import PlatformCollector
from prometheus_client.process_collector import ProcessCollector

from easel_queue import Attributes

LATENCY_BUCKETS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300)
"""From a put (about a millisecond) to a synchronous render (minutes)."""


class Metrics:
    """Counters of this process, and gauges of the queue that are set just before a scrape is answered.

    A registry of its own: several applications may live in one process, as in tests.
    """

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        ProcessCollector(registry=self._registry)
        PlatformCollector(registry=self._registry)
        self._requests = Counter(
            "easel_http_requests",
            "HTTP requests answered.",
            ("route", "method", "status"),
            registry=self._registry,
        )
        self._latency = Histogram(
            "easel_http_request_seconds",
            "Time from the request's head to the end of its answer.",
            ("route", "method"),
            buckets=LATENCY_BUCKETS_S,
            registry=self._registry,
        )
        # As many as the metrics have lines: looking a line up by its labels costs more than counting.
        self._known: dict[tuple[str, str, int], tuple[Counter, Histogram]] = {}
        self.sockets = self._gauge("easel_watch_sockets", "Watchers connected to this process.")
        self._waiting = self._gauge("easel_tasks_waiting", "Tasks that wait for a worker.")
        self._leased = self._gauge("easel_tasks_leased", "Tasks that a worker has reserved or runs.")
        self._sink = self._gauge("easel_sink_length", "Results in the sink, not yet committed.")
        self._dead = self._gauge("easel_dead_letters", "Tasks given up.")
        self._watchers = self._gauge("easel_watchers", "Consumers of the sink, over all gateways.")
        self._workers = self._gauge("easel_workers", "Workers with a fresh heartbeat.")
        self._redis = self._gauge("easel_redis_up", "1 when Redis answered this scrape.")

    def observe(self, route: str, method: str, status: int, seconds: float) -> None:
        """Count one answered request."""
        kind = (route, method, status)
        known = self._known.get(kind)
        if known is None:
            known = self._requests.labels(route, method, str(status)), self._latency.labels(route, method)
            self._known[kind] = known
        count, latency = known
        count.inc()
        latency.observe(seconds)

    def set_queue(self, *, source: Attributes, sink: Attributes, dead: int, workers: int) -> None:
        """Take over the queue's present counts."""
        self._redis.set(1)
        self._waiting.set(source.waiting)
        self._leased.set(source.leased)
        self._sink.set(sink.length)
        self._dead.set(dead)
        self._watchers.set(len(sink.watchers))
        self._workers.set(workers)

    def lose_queue(self) -> None:
        """Redis did not answer: the queue's gauges keep their last values and ``easel_redis_up`` says so."""
        self._redis.set(0)

    def render(self) -> bytes:
        """The text exposition format."""
        return generate_latest(self._registry)

    def _gauge(self, name: str, text: str) -> Gauge:
        return Gauge(name, text, registry=self._registry)
