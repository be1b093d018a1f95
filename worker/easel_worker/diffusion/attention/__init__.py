"""What acts through the UNet's attention: pictures as prompts (IP-Adapter), reference pictures, Revision.

    attach.py          the context manager that lets units act on a checkpoint's UNet while a pass lasts
      ├── units.py         what a unit asks: ImagePrompt, Reference, Revision
      ├── image_prompt.py  an IP-Adapter beside the texts' attention
      ├── reference.py     reference_only, reference_adain, reference_adain+attn
      ├── revision.py      a picture's embedding for SDXL's pooled text
      └── layers.py        which attention layers a UNet has, in which orders
    ip_adapter.py      an IP-Adapter's file: keys and values per layer, and projections.py (CLIP's view ->
                       tokens)
    clip_vision.py     CLIP's image encoders: pixels.py, clip_vision_names.py

Everything is done with forward hooks, which are gone after the pass however it ended. Attention processors
and weights are never touched, so LoRAs, hypernetworks and ControlNets go together with it.
"""
