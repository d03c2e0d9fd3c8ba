"""Directory written by `export_onnx` → recommendations, with only onnxruntime and numpy.

python serve_onnx.py DIRECTORY '[["an item", "a newer item"], []]'
"""

import json
import sys
from pathlib import Path

import numpy as np
import onnxruntime


class Server:
    """User tower, item vectors and ids of an exported directory."""

    def __init__(self, directory):
        arrays = {path.stem: np.load(path, mmap_mode="r") for path in Path(directory).glob("*.npy")}
        self.ids = arrays["item_ids"]
        self.vectors = arrays["item_vectors"]
        self.shares = arrays["item_counts"] / max(arrays["item_counts"].sum(), 1)
        self.codes = {item: code for code, item in enumerate(self.ids.tolist())}
        self.about = json.loads((Path(directory) / "about.json").read_text(encoding="utf-8"))
        self.tower = onnxruntime.InferenceSession(Path(directory) / "user_tower.onnx")

    def recommend(self, histories, k=10, users=None):
        """Return the best `k` unseen items for each list of ids, as pairs of id and score.

        A list is a history, oldest item first.
        """
        if not len(histories):
            return []
        # Leave out unknown ids, so that only valid codes reach the graph.
        seen = [[self.codes[i] for i in ids if i in self.codes] for ids in histories]
        lengths = np.array([min(len(codes), self.about["max_history"]) for codes in seen])
        history = np.zeros((len(seen), max(lengths.max(), 1)), dtype=np.int64)
        for row, codes, n in zip(history, seen, lengths, strict=True):
            row[:n] = codes[::-1][:n]  # newest first
        inputs = {"history": history, "lengths": lengths}
        if self.about["user_features"]:
            users = users or [{}] * len(seen)
            inputs["features"] = np.array([self.features(user) for user in users], np.float32)
        interests, used = self.tower.run(None, inputs)
        cosines = np.where(used[..., None], interests @ self.vectors.T, -np.inf)
        scores = self.scores(cosines)
        scores[~used.any(1)] = self.shares  # without an interest: the most frequent items
        for row, codes in zip(scores, seen, strict=True):
            row[codes] = -np.inf
        best = np.argsort(-scores, axis=1, kind="stable")[:, :k]
        return [
            [(self.ids[code].item(), float(row[code])) for code in top if row[code] > -np.inf]
            for row, top in zip(scores, best, strict=True)
        ]

    def scores(self, cosines):
        """Return the soft maximum over the interests of each user."""
        highest = cosines.max(1)
        t = self.about["score_temperature"]
        if t is None:
            return highest
        with np.errstate(invalid="ignore"):  # users without an interest
            powers = np.exp((cosines - highest[:, None]) / t)
        n_used = (cosines[:, :, 0] > -np.inf).sum(1)
        return highest + t * np.log(powers.sum(1) / np.maximum(n_used, 1)[:, None])

    def features(self, user):
        """Return a user's feature vector, scaled by the number of features with a known value."""
        blocks = []
        n_known = 0
        for feature in self.about["user_features"]:
            value = user.get(feature["name"])
            values = feature["values"]
            if feature["kind"] in ("number", "vector"):
                means, scales = np.reshape(values, (-1, 2)).T
                numbers = (np.array(np.nan if value is None else value, float) - means) / scales
                known = ~np.isnan(numbers)
                block = np.column_stack([np.where(known, numbers, 0), known]).ravel()
                n_known += known.sum()
            else:
                chosen = value if isinstance(value, list) else [value]
                block = np.isin(np.array(values, object), np.array(chosen, object))
                block = block / max(block.sum(), 1)
                n_known += block.any()
            blocks.append(block)
        return np.concatenate(blocks) / max(n_known, 1)


if __name__ == "__main__":
    for row in Server(sys.argv[1]).recommend(json.loads(sys.argv[2])):
        print(json.dumps(row))
