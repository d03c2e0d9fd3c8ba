"""The page of the explorer computes in a browser what the library computes, and reveals nothing."""

import base64
import json
import pickle
import re
import shutil
import subprocess
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from skmind import MINDRecommender
from skmind.datasets import make_interactions
from skmind.exceptions import InvalidInputError, UnknownIdError
from skmind.inspection import _explore
from skmind.inspection._explore import MAX_INT16, TEMPLATE, _quantised, explore
from skmind.inspection._plotting import GREY, PALETTE
from tests.inspection.browser import ROOT, open_browser

SOURCE = ROOT / "explorer"
BUILT = Path(_explore.__file__).parent / TEMPLATE
TOLERANCE = 5e-5  # of cosines, which the page computes from vectors in 16 bits
ROW = ".recommendations [role=row]"
READ_LIST = f"""() => Array.from(document.querySelectorAll({ROW!r}), (row) => [
    row.dataset.item, Number(row.querySelector('.number').title.split(' ').pop()),
    Number(row.dataset.interest)])"""
# A frame after the change of the address, React has drawn the new list.
READ_LISTS = f"""async (fragments) => {{
    const read = {READ_LIST};
    const lists = [];
    for (const fragment of fragments) {{
        location.hash = fragment;
        await new Promise((done) => setTimeout(() => requestAnimationFrame(done)));
        lists.push(read());
    }}
    return lists;
}}"""


@pytest.fixture(scope="module")
def data():
    return make_interactions(150, 300, n_topics=12, n_interests=3, n_events=(2, 40), random_state=0)


@pytest.fixture(scope="module")
def rec(data):
    return fit(data)


@pytest.fixture(scope="module")
def browser():
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    with playwright.sync_playwright() as running:
        browser = open_browser(running)
        yield browser
        browser.close()


@pytest.fixture
def show(browser, tmp_path):
    """Return a function that opens a page, and fails if the page has an error."""
    problems = []
    tabs = []

    def show(page, fragment="", width=1280, height=900, **options):
        path = tmp_path / "page.html"
        page.save(path)
        tab = browser.new_page(viewport={"width": width, "height": height}, **options)
        tabs.append(tab)
        tab.on("pageerror", lambda error: problems.append(str(error)))
        tab.on("console", lambda message: problems.append(message.text))
        tab.goto(path.as_uri() + fragment)
        tab.wait_for_selector("h1")
        return tab

    yield show
    for tab in tabs:
        tab.close()
    assert problems == []


def fit(data, users=None, **parameters):
    parameters = {"n_interests": 4, "embedding_dim": 16, "max_epochs": 2} | parameters
    return MINDRecommender(**parameters, random_state=0).fit(data.interactions, users=users)


def perturbed(rec):
    """Return a copy in which no part of the network is as it was at the start of training.

    Its item vectors are those of the page, because so large weights may enlarge their rounding.
    """
    rng = np.random.default_rng(0)
    for name, array in rec._model.weights.items():
        if name == "item_embedding":
            array[:] = unpacked(_quantised(array))
        elif array.dtype == np.float32:
            array += rng.normal(scale=0.3, size=array.shape).astype(np.float32)
    return pickle.loads(pickle.dumps(rec))  # which builds the network again


def payload_of(page):
    """Return the JSON in a page."""
    (text,) = re.findall(r'<script type="application/json" id="data">(.*?)</script>', page.html)
    return json.loads(text)


def array(text, dtype):
    return np.frombuffer(base64.b64decode(text), dtype=dtype)


def unpacked(rows):
    """Return the rows that `_quantised` packed."""
    scale = array(rows["scale"], "<f4")
    return array(rows["values"], "<i2").reshape(len(scale), -1) * scale[:, None]


def lists_of(table):
    """Return the item ids, scores and interests of each user of a table, in their order."""
    return [
        list(zip(rows["item_id"].astype(str), rows["score"], rows["interest"], strict=True))
        for _, rows in table.groupby(table.columns[0], sort=False)
    ]


