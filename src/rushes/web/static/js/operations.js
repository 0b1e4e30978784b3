// The Operations page: first data from the page itself, then those panels that change.
import { pageData } from "./dom.js";
import { follow } from "./live.js";
import { duration } from "./numbers.js";
import { PanelElement } from "./panels.js";

const page = pageData("operations-data");

/** @param {number} from @param {number} to Unix seconds */
function zoom(from, to) {
  // the old picture stays, dimmed, until the new page has come
  document.querySelector("[data-dashboard]")?.setAttribute("aria-busy", "true");
  location.assign(`/?from=${Math.floor(from)}&to=${Math.ceil(to)}`);
}

const length = duration(page.end - page.start).replace(/^1 d$/, "24 h");
for (const panel of Object.values(page.panels)) {
  const element = /** @type {PanelElement} */ (document.getElementById(panel.id));
  element.begin(panel, { length, zoom });
  element.show(page.data[panel.id]);
}

addEventListener("pageshow", () => document.querySelector("[data-dashboard]")?.removeAttribute("aria-busy"));

const RANGE = "rushes.range";
/** @param {() => any} act on the storage, which may be switched off: then it is as if nothing were kept */
const stored = (act) => {
  try {
    return act();
  } catch {
    return null;
  }
};

if (!page.live) {
  // Escape goes back to the range that was zoomed from
  document.addEventListener("keydown", (event) => {
    if (event.key !== "Escape" || event.defaultPrevented || document.querySelector("dialog[open]")) return;
    if (event.target instanceof HTMLElement && event.target.closest("input, select, textarea")) return;
    const range = stored(() => sessionStorage.getItem(RANGE));
    location.assign(range ? `/?range=${encodeURIComponent(range)}` : "/");
  });
}

if (page.live) {
  const range = new URLSearchParams(location.search).get("range");
  stored(() => (range ? sessionStorage.setItem(RANGE, range) : sessionStorage.removeItem(RANGE)));
  const query = range ? `range=${encodeURIComponent(range)}` : "";
  follow(
    (again) => `/live/operations?${query}${again ? "&baseline=1" : ""}`,
    (news) => {
      for (const [id, data] of Object.entries(news.panels)) {
        /** @type {PanelElement | null} */ (document.getElementById(id))?.show(data);
      }
    },
  );
}

// The absolute range is typed in local time and sent in Unix seconds, so that a link means the same everywhere.
const form = /** @type {HTMLFormElement} */ (document.querySelector(".picker"));
for (const input of /** @type {NodeListOf<HTMLInputElement>} */ (form.querySelectorAll("[data-moment]"))) {
  const moment = new Date(Number(input.dataset.moment) * 1000);
  moment.setMinutes(moment.getMinutes() - moment.getTimezoneOffset());
  input.value = moment.toISOString().slice(0, 19);
}
form.addEventListener("submit", (event) => {
  event.preventDefault();
  const [from, to] = ["from", "to"].map((name) => new Date(/** @type {HTMLInputElement} */ (form.elements.namedItem(name)).value).getTime() / 1000);
  if (Number.isFinite(from) && Number.isFinite(to)) zoom(from, to);
});
