/* Interaction on a page: shortcut keys, selecting rows, copying, immediate feedback on a click. */
(() => {
  "use strict";

  const { word, announce } = window.page;
  const dialog = document.getElementById("keys");
  const bulk = document.getElementById("bulk");

  // --- rows ----------------------------------------------------------------------------------------
  const rowOf = (element) => (element instanceof Element ? element.closest("main .list tbody tr") : null);
  const opener = (row) => row.querySelector("[data-open]") || row.querySelector("th a, .act a, a");
  const rows = () =>
    [...document.querySelectorAll("main .list tbody tr")].filter(
      (row) => opener(row) && row.checkVisibility(),
    );
  const current = () => rowOf(document.activeElement) || document.querySelector("main tr.at");

  document.addEventListener("focusin", (event) => {
    const row = rowOf(event.target);
    for (const each of document.querySelectorAll("tr.at")) if (each !== row) each.classList.remove("at");
    if (row) row.classList.add("at");
  });
  // A click beside what a row offers shows all of it, where the list is compact.
  document.addEventListener("click", (event) => {
    const row = rowOf(event.target);
    if (!row || event.target.closest("a, button, input, label, details") || String(getSelection())) return;
    row.classList.toggle("whole");
  });

  const step = (by) => {
    const all = rows();
    if (!all.length) return;
    const place = all.indexOf(current());
    const next = all[place < 0 ? (by > 0 ? 0 : all.length - 1) : Math.min(Math.max(place + by, 0), all.length - 1)];
    next.scrollIntoView({ block: "nearest" });
    opener(next).focus({ preventScroll: true });
  };

  // The whole of what a row cuts off.
  document.addEventListener("pointerover", ({ target }) => {
    const cell = target.closest(".compact .rows :is(td, th)");
    if (cell && !cell.title && cell.scrollWidth > cell.clientWidth) cell.title = cell.innerText;
  });
  const here = document.querySelector(".top nav [aria-current]");
  if (here) here.parentElement.scrollLeft = here.offsetLeft - 40;

  for (const field of document.querySelectorAll("[data-narrows]")) {
    const list = document.getElementById(field.dataset.narrows);
    field.hidden = false;
    field.addEventListener("input", () => {
      const wanted = field.value.trim().toLowerCase();
      for (const group of list.querySelectorAll("optgroup")) {
        for (const option of group.children) {
          option.hidden = !`${group.label} ${option.text}`.toLowerCase().includes(wanted);
        }
        group.hidden = [...group.children].every((option) => option.hidden);
      }
    });
  }

  // --- selecting -----------------------------------------------------------------------------------
  const picked = new Set();
  const boxes = () => [...document.querySelectorAll("input[name=cluster][form=bulk]")];

  const showPicked = () => {
    const count = bulk && bulk.querySelector("[data-picked]");
    if (count) count.textContent = word("selected", { n: picked.size });
    const all = document.querySelector("[data-pick-all]");
    if (!all) return;
    const there = boxes();
    all.checked = there.length > 0 && there.every((box) => box.checked);
    all.indeterminate = !all.checked && there.some((box) => box.checked);
  };
  const readPicked = () => {
    picked.clear();
    for (const box of boxes()) if (box.checked) picked.add(box.value);
    showPicked();
  };
  const pick = (some, on) => {
    for (const box of some) box.checked = on;
    readPicked();
    announce(word("selected", { n: picked.size }));
  };

  document.addEventListener("change", (event) => {
    if (event.target.matches("[data-pick-all]")) pick(boxes(), event.target.checked);
    else if (event.target.matches("input[name=cluster]")) readPicked();
  });
  // A row that was swapped comes without its tick.
  document.addEventListener("htmx:afterSettle", () => {
    for (const box of boxes()) box.checked = picked.has(box.value);
    showPicked();
  });
  if (bulk) {
    bulk.addEventListener("reset", () => pick(boxes(), false));
    readPicked();
    window.addEventListener("pageshow", readPicked);
  }

  // --- panels --------------------------------------------------------------------------------------
  // Whoever opened it, a panel lies within the window.
  const fit = (details) => {
    const panel = details.open && details.querySelector(".panel, .menu-body");
    if (!panel) return;
    panel.style.translate = "none";
    const { left, right } = panel.getBoundingClientRect();
    const width = document.documentElement.clientWidth;
    panel.style.translate = `${left < 8 ? 8 - left : Math.min(width - 8 - right, 0)}px`;
    panel.scrollIntoView({ block: "nearest" });
  };
  document.addEventListener("toggle", (event) => fit(event.target), true);

  // --- a click shows at once -----------------------------------------------------------------------
  const undo = new Map();
  const queuing = (row) => {
    const cell = row && row.querySelector(".last, [data-badge]");
    if (!cell) return () => {};
    const badge = document.createElement("span");
    badge.className = "badge busy";
    badge.textContent = word("queuing");
    const old = cell.querySelector(".badge");
    if (old) {
      old.replaceWith(badge);
      return () => badge.replaceWith(old);
    }
    const before = [...cell.childNodes];
    cell.replaceChildren(badge);
    return () => cell.replaceChildren(...before);
  };
  const asksForBackup = (form) => form instanceof HTMLFormElement && /\/clusters\/\d+\/backup\/$/.test(form.action);

  document.addEventListener("htmx:beforeRequest", (event) => {
    const form = event.detail.elt;
    if (!asksForBackup(form)) return;
    undo.set(form, queuing(form.closest("tr")));
    announce(word("queuing"));
  });
  for (const name of ["htmx:sendError", "htmx:timeout", "htmx:responseError"]) {
    document.addEventListener(name, (event) => {
      const form = event.detail.elt;
      if (undo.has(form)) undo.get(form)();
      undo.delete(form);
    });
  }
  document.addEventListener("htmx:afterSwap", (event) => undo.delete(event.detail.elt));
  // Forms that lead to another page.
  document.addEventListener("submit", (event) => {
    const form = event.target;
    if (event.defaultPrevented || form.hasAttribute("hx-post") || form.method !== "post") return;
    const button = event.submitter;
    if (button) {
      button.setAttribute("aria-busy", "true");
      setTimeout(() => button.removeAttribute("aria-busy"), 5000); // an answer may be a file
    }
    if (asksForBackup(form)) queuing(form.closest("tr"));
  });
  window.addEventListener("pageshow", (event) => {
    if (event.persisted) location.reload(); // what the page showed when it was left is not what is
  });

  // --- copying -------------------------------------------------------------------------------------
  const copy = async (button) => {
    let done = false;
    try {
      await navigator.clipboard.writeText(button.dataset.copy);
      done = true;
    } catch {
      const field = document.createElement("textarea"); // without HTTPS there is no clipboard API
      field.value = button.dataset.copy;
      field.className = "sr";
      button.after(field);
      field.select();
      done = document.execCommand("copy");
      field.remove();
      button.focus({ preventScroll: true });
    }
    announce(word(done ? "copied" : "not-copied"));
    button.classList.toggle("done", done);
    setTimeout(() => button.classList.remove("done"), 1500);
  };

  document.addEventListener("click", (event) => {
    const button = event.target.closest("[data-copy]");
    if (button) copy(button);
    const dismiss = event.target.closest("[data-dismiss]");
    if (dismiss) dismiss.closest(".notice").remove();
    for (const details of document.querySelectorAll("details[data-closes][open]")) {
      if (!details.contains(event.target)) details.open = false;
    }
  });

  // What it says is on the page, too; an error stays until it is read.
  document.addEventListener("htmx:oobAfterSwap", (event) => {
    if (event.detail.target.id !== "notices") return;
    for (const notice of event.detail.target.querySelectorAll(".notice:not(.error, .warning)")) {
      setTimeout(() => notice.matches(":hover, :focus-within") || notice.remove(), 8000);
    }
  });

  // --- keys ----------------------------------------------------------------------------------------
  let going = 0;
  const typing = (element) =>
    element.isContentEditable ||
    (element.matches("input, select, textarea") && !element.matches("[type=checkbox], [type=radio]"));

  const escape = () => {
    for (const details of document.querySelectorAll("details[data-closes][open]")) {
      const inside = details.contains(document.activeElement);
      details.open = false;
      if (inside) details.querySelector("summary").focus();
      return true;
    }
    if (picked.size && !typing(document.activeElement)) pick(boxes(), false);
  };

  const backUp = () => {
    // It goes to the button, and Enter sends: a key that was hit by chance starts nothing.
    if (picked.size && bulk) return document.getElementById("bulk-go").focus();
    const row = current();
    const button = (row || document).querySelector("form[action$='/backup/'] button[id]");
    if (button && (row || document.querySelectorAll("form.backup").length === 1)) button.focus();
  };

  const select = () => {
    const row = current();
    const box = row && row.querySelector("input[name=cluster]");
    if (box) pick([box], !box.checked);
  };

  const actions = {
    "/": () => document.getElementById("site-q").focus(),
    "?": () => dialog.showModal(),
    j: () => step(1),
    k: () => step(-1),
    x: select,
    b: backUp,
    g: () => {
      going = Date.now();
    },
  };

  document.addEventListener("keydown", (event) => {
    if (event.key === "Escape") return void escape();
    if (!("keys" in document.body.dataset) || event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.isComposing || typing(event.target) || document.querySelector("dialog[open]")) return;
    const go = Date.now() - going < 1500 && dialog.querySelector(`[data-go="${CSS.escape(event.key)}"]`);
    going = 0;
    if (go) {
      event.preventDefault();
      location.assign(go.href);
    } else if (Object.hasOwn(actions, event.key) && (!event.repeat || "jk".includes(event.key))) {
      event.preventDefault();
      actions[event.key]();
    }
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
})();
