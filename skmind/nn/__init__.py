"""MIND as a torch module: capsule routing, label-aware attention, sampled softmax."""
