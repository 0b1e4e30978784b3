// <rushes-id value="…">: an id shortened in the middle that copies itself whole on click.
import { announce } from "./dom.js";

class IdElement extends HTMLElement {
  connectedCallback() {
    const value = this.getAttribute("value") ?? "";
    this.title = `${value} (click to copy)`;
    this.tabIndex = 0;
    this.setAttribute("role", "button");
    this.setAttribute("aria-label", `copy the id ${value}`);
    const copy = async () => {
      const before = this.textContent;
      try {
        await navigator.clipboard.writeText(value);
        this.textContent = "copied";
        announce("id copied");
      } catch {
        this.textContent = value; // no clipboard here: show it whole, to be copied by hand
        return;
      }
      setTimeout(() => {
        this.textContent = before;
      }, 900);
    };
    this.addEventListener("click", copy);
    this.addEventListener("keydown", (event) => {
      if (event.key === "Enter") copy();
    });
  }
}
customElements.define("rushes-id", IdElement);
