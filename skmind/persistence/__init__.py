"""A fitted model ↔ files: its own format, and ONNX."""
