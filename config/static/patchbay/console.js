// What the console needs beyond unfold: a part of a page that keeps itself fresh, copying, and a keyboard's way to what
// unfold 0.91 lets only a mouse click. Without scripts each page still works: it is then as fresh as its last load.
"use strict";

(() => {
  const HIDDEN_WAIT_SECONDS = 5;

  // [data-refresh-url] is filled anew every [data-refresh-seconds] of what it holds, while somebody looks.
  function keepFresh(box) {
    const seconds = () => Number(box.querySelector("[data-refresh-seconds]")?.dataset.refreshSeconds || 60);

    async function refresh() {
      if (document.hidden) {
        return HIDDEN_WAIT_SECONDS;
      }
      const answer = await fetch(box.dataset.refreshUrl, { headers: { "X-Requested-With": "fetch" } });
      if (answer.redirected) {
        window.location.reload(); // signed out meanwhile: the whole page leads to the log-in
        return seconds();
      }
      if (answer.ok) {
        replace(await answer.text());
      }
      return seconds();
    }

    function replace(text) {
      if (text === box.lastText) {
        return;
      }
      box.lastText = text;
      const focused = box.contains(document.activeElement) ? document.activeElement.getAttribute("href") : null;
      box.innerHTML = text;
      if (focused) {
        box.querySelector(`a[href="${CSS.escape(focused)}"]`)?.focus({ preventScroll: true });
      }
    }

    function later(wait) {
      window.setTimeout(() => refresh().catch(seconds).then(later), wait * 1000);
    }

    later(seconds());
  }

  async function copy(button) {
    const text = document.getElementById(button.dataset.copy).textContent.trim();
    const before = button.textContent;
    try {
      await navigator.clipboard.writeText(text);
      button.textContent = "Copied";
    } catch {
      const range = document.createRange(); // no permission, or no https: at least it is selected
      range.selectNodeContents(document.getElementById(button.dataset.copy));
      window.getSelection().removeAllRanges();
      window.getSelection().addRange(range);
      button.textContent = "Selected: press Ctrl+C";
    }
    window.setTimeout(() => (button.textContent = before), 2500);
  }

  // unfold puts clicks on spans and divs: the menu's switch, the account's menu, a dialog's cross.
  const MOUSE_ONLY = ["span", "div", "h2", "a:not([href])"].map((tag) => `${tag}[x-on\\:click]`).join(",");
  const NAMELESS = "a[href][x-on\\:click], button[x-on\\:click]";
  const NAMES = [
    ["sidebar", "Show or hide the menu"],
    ["openUserLinks", "Your account: theme, password, log out"],
    ["openModal = false", "Close"],
    ["openTheme", "Theme: light, dark or as the system"],
    ["showActions", "What can be done here"],
    ["showPassword", "Show or hide the password"],
  ];

  function openToKeyboards() {
    document.querySelectorAll(MOUSE_ONLY).forEach((element) => {
      if (element.id === "changelist-filter-close") {
        return; // the shade beside the filters, which have a button to close
      }
      element.tabIndex = 0;
      element.setAttribute("role", "button");
      const name = NAMES.find(([part]) => element.getAttribute("x-on:click").includes(part));
      if (name) {
        element.setAttribute("aria-label", name[1]);
      }
    });
    document.querySelectorAll(NAMELESS).forEach((element) => {
      const name = NAMES.find(([part]) => element.getAttribute("x-on:click").includes(part));
      if (name && !element.textContent.replace(/\s|more_horiz/g, "")) {
        element.setAttribute("aria-label", name[1]);
      }
    });
    const home = document.querySelector("nav a.bg-primary-600[href='/admin/']");
    home?.setAttribute("aria-label", "Overview");
    document.querySelector("#searchbar-submit")?.setAttribute("aria-label", "Search");
    const search = document.querySelector("#searchbar");
    search?.setAttribute("aria-label", search.placeholder);
    document.querySelectorAll(".material-symbols-outlined:not([role])").forEach((icon) => {
      icon.setAttribute("aria-hidden", "true"); // its text is the icon's name
    });
  }

  function press(event) {
    if ((event.key === "Enter" || event.key === " ") && event.target.matches?.(MOUSE_ONLY)) {
      event.preventDefault();
      event.target.click();
    }
  }

  window.addEventListener("DOMContentLoaded", () => {
    document.querySelectorAll("[data-refresh-url]").forEach(keepFresh);
    openToKeyboards();
    document.addEventListener("htmx:afterSwap", openToKeyboards);
    document.addEventListener("keydown", press);
    document.addEventListener("click", (event) => {
      const button = event.target.closest("[data-copy]");
      if (button) {
        copy(button);
      }
    });
  });
})();