def assert_same_lists(found, expected, *, max_weight=1.0, has_interests=True):
    """Compare lists of items, in which items of nearly equal scores may change places."""
    tolerance = TOLERANCE * max_weight
    assert len(found) == len(expected)
    for mine, theirs in zip(found, expected, strict=True):
        scores = {item: score for item, score, _ in theirs}
        lowest = min(scores.values())
        for (item, score, interest), (other, value, won) in zip(mine, theirs, strict=True):
            assert score == pytest.approx(value, abs=tolerance)
            assert scores.get(item, lowest) == pytest.approx(value, abs=tolerance)
            assert item != other or not has_interests or interest == won


# ------------------------------------------------------------------ in a browser


def test_the_lists_of_100_users_are_those_of_recommend(show, rec):
    users = rec.users_[:100]
    tab = show(rec.explore())
    found = tab.evaluate(READ_LISTS, [f"#user={user}" for user in users])
    expected = lists_of(rec.recommend(users))
    assert_same_lists(found, expected)
    same = [
        [row[0] for row in mine] == [row[0] for row in theirs]
        for mine, theirs in zip(found, expected, strict=True)
    ]
    assert np.mean(same) >= 0.99  # ties are rare


@pytest.mark.parametrize(
    ("arguments", "fragment"),
    [
        ({"k": 50}, "k=50"),
        ({"diversity": 0.5}, "diversity=0.5"),
        ({"diversity": 1.0, "k": 20}, "diversity=1&k=20"),
        ({"interest_weights": [0, 1, 2.5, 0.5]}, "weights=0,1,2.5,0.5"),
        ({"interest_weights": [0, 0, 0, 1]}, "weights=0,0,0,1"),
        ({"exclude_seen": False}, "seen=1"),
        ({"interest_weights": [1, 2, 1, 3], "diversity": 0.2}, "weights=1,2,1,3&diversity=0.2"),
    ],
)
def test_steering_is_that_of_recommend(show, rec, arguments, fragment):
    users = rec.users_[:20]
    tab = show(rec.explore())
    found = tab.evaluate(READ_LISTS, [f"#user={user}&{fragment}" for user in users])
    max_weight = max(arguments.get("interest_weights", [1]))
    assert_same_lists(found, lists_of(rec.recommend(users, **arguments)), max_weight=max_weight)


@pytest.mark.parametrize(
    "parameters",
    [
        {"n_encoder_layers": 0},
        {"n_encoder_layers": 1},
        {"n_encoder_layers": 2, "embedding_dim": 64},
        {"n_interests": 1, "n_encoder_layers": 1},
        {"adaptive_interests": False, "n_routing_iter": 1, "max_history": 7},
        {"exclude_seen": False},
    ],
)
def test_typed_histories_are_routed_as_in_recommend_from_history(show, data, parameters):
    rec = perturbed(fit(data, **parameters))
    rng = np.random.default_rng(0)
    histories = [rng.choice(rec.items_, n).tolist() for n in (0, 1, 2, 3, 8, 9, 20, 60)]
    tab = show(rec.explore(user_ids=[]))
    fragments = ["#history=" + ",".join(map(str, history)) for history in histories]
    found = tab.evaluate(READ_LISTS, fragments)
    # If all interests are in use for one item, they are equal.
    has_interests = rec.adaptive_interests
    expected = lists_of(rec.recommend_from_history(histories))
    assert_same_lists(found, expected, has_interests=has_interests)


def test_the_features_of_users_count(show, data):
    ids = data.interactions["user_id"].unique()
    people = pd.DataFrame({"user_id": ids, "segment": [f"s{i % 5}" for i in range(len(ids))]})
    rec = perturbed(fit(data, people, n_encoder_layers=1))
    users = rec.users_[:20]
    tab = show(rec.explore())
    found = tab.evaluate(READ_LISTS, [f"#user={user}" for user in users])
    assert_same_lists(found, lists_of(rec.recommend(users)))


