"""A1111's options: which there are, which values they take, and what a task sees of them.

`RenderOptions`   everything that a worker looks at, frozen, attributes named as A1111's keys
`effective`       the options of one task: the service's, its own `override_settings` over them
`check_options`   a client's partial object, checked whole
`OPTIONS`         the table of all keys
"""

from easel_contract.options.checking import Checked, check_options, effective
from easel_contract.options.render import RenderOptions
from easel_contract.options.table import COMPUTED, OPTIONS, SECTIONS, Effect, Option, defaults

__all__ = [
    "COMPUTED",
    "OPTIONS",
    "SECTIONS",
    "Checked",
    "Effect",
    "Option",
    "RenderOptions",
    "check_options",
    "defaults",
    "effective",
]
