"""A person at a browser: Debian's Chromium without a window, driven by Selenium, for journeys through the console.

They find things as people do: by what a link or a button says and by a field's name. Nothing is waited for longer than
SECONDS, and what was on the page is said where something was not.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from selenium import webdriver
from selenium.common.exceptions import (
    ElementClickInterceptedException,
    NoSuchElementException,
    StaleElementReferenceException,
    TimeoutException,
)
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.ui import Select, WebDriverWait

SECONDS = 60
WIDE = (1400, 1000)
PHONE = (320, 844)
"""The narrowest that a page has to fit without scrolling to the side (WCAG 2.2, 1.4.10)."""
SAYS = ".//text()[normalize-space()={0}]"
BUTTON = f"//button[{SAYS}] | //input[@type='submit' and @value={{0}}] | //a[{SAYS}]"
LINK = "//a[contains(normalize-space(), {0})]"
REFUSED_BY_POLICY = "Content Security Policy"
UNFINISHED = ".crdownload"


def programs() -> tuple[str, str]:
    """Chromium and its driver; "" for what is not installed (Debian: chromium, chromium-driver)."""
    return shutil.which("chromium") or "", shutil.which("chromedriver") or ""


class Person:
    """Somebody who looks at pages and clicks."""

    def __init__(self, driver: webdriver.Chrome, home: str, downloads: Path) -> None:
        self.driver = driver
        self.home = home
        self.downloads = downloads

    def open(self, path: str) -> None:
        """A page of the product."""
        self.driver.get(f"{self.home}{path}")

    @property
    def words(self) -> str:
        """What can be read on the page; "" while it changes."""
        try:
            return self.driver.find_element(By.TAG_NAME, "body").text
        except (StaleElementReferenceException, NoSuchElementException):
            return ""

    def sees(self, words: str, *, again: bool = False) -> None:
        """Waits until it can be read; with `again` the page is loaded anew meanwhile."""

        def there(_: object) -> bool:
            if words.casefold() in self.words.casefold():  # a style may show it in capitals
                return True
            if again:
                self.driver.refresh()
            return False

        self._wait(there, f"{words!r} to be read")

    def clicks(self, words: str, *, within: str = "") -> None:
        """A button or a link that says exactly this; `within`: of the list's row that has these words."""
        self._click(_in_row(BUTTON, within).format(_quoted(words)), words)

    def confirms(self, words: str) -> None:
        """The button of a form or a dialog that says exactly this."""
        self._click(f"//button[@type='submit'][{SAYS}]".format(_quoted(words)), words)

    def downloads_by(self, words: str, *, within: str = "") -> Path:
        """The file that a click on these words brings, once it is whole; until the next one is fetched."""
        for earlier in self.downloads.iterdir():
            earlier.unlink()
        self.clicks(words, within=within)
        found: list[Path] = []

        def whole(_: object) -> bool:
            found[:] = self.downloads.iterdir()
            return bool(found) and not any(file.suffix == UNFINISHED or file.name.startswith(".") for file in found)

        self._wait(whole, f"file of {words!r}")
        [file] = found
        return file

    def follows(self, words: str) -> None:
        """The first link whose words have these among them."""
        self._click(LINK.format(_quoted(words)), words)

    def opens(self, words: str) -> None:
        """The list's row that has these words, by its first link."""
        self._click(f"({_row(words)})//a", words)

    def fills(self, **fields: str) -> None:
        """Fields by their names; `__` stands for a dot."""
        for name, value in fields.items():
            field = self._find(f"//*[@name={_quoted(name.replace('__', '.'))}]", name)
            if field.tag_name == "select":
                Select(field).select_by_visible_text(value)
                continue
            field.clear()
            field.send_keys(value)

    def ticks(self, name: str) -> None:
        """A box or a switch: by its label, as people do."""
        field = self._find(f"//*[@name={_quoted(name)}]", name)
        self.driver.execute_script("arguments[0].click()", field)

    def reads_frame(self) -> str:
        """What stands in the page's only frame."""
        self.driver.switch_to.frame(self._find("//iframe", "a frame"))
        try:
            return self.words
        finally:
            self.driver.switch_to.default_content()

    def refused(self) -> list[str]:
        """What the browser did not do since it was asked last, because a policy forbids it."""
        return [str(row["message"]) for row in self.driver.get_log("browser") if REFUSED_BY_POLICY in row["message"]]

    def overflow(self) -> int:
        """Pixels by which the page is wider than the window."""
        wide = "return document.documentElement.scrollWidth - document.documentElement.clientWidth"
        return int(self.driver.execute_script(wide))

    def prefers(self, theme: str) -> None:
        """ "dark" or "light", as a system says it; pages follow unless somebody switched them."""
        features = [{"name": "prefers-color-scheme", "value": theme}]
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})

    def _click(self, path: str, words: str) -> None:
        def clicked(_: object) -> bool:
            try:
                for found in self.driver.find_elements(By.XPATH, path):
                    if found.is_displayed() and found.is_enabled():
                        self.driver.execute_script("arguments[0].scrollIntoView({block: 'center'})", found)
                        found.click()
                        return True
            except (StaleElementReferenceException, ElementClickInterceptedException):
                return False
            return False

        self._wait(clicked, f"{words!r} to click")

    def _find(self, path: str, what: str) -> WebElement:
        self._wait(lambda _: bool(self.driver.find_elements(By.XPATH, path)), what)
        return self.driver.find_element(By.XPATH, path)

    def _wait(self, happened: object, what: str) -> None:
        try:
            WebDriverWait(self.driver, SECONDS).until(happened)  # type: ignore[arg-type]
        except TimeoutException:
            raise AssertionError(f"no {what} at {self.driver.current_url}:\n{self._main()}") from None

    def _main(self) -> str:
        found = self.driver.find_elements(By.ID, "content")
        return (found[0].text if found else self.words)[:3000]


def _in_row(path: str, words: str) -> str:
    if not words:
        return path
    return " | ".join(f"({_row(words)}){part.strip()}" for part in path.split(" | "))


def _row(words: str) -> str:
    return f"//tr[contains(., {_quoted(words)})] | //li[contains(., {_quoted(words)})]"


def _quoted(words: str) -> str:
    """As XPath writes a string."""
    return f"'{words}'" if "'" not in words else f'"{words}"'


@contextmanager
def browser(folder: Path, home: str, *, size: tuple[int, int] = WIDE) -> Iterator[Person]:
    """A fresh browser for the length of a `with` block."""
    chromium, driver = programs()
    options = webdriver.ChromeOptions()
    options.binary_location = chromium
    for argument in (
        *("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run"),
        *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
        *(f"--user-data-dir={folder}", f"--window-size={size[0]},{size[1]}"),
    ):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    os.environ["SE_OFFLINE"] = "true"  # Selenium's own manager fetches and tells nothing
    service = Service(driver, log_output=os.devnull)
    window = webdriver.Chrome(options=options, service=service)
    downloads = folder / "downloads"
    downloads.mkdir(parents=True)
    window.execute_cdp_cmd("Browser.setDownloadBehavior", {"behavior": "allow", "downloadPath": str(downloads)})
    try:
        yield Person(window, home, downloads)
    finally:
        window.quit()
