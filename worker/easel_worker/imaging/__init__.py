"""The arithmetic of pictures around the model: numpy and Pillow, no torch.

    init image, mask ──> inpainting.py ──> what the VAE and the sampler get, and `finish` for the result
                           ├── resize.py    fit a picture to the job's size
                           ├── masks.py     read, invert, blur a mask; its latent form
                           ├── regions.py   "only masked": the part of the picture to render
                           ├── fill.py      masked content "fill"
                           └── overlay.py   put a result back over the original
    color.py           colour correction (LAB histograms)
    soft_composite.py  the last step of soft inpainting
    outpainting.py, spectral.py, tiles.py   the scripts' pictures
    levels.py, gaussian.py   what the others compute with
    captions.py        labels around a grid
    hires_size.py      sizes of the hires fix

Pictures are Pillow images ("RGB" unless said), masks are "L": 255 is repainted, 0 is kept.
"""
