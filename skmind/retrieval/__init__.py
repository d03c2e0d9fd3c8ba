"""Interest vectors → the k best items of each user, exactly or by an approximate index."""
