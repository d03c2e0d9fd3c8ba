"""One thread in all tests: sums are taken in the same order, so that equal means bit-equal.

Small models gain nothing from more, and lose much where other work shares the cores.
"""

import torch

torch.set_num_threads(1)
