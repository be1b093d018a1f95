"""The queues that Easel is compared with: an adapter for each, in an environment of its own."""
