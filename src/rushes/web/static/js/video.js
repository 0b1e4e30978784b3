// A video's page: its player and story, and the strips of its trace, all kept up to date.
import { h, pageData } from "./dom.js";
import { follow } from "./live.js";
import { StagesElement } from "./stages.js";
import { beginStrips } from "./strips.js";

const data = pageData("page-data");
const model = beginStrips(data);
const screen = /** @type {HTMLElement} */ (document.querySelector("[data-screen]"));
const stages = /** @type {StagesElement} */ (document.querySelector("rushes-stages"));
const failure = /** @type {HTMLElement} */ (document.querySelector("[data-failure]"));
const where = /** @type {HTMLElement} */ (document.querySelector("[data-failure-where]"));
let story = data.video;

/** @param {string} selector @param {string} text */
function say(selector, text) {
  const place = document.querySelector(selector);
  if (place && place.textContent !== text) place.textContent = text;
}

function show() {
  say('[data-story="headline"]', story.headline);
  /** @type {HTMLElement} */ (document.querySelector('[data-story="headline"]')).dataset.state = story.state;
  const silent = /** @type {HTMLElement} */ (document.querySelector("[data-silent]"));
  silent.hidden = !story.silent_ms;
  silent.querySelector("rushes-time")?.setAttribute("ms", String(story.silent_ms));
  for (const [key, value] of Object.entries(story.facts)) {
    say(`[data-fact="${key}"]`, String(value));
    /** @type {HTMLElement | null} */ (document.querySelector(`dd[data-fact="${key}"]`))?.setAttribute("title", String(value));
  }
  stages.show(story);
  failure.hidden = !story.error;
  if (story.error) {
    say("[data-failure-words]", story.error.words);
    say("[data-failure-detail]", story.error.detail);
    where.hidden = !story.error.where;
    where.textContent = `in ${story.error.where}`;
    where.title = story.error.where;
  }
  showScreen();
}

// Media events don't bubble, so this listens on their way down.
screen.addEventListener("error", lost, true);

/** The file may be out of reach, or gone: say so instead of showing a dead player. */
function lost() {
  screen.replaceChildren(h("p", { class: "no-video" }, "The video's file can't be loaded. Check that the storage can be reached."));
}

function showScreen() {
  const playing = screen.querySelector("video");
  if (story.media) {
    if (playing?.error) lost();
    if (!playing && !screen.querySelector(".no-video:not([data-no-video])")) screen.replaceChildren(h("video", { controls: true, playsinline: true, preload: "metadata", src: story.media, "aria-label": "The video" }));
    return;
  }
  say("[data-no-video]", story.headline);
  const progress = /** @type {HTMLProgressElement | null} */ (screen.querySelector("[data-progress]"));
  if (!progress) return;
  progress.hidden = !(story.running && story.total);
  progress.max = story.total || 1;
  progress.value = story.step;
}

where.addEventListener("click", () => story.error?.span_id && model.select(story.error.span_id));
show();

follow(
  () => `/live/videos/${encodeURIComponent(story.id)}`,
  (news) => {
    if (news.video) {
      story = news.video;
      show();
    }
    model.merge(news);
  },
);
