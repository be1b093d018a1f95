"""Small files that change a checkpoint's weights: LoRA and its relatives.

file ──► `keys` (which tensor is whose) ──► `kinds` (what each does to a weight) ──► `file` (read, remembered)
checkpoint ──► `targets` (its modules by all names that files use) ──► `merging` (new weights, summed in fp32)
`adapters` puts new weights in a checkpoint's place and its own ones back.
"""
