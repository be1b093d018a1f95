"""The language of prompts, as AUTOMATIC1111's users write it; what it means is in `docs/prompts.md`.

    comments.py      "#" to the end of a line is no prompt
    networks.py      <lora:name:0.8> is cut out and read
    composition.py   a cat AND a dog :0.5      -> parts with weights
    editing.py       [cat:dog:0.5], [cat|dog]  -> which text is active until which step
    attention.py     (cat:1.3), [dog], BREAK   -> spans of text with weights

Applied in this order, after styles (`easel_contract.styles`). Plain functions on text: no torch, no files.
Each takes time linear in the prompt's length and uses no recursion, because prompts come from strangers: a
megabyte of brackets is a slow prompt, not a dead worker. No prompt is wrong; what fits no form is text.
"""
