"""One request, rendered.

plan.py     from the request to its jobs: names resolved, pictures decoded, defaults filled in
job.py      what is to be rendered
scripts/    the scripts that make several jobs of one request, or of one job's results
process.py  a job, batch by batch: passes.py through the samplers, hires.py and img2img.py around them
result.py   what comes out
"""

from __future__ import annotations
