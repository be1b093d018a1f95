"""What acts through the UNet's attention: pictures as prompts (IP-Adapter), and reference pictures.

    clip_vision.py     a picture -> CLIP's view of it: pixels.py, clip_vision_names.py
    ip_adapter.py      an IP-Adapter's file: projections.py (CLIP's view -> tokens), keys and values per layer
    image_prompt.py    one unit with an IP-Adapter: tokens, weights, window, region
    reference.py       one unit with a reference picture: reference_only, reference_adain, …
    attach.py          the context manager that lets units act on a checkpoint's UNet while a pass lasts
    layers.py          which attention layers a UNet has, in which orders

Everything is done with forward hooks, which are gone after the pass however it ended; the UNet's attention
processors and weights are never touched, so LoRAs, hypernetworks and ControlNets go together with it.
"""
