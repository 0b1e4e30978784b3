// The page of any trace.
import { pageData } from "./dom.js";
import { follow } from "./live.js";
import { beginStrips } from "./strips.js";

const model = beginStrips(pageData("page-data"));
const id = /** @type {HTMLElement} */ (document.querySelector("[data-trace]")).dataset.trace;
follow(() => `/live/traces/${id}`, (news) => model.merge(news));
