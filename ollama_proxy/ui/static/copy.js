// A button to copy beside every element of class "lines". It is made here: without scripts it could do nothing.
(() => {
  "use strict";

  // The clipboard is there for pages of HTTPS and of this machine only; elsewhere the selection is copied, as of old.
  async function copied(text, element) {
    if (window.isSecureContext && navigator.clipboard) {
      await navigator.clipboard.writeText(text);
      return true;
    }
    const range = document.createRange();
    range.selectNodeContents(element);
    const selection = window.getSelection();
    selection.removeAllRanges();
    selection.addRange(range);
    return document.execCommand("copy");
  }

  function addButton(holder) {
    const source = holder.querySelector("pre, .text");
    const button = document.createElement("button");
    button.type = "button";
    button.className = "copy quiet";
    button.textContent = "Copy";
    button.setAttribute("aria-label", `Copy: ${source.getAttribute("aria-label") || "the text"}`);
    button.addEventListener("click", async () => {
      const done = await copied(source.textContent, source).catch(() => false);
      button.textContent = done ? "Copied" : "Select it and press Ctrl+C";
      setTimeout(() => { button.textContent = "Copy"; }, 2000);
    });
    holder.append(button);
  }

  window.addCopyButtons = (root) => {
    for (const holder of root.querySelectorAll(".lines")) addButton(holder);
  };
  window.addCopyButtons(document);
})();
