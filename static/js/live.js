/* Keeps a page up to date: asks the server which of the shown things have changed, lets htmx swap
   those, and never takes focus, scroll position, open details or typed text away.

   While something is in progress it asks once a second. Then ever more rarely, and not at all after
   a minute: it goes on when somebody comes back to the page or touches it. */
(() => {
  "use strict";

  const ACTIVE_MS = 1000;
  const QUIET_MS = [1000, 3000, 10000, 30000]; // after the last change; then it rests
  const TOUCH_MS = 5000; // how often somebody who is at the page makes it ask
  const SLOWEST_MS = 30000;
  const MAX_SHOWN = 200;

  const status = document.getElementById("live-status");
  const announcer = document.getElementById("announce");
  const asOf = document.getElementById("as-of");
  const poller = document.querySelector("[data-live-url]");
  const clockOffset = Number(document.body.dataset.now) * 1000 - Date.now();
  const signInPath = document.body.dataset.signIn;
  const root = new URL("..", new URL(signInPath, location.href)).pathname; // "/", or URL_PREFIX

  let timer = 0;
  let asking = false;
  let askedAt = Date.now();
  let failures = 0;
  let quiet = 0; // questions since something changed or was in progress
  let stopped = false;
  let said = [];

  // --- words and what is said ----------------------------------------------------------------------
  const words = {};
  for (const each of document.getElementById("words").content.querySelectorAll("[data-word]")) {
    words[each.dataset.word] = each.textContent;
  }
  const word = (name, values = {}) =>
    words[name].replace(/{(\w+)}/g, (all, key) => (key in values ? values[key] : all));
  const announce = (text) => {
    announcer.textContent = text;
  };
  window.page = { word, announce };

  // The server shows times in this zone from the next page on.
  const zone = Intl.DateTimeFormat().resolvedOptions().timeZone;
  const secure = location.protocol === "https:" ? "; Secure" : "";
  if (zone) document.cookie = `tz=${encodeURIComponent(zone)}; Path=${root}; Max-Age=31536000; SameSite=Lax${secure}`;

  // --- asking ------------------------------------------------------------------------------------
  const isActive = () => document.querySelector("[data-live-active]") !== null;

  const shown = () => {
    const tokens = new Set();
    for (const element of document.querySelectorAll("[data-live]")) tokens.add(element.dataset.live);
    return [...tokens].slice(0, MAX_SHOWN).join(",");
  };

  const schedule = (ms) => {
    clearTimeout(timer);
    timer = 0;
    if (poller && !stopped && !document.hidden) timer = setTimeout(ask, ms);
  };

  const rest = () => {
    clearTimeout(timer);
    timer = 0;
    const time = new Date().toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" });
    const button = document.createElement("button");
    button.type = "button";
    button.className = "quiet";
    button.textContent = word("refresh");
    button.addEventListener("click", ask);
    asOf.replaceChildren(word("as-of", { time }), " ", button);
    asOf.hidden = false;
  };

  const scheduleNext = () => {
    if (failures) return schedule(Math.min(ACTIVE_MS * 2 ** failures, SLOWEST_MS));
    if (isActive()) quiet = 0;
    else if (quiet >= QUIET_MS.length) return rest();
    schedule(isActive() ? ACTIVE_MS : QUIET_MS[quiet++]);
  };

  // Somebody is there: what they see should be what is.
  const touched = () => {
    if (!poller || stopped || asking || document.hidden) return;
    if (timer && (isActive() || failures)) return;
    const due = askedAt + TOUCH_MS - Date.now();
    if (due <= 0) ask();
    else if (!timer) schedule(due);
  };

  function ask() {
    if (asking || stopped || document.hidden) return;
    asking = true;
    askedAt = Date.now();
    asOf.hidden = true;
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
      anchor.textContent = word("sign-in");
      status.append(" ", anchor);
    }
  };

  const signIn = () =>
    `${signInPath}?next=${encodeURIComponent(location.pathname + location.search)}`;

  // Why work does not flow has changed: banners and light are asked for anew. A banner that the
  // page came with changes where it stands; a new one appears over the page, which does not move.
  const bannersOf = document.body.dataset.presence;
  let presenceShown = bannersOf;
  const reframe = (presence) => {
    if (!presence || presence === presenceShown) return;
    presenceShown = presence;
    const url = `${document.body.dataset.frame}?was=${bannersOf}`;
    htmx.ajax("GET", url, { target: "#alerts", swap: "innerHTML" }).catch(() => {});
  };

  if (poller) {
    poller.addEventListener("htmx:afterRequest", (event) => {
      asking = false;
      const xhr = event.detail.xhr;
      if (xhr && xhr.status >= 200 && xhr.status < 300) {
        failures = 0;
        if (xhr.getResponseHeader("X-Live") !== "1") {
          stopped = true;
          tell(word("session-ended"), signIn());
          return;
        }
        tell("");
        if (xhr.status === 200) quiet = 0;
        reframe(xhr.getResponseHeader("X-Presence"));
      } else {
        failures += 1;
        tell(xhr && xhr.status ? word("answered", { status: xhr.status }) : word("unreachable"));
      }
      scheduleNext();
    });
    document.addEventListener("visibilitychange", () => {
      clearTimeout(timer);
      timer = 0;
      if (!document.hidden) ask();
    });
    for (const name of ["focus", "pageshow"]) window.addEventListener(name, touched);
    for (const name of ["pointerdown", "keydown"]) document.addEventListener(name, touched);
    window.addEventListener("online", () => schedule(0));
    scheduleNext();
  }

  // --- swapping ----------------------------------------------------------------------------------
  const isBusy = (element) => {
    // The answer to a click in it is on its way. It finds no place on the page if this is replaced.
    if (element.querySelector(".htmx-request")) return true;
    if (element.querySelector("details[open] form, form details[open]")) return true;
    const focused = document.activeElement;
    if (focused && element.contains(focused) && focused.matches("input:not([type=checkbox]), select, textarea")) return true;
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
      announce(said.slice(0, 5).join(". "));
      said = [];
    }
    if (!asking && failures === 0 && isActive()) scheduleNext();
  });
  document.addEventListener("htmx:oobAfterSwap", () => queueMicrotask(restore));

  // --- what went wrong with a click --------------------------------------------------------------
  const complain = (text) => {
    const notices = document.getElementById("notices");
    const notice = document.createElement("div");
    notice.className = "notice error";
    const line = document.createElement("p");
    line.textContent = text;
    const close = document.createElement("button");
    close.type = "button";
    close.className = "quiet";
    close.dataset.dismiss = "";
    close.textContent = word("dismiss");
    notice.append(line, close);
    notices.replaceChildren(notice);
  };
  document.addEventListener("htmx:sendError", (event) => {
    if (event.target !== poller) {
      complain(word("click-lost"));
    }
  });
  document.addEventListener("htmx:timeout", (event) => {
    if (event.target !== poller) {
      complain(word("click-slow"));
    }
  });
  document.addEventListener("htmx:responseError", (event) => {
    if (event.target === poller) return;
    const code = event.detail.xhr.status;
    complain(code === 403 ? word("click-refused") : word("click-failed", { status: code }));
  });

  // A range that was typed goes before a window: who chooses a window wants that one.
  document.addEventListener("change", (event) => {
    if (!event.target.matches("[data-window]") || !event.target.value) return;
    for (const field of event.target.form.querySelectorAll("[data-range]")) field.value = "";
  });

  // --- relative times ------------------------------------------------------------------------------
  const ago = (moment) => {
    const seconds = Math.round((Date.now() + clockOffset - moment) / 1000);
    const size = Math.abs(seconds);
    if (seconds >= 0 && size < 5) return word("just-now");
    const time =
      size < 60 ? word("second", { n: size })
      : size < 3600 ? word("minute", { n: Math.floor(size / 60) })
      : size < 172800 ? word("hour", { n: Math.floor(size / 3600) })
      : word("day", { n: Math.floor(size / 86400) });
    return word(seconds < 0 ? "in" : "ago", { time });
  };
  setInterval(() => {
    if (document.hidden) return;
    for (const element of document.querySelectorAll("time[data-ago]")) {
      const text = ago(Date.parse(element.dateTime));
      if (element.textContent !== text) element.textContent = text;
    }
  }, 1000);
})();
