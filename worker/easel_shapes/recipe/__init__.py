"""How the shipped model is made and judged: drawings, captions, training, export, evaluation.

`python -m easel_shapes.recipe all --out DIR` makes it from nothing.
"""
