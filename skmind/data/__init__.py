"""Tables → integer codes, flat histories, feature matrices and training batches."""