def test_a_page_of_some_items_recommends_these(show, rec):
    items = rec.items_[::7]
    users = rec.users_[:10]
    tab = show(rec.explore(items=items, user_ids=users))
    found = tab.evaluate(READ_LISTS, [f"#user={user}" for user in users])
    assert_same_lists(found, lists_of(rec.recommend(users, items=items)))


def test_causes_and_similar_items_are_those_of_the_library(show, rec):
    user = rec.users_[5]
    item = rec.recommend([user])["item_id"].iloc[0]
    tab = show(rec.explore(), f"#user={user}")
    bars = tab.eval_on_selector_all(
        "[role~=meter]", "bars => bars.map((bar) => [bar.ariaLabel, bar.ariaValueText])"
    )
    expected = rec.explain(user, item).head(len(bars))
    assert len(bars) > 2
    assert [float(value) for _, value in bars] == pytest.approx(
        expected["contribution"].tolist(), abs=6e-4
    )
    assert [name for name, _ in bars] == expected["history_item_id"].astype(str).tolist()
    similar = tab.eval_on_selector_all(
        ".similar [role=row]", "rows => rows.map((row) => row.dataset.item)"
    )
    expected = rec.similar_items([item], k=len(similar))["similar_item_id"].astype(str)
    assert similar == expected.tolist()


def test_clicks_change_the_lists(show, rec):
    tab = show(rec.explore())
    first = tab.evaluate(READ_LIST)
    tab.get_by_role("radio", name="20").click()
    assert len(tab.evaluate(READ_LIST)) == 20
    tab.get_by_role("button", name="Show user").click()
    tab.get_by_role("option").nth(3).click()
    second = tab.evaluate(READ_LIST)
    assert len(second) == 20
    assert second[:10] != first
    tab.get_by_text("Start an empty history").click()
    assert {interest for *_, interest in tab.evaluate(READ_LIST)} == {-1}
    box = tab.get_by_role("combobox", name="Add to the history")
    box.fill(str(rec.items_[11]))
    tab.get_by_role("option").first.click()
    assert tab.get_by_role("option").count() == 0
    assert tab.evaluate("document.activeElement.role") == "combobox"  # for the next item
    found = tab.evaluate(READ_LIST)
    assert_same_lists([found], lists_of(rec.recommend_from_history([[rec.items_[11]]], 20)))
    tab.locator(ROW).nth(4).click()
    assert tab.locator(".detail h2").inner_text() == found[4][0]
    tab.get_by_role("button", name="Remove").click()
    assert tab.locator(".history [role=row] .name").count() == 0


def test_the_keyboard_suffices(show, rec):
    tab = show(rec.explore())
    first = tab.evaluate(READ_LIST)
    keys = tab.keyboard
    keys.press("Tab")  # the first thing of the page
    keys.type(str(rec.users_[42]))
    keys.press("ArrowDown")
    keys.press("Enter")
    expected = lists_of(rec.recommend([rec.users_[42]]))
    assert tab.evaluate("document.activeElement.value") == str(rec.users_[42])
    assert tab.evaluate(READ_LIST) != first
    assert_same_lists([tab.evaluate(READ_LIST)], expected)
    press_until(tab, "Tab", "document.activeElement.type === 'range'")
    for _ in range(20):
        keys.press("ArrowLeft")
    weighted = rec.recommend([rec.users_[42]], interest_weights=[0, 1, 1, 1])
    assert_same_lists([tab.evaluate(READ_LIST)], lists_of(weighted))
    press_until(tab, "Tab", "!!document.activeElement.closest('.recommendations')")
    keys.press("ArrowDown")
    keys.press("ArrowDown")
    title = tab.locator(".detail h2").inner_text()
    assert title == str(weighted["item_id"].iloc[2])


def press_until(tab, key, condition):
    for _ in range(60):
        tab.keyboard.press(key)
        if tab.evaluate(condition):
            return
    pytest.fail(f"{condition} is not reached")


