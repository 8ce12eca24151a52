// The search of the page Connect, and the address as the browser knows it (a reverse proxy may speak HTTPS for us).
(() => {
  "use strict";

  const shown = document.querySelector("[data-address]").dataset.address;
  const origin = window.location.origin;
  if (origin !== shown) {
    const texts = document.createTreeWalker(document.getElementById("content"), NodeFilter.SHOW_TEXT);
    while (texts.nextNode()) {
      const node = texts.currentNode;
      if (node.data.includes(shown)) node.data = node.data.replaceAll(shown, origin);
    }
  }

  const form = document.getElementById("find");
  const query = document.getElementById("query");
  const found = document.getElementById("found");
  const FEW = 2;

  function search() {
    const words = query.value.toLowerCase().split(/\s+/).filter(Boolean);
    const hits = [];
    for (const group of document.querySelectorAll(".clients")) {
      const heading = group.querySelector("h2").textContent;
      let count = 0;
      for (const client of group.querySelectorAll(".client")) {
        const text = `${heading} ${client.textContent}`.toLowerCase();
        client.hidden = !words.every((word) => text.includes(word));
        client.open = false;
        if (!client.hidden) {
          count += 1;
          hits.push(client);
        }
      }
      group.hidden = count === 0;
    }
    if (words.length && hits.length <= FEW) for (const client of hits) client.open = true;
    found.textContent = !words.length
      ? found.dataset.all
      : hits.length ? `${hits.length} of ${found.dataset.all}` : "No client like that. Any program that speaks Ollama's, OpenAI's or Anthropic's API works with the address above.";
  }

  function openNamed() {
    const client = document.getElementById(decodeURIComponent(window.location.hash.slice(1)));
    if (client && client.matches("details")) client.open = true;
  }

  form.hidden = false;
  form.addEventListener("submit", (event) => event.preventDefault());
  query.addEventListener("input", search);
  window.addEventListener("hashchange", openNamed);
  openNamed();
})();
