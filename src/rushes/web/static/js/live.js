// A page's live stream: says whether it is connected, stops while the page is hidden, and comes back.

const RETRY_MS = 4000;

/**
 * @param {(again: boolean) => string} url where to listen; `again` after the first connection
 * @param {(news: any) => void} onNews
 */
export function follow(url, onNews) {
  /** @type {EventSource | null} */
  let source = null;
  let again = false;
  let timer = 0;
  const badge = /** @type {HTMLElement | null} */ (document.querySelector("[data-live]"));
  const problem = /** @type {HTMLElement | null} */ (document.querySelector("[data-problem]"));

  /** @param {boolean} connected */
  const show = (connected) => {
    if (!badge) return;
    badge.hidden = false;
    badge.textContent = connected ? "Live" : "Reconnecting";
    badge.toggleAttribute("data-lost", !connected);
  };

  const open = () => {
    if (source) return;
    clearTimeout(timer);
    source = new EventSource(url(again));
    source.addEventListener("open", () => {
      again = true;
      show(true);
    });
    source.addEventListener("message", (event) => {
      if (problem) problem.hidden = true;
      onNews(JSON.parse(event.data));
    });
    source.addEventListener("problem", (event) => {
      if (!problem) return;
      problem.textContent = `Not up to date: ${/** @type {MessageEvent} */ (event).data}.`;
      problem.hidden = false;
    });
    source.addEventListener("error", () => {
      show(false);
      if (source?.readyState === EventSource.CLOSED) {
        source = null;
        timer = setTimeout(open, RETRY_MS);
      }
    });
  };

  const close = () => {
    clearTimeout(timer);
    source?.close();
    source = null;
  };

  document.addEventListener("visibilitychange", () => (document.hidden ? close() : open()));
  addEventListener("pagehide", close);
  addEventListener("pageshow", open);
  if (!document.hidden) open();
}