def test_items_are_searched_by_title_and_id(show, rec):
    words = ["Amélie of Montmartre", "The Montmartre Story", "Zoo"]
    titles = dict(zip(rec.items_, words, strict=False))
    tab = show(rec.explore(titles=titles))
    box = tab.get_by_role("combobox", name="Add to the history")
    for query, expected in [
        ("montmartre", set(words[:2])),
        ("AMELIE", {words[0]}),
        ("story the", {words[1]}),
        (str(rec.items_[2]), {"Zoo"}),
    ]:
        box.fill(query)
        found = tab.get_by_role("option").locator("[slot=label]").all_inner_texts()
        assert expected == set(found[: len(expected)])
    box.fill("no such title")
    assert "Nothing found" in tab.get_by_role("listbox").inner_text()
    tab.keyboard.press("Escape")


def test_a_slider_acts_at_once(show, rec):
    tab = show(rec.explore())
    before = [row[0] for row in tab.evaluate(READ_LIST)]
    slider = tab.get_by_role("slider", name="Diversity")
    slider.focus()
    for _ in range(12):
        tab.keyboard.press("ArrowRight")
    after = tab.evaluate(READ_LIST)
    assert [row[0] for row in after] != before
    expected = rec.recommend(rec.users_[:1], diversity=0.6)
    assert_same_lists([after], lists_of(expected))


def test_nothing_leaves_the_page(show, browser, rec, tmp_path):
    tab = show(rec.explore())
    tab.evaluate("window.refused = []")
    tab.evaluate(
        "addEventListener('securitypolicyviolation', (event) => refused.push(event.blockedURI))"
    )
    requests = []
    tab.on("request", lambda request: requests.append(request.url))
    tab.reload()
    tab.wait_for_selector(ROW)
    tab.get_by_role("radio", name="50").click()
    assert [url for url in requests if not url.startswith("file:")] == []
    policy = tab.locator("meta[http-equiv]").get_attribute("content")
    assert policy.startswith("default-src 'none'; script-src 'sha256-")
    assert "connect-src" not in policy  # as default-src
    assert "http" not in policy


def test_the_policy_forbids_requests(browser, rec, tmp_path):
    path = tmp_path / "page.html"
    rec.explore(path)
    tab = browser.new_page()
    requests = []
    tab.goto(path.as_uri())
    tab.on("request", lambda request: requests.append(request.url))
    refused = tab.evaluate(
        """async () => {
            const refused = [];
            addEventListener("securitypolicyviolation", (event) =>
                refused.push(event.effectiveDirective));
            await fetch("http://127.0.0.1:9/").catch(() => {});
            const image = new Image();
            image.src = "http://127.0.0.1:9/image";
            const script = document.createElement("script");
            script.textContent = "window.ran = true";
            document.body.append(image, script);
            await new Promise((done) => setTimeout(done, 50));
            return [refused.sort(), window.ran ?? false];
        }"""
    )
    tab.close()
    assert refused == [["connect-src", "img-src", "script-src-elem"], False]


def test_markup_in_ids_and_titles_is_text(show, data):
    attack = "</script><script>window.ran = 1</script><img src=x onerror='window.ran = 2'>"
    X = data.interactions.assign(
        user_id="<b>" + data.interactions["user_id"].astype(str) + attack,
        item_id="&amp;" + data.interactions["item_id"].astype(str) + attack,
    )
    titles = {
        item: f"<!--<script>{i}{attack}\u2028" for i, item in enumerate(X["item_id"].unique())
    }
    rec = MINDRecommender(embedding_dim=8, max_epochs=1, random_state=0).fit(X)
    page = rec.explore(titles=titles)
    tab = show(page)
    assert tab.evaluate("window.ran") is None
    assert tab.locator("#root b, #root img, #root script").count() == 0
    found = tab.evaluate(READ_LIST)
    expected = rec.recommend(rec.users_[:1], titles=titles)
    assert [row[0] for row in found] == expected["item_id"].tolist()
    assert tab.locator(".detail h2").text_content() == expected["title"].iloc[0]


