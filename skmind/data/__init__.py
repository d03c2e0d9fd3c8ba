"""Tables → integer codes, histories as one flat array, feature matrices and training batches."""
