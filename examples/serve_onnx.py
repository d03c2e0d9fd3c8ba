"""What `export_onnx` wrote → recommendations, by onnxruntime and numpy alone.

python serve_onnx.py DIRECTORY '[["an item", "a newer item"], []]'
"""

import json
import sys
from pathlib import Path

import numpy as np
import onnxruntime


class Server:
    """The user tower, the item vectors and the ids of an exported directory."""

    def __init__(self, directory):
        read = {path.stem: np.load(path, mmap_mode="r") for path in Path(directory).glob("*.npy")}
        self.ids, self.vectors, counts = (read[f"item_{x}"] for x in ("ids", "vectors", "counts"))
        self.shares = counts / max(counts.sum(), 1)
        self.codes = {item: code for code, item in enumerate(self.ids.tolist())}
        self.about = json.loads((Path(directory) / "about.json").read_text(encoding="utf-8"))
        self.tower = onnxruntime.InferenceSession(Path(directory) / "user_tower.onnx")

    def recommend(self, histories, k=10, users=None):
        """The best `k` unseen items of each list of ids, oldest first, as pairs of id and score."""
        if not len(histories):
            return []
        # ids that are not known are passed over, so only codes from 0 on reach the graph
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
        scores = np.where(used[..., None], interests @ self.vectors.T, -np.inf).max(1)
        scores[~used.any(1)] = self.shares  # nothing is known of them: the most frequent items
        for row, codes in zip(scores, seen, strict=True):
            row[codes] = -np.inf
        best = np.argsort(-scores, axis=1, kind="stable")[:, :k]
        return [
            [(self.ids[code].item(), float(row[code])) for code in top if row[code] > -np.inf]
            for row, top in zip(scores, best, strict=True)
        ]

    def features(self, user):
        """A user's row of `features`: the mean over the features of a known value."""
        blocks = []
        for feature in self.about["user_features"]:
            value, values = user.get(feature["name"]), feature["values"]
            if feature["kind"] == "number":
                block = [0, 0] if value is None else [(value - values[0]) / values[1], 1]
            else:
                chosen = value if isinstance(value, list) else [value]
                block = np.isin(np.array(values, object), np.array(chosen, object))
                block = block / max(block.sum(), 1)
            blocks.append(block)
        n_known = sum(any(block) for block in blocks)
        return np.concatenate(blocks) / max(n_known, 1)


if __name__ == "__main__":
    for row in Server(sys.argv[1]).recommend(json.loads(sys.argv[2])):
        print(json.dumps(row))