@pytest.mark.parametrize("width", [320, 375, 1000])
def test_the_page_is_not_wider_than_the_window(show, rec, width):
    titles = {item: f"a-title-of-one-very-long-word-{'x' * 60}-{item}" for item in rec.items_}
    tab = show(rec.explore(titles=titles), width=width, height=800)
    tab.wait_for_selector(ROW)
    assert tab.evaluate("document.documentElement.scrollWidth") <= width
    small = tab.eval_on_selector_all(
        "button, input:not([type=range]):not([type=checkbox])",
        "all => all.filter((e) => e.offsetParent && e.offsetHeight < 24).map((e) => e.outerHTML)",
    )
    assert small == []  # smaller than a finger


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_page_is_accessible(show, rec, scheme):
    library = SOURCE / "node_modules" / "axe-core" / "axe.min.js"
    if not library.exists():
        pytest.skip("axe-core is not installed: run 'make browser'")
    tab = show(
        rec.explore(titles={item: f"Title {item}" for item in rec.items_}), color_scheme=scheme
    )
    tab.wait_for_selector(ROW)
    tab.evaluate(library.read_text(encoding="utf-8"))
    result = tab.evaluate("axe.run()")
    found = [(rule["id"], rule["nodes"][0]["html"][:200]) for rule in result["violations"]]
    assert found == []


def test_a_page_as_large_as_movielens_opens_quickly(show):
    data = make_interactions(943, 1682, n_events=(20, 190), random_state=0)
    titles = {item: f"A title of usual length, The ({item})" for item in range(1682)}
    rec = MINDRecommender(max_epochs=1, samples_per_epoch=1000, random_state=0)
    page = rec.fit(data.interactions).explore(titles=titles)
    assert len(data.interactions) > 90_000
    assert len(page.html) < 3e6
    tab = show(page)
    times = []
    for _ in range(3):
        start = time.perf_counter()
        tab.reload()
        tab.wait_for_selector(ROW)
        times.append(time.perf_counter() - start)
    assert min(times) < 2


# ------------------------------------------------------------------ without a browser


def test_vectors_are_rounded_to_16_bits():
    rows = np.random.default_rng(0).normal(size=(50, 8)).astype(np.float32)
    rows[3] = 0
    packed = _quantised(rows)
    found = unpacked(packed)
    assert np.abs(found - rows).max() <= np.abs(rows).max() / MAX_INT16
    assert not found[3].any()


def test_histories_are_those_of_fit(rec):
    users = payload_of(rec.explore())["users"]
    assert users["ids"] == [str(user) for user in rec.users_]
    model = rec._model
    np.testing.assert_array_equal(array(users["offsets"], "<u4"), model.interactions.offsets)
    np.testing.assert_array_equal(array(users["items"], "<u2"), model.interactions.items)


def test_large_catalogues_are_sampled(rec, monkeypatch):
    monkeypatch.setattr(_explore, "MAX_ITEMS", 50)
    monkeypatch.setattr(_explore, "MAX_USERS", 30)
    page = rec.explore()
    payload = payload_of(page)
    allowed = array(payload["items"]["allowed"], "u1").astype(bool)
    assert allowed.sum() == 50
    counts = pd.Series(rec.item_counts_, rec.items_.astype(str))
    chosen = np.array(payload["items"]["ids"])[allowed]
    assert counts[chosen].min() >= counts.drop(chosen).max()
    assert len(allowed) <= 100
    n_users = len(payload["users"]["ids"])
    assert 0 < n_users <= 30
    assert page.notes == (
        f"This page has {n_users} of 150 users and recommends from 50 of "
        f"{len(rec.items_)} items, with up to 4 interests.",
        "The users were drawn at random.",
        "The items are the most frequent ones.",
    )


def test_samples_recommend_as_the_library_does(show, rec, monkeypatch):
    monkeypatch.setattr(_explore, "MAX_ITEMS", 60)
    page = rec.explore()
    payload = payload_of(page)
    allowed = array(payload["items"]["allowed"], "u1").astype(bool)
    items = np.array(payload["items"]["ids"], dtype=rec.items_.dtype)[allowed]
    users = np.array(payload["users"]["ids"], dtype=rec.users_.dtype)
    assert 0 < len(users) < len(rec.users_)  # their histories need more than 60 other items
    tab = show(page)
    found = tab.evaluate(READ_LISTS, [f"#user={user}" for user in users])
    assert_same_lists(found, lists_of(rec.recommend(users, items=items)))


