/* Keeps a page up to date: asks the server which of the shown things have changed, lets htmx swap
   those, and never takes focus, scroll position, open details or typed text away. */
(() => {
  "use strict";

  const ACTIVE_MS = 1000;
  const IDLE_MS = 10000;
  const SLOWEST_MS = 30000;
  const MAX_SHOWN = 200;

  const status = document.getElementById("live-status");
  const announcer = document.getElementById("announce");
  const poller = document.querySelector("[data-live-url]");
  const clockOffset = Number(document.body.dataset.now) * 1000 - Date.now();
  const signInPath = document.body.dataset.signIn;

  let timer = 0;
  let asking = false;
  let failures = 0;
  let stopped = false;
  let said = [];

  document.documentElement.classList.add("js");

  // The server shows times in this zone from the next page on.
  const zone = Intl.DateTimeFormat().resolvedOptions().timeZone;
  const secure = location.protocol === "https:" ? "; Secure" : "";
  if (zone) document.cookie = `tz=${encodeURIComponent(zone)}; Path=/; Max-Age=31536000; SameSite=Lax${secure}`;

  // --- asking ------------------------------------------------------------------------------------
  const isActive = () => document.querySelector("[data-live-active]") !== null;

  const shown = () => {
    const tokens = new Set();
    for (const element of document.querySelectorAll("[data-live]")) tokens.add(element.dataset.live);
    return [...tokens].slice(0, MAX_SHOWN).join(",");
  };

  const schedule = (ms) => {
    clearTimeout(timer);
    if (poller && !stopped && !document.hidden) timer = setTimeout(ask, ms);
  };

  const scheduleNext = () => {
    if (failures === 0) schedule(isActive() ? ACTIVE_MS : IDLE_MS);
    else schedule(Math.min(ACTIVE_MS * 2 ** failures, SLOWEST_MS));
  };

  function ask() {
    if (asking || stopped || document.hidden) return;
    asking = true;
    htmx
      .ajax("GET", poller.dataset.liveUrl, {
        source: poller,
        target: poller,
        swap: "none",
        values: { shown: shown() },
      })
      .catch(() => {}); // failures arrive as htmx:afterRequest too
  }

  const tell = (text, link) => {
    status.textContent = text;
    if (link) {
      const anchor = document.createElement("a");
      anchor.href = link;
      anchor.textContent = "Sign in";
      status.append(" ", anchor);
    }
  };

  const signIn = () =>
    `${signInPath}?next=${encodeURIComponent(location.pathname + location.search)}`;

  if (poller) {
    poller.addEventListener("htmx:afterRequest", (event) => {
      asking = false;
      const xhr = event.detail.xhr;
      if (xhr && xhr.status >= 200 && xhr.status < 300) {
        failures = 0;
        if (xhr.getResponseHeader("X-Live") !== "1") {
          stopped = true;
          tell("Your session has ended, so this page is no longer kept up to date.", signIn());
          return;
        }
        tell("");
      } else {
        failures += 1;
        const why = xhr && xhr.status ? `answered ${xhr.status}` : "is not reachable";
        tell(`Not up to date: the dashboard ${why}. It is asked again by itself.`);
      }
      scheduleNext();
    });
    document.addEventListener("visibilitychange", () => {
      clearTimeout(timer);
      if (!document.hidden) ask();
    });
    window.addEventListener("online", () => schedule(0));
    scheduleNext();
  }

  // --- swapping ----------------------------------------------------------------------------------
  const isBusy = (element) => {
    if (element.querySelector("details[open] form, form details[open]")) return true;
    const focused = document.activeElement;
    if (focused && element.contains(focused) && focused.matches("input, select, textarea")) return true;
    const selection = document.getSelection();
    return (
      selection !== null && !selection.isCollapsed && element.contains(selection.anchorNode)
    );
  };

  let held = null;
  let submitted = null; // htmx disables the clicked button, which then loses the focus
  const openDetails = new Set();

  const hold = (element) => {
    for (const details of element.querySelectorAll("details[open][id]")) openDetails.add(details.id);
    if (element.contains(document.activeElement)) held = element.id;
  };

  const restore = () => {
    for (const id of openDetails) {
      const details = document.getElementById(id);
      if (details) details.open = true;
    }
    openDetails.clear();
    if (!held) return;
    // The button that had the focus may be gone with its state: its row keeps the focus.
    const element = document.getElementById(held);
    const lost = !document.activeElement || document.activeElement === document.body;
    if (element && lost) {
      const next = element.querySelector("[data-refocus]") || element.querySelector("a, button");
      if (next) next.focus({ preventScroll: true });
    }
    held = null;
  };

  document.addEventListener("htmx:oobBeforeSwap", (event) => {
    const target = event.detail.target;
    if (!target.matches("[data-live]")) return;
    // The old token stays with it, so it is asked for again.
    if (isBusy(target)) {
      event.preventDefault();
      return;
    }
    hold(target);
    const fresh = event.detail.fragment.querySelector("[data-say]");
    if (fresh && fresh.dataset.say !== target.dataset.say) said.push(fresh.dataset.say);
    if (fresh && fresh.dataset.title) document.title = fresh.dataset.title;
  });

  document.addEventListener("htmx:beforeSwap", (event) => {
    const xhr = event.detail.xhr;
    if (event.detail.target === poller) return;
    // The session has ended: the answer followed to the sign-in page, which is no row.
    if (new URL(xhr.responseURL, location.href).pathname === signInPath) {
      event.detail.shouldSwap = false;
      location.assign(signIn());
      return;
    }
    if (event.detail.target instanceof Element) {
      hold(event.detail.target);
      openDetails.clear();
      if (submitted && submitted === event.detail.target.id) held = submitted;
      submitted = null;
    }
  });

  document.addEventListener(
    "submit",
    (event) => {
      const row = event.target.closest("[data-live]");
      submitted = row && row.contains(document.activeElement) ? row.id : null;
    },
    true,
  );

  document.addEventListener("htmx:afterSettle", () => {
    restore();
    if (said.length) {
      announcer.textContent = said.slice(0, 5).join(". ");
      said = [];
    }
    if (!asking && failures === 0) scheduleNext();
  });
  document.addEventListener("htmx:oobAfterSwap", () => queueMicrotask(restore));

  // --- what went wrong with a click --------------------------------------------------------------
  const complain = (text) => {
    const notices = document.getElementById("notices");
    const notice = document.createElement("div");
    notice.className = "notice error";
    const line = document.createElement("p");
    line.textContent = text;
    notice.append(line);
    notices.replaceChildren(notice);
  };
  document.addEventListener("htmx:sendError", (event) => {
    if (event.target !== poller) {
      complain("The dashboard could not be reached. It is not known whether the click arrived: a second one joins the same run.");
    }
  });
  document.addEventListener("htmx:timeout", (event) => {
    if (event.target !== poller) {
      complain("The dashboard did not answer in time. It is not known whether the click arrived: a second one joins the same run.");
    }
  });
  document.addEventListener("htmx:responseError", (event) => {
    if (event.target === poller) return;
    const code = event.detail.xhr.status;
    complain(
      code === 403
        ? "Not permitted, or the page is too old (403). Reload it and try again."
        : `The dashboard answered ${code}. Reload the page to see what is.`,
    );
  });

  // --- on paper ----------------------------------------------------------------------------------
  // Not every browser can open them by style alone, and the page may be older than the paper.
  let closed = [];
  window.addEventListener("beforeprint", () => {
    closed = [...document.querySelectorAll("details.excerpt:not([open])")];
    for (const details of closed) details.open = true;
    const at = document.getElementById("printed-at");
    const two = "2-digit";
    const clock = { year: "numeric", month: two, day: two, hour: two, minute: two, second: two };
    if (at) at.textContent = new Date().toLocaleString("sv-SE", { ...clock, timeZoneName: "short" });
  });
  window.addEventListener("afterprint", () => {
    for (const details of closed) details.open = false;
  });

  // --- small things ------------------------------------------------------------------------------
  document.addEventListener("click", (event) => {
    const dismiss = event.target.closest("[data-dismiss]");
    if (dismiss) dismiss.closest(".notice").remove();
    for (const details of document.querySelectorAll("details[data-closes][open]")) {
      if (!details.contains(event.target)) details.open = false;
    }
  });
  document.addEventListener("keydown", (event) => {
    if (event.key !== "Escape") return;
    for (const details of document.querySelectorAll("details[data-closes][open]")) {
      const inside = details.contains(document.activeElement);
      details.open = false;
      if (inside) details.querySelector("summary").focus();
    }
  });

  // A range that was typed goes before a window: who chooses a window wants that one.
  document.addEventListener("change", (event) => {
    if (!event.target.matches("[data-window]") || !event.target.value) return;
    for (const field of event.target.form.querySelectorAll("[data-range]")) field.value = "";
  });

  const ago = (moment) => {
    const seconds = Math.round((Date.now() + clockOffset - moment) / 1000);
    const size = Math.abs(seconds);
    if (seconds >= 0 && size < 5) return "just now";
    const text =
      size < 60 ? `${size} s`
      : size < 3600 ? `${Math.floor(size / 60)} min`
      : size < 172800 ? `${Math.floor(size / 3600)} h`
      : `${Math.floor(size / 86400)} d`;
    return seconds < 0 ? `in ${text}` : `${text} ago`;
  };
  setInterval(() => {
    if (document.hidden) return;
    for (const element of document.querySelectorAll("time[data-ago]")) {
      const text = ago(Date.parse(element.dateTime));
      if (element.textContent !== text) element.textContent = text;
    }
  }, 1000);
})();
