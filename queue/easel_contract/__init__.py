"""What travels between gateway and worker: requests, results, progress, errors, and shared settings."""
