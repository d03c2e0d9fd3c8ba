"""A fitted model ↔ files: the format of skmind, and ONNX."""
