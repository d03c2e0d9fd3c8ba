"""Search parameters of a Pipeline with Optuna, by a ranking metric on each user's last events.

Needs ``pip install 'optuna-integration[sklearn]'``. Run it with
``python examples/search_optuna.py [n_trials]``.
"""

import sys
import warnings

from sklearn.pipeline import Pipeline
from sklearn.preprocessing import FunctionTransformer

from skmind import MINDRecommender
from skmind.datasets import make_interactions
from skmind.model_selection import LeaveLastOut
from skmind.scoring import make_ranking_scorer

try:
    import optuna
    from optuna.distributions import FloatDistribution, IntDistribution
    from optuna_integration import OptunaSearchCV
except ImportError:
    optuna = None

COLUMNS = ["user_id", "item_id", "timestamp"]


def select(X):
    """Return the columns that the recommender reads."""
    return X[COLUMNS]


def main(n_trials=10):
    """Run the search and print its results."""
    if optuna is None:
        print("Skipped: Optuna is not installed; pip install 'optuna-integration[sklearn]'.")
        return
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
    warnings.filterwarnings("ignore", module="optuna")  # deprecations inside Optuna
    X = make_interactions(200, 100, n_topics=10, random_state=0).interactions
    rec = MINDRecommender(embedding_dim=16, max_epochs=3, random_state=0)
    search = OptunaSearchCV(
        Pipeline([("columns", FunctionTransformer(select)), ("rec", rec)]),
        {
            "rec__n_interests": IntDistribution(1, 8, log=True),
            "rec__item_dropout": FloatDistribution(0.0, 0.5),
            "rec__learning_rate": FloatDistribution(0.003, 0.05, log=True),
        },
        cv=LeaveLastOut(n_splits=2),
        scoring=make_ranking_scorer("ndcg", k=10),
        n_trials=n_trials,
        random_state=0,
        error_score="raise",
    ).fit(X)
    print(f"Best of {n_trials} trials: NDCG@10 {search.best_score_:.4f}, {search.best_params_}")
    trials = search.trials_dataframe()
    columns = ["value", *(name for name in trials if name.startswith("params_"))]
    print(trials[columns].sort_values("value").to_string(float_format="{:.4f}".format))
    print(search.best_estimator_["rec"].recommend([0], k=3).to_string(index=False))


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
