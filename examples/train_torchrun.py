"""Train one model in several processes, on a Parquet file or folder of interactions.

Run it with
``torchrun --standalone --nproc-per-node 2 examples/train_torchrun.py log.parquet model``.
"""

import argparse
import os

from skmind import MINDRecommender


def main():
    """Fit, and save the model; torchrun starts this function in every process."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("log", help="Parquet file or folder: user_id, item_id, timestamp")
    parser.add_argument("model", help="folder of the model; all processes must see it")
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--checkpoints", help="folder from which a fit that was stopped continues")
    a = parser.parse_args()
    rec = MINDRecommender(
        max_epochs=a.epochs, checkpoint_dir=a.checkpoints, random_state=0, verbose=1
    )
    digest = rec.fit(a.log).save(a.model)  # all processes save; together they write one model
    if os.environ.get("RANK", "0") == "0":
        print(f"{len(rec.items_)} items, loss {rec.history_[-1]['loss']:.3f}, sha256 {digest}")


if __name__ == "__main__":
    main()
