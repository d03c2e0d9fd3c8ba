"""Recommend from PostgreSQL with pgvector: item vectors there, interests from skmind.

Needs ``pip install 'psycopg[binary]'`` and a server with the extension vector. Run it with
``python examples/recommend_pgvector.py postgresql://user@host/database``; it replaces the tables
``items`` and ``seen``.
"""

import sys

import numpy as np
import psycopg

from skmind import MINDRecommender
from skmind.datasets import make_interactions

# One search per interest, without the items that the user has seen, for twice as many items as are
# needed. The score of what they find is the soft maximum of the cosines to all interests, or the
# highest cosine if there is no temperature.
SEARCH = """
WITH queries AS (
    SELECT * FROM unnest(%(users)s::bigint[], %(interests)s::int[], %(vectors)s::text[]::vector[])
        AS query(user_id, interest, vector)
),
found AS (
    SELECT DISTINCT user_id, item_id, embedding
    FROM queries CROSS JOIN LATERAL (
        SELECT item_id, embedding
        FROM items
        WHERE NOT EXISTS (
            SELECT FROM seen
            WHERE seen.user_id = queries.user_id AND seen.item_id = items.item_id
        )
        ORDER BY embedding <#> vector
        LIMIT 2 * %(k)s
    ) AS nearest
),
scored AS (
    SELECT user_id, item_id, (array_agg(interest ORDER BY cosine DESC, interest))[1] AS interest,
        coalesce(%(t)s::float8 * ln(avg(exp(cosine / %(t)s::float8))), max(cosine)) AS score
    FROM found JOIN queries USING (user_id)
        CROSS JOIN LATERAL (SELECT -(embedding <#> vector) AS cosine) AS cosines
    GROUP BY user_id, item_id
),
ranked AS (
    SELECT *, row_number() OVER (PARTITION BY user_id ORDER BY score DESC, item_id) AS rank
    FROM scored
)
SELECT user_id, item_id, score, rank, interest FROM ranked WHERE rank <= %(k)s
ORDER BY user_id, rank
"""


def write(connection, rec, interactions):
    """Write the item vectors, and the items that each user has seen."""
    connection.execute("CREATE EXTENSION IF NOT EXISTS vector")
    connection.execute("DROP TABLE IF EXISTS items, seen")
    n_dimensions = rec.item_embeddings_.shape[1]
    connection.execute(
        f"CREATE TABLE items (item_id bigint PRIMARY KEY, embedding vector({n_dimensions}))"
    )
    connection.execute(
        "CREATE TABLE seen (user_id bigint, item_id bigint, PRIMARY KEY (user_id, item_id))"
    )
    with connection.cursor() as cursor:
        with cursor.copy("COPY items FROM STDIN") as copy:
            for item, vector in zip(rec.items_.tolist(), rec.item_embeddings_, strict=True):
                copy.write_row((item, as_text(vector)))
        with cursor.copy("COPY seen FROM STDIN") as copy:
            pairs = interactions[["user_id", "item_id"]].drop_duplicates()
            for row in pairs.to_numpy().tolist():
                copy.write_row(row)
    connection.execute("ANALYZE items, seen")


def add_index(connection):
    """Add an approximate index, for catalogues where a scan of all items takes too long."""
    connection.execute("CREATE INDEX ON items USING hnsw (embedding vector_ip_ops)")


def recommend(connection, rec, user_ids, k=10):
    """Return (user, item, score, rank, interest) rows of known users, as `recommend` does."""
    vectors = rec.interests(user_ids)  # of shape (n_users, n_interests, embedding_dim)
    rows, interests = np.nonzero(vectors.any(axis=2))  # short histories have fewer interests
    arguments = {
        "users": np.asarray(user_ids)[rows].tolist(),
        "interests": interests.tolist(),
        "vectors": [as_text(vector) for vector in vectors[rows, interests]],
        "k": k,
        "t": rec.score_temperature_,
    }
    return connection.execute(SEARCH, arguments).fetchall()


def as_text(vector):
    """Return a vector as pgvector reads it: "[0.5,1]"; the text has all digits of float32."""
    return "[" + ",".join(map(str, vector.tolist())) + "]"


def main(address):
    """Fit on generated data, write the vectors, and recommend to three users."""
    X = make_interactions(random_state=0).interactions
    rec = MINDRecommender(max_epochs=2, random_state=0).fit(X)
    with psycopg.connect(address) as connection:
        write(connection, rec, X)
        for row in recommend(connection, rec, [0, 1, 2], k=3):
            print(*row)


if __name__ == "__main__":
    main(sys.argv[1])
