"""Fit MovieLens 100K → the pictures of README and documentation, light and dark.

python docs/pictures.py
"""

from pathlib import Path

from skmind import MINDRecommender
from skmind.datasets import fetch_movielens
from skmind.inspection import ArchitectureDisplay, InterestMapDisplay

FOLDER = Path(__file__).parent / "_static"
STYLES = {"light": "default", "dark": "dark_background"}
USER = 59
DARK_BACKGROUND = "#14181e"  # that of the site's dark theme


def main():
    """Write ``interests-light.png``, ``architecture-light.png`` and those for dark pages."""
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    data = fetch_movielens("100k")
    rec = MINDRecommender(random_state=0).fit(data.interactions)
    for name, style in STYLES.items():
        with plt.style.context(["default", style]):
            figure, ax = plt.subplots(figsize=(9, 5.5), layout="constrained")
            if name == "dark":
                figure.set_facecolor(DARK_BACKGROUND)
                ax.set_facecolor(DARK_BACKGROUND)
            InterestMapDisplay.from_estimator(rec, USER, titles=data.item_table, ax=ax)
            figure.savefig(FOLDER / f"interests-{name}.png", dpi=110)
            plt.close(figure)

            figure = ArchitectureDisplay.from_estimator(rec).figure_
            if name == "dark":
                figure.set_facecolor(DARK_BACKGROUND)
                figure.axes[0].set_facecolor(DARK_BACKGROUND)
            figure.savefig(FOLDER / f"architecture-{name}.png", dpi=130, bbox_inches="tight")
            plt.close(figure)


if __name__ == "__main__":
    main()