def test_users_that_do_not_fit_are_an_error(rec, monkeypatch):
    monkeypatch.setattr(_explore, "MAX_EVENTS", 100)
    n_fitting = len(payload_of(rec.explore())["users"]["ids"])
    assert 0 < n_fitting < 20
    lengths = rec._model.interactions.lengths
    n_first = int((np.cumsum(lengths) <= 100).sum())
    with pytest.raises(InvalidInputError, match=f"the first {n_first} fit, name fewer"):
        rec.explore(user_ids=rec.users_)
    rec.explore(user_ids=rec.users_[:n_first])


def test_too_many_items_are_an_error(rec, monkeypatch):
    monkeypatch.setattr(_explore, "MAX_ITEMS", 10)
    with pytest.raises(InvalidInputError, match="11 known ids, but a page recommends 10"):
        rec.explore(items=rec.items_[:11])
    page = rec.explore(items=rec.items_[:10], user_ids=[])
    assert len(payload_of(page)["items"]["ids"]) == 10


def test_unknown_ids_are_an_error(rec):
    with pytest.raises(UnknownIdError, match="none of which was in fit"):
        rec.explore(items=[10**6])
    with pytest.raises(UnknownIdError, match="the user 1000000 was not in fit"):
        rec.explore(user_ids=[10**6])


def test_a_path_that_cannot_be_written_is_an_error_before_any_work(rec, tmp_path):
    with pytest.raises(InvalidInputError, match="is a directory"):
        rec.explore(tmp_path)
    with pytest.raises(InvalidInputError, match="its directory does not exist"):
        rec.explore(tmp_path / "no" / "page.html", user_ids=[10**6])
    with pytest.raises(InvalidInputError, match="path=5 must be the path of a file"):
        rec.explore(5)


def test_the_page_is_written_and_shown_in_notebooks(rec, tmp_path):
    path = tmp_path / "page.html"
    page = rec.explore(path, user_ids=rec.users_[:3])
    assert path.read_bytes() == page.html.encode()
    page.save(path)
    assert path.read_bytes() == page.html.encode()
    assert repr(page).startswith("<ExplorerPage of ")
    assert "This page has 3 of 150 users" in repr(page)
    frame = page._repr_html_()
    assert frame.startswith('<iframe sandbox="allow-scripts"')
    assert "<script" not in frame


def test_a_page_works_in_the_frame_of_a_notebook(browser, rec, tmp_path):
    path = tmp_path / "notebook.html"
    path.write_text(f"<!doctype html>{rec.explore()._repr_html_()}", encoding="utf-8")
    tab = browser.new_page()
    tab.goto(path.as_uri())
    frame = tab.frame_locator("iframe")
    frame.get_by_role("radio", name="20").click()
    n_rows = frame.locator(ROW).count()
    tab.close()
    assert n_rows == 20


def test_only_a_fitted_recommender_has_a_page():
    with pytest.raises(ValueError, match="not fitted"):
        explore(MINDRecommender())


def test_the_colors_are_those_of_the_plots():
    source = (SOURCE / "src" / "colors.ts").read_text(encoding="utf-8")
    assert tuple(re.findall(r"#[0-9A-F]{6}", source)) == (*PALETTE, GREY)


def test_the_checked_in_page_is_that_of_the_source(tmp_path):
    compiler = SOURCE / "node_modules" / "typescript" / "bin" / "tsc"
    if not shutil.which("node") or not compiler.exists():
        pytest.skip("needs Node.js and the packages of explorer/: run 'make browser'")
    subprocess.run(["node", "node_modules/typescript/bin/tsc", "--noEmit"], cwd=SOURCE, check=True)
    built = tmp_path / "page.html"
    subprocess.run(["node", "build.mjs", str(built)], cwd=SOURCE, check=True)
    assert built.read_bytes() == BUILT.read_bytes(), "run 'make explorer'"
