"""The report in a real browser, opened from its file."""

import json
import os
import shutil

import pytest
from tiny_run import own_copy, searched, write_report

from aebnas.run.pick_records import record_pick
from aebnas.run.session import RunSession
from aebnas.selected.evaluate import evaluate

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
WAIT_S = 120
HOSTILE = "</script><script>window.broken = 1</script><b>reason</b>"

browser, controller = next(filter(None, map(shutil.which, BROWSERS)), None), shutil.which("chromedriver")


@pytest.fixture(scope="module", autouse=True)
def needs_a_browser():
    """These are the only tests of what users see, so in CI (`CI` in the environment) a missing browser is a failure."""
    if browser is None or controller is None:
        missing = "chromium and chromedriver must be installed (Debian: packages chromium, chromium-driver)"
        if os.environ.get("CI"):
            pytest.fail(missing)
        pytest.skip(missing)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run with a failed trial and an evaluated pick, one of whose classes has a hostile name."""
    session = RunSession.open(own_copy(searched(tmp_path_factory), tmp_path_factory.mktemp("browser")))
    trial = session.run.trials()[0]
    failed = trial.to_json() | {"number": 8, "status": "failed", "points": [], "reason": HOSTILE}
    with session.run.trials_file.open("a") as handle:
        handle.write(json.dumps(failed) + "\n")
    picked = session.pick("best-accuracy")
    point = picked[1]
    evaluation = evaluate(session.run.folder, point.id).evaluation.to_json()
    evaluation["classes"]["name"][3] = HOSTILE
    record = point.to_json() | {"source": "from somewhere", "samples": 360, "evaluation": evaluation}
    record_pick(session.run, picked, "test", record)
    write_report(session.run.folder)
    return session.run.folder


@pytest.fixture(scope="module")
def driver(tmp_path_factory):
    """One browser for all tests."""
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service

    options = webdriver.ChromeOptions()
    options.binary_location = browser or ""
    profile = tmp_path_factory.mktemp("profile")
    for argument in ("headless=new", "no-sandbox", "disable-dev-shm-usage", "disable-gpu", f"user-data-dir={profile}"):
        options.add_argument(f"--{argument}")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    started = webdriver.Chrome(options=options, service=Service(controller))
    started.set_script_timeout(WAIT_S)
    yield started
    started.quit()


@pytest.fixture
def page(driver, run):
    """The report, drawn, on a desktop screen in light mode."""
    screen(driver, 1400)
    colours(driver, "light")
    driver.get((run / "report.html").as_uri())
    until(driver, "return document.documentElement.dataset.ready === 'yes'")
    yield driver
    assert [entry for entry in driver.get_log("browser") if entry["level"] == "SEVERE"] == []


def screen(driver, width):
    size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 800}
    driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)


def colours(driver, scheme):
    features = {"features": [{"name": "prefers-color-scheme", "value": scheme}]}
    driver.execute_cdp_cmd("Emulation.setEmulatedMedia", features)


def until(driver, script, *arguments):
    """Wait until the script gives something true; returns it."""
    from selenium.webdriver.support.ui import WebDriverWait

    return WebDriverWait(driver, WAIT_S).until(lambda d: d.execute_script(script, *arguments))


def title(page):
    return page.execute_script("return document.getElementById('detail-title').textContent")


def click_point(page, point_id):
    """Click the marker of a point of the front where it is drawn."""
    from selenium.webdriver.common.actions.action_builder import ActionBuilder

    x, y = page.execute_script(
        """
        const plot = document.getElementById("scatter");
        plot.scrollIntoView({ block: "center" });
        const trace = plot.data.find((trace) => trace.name === "front");
        const place = trace.text.findIndex((text) => text.startsWith(`<b>${arguments[0]}</b>`));
        const { xaxis: x, yaxis: y } = plot._fullLayout, box = plot.getBoundingClientRect();
        return [box.left + x._offset + x.d2p(trace.x[place]), box.top + y._offset + y.d2p(trace.y[place])];
        """,
        point_id,
    )
    action = ActionBuilder(page)
    action.pointer_action.move_to_location(round(x) - 3, round(y)).move_to_location(round(x), round(y))
    action.pointer_action.pause(0.3).click()
    action.perform()


def test_it_is_drawn_without_messages_on_the_console_or_requests_to_the_network(page, run):
    assert page.get_log("browser") == []
    assert page.execute_script("return performance.getEntriesByType('resource').map((entry) => entry.name)") == []
    assert page.execute_script("return document.getElementById('problem').hidden")
    names = page.execute_script("return document.getElementById('scatter').data.map((trace) => trace.name)")
    assert {"dominated", "front", "test set", "selected"} <= set(names)
    for plot in ("growth", "training", "network"):
        assert page.execute_script("return document.getElementById(arguments[0]).data[0].x.length", plot) > 0
    assert title(page) == RunSession.open(run).pick("knee")[1].id


def test_a_click_on_a_point_shows_its_network(page, run):
    trial, point = RunSession.open(run).pick("cheapest")
    assert title(page) != point.id
    click_point(page, point.id)
    until(page, "return document.getElementById('detail-title').textContent === arguments[0]", point.id)
    body = page.execute_script("return document.getElementById('detail').innerText")
    assert f"aebnas export {run.name} --pick {point.id} --out exported/{point.id}" in body
    assert f"{100 * point.metrics['accuracy']:.2f} %" in body and str(trial.architecture) in body
    until(page, "return document.getElementById('network-text').textContent === arguments[0]", str(trial.architecture))
    labels = page.execute_script(
        "return document.getElementById('network').layout.annotations.map((a) => a.text).join()"
    )
    for number, share in enumerate(point.exit_shares, start=1):
        assert f"exit {number}</b>" in labels and f"{100 * share:.1f} %" in labels


def test_other_axes_move_the_points(page):
    costs = page.execute_script("return document.getElementById('scatter').data[1].x")
    choose = """
        const chooser = document.getElementById(arguments[0]);
        if (chooser.type === "checkbox") chooser.click();
        else { chooser.value = arguments[1]; chooser.dispatchEvent(new Event("change")); }
    """
    page.execute_script(choose, "x-axis", "params")
    until(page, "return document.getElementById('scatter').layout.xaxis.title.text.startsWith('params')")
    assert page.execute_script("return document.getElementById('scatter').data[1].x") != costs
    assert page.execute_script("return document.getElementById('scatter').layout.xaxis.type") == "log"
    page.execute_script(choose, "x-log", "")
    until(page, "return document.getElementById('scatter').layout.xaxis.type === 'linear'")


def test_the_table_is_sorted_and_opened_by_keyboard(page):
    from selenium.webdriver.common.by import By
    from selenium.webdriver.common.keys import Keys

    def column(number):
        cells = f"[...document.querySelectorAll('#front tbody td:nth-child({number})')]"
        return page.execute_script(f"return {cells}.map((cell) => cell.textContent)")

    accuracies = [float(text.split()[0]) for text in column(2)]
    assert accuracies == sorted(accuracies, reverse=True) and len(accuracies) > 1
    page.find_elements(By.CSS_SELECTOR, "#front thead button")[1].send_keys(Keys.ENTER)
    assert [float(text.split()[0]) for text in column(2)] == sorted(accuracies)
    assert page.find_elements(By.CSS_SELECTOR, "#front thead th")[1].get_attribute("aria-sort") == "ascending"
    for opener in page.find_elements(By.CSS_SELECTOR, "#front tbody button")[:2]:
        opener.send_keys(Keys.ENTER)
        until(page, "return document.getElementById('detail-title').textContent === arguments[0]", opener.text)
        row = page.find_element(By.CSS_SELECTOR, "#front tr[aria-current=true]")
        assert opener.text in row.text


def test_the_export_command_can_be_copied_from_a_file(page):
    from selenium.webdriver.common.by import By
    from selenium.webdriver.common.keys import Keys

    command = page.find_element(By.CSS_SELECTOR, "code.command").text
    page.find_element(By.CSS_SELECTOR, "button.copy").click()
    until(page, "return document.querySelector('button.copy').textContent === 'Copied'")
    page.execute_script("document.body.append(Object.assign(document.createElement('textarea'), { id: 'paste' }))")
    page.find_element(By.ID, "paste").send_keys(Keys.CONTROL, "v")
    assert page.find_element(By.ID, "paste").get_attribute("value") == command


def test_dark_mode_reaches_page_and_plots(page):
    ink = "return document.getElementById('scatter').layout.font.color"
    ground = "return getComputedStyle(document.body).backgroundColor"
    light = page.execute_script(ink), page.execute_script(ground)
    colours(page, "dark")
    until(page, ink + " !== arguments[0]", light[0])
    assert page.execute_script(ground) != light[1]
    colours(page, "light")
    until(page, ink + " === arguments[0]", light[0])


def test_a_phone_has_one_column_and_nothing_sticks_out(page, run):
    screen(page, 375)
    page.get((run / "report.html").as_uri())
    until(page, "return document.documentElement.dataset.ready === 'yes'")
    page.execute_script("document.querySelector('#front tbody button').click()")
    until(page, "return document.activeElement.id === 'detail-title'")
    assert page.execute_script("return document.documentElement.scrollWidth") <= 375
    lefts = page.execute_script(
        "return [...document.querySelectorAll('.card')].map((card) => card.getBoundingClientRect().left)"
    )
    assert len(set(lefts) - {0}) == 1  # hidden ones are at 0


def test_other_training_curves_can_be_selected(page):
    drawn = "return document.getElementById('training').data.map((trace) => trace.name).join()"
    assert page.execute_script(drawn).startswith("exit 1")
    page.execute_script(
        """
        const chooser = document.getElementById("training-group");
        chooser.value = chooser.options.length - 1;
        chooser.dispatchEvent(new Event("change"));
        """
    )
    until(page, drawn + " === 'loss'")


def test_a_name_is_never_run_as_code(page):
    from selenium.webdriver.common.by import By

    assert HOSTILE in page.find_element(By.ID, "failures").text
    assert page.execute_script("return window.broken") is None


def test_the_confusion_matrix_is_drawn_when_it_is_opened(page, run):
    """Rows are classes by name, cells hold counts; a table lists the classes."""
    evaluation = json.loads(next((run / "picks").glob("*.json")).read_text())["test"]["evaluation"]["classes"]
    opened = "document.querySelector('details.confusion')"
    assert not page.execute_script(f"return {opened}.open")
    page.execute_script(f"{opened}.open = true")
    until(page, f"return {opened}.querySelector('.plot').data !== undefined")
    [trace] = page.execute_script(f"return {opened}.querySelector('.plot').data")
    assert trace["type"] == "heatmap" and len(trace["y"]) == 10
    assert trace["y"][3] == HOSTILE.replace("<", "&lt;")
    counts = {
        (row, column): int(text) for row, line in enumerate(trace["text"]) for column, text in enumerate(line) if text
    }
    cells = evaluation["confusion"]
    assert counts == dict(zip(zip(cells["class"], cells["predicted"], strict=True), cells["count"], strict=True))
    rows = page.execute_script(
        f"return [...{opened}.previousElementSibling.querySelectorAll('tbody tr')].map(r => r.innerText)"
    )
    assert len(rows) == 10
    assert page.execute_script("return window.broken") is None
